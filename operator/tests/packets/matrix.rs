//! Every frontend with every traffic policy, from everywhere, in both families and by every protocol: kube-proxy's table of
//! frontends (reference checklist §1.2 and §1.4 of the design), as a table.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use fairlead_dataplane::evaluate::Outcome;
use fairlead_lab::{Client, Family, Namespace, Pod, Protocol, Server, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices, with_ingress};
use crate::verdict::{Verdict, check, check_all, probe};
use crate::world::{CLUSTER_CIDR, Question, World, in_world, masqueraded};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Cluster,
    Local,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frontend {
    ClusterIp,
    NodePort,
    ExternalIp,
    LoadBalancerIp,
}

/// Where a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A pod of this node.
    Pod(u8),
    /// This node itself.
    Host(u8),
    /// A client that sends everything through this node.
    Outside(u8),
}

/// Where the endpoints are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    /// A pod of node-1, a pod of node-2, and node-3's own network.
    Everywhere,
    /// The pod of node-2.
    Elsewhere,
    /// None is ready.
    Nowhere,
}

const POLICIES: [(Policy, Policy); 4] = [
    (Policy::Cluster, Policy::Cluster),
    (Policy::Cluster, Policy::Local),
    (Policy::Local, Policy::Cluster),
    (Policy::Local, Policy::Local),
];
const FRONTENDS: [Frontend; 4] = [
    Frontend::ClusterIp,
    Frontend::NodePort,
    Frontend::ExternalIp,
    Frontend::LoadBalancerIp,
];
/// node-3 is where an endpoint is in the node's own network.
const ORIGINS: [Origin; 7] = [
    Origin::Pod(1),
    Origin::Pod(2),
    Origin::Pod(3),
    Origin::Host(1),
    Origin::Host(3),
    Origin::Outside(1),
    Origin::Outside(3),
];

const PORT: u16 = 80;
const TARGET_PORT: u16 = 8080;

/// One field of the table.
#[derive(Debug, Clone, Copy)]
struct Cell {
    internal: Policy,
    external: Policy,
    frontend: Frontend,
    origin: Origin,
    family: Family,
    protocol: Protocol,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            internal,
            external,
            frontend,
            origin,
            family,
            protocol,
        } = self;
        write!(
            f,
            "{origin:?} to {frontend:?} (internal {internal:?}, external {external:?}) {family:?} {protocol}"
        )
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (internal, external) in POLICIES {
        for frontend in FRONTENDS {
            for origin in ORIGINS {
                for family in Family::BOTH {
                    cells.extend(Protocol::ALL.map(|protocol| Cell {
                        internal,
                        external,
                        frontend,
                        origin,
                        family,
                        protocol,
                    }));
                }
            }
        }
    }
    cells
}

/// Who the rules take the client for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    LocalPod,
    Host,
    Outside,
}

/// The number of a Service, from its policies.
fn number(internal: Policy, external: Policy) -> u8 {
    let position = POLICIES
        .iter()
        .position(|policies| *policies == (internal, external))
        .unwrap();
    u8::try_from(11 + position).unwrap()
}

impl Cell {
    /// The node that decides. Service addresses are decided about where the connection begins; node ports where they lead:
    /// the pod of node-2 asks node-1, everybody else the own node.
    fn decider(self) -> u8 {
        match (self.origin, self.frontend) {
            (Origin::Pod(2), Frontend::NodePort) => 1,
            (Origin::Pod(node) | Origin::Host(node) | Origin::Outside(node), _) => node,
        }
    }

    fn class(self) -> Class {
        match self.origin {
            Origin::Pod(_) => Class::LocalPod,
            Origin::Host(_) => Class::Host,
            Origin::Outside(_) => Class::Outside,
        }
    }

