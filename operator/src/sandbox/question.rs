//! What is asked: every frontend of every Service, from a pod, from a node and from outside. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use fairlead_model::{Family, Protocol, Service, ServiceName, ServicePortName, TrafficPolicy};
use serde::Serialize;

use super::expected::{Expected, expected};
use super::ground::{Place, of_family};
use super::plan::Plan;
use super::scene::Scene;

/// The node that the sandbox's own pod runs on, and that asks by itself.
pub(super) const HOME_NODE: u8 = 1;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Origin {
    /// A pod on node-1.
    Pod,
    /// node-1 itself.
    Node,
    /// The client outside the cluster.
    Outside,
}

impl Origin {
    /// All three.
    pub(super) const ALL: [Self; 3] = [Self::Pod, Self::Node, Self::Outside];

    /// How it is shown.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Node => "node-1",
            Self::Outside => "outside",
        }
    }
}

/// Which of a Service's addresses is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Frontend {
    /// A cluster IP.
    #[serde(rename = "clusterIP")]
    ClusterIp,
    /// A node port.
    NodePort,
    /// A load balancer address.
    LoadBalancer,
    /// An external IP.
    #[serde(rename = "externalIP")]
    ExternalIp,
    /// A cluster IP of a Service that must be ignored.
    Ignored,
}

impl Frontend {
    /// How it is shown.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ClusterIp | Self::Ignored => "cluster IP",
            Self::NodePort => "node port",
            Self::LoadBalancer => "lb address",
            Self::ExternalIp => "external IP",
        }
    }
}

/// What makes two questions the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QuestionKey {
    /// The Service port.
    pub(super) port: ServicePortName,
    /// The kind of address.
    pub(super) frontend: Frontend,
    /// The address.
    pub(super) to: SocketAddr,
    /// Who asks.
    pub(super) origin: Origin,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Who asks whom.
    pub(super) key: QuestionKey,
    /// The node whose rules decide.
    pub(super) through: u8,
    /// What must become of it.
    pub(super) expected: Expected,
}

impl Question {
    /// The protocol.
    pub(super) fn protocol(&self) -> Protocol {
        self.key.port.protocol
    }

    /// The family of the address.
    pub(super) fn family(&self) -> Family {
        Family::of(self.key.to.ip())
    }
}

/// Through which node the client outside reaches each load balancer address and external IP.
///
/// Of an address that a node answers for, this is the node. For a Service with policy Local it is the first one with an endpoint, as an announcer or a load balancer would choose.
pub(super) fn routes(scene: &Scene<'_>) -> BTreeMap<IpAddr, u8> {
    let mut routes = BTreeMap::new();
    for service in scene.services() {
        for address in service.load_balancer_ips.iter().chain(&service.external_ips) {
            if let Some(owner) = scene.owners.get(address) {
                routes.insert(*address, *owner);
                continue;
            }
            match scene.ground.place_of(*address) {
                Place::Elsewhere => {}
                // The network knows where it is.
                Place::Node(node) | Place::Pods(node) => {
                    routes.insert(*address, node);
                    continue;
                }
            }
            let with_endpoint = (service.external_policy == TrafficPolicy::Local)
                .then(|| first_with_endpoint(scene, service, Family::of(*address)))
                .flatten();
            match with_endpoint {
                Some(node) => drop(routes.insert(*address, node)),
                None => drop(routes.entry(*address).or_insert(HOME_NODE)),
            }
        }
    }
    routes
}

fn first_with_endpoint(scene: &Scene<'_>, service: &Service, family: Family) -> Option<u8> {
    let has_endpoint = |node: u8| {
        let mut ports = service.ports.iter();
        ports.any(|port| scene.selection(node, service, port, family).local().next().is_some())
    };
    scene
        .ground
        .nodes
        .iter()
        .map(|node| node.number)
        .find(|node| has_endpoint(*node))
}

/// All questions, in the order in which they are shown.
pub(super) fn questions(scene: &Scene<'_>, plan: &Plan) -> Vec<Question> {
    let routes = routes(scene);
    let mut questions = Vec::new();
    for service in scene.services() {
        for port in &service.ports {
            let name = ServicePortName {
                service: service.name.clone(),
                port: port.name.clone(),
                protocol: port.protocol,
            };
            let mut ask = |frontend, address: IpAddr, number: u16, origin, through| {
                // A Service is served in the families that it has cluster IPs of.
                if service.cluster_ip(Family::of(address)).is_none() {
                    return;
                }
                let key = QuestionKey {
                    port: name.clone(),
                    frontend,
                    to: SocketAddr::new(address, number),
                    origin,
                };
                let expected = expected(scene, plan, service, port, &key, through);
                questions.push(Question { key, through, expected });
            };
            for origin in [Origin::Pod, Origin::Node] {
                for address in &service.cluster_ips {
                    ask(Frontend::ClusterIp, *address, port.port, origin, HOME_NODE);
                }
            }
            for origin in Origin::ALL {
                let targets = scene.ground.nodes.iter().filter(|node| {
                    // From inside, the way is the same through every node.
                    origin == Origin::Outside || node.number == HOME_NODE
                });
                for node in targets {
                    for family in Family::ALL {
                        let address = of_family(node.addresses, family);
                        if let Some(number) = port
                            .node_port
                            .filter(|_| accepts_node_ports(scene, node.number, address))
                        {
                            ask(Frontend::NodePort, address, number, origin, node.number);
                        }
                    }
                }
            }
            let external = [
                (Frontend::LoadBalancer, &service.load_balancer_ips),
                (Frontend::ExternalIp, &service.external_ips),
            ];
            for (frontend, addresses) in external {
                for origin in Origin::ALL {
                    for address in addresses {
                        let through = if origin == Origin::Outside {
                            routes[address]
                        } else {
                            HOME_NODE
                        };
                        ask(frontend, *address, port.port, origin, through);
                    }
                }
            }
        }
    }
    questions.extend(of_ignored(scene));
    questions
}

/// Whether the agent of a node accepts node ports on this address of it, which is the default: the Node's own addresses.
fn accepts_node_ports(scene: &Scene<'_>, node: u8, address: IpAddr) -> bool {
    let own = scene
        .cluster(node)
        .node()
        .map(|node| node.primary_ips.as_slice())
        .unwrap_or_default();
    own.is_empty() || own.contains(&address)
}

/// Services that are not ours have addresses too; nobody may answer there.
fn of_ignored(scene: &Scene<'_>) -> Vec<Question> {
    let ours: Vec<_> = scene
        .services()
        .iter()
        .flat_map(|service| service.cluster_ips.clone())
        .collect();
    let mut questions = Vec::new();
    for note in scene.notes.services().filter(|note| note.ignored.is_some()) {
        for (protocol, number) in &note.ports {
            let port = ServicePortName {
                service: note.name.clone(),
                port: "".into(),
                protocol: *protocol,
            };
            for address in note.cluster_ips.iter().filter(|address| !ours.contains(address)) {
                let to = SocketAddr::new(*address, *number);
                let key = QuestionKey {
                    port: port.clone(),
                    frontend: Frontend::Ignored,
                    to,
                    origin: Origin::Pod,
                };
                questions.push(Question {
                    key,
                    through: HOME_NODE,
                    expected: Expected::NotServed,
                });
            }
        }
    }
    questions
}

/// The Services that questions are about.
pub(super) fn only(questions: Vec<Question>, wanted: impl Fn(&ServiceName) -> bool) -> Vec<Question> {
    questions
        .into_iter()
        .filter(|question| wanted(&question.key.port.service))
        .collect()
}

#[cfg(test)]
mod tests;
