//! What is compared: who gives a Service its address and announces it on the LAN. Everything else stays as it is between them: the
//! cluster, the nodes' rules, the servers, the client, and the pool's addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::{Cluster, items};
use crate::program::{Program, wait_for};
use crate::proxy;

/// The name of what is made for the benchmark.
pub(super) const NAME: &str = "failover";
const METALLB_NAMESPACE: &str = "metallb-system";
const METALLB_WORKLOADS: [&str; 2] = ["deployment/controller", "daemonset/speaker"];
/// The class of Services that Fairlead is to take.
const CLASS: &str = "fairlead.io/e2e";
const BUILD_LIMIT: Duration = Duration::from_mins(20);
const READY_LIMIT: Duration = Duration::from_mins(4);
/// Numbers of hosts in a pool, from the end of the network: Docker gives addresses from its beginning.
const POOL: std::ops::RangeInclusive<u32> = 200..=231;

/// A product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// The real one, in layer 2 mode, as its own manifest for the native mode installs it.
    Metallb,
    /// The chart that the cluster has.
    Fairlead,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metallb => "MetalLB",
            Self::Fairlead => "Fairlead",
        })
    }
}

impl Product {
    /// The class that a Service needs for it to be served by this product and no other.
    pub(super) fn class(self) -> Option<&'static str> {
        match self {
            // Without a class of its own it takes Services that have none, which is what people run.
            Self::Metallb => None,
            Self::Fairlead => Some(CLASS),
        }
    }

    /// Its version, as people know it.
    pub(super) fn version(self, cluster: &Cluster) -> Result<String> {
        match self {
            Self::Metallb => {
                let image = self.image(cluster)?;
                let tag = image.rsplit(':').next().unwrap_or_default();
                Ok(tag.trim_start_matches('v').to_owned())
            }
            Self::Fairlead => Ok(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    fn image(self, cluster: &Cluster) -> Result<String> {
        let (namespace, _, set) = self.announcers();
        let set = cluster.read([set, "--namespace", namespace])?;
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        image.map(str::to_owned).context("an announcer has no image")
    }

    /// Namespace and labels of the pods that announce, one on each node, and their workload.
    fn announcers(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Metallb => (METALLB_NAMESPACE, "app=metallb,component=speaker", METALLB_WORKLOADS[1]),
            Self::Fairlead => (proxy::NAMESPACE, "app.kubernetes.io/component=agent", proxy::AGENTS),
        }
    }

    /// Installs it where it has to be, and gives it a pool of these networks.
    pub(super) fn begin(self, cluster: &Cluster, networks: &[IpNet]) -> Result<()> {
        match self {
            Self::Metallb => install_metallb(cluster)?,
            Self::Fairlead => {
                let (namespace, _, agents) = self.announcers();
                let agents = cluster.kubectl(["get", agents, "--namespace", namespace]);
                ensure!(
                    agents.succeeds(),
                    "the cluster does not have Fairlead: `cargo e2e deploy`"
                );
            }
        }
        for object in self.objects(networks) {
            // A webhook of MetalLB's answers only some time after its pod is ready.
            wait_for("a pool to be accepted", READY_LIMIT, || {
                cluster.apply(&object).map(Some)
            })?;
        }
        Ok(())
    }

    /// Removes what [`Self::begin`] made.
    pub(super) fn end(self, cluster: &Cluster, networks: &[IpNet]) -> Result<()> {
        for object in self.objects(networks).iter().rev() {
            cluster
                .kubectl(["delete", "--ignore-not-found", "--filename=-"])
                .input(object.to_string())
                .run()?;
        }
        if self == Self::Metallb {
            let manifest = MetalLb::make()?.manifest;
            cluster
                .kubectl(["delete", "--ignore-not-found", "--timeout=120s", "--filename"])
                .args([&manifest])
                .within(READY_LIMIT)
                .run()?;
        }
        Ok(())
    }

    /// The pool, and what says that it is announced.
    fn objects(self, networks: &[IpNet]) -> Vec<Value> {
        let ranges: Vec<_> = networks.iter().map(range).collect();
        let metadata = match self {
            Self::Metallb => json!({ "name": NAME, "namespace": METALLB_NAMESPACE }),
            Self::Fairlead => json!({ "name": NAME }),
        };
        match self {
            Self::Metallb => vec![
                json!({
                    "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata,
                    "spec": { "addresses": ranges },
                }),
                json!({
                    "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": metadata,
                    "spec": { "ipAddressPools": [NAME] },
                }),
            ],
            // A drain begins with a cordon. By default that is for pods alone, and MetalLB knows nothing else.
            Self::Fairlead => vec![
                json!({
                    "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": metadata,
                    "spec": { "loadBalancerClass": CLASS, "local": { "cordonedNodes": "Move" } },
                }),
                json!({
                    "apiVersion": "fairlead.io/v1alpha1", "kind": "AddressPool", "metadata": metadata,
                    "spec": { "provider": NAME, "addresses": ranges },
                }),
            ],
        }
    }

    /// The containers that announce and are ready, by their node. After a restart of the node it is another one.
    pub(super) fn ready_containers(self, cluster: &Cluster) -> Result<BTreeMap<String, String>> {
        let (namespace, labels, _) = self.announcers();
        let pods = cluster.read(["pods", "--namespace", namespace, "--selector", labels])?;
        let ready = items(&pods).filter_map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let node = pod["spec"]["nodeName"].as_str()?;
            let container = status["containerID"].as_str()?;
            (status["ready"] == true).then(|| (node.to_owned(), container.to_owned()))
        });
        Ok(ready.collect())
    }
}

