//! A kind cluster of three nodes.
//!
//! Where a registry can be reached, kind's ordinary node image serves. Without one, `e2e/cluster/node-image.sh` builds it.
//! The pods' network is made here in either case: a veth pair for each pod, and a route from each node to every other's pods.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::program::{Program, cache, repository, wait_for};

/// Building the node image from nothing takes some minutes for Debian and half an hour for Go.
const BUILD_LIMIT: Duration = Duration::from_hours(1);
const CREATE_LIMIT: Duration = Duration::from_mins(8);
const READY_LIMIT: Duration = Duration::from_mins(3);

/// The addresses that Services and pods have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IpFamily {
    /// IPv4 first, then IPv6.
    Dual,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dual => "dual",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// Whether kubeadm installs kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KubeProxy {
    /// In nftables mode.
    Nftables,
    /// Not at all.
    None,
}

/// A cluster by its name. It need not exist.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: String,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, which is its container's too.
    pub name: String,
    /// Its addresses, the first family's first.
    pub addresses: Vec<IpAddr>,
    /// The networks of its pods.
    pub pod_cidrs: Vec<IpNet>,
}

/// What a cluster is to be like.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Shape {
    /// Addresses of Services and pods.
    #[arg(long, value_enum, default_value = "dual")]
    pub family: IpFamily,
    /// The kube-proxy that kubeadm installs.
    #[arg(long, value_enum, default_value = "none")]
    pub kube_proxy: KubeProxy,
    /// Nodes beside the control plane. The nodes are spread over three zones; some of upstream's tests want two nodes in each.
    #[arg(long, default_value_t = 2, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=20))]
    pub workers: u8,
}

impl Cluster {
    /// The cluster of this name.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn folder(&self) -> PathBuf {
        cache().join("clusters").join(&self.name)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// A call of kubectl as the administrator.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Program {
        Program::tool("kubectl")
            .args([format!("--kubeconfig={}", self.kubeconfig().display())])
            .args(arguments)
    }

    /// A list or an object.
    pub fn read<S: AsRef<std::ffi::OsStr>>(&self, what: impl IntoIterator<Item = S>) -> anyhow::Result<Value> {
        let text = self.kubectl(["get", "--output=json"]).args(what).run()?;
        serde_json::from_str(&text).context("kubectl's answer is no JSON")
    }

    /// Creates or changes objects.
    pub fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        self.kubectl(["apply", "--server-side", "--force-conflicts", "--filename=-"])
            .input(manifest.to_string())
            .run()
            .map(drop)
    }

    /// True if kind knows it.
    pub fn exists(&self) -> bool {
        let names = Program::tool("kind").args(["get", "clusters"]).run();
        names.is_ok_and(|names| names.lines().any(|name| name == self.name)) && self.kubeconfig().is_file()
    }

    /// Brings it up, with everything that it needs and the machine lacks. One that is there is left as it is, unless a fresh
    /// one is wanted.
    pub fn up(&self, shape: &Shape, is_fresh: bool) -> anyhow::Result<()> {
        let script = |name: &str| Program::script(&format!("e2e/cluster/{name}"));
        ensure!(
            script("docker.sh").within(BUILD_LIMIT).show()?,
            "there is no Docker to run the nodes in"
        );
        let tools = script("tools.sh").args(["kind", "kubectl", "helm"]).within(BUILD_LIMIT);
        tools.run().context("cannot build kind, kubectl and helm")?;
        if is_fresh {
            self.down()?;
        } else if self.exists() {
            return Ok(());
        }
        let image = match ordinary_image() {
            Some(image) => image,
            None => script("node-image.sh")
                .within(BUILD_LIMIT)
                .run()
                .context("cannot build the node image")?,
        };
        fs::create_dir_all(self.folder()).context("cannot make the cluster's folder")?;
        let configuration = self.folder().join("kind.json");
        fs::write(&configuration, kind_configuration(shape).to_string())
            .context("cannot write kind's configuration")?;
        Program::tool("kind")
            .args([
                "create",
                "cluster",
                "--quiet",
                "--name",
                &self.name,
                "--image",
                image.trim(),
            ])
            .args(["--config", &configuration.to_string_lossy()])
            .args(["--kubeconfig", &self.kubeconfig().to_string_lossy()])
            .within(CREATE_LIMIT)
            .run()
            .context("kind cannot create the cluster")?;
        self.connect_pods()?;
        self.spread()?;
        self.kubectl(["wait", "--for=condition=Ready", "nodes", "--all"])
            .args([format!("--timeout={}s", READY_LIMIT.as_secs())])
            .within(READY_LIMIT + Duration::from_secs(10))
            .run()?;
        Ok(())
    }

    /// Removes it.
    pub fn down(&self) -> anyhow::Result<()> {
        Program::tool("kind")
            .args(["delete", "cluster", "--quiet", "--name", &self.name])
            .args(["--kubeconfig", &self.kubeconfig().to_string_lossy()])
            .run()?;
        if self.folder().exists() {
            fs::remove_dir_all(self.folder()).context("cannot remove the cluster's folder")?;
        }
        Ok(())
    }

    /// Its nodes, the control plane first.
    pub fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let list = self.read(["nodes"])?;
        let mut nodes: Vec<_> = items(&list).filter_map(node_from).collect();
        nodes.sort_by_key(|node| (!node.name.ends_with("-control-plane"), node.name.clone()));
        Ok(nodes)
    }

    /// Runs a shell script on a node.
    pub fn on_node(&self, node: &str, script: &str) -> Program {
        Program::new("docker").args(["exec", "-i", node, "sh", "-c", script])
    }

    /// Gives the nodes' pods a network. A node that was restarted has lost its routes and gets them back.
    pub fn connect_pods(&self) -> anyhow::Result<()> {
        let nodes = wait_for("pod CIDRs of the nodes", READY_LIMIT, || {
            let nodes = self.nodes()?;
            Ok((!nodes.is_empty() && nodes.iter().all(|node| !node.pod_cidrs.is_empty())).then_some(nodes))
        })?;
        for node in &nodes {
            self.on_node(
                &node.name,
                "mkdir -p /etc/cni/net.d && cat >/etc/cni/net.d/10-pods.conflist",
            )
            .input(cni_configuration(&node.pod_cidrs).to_string())
            .run()?;
            let others = nodes.iter().filter(|other| other.name != node.name);
            let routes: Vec<_> = others.flat_map(routes_to).collect();
            self.on_node(&node.name, &routes.join(" && ")).run()?;
        }
        Ok(())
    }

    /// A zone for each node, as topology-aware routing is about zones; and pods on all of them.
    fn spread(&self) -> anyhow::Result<()> {
        for (node, zone) in self.nodes()?.iter().zip(["zone-a", "zone-b", "zone-c"].iter().cycle()) {
            let label = format!("topology.kubernetes.io/zone={zone}");
            self.kubectl(["label", "--overwrite", "node", &node.name, &label])
                .run()?;
        }
        // It is an error that there is none.
        let _ = self
            .kubectl(["taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-"])
            .output()?;
        Ok(())
    }
}