    fn target(self, world: &World) -> SocketAddr {
        let number = number(self.internal, self.external);
        let address: IpAddr = match (self.frontend, self.family) {
            (Frontend::NodePort, family) => world.lab.node(self.decider()).addresses().of(family),
            (Frontend::ClusterIp, Family::V4) => format!("10.96.0.{number}").parse().unwrap(),
            (Frontend::ClusterIp, Family::V6) => format!("fd00:10:96::{number}").parse().unwrap(),
            (Frontend::ExternalIp, Family::V4) => format!("198.51.100.{number}").parse().unwrap(),
            (Frontend::ExternalIp, Family::V6) => format!("2001:db8:1::{number}").parse().unwrap(),
            (Frontend::LoadBalancerIp, Family::V4) => format!("203.0.113.{number}").parse().unwrap(),
            (Frontend::LoadBalancerIp, Family::V6) => format!("2001:db8:2::{number}").parse().unwrap(),
        };
        let port = if self.frontend == Frontend::NodePort {
            30_000 + u16::from(number)
        } else {
            PORT
        };
        SocketAddr::new(address, port)
    }
}

/// The Services, one for each pair of policies. The same port number serves all protocols.
fn services() -> Vec<Value> {
    let all = POLICIES.map(|(internal, external)| {
        let number = number(internal, external);
        let ports = Protocol::ALL.map(|protocol| {
            node_port(
                &protocol.to_string().to_lowercase(),
                protocol,
                PORT,
                30_000 + u16::from(number),
            )
        });
        let spec = json!({
            "type": "LoadBalancer",
            "clusterIPs": cluster_ips(number),
            "externalIPs": [format!("198.51.100.{number}"), format!("2001:db8:1::{number}")],
            "internalTrafficPolicy": format!("{internal:?}"),
            "externalTrafficPolicy": format!("{external:?}"),
            "ports": ports,
        });
        with_ingress(
            service(&format!("service-{number}"), spec),
            &[&format!("203.0.113.{number}"), &format!("2001:db8:2::{number}")],
        )
    });
    all.into()
}

/// The workloads and the pods that ask.
struct Cast {
    web: [Pod; 2],
    visitors: [Pod; 3],
    /// The client that goes through node-3.
    other_client: Client,
    _servers: Vec<Server>,
}

impl Cast {
    fn new(world: &World) -> Self {
        let lab = &world.lab;
        let web = [1, 2].map(|node| lab.node(node).add_pod(&format!("web-{node}")).unwrap());
        let visitors = [1, 2, 3].map(|node| lab.node(node).add_pod(&format!("visitor-{node}")).unwrap());
        let other_client = lab.add_client("other").unwrap();
        for everything in ["0.0.0.0/0", "::/0"] {
            other_client.route(everything.parse().unwrap(), lab.node(3)).unwrap();
        }
        let mut servers = Vec::new();
        for protocol in Protocol::ALL.into_iter().filter(|protocol| protocol.is_supported()) {
            servers.extend(web.iter().map(|pod| pod.listen(protocol, TARGET_PORT).unwrap()));
            servers.push(lab.node(3).listen("web-3", protocol, TARGET_PORT).unwrap());
        }
        Self {
            web,
            visitors,
            other_client,
            _servers: servers,
        }
    }

    fn endpoints(&self, world: &World, placement: Placement) -> Vec<Endpoint> {
        let [first, second] = self.web.each_ref().map(Endpoint::ready);
        let third = Endpoint::host(world.lab.node(3));
        match placement {
            Placement::Everywhere => vec![first, second, third],
            Placement::Elsewhere => vec![first.not_ready(), second, third.not_ready()],
            Placement::Nowhere => vec![first.not_ready(), second.not_ready(), third.not_ready()],
        }
    }

    fn origin<'a>(&'a self, world: &'a World, origin: Origin) -> &'a Namespace {
        match origin {
            Origin::Pod(node) => &self.visitors[usize::from(node) - 1],
            Origin::Host(node) => world.lab.node(node),
            Origin::Outside(_) => self.client(world, origin),
        }
    }

    fn client<'a>(&'a self, world: &'a World, origin: Origin) -> &'a Client {
        if origin == Origin::Outside(1) {
            world.lab.client()
        } else {
            &self.other_client
        }
    }

    fn source(&self, world: &World, cell: Cell) -> IpAddr {
        let addresses = match cell.origin {
            Origin::Pod(node) => self.visitors[usize::from(node) - 1].addresses(),
            Origin::Host(node) => world.lab.node(node).addresses(),
            Origin::Outside(_) => self.client(world, cell.origin).addresses(),
        };
        addresses.of(cell.family)
    }

