use fairlead_local::announcement::{Mac, Scope};
use fairlead_local::ownership::{Eligibility, Mode};
use fairlead_local::speaker::Post;

use super::*;

const VIP: &str = "172.30.0.200";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, name: &str, prefixes: &[&str], routers: &[&str]) -> announcement::Link {
    announcement::Link {
        index,
        name: name.to_owned(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        flags: 0x1_0003,
        is_port: false,
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        carrier_changes: 1,
        lower: None,
        routers: routers.iter().map(|router| address(router)).collect(),
    }
}

fn eth0() -> announcement::Link {
    link(
        2,
        "eth0",
        &["172.30.0.11/24", "fd00:172:30::11/64"],
        &["172.30.0.1", "fe80::1"],
    )
}

struct Case {
    plan: Plan,
    links: Vec<announcement::Link>,
    heard: BTreeSet<NodeId>,
    of_services: BTreeMap<ServiceName, BTreeSet<IpAddr>>,
    ports: BTreeMap<ServiceName, Vec<LocalPort>>,
}

fn name(service: &str) -> ServiceName {
    ServiceName::new("shop", service)
}

impl Case {
    /// Nodes a, b and c on one link, and an address.
    fn new() -> Self {
        let post = Post {
            scope: Scope::default(),
            answers_echo: false,
            is_probed: true,
            is_contested: false,
            mode: Mode::Sticky,
            eligibility: Eligibility::Eligible { weight: 0 },
        };
        let members = [("a", 11), ("b", 12), ("c", 13)].map(|(node, last)| {
            let addresses = vec![
                address(&format!("172.30.0.{last}")),
                address(&format!("fd00:172:30::{last}")),
            ];
            (node.to_owned(), addresses)
        });
        Self {
            plan: Plan {
                members: members.into(),
                posts: [(address(VIP), post)].into(),
                ..Plan::default()
            },
            links: vec![eth0()],
            heard: ["b", "c"].map(NodeId::of).into(),
            of_services: BTreeMap::new(),
            ports: BTreeMap::new(),
        }
    }

    /// A Service with the address, one TCP port, and endpoints on nodes.
    fn with(mut self, service: &str, number: u16, nodes: &[(&str, u32)]) -> Self {
        self.of_services.entry(name(service)).or_default().insert(address(VIP));
        self.ports.entry(name(service)).or_default().push(LocalPort {
            family: Family::V4,
            protocol: Protocol::Tcp,
            number,
            is_by_client: false,
            nodes: nodes.iter().map(|(node, weight)| (Arc::from(*node), *weight)).collect(),
        });
        self
    }

    /// The table of node a, which answers for the address.
    fn table(&self) -> LinkTable {
        let around = Around {
            node: "a",
            plan: &self.plan,
            links: &self.links,
            heard: &self.heard,
            of_services: &self.of_services,
        };
        link_table(around, &[address(VIP)].into(), |service| self.ports[service].clone())
    }

    /// How many buckets of a port go to which node; those that stay are missing.
    fn shares(&self, number: u16) -> BTreeMap<String, usize> {
        let port = Port {
            address: address(VIP),
            protocol: Protocol::Tcp,
            number,
        };
        let mut shares = BTreeMap::new();
        for node in self
            .table()
            .steered
            .get(&port)
            .into_iter()
            .flat_map(|steering| steering.buckets.values())
        {
            *shares.entry(node.to_string()).or_default() += 1;
        }
        shares
    }
}

#[test]
fn a_service_that_has_its_address_alone_is_served_where_the_address_is() {
    let alone = |nodes| Case::new().with("web", 80, nodes).shares(80);
    assert!(alone(&[("a", 1), ("b", 1)]).is_empty());
    // The last endpoint here is gone, and the address is still here.
    assert_eq!(alone(&[("b", 1)]), [("172.30.0.12".to_owned(), 256)].into());
    assert!(alone(&[]).is_empty());
}

#[test]
fn ports_of_a_shared_address_go_where_their_endpoints_are() {
    let case = Case::new().with("web", 80, &[("a", 1)]).with("mail", 25, &[("c", 2)]);
    assert!(case.shares(80).is_empty(), "they are here");
    assert_eq!(case.shares(25), [("172.30.0.13".to_owned(), 256)].into());
}

#[test]
fn nodes_have_shares_in_proportion_to_their_endpoints() {
    let case = Case::new()
        .with("web", 80, &[("a", 2), ("b", 1), ("c", 1)])
        .with("mail", 25, &[]);
    let shares = case.shares(80);
    assert!(
        shares.len() == 2 && shares.values().all(|share| (40..90).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn only_the_buckets_of_a_node_that_goes_move() {
    let buckets = |nodes| {
        let table = Case::new().with("web", 80, nodes).with("mail", 25, &[]).table();
        table.steered.into_values().next().unwrap().buckets
    };
    let (before, after) = (buckets(&[("a", 1), ("b", 1), ("c", 1)]), buckets(&[("a", 1), ("b", 1)]));
    let c = address("172.30.0.13");
    for bucket in (0..BUCKETS).filter(|bucket| before.get(bucket) != Some(&c)) {
        assert_eq!(before.get(&bucket), after.get(&bucket));
    }
}

#[test]
fn a_node_that_is_silent_or_out_of_reach_gets_nothing() {
    let mut case = Case::new().with("web", 80, &[("b", 1), ("c", 1)]);
    case.heard = [NodeId::of("b")].into();
    assert_eq!(case.shares(80), [("172.30.0.12".to_owned(), 256)].into());
    case.plan.members.insert("b".to_owned(), vec![address("198.51.100.12")]);
    assert!(case.shares(80).is_empty());
}

#[test]
fn an_address_of_the_second_link_is_answered_there() {
    let mut case = Case::new();
    case.links
        .push(link(3, "eth1", &["198.51.100.11/24"], &["198.51.100.1"]));
    assert!(case.table().is_empty() || !case.table().to_string().contains("leave_2"));
    let post = case.plan.posts[&address(VIP)].clone();
    case.plan.posts.insert(address("198.51.100.200"), post);
    let text = case.table().to_string();
    assert!(
        text.contains("ip saddr @of4_3 fwd ip to 198.51.100.1 device \"eth1\""),
        "{text}"
    );
    assert!(text.contains("elements = { 198.51.100.200 }"), "{text}");
    // What leaves by a VLAN leaves by its link as well: there it would go round for ever.
    case.links[1].lower = Some(2);
    assert!(!case.table().to_string().contains("chain leave_2"));
}

#[test]
fn an_address_that_two_links_reach_is_left_to_the_routes() {
    let mut case = Case::new();
    case.links.push(link(3, "eth1", &["172.30.0.111/24"], &["172.30.0.1"]));
    assert!(case.table().is_empty());
}