/// The objects of a list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn node_from(node: &Value) -> Option<Node> {
    let addresses = node["status"]["addresses"].as_array()?.iter();
    let internal = addresses.filter(|address| address["type"] == "InternalIP");
    let cidrs = node["spec"]["podCIDRs"].as_array().into_iter().flatten();
    Some(Node {
        name: node["metadata"]["name"].as_str()?.to_owned(),
        addresses: internal
            .filter_map(|address| address["address"].as_str()?.parse().ok())
            .collect(),
        pod_cidrs: cidrs.filter_map(|cidr| cidr.as_str()?.parse().ok()).collect(),
    })
}

fn routes_to(node: &Node) -> impl Iterator<Item = String> {
    node.pod_cidrs.iter().filter_map(|cidr| {
        let is_v6 = cidr.addr().is_ipv6();
        let gateway = node.addresses.iter().find(|address| address.is_ipv6() == is_v6)?;
        Some(format!(
            "ip {} route replace {cidr} via {gateway}",
            if is_v6 { "-6" } else { "-4" }
        ))
    })
}

fn cni_configuration(pod_cidrs: &[IpNet]) -> Value {
    let ranges: Vec<_> = pod_cidrs.iter().map(|cidr| json!([{ "subnet": cidr }])).collect();
    let everywhere = |cidr: &IpNet| if cidr.addr().is_ipv6() { "::/0" } else { "0.0.0.0/0" };
    let routes: Vec<_> = pod_cidrs
        .iter()
        .map(|cidr| json!({ "dst": everywhere(cidr) }))
        .collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "mtu": 1500,
                "ipam": { "type": "host-local", "dataDir": "/run/cni-ipam", "ranges": ranges, "routes": routes },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn kind_configuration(shape: &Shape) -> Value {
    let mut kubelet = json!({ "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration" });
    let mut containerd = Vec::new();
    // kubelet refuses cgroups of version 1 unless it is told, and the systemd driver wants a real host there.
    if !PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists() {
        kubelet["failCgroupV1"] = json!(false);
        kubelet["cgroupDriver"] = json!("cgroupfs");
    }
    // Scores that protect from the OOM killer need a capability: kubelet must not ask for them, and containerd must round up.
    if !may_grant_sys_resource() {
        kubelet["oomScoreAdj"] = json!(0);
        containerd.push("[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n");
    }
    // The size of the connection table is the host's affair: a container may not set it.
    let kube_proxy_configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "conntrack": { "maxPerCore": 0 },
        "nodePortAddresses": ["primary"],
        "oomScoreAdj": 0,
    });
    let mut nodes = vec![json!({ "role": "control-plane" })];
    nodes.resize(1 + usize::from(shape.workers), json!({ "role": "worker" }));
    json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "apiServerAddress": "127.0.0.1",
            "disableDefaultCNI": true,
            "kubeProxyMode": match shape.kube_proxy { KubeProxy::Nftables => "nftables", KubeProxy::None => "none" },
            "ipFamily": shape.family.to_string(),
        },
        "nodes": nodes,
        "kubeadmConfigPatches": [kubelet.to_string(), kube_proxy_configuration.to_string()],
        "containerdConfigPatches": containerd,
    })
}

/// Bit 24 of the capabilities that this process and its children may ever have.
fn may_grant_sys_resource() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bounding
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask >> 24 & 1 == 1)
}

/// kind's own node image for the pinned version of Kubernetes, if it is here or can be pulled. `FAIRLEAD_NODE_IMAGE` names
/// another.
fn ordinary_image() -> Option<String> {
    if let Some(image) = std::env::var("FAIRLEAD_NODE_IMAGE")
        .ok()
        .filter(|image| !image.is_empty())
    {
        return Some(image);
    }
    let versions = fs::read_to_string(repository().join("e2e/cluster/versions.env")).ok()?;
    let version = versions
        .lines()
        .find_map(|line| line.strip_prefix("KUBERNETES_VERSION="))?;
    let image = format!("kindest/node:{version}");
    let docker = |arguments: [&str; 2]| {
        let call = Program::new("docker").args(arguments).args([&image]);
        call.within(Duration::from_mins(5)).succeeds()
    };
    (docker(["image", "inspect"]) || docker(["pull", "--quiet"])).then_some(image)
}