    /// The address of the endpoint on a node.
    fn address(&self, world: &World, node: u8, family: Family) -> IpAddr {
        match node {
            3 => world.lab.node(3).addresses().of(family),
            _ => self.web[usize::from(node) - 1].addresses().of(family),
        }
    }
}

/// What the table says: the nodes whose endpoints are chosen from, and whether the source is replaced.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Sent { nodes: Vec<u8>, is_masqueraded: bool },
    Dropped,
    Refused,
}

fn expected(cell: Cell, placement: Placement) -> Expected {
    let all = match placement {
        Placement::Everywhere => vec![1, 2, 3],
        Placement::Elsewhere => vec![2],
        Placement::Nowhere => return Expected::Refused,
    };
    let local: Vec<u8> = all.iter().copied().filter(|node| *node == cell.decider()).collect();
    let (nodes, is_masqueraded) = match (cell.frontend, cell.class()) {
        (Frontend::ClusterIp, class) => (
            if cell.internal == Policy::Local { local } else { all },
            class != Class::LocalPod,
        ),
        (_, _) if cell.external == Policy::Cluster => (all, true),
        (_, Class::LocalPod) => (all, false),
        (_, Class::Host) => (all, true),
        (_, Class::Outside) => (local, false),
    };
    if nodes.is_empty() {
        Expected::Dropped
    } else {
        Expected::Sent { nodes, is_masqueraded }
    }
}

/// What clients see, when the table says so.
fn verdict(world: &World, cast: &Cast, cell: Cell, expected: &Expected) -> Verdict {
    let (nodes, is_masqueraded) = match expected {
        Expected::Dropped => return Verdict::Dropped,
        Expected::Refused => return Verdict::Refused,
        Expected::Sent { nodes, is_masqueraded } => (nodes, *is_masqueraded),
    };
    let own = cast.source(world, cell);
    let reply = |node: u8| {
        let endpoint = cast.address(world, node, cell.family);
        let seen = if is_masqueraded && !is_delivered_here(cell, node) {
            masqueraded(world.lab.node(cell.decider()), cell.family, endpoint)
        } else {
            own
        };
        (format!("web-{node}"), seen)
    };
    // The packet of a pod that asked another node keeps its source. The answer goes straight to that pod, not through the
    // node that was asked and could set the answer's source right. kube-proxy is the same.
    let is_bypassed = |node: u8| cell.origin == Origin::Pod(2) && cell.decider() == 1 && !is_masqueraded && node != 1;
    let replies: BTreeSet<_> = nodes
        .iter()
        .filter(|&&node| !is_bypassed(node))
        .map(|&node| reply(node))
        .collect();
    match (nodes.iter().any(|&node| is_bypassed(node)), replies.is_empty()) {
        (true, true) => Verdict::Dropped,
        (true, false) => Verdict::SometimesAnswers(replies),
        (false, _) => Verdict::Answers(replies),
    }
}

/// Whether the endpoint is the deciding node itself and the packet comes from elsewhere: it is delivered without passing
/// postrouting, where sources are replaced. The answer comes past here anyway.
fn is_delivered_here(cell: Cell, node: u8) -> bool {
    node == 3 && cell.decider() == 3 && cell.class() != Class::Host
}

/// What the evaluator should say.
fn outcome(
    world: &World,
    cast: &Cast,
    cell: Cell,
    expected: &Expected,
) -> Result<BTreeSet<(SocketAddr, bool)>, &'static str> {
    match expected {
        Expected::Dropped => Err("drop"),
        Expected::Refused => Err("reject"),
        Expected::Sent { nodes, is_masqueraded } => Ok(nodes
            .iter()
            .map(|&node| {
                let address = SocketAddr::new(cast.address(world, node, cell.family), TARGET_PORT);
                (address, *is_masqueraded && !is_delivered_here(cell, node))
            })
            .collect()),
    }
}

