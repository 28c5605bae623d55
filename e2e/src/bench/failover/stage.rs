//! What a trial needs: a product, a Service with addresses of its pool, and a client that asks them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::client::{Client, Prober};
use super::power;
use super::product::{NAME, Product, node_networks};
use crate::cluster::{Cluster, Node};
use crate::load::AGNHOST;
use crate::program::wait_for;
use fairlead_lab::outage::is_quiet;

const PORT: u16 = 80;
const READY_LIMIT: Duration = Duration::from_mins(4);
/// A cluster has settled when for so long nothing was lost and no address has moved. A product that gives an address back to a node
/// that has returned does so within it.
const QUIET: Duration = Duration::from_secs(5);

/// Everything that does not change between trials.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) product: Product,
    pub(super) client: Client,
    pub(super) nodes: Vec<Node>,
    addresses: Vec<IpAddr>,
    networks: Vec<IpNet>,
}

/// The probers of all addresses of the Service, in the order of [`Stage::addresses`].
pub(super) type Probers = Vec<Prober>;

impl<'a> Stage<'a> {
    /// Sets it, and waits until every address is answered.
    pub(super) fn set(cluster: &'a Cluster, product: Product) -> Result<Self> {
        eprintln!("{product}");
        let networks = node_networks(cluster)?;
        let nodes = cluster.nodes()?;
        power::all_on(cluster)?;
        // What an earlier run has left that failed: the class of a Service cannot be changed.
        delete_service(cluster)?;
        product.begin(cluster, &networks)?;
        for object in servers(product) {
            cluster.apply(&object)?;
        }
        cluster
            .kubectl(["rollout", "status", "deployment/server", "--namespace", NAME])
            .args([format!("--timeout={}s", READY_LIMIT.as_secs())])
            .within(READY_LIMIT + Duration::from_secs(5))
            .run()?;
        let addresses = wait_for("addresses of the Service", READY_LIMIT, || {
            let addresses = addresses(&cluster.read(["service", "public", "--namespace", NAME])?);
            Ok((addresses.len() == networks.len()).then_some(addresses))
        })?;
        let node = nodes.first().context("the cluster has no nodes")?;
        let client = Client::start(&format!("{}-failover-client", cluster.name()), &node.name)?;
        Ok(Self {
            cluster,
            product,
            client,
            nodes,
            addresses,
            networks,
        })
    }

    /// Removes the Service and the product.
    pub(super) fn clear(self) -> Result<()> {
        delete_service(self.cluster)?;
        self.product.end(self.cluster, &self.networks)
    }

    /// The Service's addresses, one of each family.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The Service from outside.
    pub(super) fn targets(&self) -> Vec<SocketAddr> {
        let addresses = self.addresses.iter();
        addresses.map(|address| SocketAddr::new(*address, PORT)).collect()
    }

    /// Begins to probe every address.
    pub(super) fn probe(&self) -> Result<Probers> {
        let targets = self.targets().into_iter();
        targets.map(|target| self.client.probe(target)).collect()
    }

    /// The containers that announce and are ready, by their node.
    pub(super) fn announcers(&self) -> Result<BTreeMap<String, String>> {
        self.product.ready_containers(self.cluster)
    }

    /// The owner of each address: the node to which the client sends. None if that cannot be told of one of them.
    pub(super) fn owners(&self, macs: &BTreeMap<String, String>) -> Result<Option<Vec<String>>> {
        let owner = |address: &IpAddr| {
            let mac = self.client.neighbour(*address)?;
            anyhow::Ok(mac.and_then(|mac| macs.get(&mac).cloned()))
        };
        self.addresses.iter().map(owner).collect()
    }

    /// The running nodes' names by their MAC addresses. A node that was restarted may have another one.
    pub(super) fn macs(&self, off: Option<&str>) -> Result<BTreeMap<String, String>> {
        let on = self.nodes.iter().filter(|node| off != Some(&node.name));
        on.map(|node| Ok((power::mac(&node.name)?, node.name.clone())))
            .collect()
    }

    /// Waits until every node announces, and until nothing was lost and no address has moved for a while. Returns the owners.
    pub(super) fn settle(&self, probers: &Probers) -> Result<Vec<String>> {
        let macs = self.macs(None)?;
        let mut since: Option<(Instant, Vec<String>)> = None;
        wait_for("the cluster to settle", READY_LIMIT, || {
            let now = Instant::now();
            let owners = self.owners(&macs)?;
            let announces = self.announcers()?.len() == self.nodes.len();
            let is_quiet = probers.iter().all(|prober| is_quiet(&prober.probes(), QUIET, now));
            match (&since, owners) {
                (Some((then, before)), Some(owners)) if announces && owners == *before => {
                    Ok((is_quiet && now - *then >= QUIET).then_some(owners))
                }
                (_, owners) => {
                    since = owners.filter(|_| announces).map(|owners| (now, owners));
                    Ok(None)
                }
            }
        })
    }
}

/// The Service goes before its namespace, and with it its load balancer.
fn delete_service(cluster: &Cluster) -> Result<()> {
    let service = ["service", "public", "--namespace", NAME];
    for what in [&service[..], &["namespace", NAME]] {
        cluster
            .kubectl(["delete", "--ignore-not-found", "--timeout=120s"])
            .args(what)
            .within(READY_LIMIT)
            .run()?;
    }
    Ok(())
}

/// The servers, on the control plane, and the Service.
fn servers(product: Product) -> [Value; 3] {
    let labels = json!({ "app": "server" });
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "public", "namespace": NAME },
        "spec": {
            "type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack", "externalTrafficPolicy": "Cluster",
            "selector": labels,
            "ports": [
                { "name": "udp", "port": PORT, "protocol": "UDP", "targetPort": 8080 },
                { "name": "http", "port": PORT, "protocol": "TCP", "targetPort": 8080 },
            ],
        },
    });
    if let Some(class) = product.class() {
        service["spec"]["loadBalancerClass"] = json!(class);
    }
    [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAME } }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "server", "namespace": NAME },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "nodeSelector": { "node-role.kubernetes.io/control-plane": "" },
                        "tolerations": [{ "operator": "Exists" }],
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "server",
                            "image": AGNHOST,
                            "args": ["netexec", "--http-port=8080", "--udp-port=8080"],
                            "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 },
                        }],
                    },
                },
            },
        }),
        service,
    ]
}

fn addresses(service: &Value) -> Vec<IpAddr> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let addresses = ingress.into_iter().flatten();
    addresses
        .filter_map(|ingress| ingress["ip"].as_str()?.parse().ok())
        .collect()
}