/// What `e2e/cluster/metallb-image.sh` makes and finds.
struct MetalLb {
    manifest: PathBuf,
    images: Vec<String>,
}

impl MetalLb {
    fn make() -> Result<Self> {
        let text = Program::script("e2e/cluster/metallb-image.sh")
            .within(BUILD_LIMIT)
            .run()
            .context("cannot build MetalLB")?;
        let mut lines = text.lines().map(str::to_owned);
        let manifest = lines.next().context("there is no manifest of MetalLB")?;
        Ok(Self {
            manifest: manifest.into(),
            images: lines.collect(),
        })
    }
}

fn install_metallb(cluster: &Cluster) -> Result<()> {
    let MetalLb { manifest, images } = MetalLb::make()?;
    Program::tool("kind")
        .args(["load", "docker-image", "--name", cluster.name()])
        .args(&images)
        .within(READY_LIMIT)
        .run()
        .context("cannot put MetalLB's images on the nodes")?;
    cluster
        .kubectl(["apply", "--server-side", "--force-conflicts", "--filename"])
        .args([&manifest])
        .run()?;
    for workload in METALLB_WORKLOADS {
        cluster
            .kubectl(["rollout", "status", workload, "--namespace", METALLB_NAMESPACE])
            .args([format!("--timeout={}s", READY_LIMIT.as_secs())])
            .within(READY_LIMIT + Duration::from_secs(5))
            .run()?;
    }
    Ok(())
}

/// The networks that the nodes are on, those of the cluster's families.
pub(super) fn node_networks(cluster: &Cluster) -> Result<Vec<IpNet>> {
    let text = Program::new("docker")
        .args([
            "network",
            "inspect",
            "--format={{range .IPAM.Config}}{{.Subnet}} {{end}}",
            "kind",
        ])
        .run()?;
    let nodes = cluster.nodes()?;
    let node = nodes.first().context("the cluster has no nodes")?;
    let is_served = |network: &IpNet| {
        let family = |address: IpAddr| address.is_ipv6() == network.addr().is_ipv6();
        node.pod_cidrs.iter().any(|cidr| family(cidr.addr()))
    };
    let networks = text.split_whitespace().filter_map(|network| network.parse().ok());
    let networks: Vec<IpNet> = networks.filter(is_served).collect();
    ensure!(
        !networks.is_empty(),
        "Docker's network `kind` has no subnet of the cluster's families"
    );
    Ok(networks)
}

/// The pool's part of a network.
fn range(network: &IpNet) -> String {
    let (first, last) = (*POOL.start(), *POOL.end());
    match network {
        IpNet::V4(network) => {
            let end = u32::from(network.broadcast());
            let [first, last] = [last, first].map(|host| Ipv4Addr::from(end - host));
            format!("{first}-{last}")
        }
        IpNet::V6(network) => {
            let end = u128::from(network.broadcast());
            let [first, last] = [last, first].map(|host| Ipv6Addr::from(end - u128::from(host)));
            format!("{first}-{last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_at_the_end_of_its_network() {
        let range_of = |network: &str| range(&network.parse().unwrap());
        assert_eq!(range_of("172.18.0.0/16"), "172.18.255.24-172.18.255.55");
        assert_eq!(
            range_of("fc00:f853:ccd:e793::/64"),
            "fc00:f853:ccd:e793:ffff:ffff:ffff:ff18-fc00:f853:ccd:e793:ffff:ffff:ffff:ff37"
        );
    }
}