fn plain(outcome: Outcome) -> Result<BTreeSet<(SocketAddr, bool)>, &'static str> {
    match outcome {
        Outcome::Untouched => Err("none"),
        Outcome::Dropped => Err("drop"),
        Outcome::Rejected => Err("reject"),
        Outcome::Sent(endpoints) => Ok(endpoints
            .iter()
            .map(|endpoint| (endpoint.address, endpoint.is_masqueraded))
            .collect()),
    }
}

/// Endpoints and masquerading as `fairlead trace` tells them: the source is replaced only if it is for every endpoint.
type Told = (BTreeSet<SocketAddr>, bool);

fn told(answer: &Value) -> Result<Told, &str> {
    match answer["verdict"].as_str().unwrap() {
        "endpoints" => {
            let endpoints = answer["endpoints"].as_array().unwrap().iter();
            let endpoints = endpoints.map(|endpoint| endpoint.as_str().unwrap().parse().unwrap());
            Ok((endpoints.collect(), answer["masquerade"].as_bool().unwrap()))
        }
        verdict => Err(verdict),
    }
}

fn to_be_told(wanted: Result<BTreeSet<(SocketAddr, bool)>, &str>) -> Result<Told, &str> {
    wanted.map(|endpoints| {
        let is_masqueraded = endpoints.iter().all(|(_, is_masqueraded)| *is_masqueraded);
        (
            endpoints.into_iter().map(|(address, _)| address).collect(),
            is_masqueraded,
        )
    })
}

/// Applies the placement, and compares the table with the packets and with the evaluator.
fn check_table(world: &mut World, placement: Placement) {
    let cast = Cast::new(world);
    let ports = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)]
        .map(|(name, protocol)| (name, protocol, TARGET_PORT));
    let endpoints = cast.endpoints(world, placement);
    let mut objects = services();
    for (internal, external) in POLICIES {
        objects.extend(slices(
            &format!("service-{}", number(internal, external)),
            &ports,
            &endpoints,
        ));
    }
    world.apply(objects);

    let world = &*world;
    let tables = [1, 2, 3].map(|node| world.table(node).unwrap());
    check_all(&cells(), |&cell| {
        let expected = expected(cell, placement);
        let target = cell.target(world);
        if cell.protocol.is_supported() {
            let verdict = verdict(world, &cast, cell, &expected);
            let from = cast.origin(world, cell.origin);
            check(from, probe(cell.protocol, target.ip(), target.port()), &verdict)
                .map_err(|seen| format!("{cell}: expected {verdict:?}, seen: {seen}"))?;
        }
        let question = Question {
            from: cast.source(world, cell),
            to: target,
            protocol: cell.protocol,
            interface: interface(cell),
        };
        let decider = cell.decider();
        let evaluated = plain(world.evaluate(decider, &tables[usize::from(decider) - 1], &question));
        let wanted = outcome(world, &cast, cell, &expected);
        if evaluated != wanted {
            return Err(format!(
                "{cell}: the evaluator should say {wanted:?} and says {evaluated:?}"
            ));
        }
        if cell.protocol == Protocol::Tcp && cell.internal == cell.external {
            // The evaluator is right about the rest by then; this is about the command around it.
            let answer = world.trace(decider, question.from, target, cell.protocol);
            let wanted = to_be_told(wanted);
            if told(&answer) != wanted {
                return Err(format!(
                    "{cell}: `fairlead trace` should say {wanted:?} and says {answer}"
                ));
            }
        }
        Ok(())
    });
}

/// The interface that the connection arrives at, at the node that decides.
fn interface(cell: Cell) -> Option<String> {
    match cell.origin {
        Origin::Host(_) => None,
        Origin::Pod(node) if node == cell.decider() => Some("cni0".to_owned()),
        Origin::Pod(_) | Origin::Outside(_) => Some("eth0".to_owned()),
    }
}

#[test]
fn with_endpoints_on_every_node() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        check_table(world, Placement::Everywhere);
    });
}

#[test]
fn with_endpoints_on_another_node_only() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        check_table(world, Placement::Elsewhere);
    });
}

#[test]
fn without_ready_endpoints() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        check_table(world, Placement::Nowhere);
    });
}
