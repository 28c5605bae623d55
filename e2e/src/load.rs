//! Clients that never rest: from every node's pods and from outside of the cluster, with new connections and with established
//! ones, over every IP family that the Service has. Each request that is not answered is counted.

mod inside;
pub(crate) mod outside;

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::program::wait_for;
use outside::Outside;

const READY_LIMIT: Duration = Duration::from_mins(3);
/// agnhost, which every node has.
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.66.1";
/// How long a connection to a node may take.
const CONNECTS_WITHIN: Duration = Duration::from_millis(500);
/// Requests that each client must have made until a measurement has seen enough.
const ENOUGH: u64 = 20;

/// A Service with an endpoint on each node, and its clients.
#[derive(Debug)]
pub struct Load<'a> {
    cluster: &'a Cluster,
    namespace: String,
    node_port: u16,
    node_addresses: Vec<IpAddr>,
    /// Where clients outside ask, in place of the node ports.
    elsewhere: Vec<SocketAddr>,
}

/// Requests, and how many of them were not answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
}

/// What was counted during a measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// New connections from pods, by cluster IP.
    pub new_from_pods: Count,
    /// Requests on established connections of pods.
    pub established_from_pods: Count,
    /// New connections from outside, by every node's node port.
    pub new_from_outside: Count,
    /// Requests on established connections from outside.
    pub established_from_outside: Count,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
    }
}

impl Count {
    fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }
}

impl Counts {
    /// All failures of new connections.
    pub fn failed_new(&self) -> u64 {
        self.new_from_pods.failed + self.new_from_outside.failed
    }

    /// All failures on established connections.
    pub fn failed_established(&self) -> u64 {
        self.established_from_pods.failed + self.established_from_outside.failed
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} failed", self.failed, self.requests)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "new connections: {} (pods), {} (outside); established: {} (pods), {} (outside)",
            self.new_from_pods, self.new_from_outside, self.established_from_pods, self.established_from_outside
        )
    }
}

impl<'a> Load<'a> {
    /// Makes the Service and its clients in a namespace of their own, and waits until all of them are answered.
    pub fn start(cluster: &'a Cluster, namespace: &str) -> anyhow::Result<Self> {
        cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))?;
        for object in server(namespace) {
            cluster.apply(&object)?;
        }
        let rollout = |workload: &str| {
            cluster
                .kubectl(["rollout", "status", workload, "--namespace", namespace])
                .args([format!("--timeout={}s", READY_LIMIT.as_secs())])
                .within(READY_LIMIT + Duration::from_secs(5))
                .run()
        };
        rollout("deployment/server")?;
        let service = cluster.read(["service", "server", "--namespace", namespace])?;
        let node_port = service["spec"]["ports"][0]["nodePort"].as_u64();
        let ips = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
        let ips: Vec<IpAddr> = ips.filter_map(|ip| ip.as_str()?.parse().ok()).collect();
        cluster.apply(&inside::clients(namespace, &ips))?;
        rollout("daemonset/clients")?;
        let nodes = cluster.nodes()?;
        let is_served = |address: &IpAddr| ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4());
        Ok(Self {
            cluster,
            namespace: namespace.to_owned(),
            node_port: node_port
                .and_then(|port| port.try_into().ok())
                .context("the Service has no node port")?,
            node_addresses: nodes
                .into_iter()
                .flat_map(|node| node.addresses)
                .filter(is_served)
                .collect(),
            elsewhere: Vec::new(),
        })
    }

    /// Where the Service is from outside: every address of every node.
    pub fn node_ports(&self) -> Vec<SocketAddr> {
        let addresses = self.node_addresses.iter();
        addresses
            .map(|address| SocketAddr::new(*address, self.node_port))
            .collect()
    }

    /// From now on clients outside ask there, in place of the node ports.
    pub fn ask_at(&mut self, addresses: Vec<SocketAddr>) {
        self.elsewhere = addresses;
    }

    /// Waits until every one of them takes connections.
    pub fn wait_for_node_ports(&self, limit: Duration) -> anyhow::Result<()> {
        wait_for("every node port to answer", limit, || {
            Ok(self.node_ports().iter().all(takes_connections).then_some(()))
        })
    }

    /// Whether one of them takes connections.
    pub fn has_open_node_port(&self) -> bool {
        self.node_ports().iter().any(takes_connections)
    }

    /// Counts while something happens. Every client has asked some times before, and again after it.
    pub fn during(&self, something: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Counts> {
        let outside = match &self.elsewhere[..] {
            [] => Outside::start(&self.node_ports()),
            elsewhere => Outside::start(elsewhere),
        };
        let before = self.settle(&outside)?;
        something()?;
        self.settle(&outside)?;
        let inside = inside::read(self.cluster, &self.namespace)?;
        let [new_from_outside, established_from_outside] = outside.stop();
        let [new_from_pods, established_from_pods] = [0, 1].map(|kind| {
            let mut count = Count::default();
            for (client, counted) in &inside {
                count += counted[kind].since(before.get(client).map_or(Count::default(), |counted| counted[kind]));
            }
            count
        });
        Ok(Counts {
            new_from_pods,
            established_from_pods,
            new_from_outside,
            established_from_outside,
        })
    }

    /// Waits until every client has asked [`ENOUGH`] times more, so that what is wrong now has been counted.
    fn settle(&self, outside: &Outside) -> anyhow::Result<inside::Counted> {
        let start = wait_for("the clients' counters", READY_LIMIT, || {
            inside::read(self.cluster, &self.namespace).map(Some)
        })?;
        let outside_start = outside.slowest();
        let mut waits_for = Vec::new();
        wait_for("the clients to ask again", READY_LIMIT, || {
            let now = inside::read(self.cluster, &self.namespace)?;
            let has_asked = |(client, counted): (&String, &[Count; 2])| {
                let then = start.get(client).copied().unwrap_or_default();
                (0..2).all(|kind| counted[kind].since(then[kind]).requests >= ENOUGH)
            };
            let slow = now.iter().filter(|client| !has_asked(*client));
            waits_for = slow
                .map(|(client, counted)| format!("{client} ({counted:?})"))
                .collect();
            if outside.slowest() < outside_start + ENOUGH {
                waits_for.push("a client outside".to_owned());
            }
            Ok(waits_for.is_empty().then_some(now))
        })
        .with_context(|| format!("of those who ask, some stopped: {}", waits_for.join(", ")))
    }

    /// Removes everything.
    pub fn end(self) -> anyhow::Result<()> {
        self.cluster
            .kubectl(["delete", "namespace", &self.namespace, "--wait=false"])
            .run()
            .map(drop)
    }
}

/// Whether somebody takes connections there.
pub fn takes_connections(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, CONNECTS_WITHIN).is_ok()
}

/// A web server on each node, that goes on for a while after it is told to end, as servers should.
fn server(namespace: &str) -> [Value; 2] {
    let labels = json!({ "app": "server" });
    let spread = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": labels },
    }]);
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "server", "namespace": namespace },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "topologySpreadConstraints": spread,
                    "containers": [{
                        "name": "server",
                        "image": AGNHOST,
                        "args": ["netexec", "--http-port=8080", "--udp-port=8080", "--delay-shutdown=10"],
                        "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 },
                    }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "server", "namespace": namespace },
        "spec": {
            "type": "NodePort",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": labels,
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
        },
    });
    [deployment, service]
}
