//! The part of the rule set that does not depend on Services: base chains, the order of look-ups, and the form of every map.
//!
//! ```text
//! prerouting -110, output -110   source_ranges     drop what a guarded frontend does not allow
//! prerouting -100, output -100   services          choose an endpoint, DNAT          (nat: first packet only)
//! input 0, forward 0, output 0   no_endpoints      drop or reject what was not sent anywhere
//! postrouting 100                masquerading      SNAT what needs it                (nat: first packet only)
//! ```
//!
//! Dispatch, for each family, first hit wins:
//!
//! | map | key | for |
//! |---|---|---|
//! | `services4` | `daddr . proto . dport` | cluster IPs, and external addresses with policy Cluster |
//! | `shortcuts4` | the same | external addresses with policy Local, asked by local pods and by the host: every endpoint |
//! | `local_services4` | the same | external addresses with policy Local, asked by all others: local endpoints |
//! | `nodeports4`, `nodeport_shortcuts4`, `local_nodeports4` | `proto . dport` | the same three for the node's own addresses |
//!
//! Their verdict is `goto pick4_N`, where N is the number of endpoints: that chain's one rule looks the endpoint up in
//! `endpoints4` under a random slot below N. So the chains do not grow with the Services, only with the number of distinct
//! endpoint counts; the exception is `ClientIP` affinity, which has chains of its own ([`crate::compile`]).
//!
//! No packet marks: whether to masquerade follows in postrouting from where the connection went originally, which conntrack
//! knows.

use ipnet::IpNet;

use fairlead_model::{Family, Protocol};

use crate::ranges;
use crate::table::{
    Chain, ChainKind, Field, FieldType, Holds, Hook, HookPoint, InterfacePattern, Name, Rule, Set, SetData, SetSpec,
    Statement, Table, Verdict,
};

/// What the node's configuration changes about the program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// How a connection from a pod of this node is recognised.
    pub local_pods: LocalPods,
    /// Masquerade every connection to a cluster IP (`--masquerade-all`).
    pub masquerade_all: bool,
}

/// How a connection from a pod of this node is recognised (`--detect-local-mode`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LocalPods {
    /// Not at all.
    #[default]
    Unknown,
    /// By its source address. A family without a range is not recognised.
    Cidrs(Vec<IpNet>),
    /// By the interface that it arrives at.
    Interface(InterfacePattern),
}

/// The maps of one way to look a frontend up, and the chains that they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dispatch {
    /// `services4`: cluster IPs, and external addresses with policy Cluster.
    Services,
    /// `shortcuts4`: external addresses with policy Local, for local pods and the host.
    Shortcuts,
    /// `local_services4`: external addresses with policy Local, for all others.
    LocalServices,
    /// `nodeports4`: node ports with policy Cluster.
    NodePorts,
    /// `nodeport_shortcuts4`: node ports with policy Local, for local pods and the host.
    NodePortShortcuts,
    /// `local_nodeports4`: node ports with policy Local, for all others.
    LocalNodePorts,
}

impl Dispatch {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Services,
        Self::Shortcuts,
        Self::LocalServices,
        Self::NodePorts,
        Self::NodePortShortcuts,
        Self::LocalNodePorts,
    ];

    const fn is_node_port(self) -> bool {
        matches!(self, Self::NodePorts | Self::NodePortShortcuts | Self::LocalNodePorts)
    }

    /// The verdict map.
    pub fn map(self, family: Family) -> Name {
        let name = match self {
            Self::Services => "services",
            Self::Shortcuts => "shortcuts",
            Self::LocalServices => "local_services",
            Self::NodePorts => "nodeports",
            Self::NodePortShortcuts => "nodeport_shortcuts",
            Self::LocalNodePorts => "local_nodeports",
        };
        suffixed(name, family)
    }

    /// The map from slot and frontend to endpoint. A frontend is in only one of the two dispatch maps that share it.
    pub fn endpoints(self, family: Family) -> Name {
        let name = match self {
            Self::Services | Self::LocalServices => "endpoints",
            Self::Shortcuts => "shortcut_endpoints",
            Self::NodePorts | Self::LocalNodePorts => "nodeport_endpoints",
            Self::NodePortShortcuts => "nodeport_shortcut_endpoints",
        };
        suffixed(name, family)
    }

    /// The dispatch whose pick chains this one leads to: two that share a map of endpoints share these too.
    #[must_use]
    pub const fn picks_as(self) -> Self {
        match self {
            Self::LocalServices => Self::Services,
            Self::LocalNodePorts => Self::NodePorts,
            Self::Services | Self::Shortcuts | Self::NodePorts | Self::NodePortShortcuts => self,
        }
    }

    /// The chain that picks one of `count` endpoints.
    pub fn pick(self, family: Family, count: u32) -> Name {
        let name = match self {
            Self::Services | Self::LocalServices => "pick",
            Self::Shortcuts => "shortcut_pick",
            Self::NodePorts | Self::LocalNodePorts => "nodeport_pick",
            Self::NodePortShortcuts => "nodeport_shortcut_pick",
        };
        format!("{}_{count}", suffixed(name, family)).into()
    }

    /// That chain's content.
    pub fn pick_chain(self, family: Family, count: u32) -> Chain {
        let frontend = if self.is_node_port() {
            node_port(family)
        } else {
            frontend(family)
        };
        // A node port's key has no address: `dnat ip` alone says the family.
        let key = [&[Field::RandomSlot(count)], &frontend[..]].concat();
        let rule = Rule(vec![Statement::DnatMap {
            family,
            key,
            map: self.endpoints(family),
        }]);
        Chain {
            hook: None,
            rules: vec![rule],
        }
    }
}

/// Name of a set or chain that exists for each family.
pub fn suffixed(name: &str, family: Family) -> Name {
    match family {
        Family::V4 => format!("{name}4").into(),
        Family::V6 => format!("{name}6").into(),
    }
}

/// The verdict map from a node port to how its connections are masqueraded.
pub fn masquerade_nodeports(protocol: Protocol, family: Family) -> Name {
    suffixed(&format!("{MASQUERADE_NODEPORTS}_{protocol}"), family)
}

/// The chain that rejects.
pub const REFUSE: &str = "refuse";
/// The chain that masquerades.
pub const MASQUERADE_ALWAYS: &str = "masquerade_always";
/// The chain that masquerades what this host began and no local pod: policy Local.
pub const MASQUERADE_HOST: &str = "masquerade_host";
/// The chain (per family) that masquerades what no local pod began: cluster IPs.
pub const MASQUERADE_CLUSTER_IP: &str = "masquerade_cluster_ip";
/// The chain (per family) that looks up how a node port is masqueraded.
pub const MASQUERADE_NODEPORTS: &str = "masquerade_nodeports";

/// `ip daddr . meta l4proto . th dport`
fn frontend(family: Family) -> Vec<Field> {
    vec![Field::Daddr(family), Field::L4Proto, Field::Dport]
}

/// `meta l4proto . th dport`
fn node_port(_family: Family) -> Vec<Field> {
    vec![Field::L4Proto, Field::Dport]
}

macro_rules! fields {
    ($family:expr, $($field:tt),+) => {
        match $family {
            Family::V4 => &[$(fields!(@v4 $field)),+],
            Family::V6 => &[$(fields!(@v6 $field)),+],
        }
    };
    (@v4 address) => { FieldType::Ipv4Addr };
    (@v6 address) => { FieldType::Ipv6Addr };
    (@$family:ident $field:ident) => { FieldType::$field };
}

/// The form of the set or map with this name; `None` if the program has none of that name.
pub fn set_spec(name: &str) -> Option<SetSpec> {
    use SetData::{Fields, Nothing, Verdict};
    let port: &'static [FieldType] = &[FieldType::InetService];
    if ["masquerade_nodeports_", "vip4/", "vip6/"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Some(SetSpec {
            key: port,
            data: Verdict,
            holds: Holds::Keys,
        });
    }
    // Sets that belong to one Service have its name behind a slash.
    let (stem, is_of_service) = match name.split_once('/') {
        Some((stem, _)) => (stem, true),
        None => (name, false),
    };
    let (stem, family) = match (stem.strip_suffix('4'), stem.strip_suffix('6')) {
        (Some(stem), _) => (stem, Family::V4),
        (_, Some(stem)) => (stem, Family::V6),
        _ => return None,
    };
    let endpoint = fields!(family, address, InetService);
    let (key, data, holds): (&'static [FieldType], _, _) = match stem {
        "affinity" if is_of_service => (fields!(family, address), Nothing, Holds::Learned),
        _ if is_of_service => return None,
        "services" | "shortcuts" | "local_services" | "no_endpoints" => {
            (fields!(family, address, InetProto, InetService), Verdict, Holds::Keys)
        }
        "nodeports" | "nodeport_shortcuts" | "local_nodeports" | "no_endpoint_nodeports" => {
            (&[FieldType::InetProto, FieldType::InetService], Verdict, Holds::Keys)
        }
        "endpoints" | "shortcut_endpoints" => (
            fields!(family, Slot, address, InetProto, InetService),
            Fields(endpoint),
            Holds::Keys,
        ),
        "nodeport_endpoints" | "nodeport_shortcut_endpoints" => (
            &[FieldType::Slot, FieldType::InetProto, FieldType::InetService],
            Fields(endpoint),
            Holds::Keys,
        ),
        "pods" | "service_cidrs" => (fields!(family, address), Nothing, Holds::Ranges),
        "node_ips" | "cluster_ips" => (fields!(family, address), Nothing, Holds::Keys),
        "hairpin" => (fields!(family, address, address), Nothing, Holds::Keys),
        "masquerade" => (fields!(family, address), Verdict, Holds::Keys),
        "guarded" => (fields!(family, address, InetProto, InetService), Nothing, Holds::Keys),
        "source_ranges" => (
            fields!(family, address, InetProto, InetService, address),
            Nothing,
            Holds::Ranges,
        ),
        _ => return None,
    };
    Some(SetSpec { key, data, holds })
}

/// Names of the sets and maps that always exist, without the family's digit.
const SETS: [&str; 19] = [
    "services",
    "shortcuts",
    "local_services",
    "nodeports",
    "nodeport_shortcuts",
    "local_nodeports",
    "endpoints",
    "shortcut_endpoints",
    "nodeport_endpoints",
    "nodeport_shortcut_endpoints",
    "no_endpoints",
    "no_endpoint_nodeports",
    "pods",
    "node_ips",
    "cluster_ips",
    "service_cidrs",
    "hairpin",
    "masquerade",
    "guarded",
];

/// The table without any Service.
pub fn program(options: &Options) -> Table {
    let mut table = Table::default();
    for family in Family::ALL {
        for name in SETS.into_iter().chain(["source_ranges"]) {
            add_set(&mut table, suffixed(name, family));
        }
        for protocol in Protocol::ALL {
            add_set(&mut table, masquerade_nodeports(protocol, family));
        }
    }
    if let LocalPods::Cidrs(cidrs) = &options.local_pods {
        for family in Family::ALL {
            let pods = table
                .sets
                .get_mut(&suffixed("pods", family))
                .expect("the set was added above");
            pods.ranges = ranges::merge(cidrs.iter().filter(|net| Family::of_net(net) == family));
        }
    }
    for (name, chain) in base_chains() {
        table.chains.insert(name.into(), chain);
    }
    for (name, rules) in regular_chains(options) {
        table.chains.insert(name, Chain { hook: None, rules });
    }
    table
}

fn add_set(table: &mut Table, name: Name) {
    let spec = set_spec(&name).expect("every set of the program has a form");
    table.sets.insert(name, Set::new(spec));
}

/// Before DNAT, where the address is still the one that the client asked for.
const BEFORE_DNAT: i32 = -110;
const DNAT: i32 = -100;
const FILTER: i32 = 0;
const SNAT: i32 = 100;

fn base_chains() -> [(&'static str, Chain); 8] {
    use ChainKind::{Filter, Nat};
    use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
    let base = |kind, point, priority, rules| Chain {
        hook: Some(Hook { kind, point, priority }),
        rules,
    };
    let for_new = |chain: &str| Rule(vec![Statement::CtStateNew, jump(chain)]);
    let services = || vec![Rule(vec![jump("services")])];
    [
        (
            "filter_prerouting",
            base(Filter, Prerouting, BEFORE_DNAT, vec![for_new("source_ranges")]),
        ),
        (
            "filter_output_early",
            base(Filter, Output, BEFORE_DNAT, vec![for_new("source_ranges")]),
        ),
        ("nat_prerouting", base(Nat, Prerouting, DNAT, services())),
        ("nat_output", base(Nat, Output, DNAT, services())),
        (
            "filter_input",
            base(
                Filter,
                Input,
                FILTER,
                vec![for_new("no_endpoint_nodeports"), for_new("no_endpoints")],
            ),
        ),
        (
            "filter_forward",
            base(
                Filter,
                Forward,
                FILTER,
                vec![for_new("no_endpoints"), for_new("unused_cluster_ips")],
            ),
        ),
        (
            "filter_output",
            base(
                Filter,
                Output,
                FILTER,
                vec![for_new("no_endpoints"), for_new("unused_cluster_ips")],
            ),
        ),
        (
            "nat_postrouting",
            base(
                Nat,
                Postrouting,
                SNAT,
                vec![Rule(vec![Statement::CtStatusDnat, jump("masquerading")])],
            ),
        ),
    ]
}

fn regular_chains(options: &Options) -> Vec<(Name, Vec<Rule>)> {
    let mut chains: Vec<(Name, Vec<Rule>)> = vec![
        (REFUSE.into(), refuse()),
        (MASQUERADE_ALWAYS.into(), vec![Rule(vec![Statement::Masquerade])]),
        (MASQUERADE_HOST.into(), masquerade_host(options)),
        ("services".into(), services(options)),
        ("source_ranges".into(), Family::ALL.map(source_ranges_rule).into()),
        (
            "no_endpoints".into(),
            Family::ALL
                .map(|family| vmap_rule(frontend(family), "no_endpoints", family))
                .into(),
        ),
        (
            "no_endpoint_nodeports".into(),
            Family::ALL.map(no_endpoint_nodeports_rule).into(),
        ),
        ("unused_cluster_ips".into(), unused_cluster_ips()),
        ("masquerading".into(), masquerading()),
    ];
    for family in Family::ALL {
        chains.push((suffixed("node_ports", family), node_ports(options, family)));
        let by_protocol = Protocol::ALL.map(|protocol| masquerade_nodeports_rule(protocol, family));
        chains.push((suffixed(MASQUERADE_NODEPORTS, family), by_protocol.into()));
        chains.push((
            suffixed(MASQUERADE_CLUSTER_IP, family),
            masquerade_cluster_ip(options, family),
        ));
    }
    chains
}

/// A TCP client hears of a reset at once. An ICMP error that arrives while it is still in `connect` is only noted, and the
/// client waits for its next SYN.
fn refuse() -> Vec<Rule> {
    vec![
        Rule(vec![Statement::L4Proto(Protocol::Tcp), Statement::Reset]),
        Rule(vec![Statement::Reject]),
    ]
}

fn jump(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Jump(chain.into()))
}

fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.into()))
}

fn is_in(key: Vec<Field>, set: &str, family: Family) -> Statement {
    Statement::Lookup {
        key,
        set: suffixed(set, family),
        is_negated: false,
    }
}

fn vmap(key: Vec<Field>, map: &str, family: Family) -> Statement {
    Statement::VerdictMap {
        key,
        map: suffixed(map, family),
    }
}

fn vmap_rule(key: Vec<Field>, map: &str, family: Family) -> Rule {
    Rule(vec![vmap(key, map, family)])
}

/// The match on a connection from a pod of this node; `None` where pods of this family are not recognised.
fn from_local_pod(options: &Options, family: Family) -> Option<Statement> {
    match &options.local_pods {
        LocalPods::Unknown => None,
        LocalPods::Cidrs(cidrs) => cidrs
            .iter()
            .any(|net| Family::of_net(net) == family)
            .then(|| is_in(vec![Field::Saddr(family)], "pods", family)),
        LocalPods::Interface(pattern) => Some(Statement::IifName(pattern.clone())),
    }
}

fn services(options: &Options) -> Vec<Rule> {
    let mut rules = Vec::new();
    for family in Family::ALL {
        // What most connections want comes first: it needs no look at where the connection comes from.
        rules.push(vmap_rule(frontend(family), "services", family));
        for origin in shortcut_origins(options, family) {
            rules.push(Rule(vec![origin, vmap(frontend(family), "shortcuts", family)]));
        }
        rules.push(vmap_rule(frontend(family), "local_services", family));
        let node_ports = goto(&suffixed("node_ports", family));
        rules.push(Rule(vec![
            is_in(vec![Field::Daddr(family)], "node_ips", family),
            node_ports,
        ]));
    }
    rules
}

fn node_ports(options: &Options, family: Family) -> Vec<Rule> {
    let mut rules = vec![vmap_rule(node_port(family), "nodeports", family)];
    for origin in shortcut_origins(options, family) {
        rules.push(Rule(vec![
            origin,
            vmap(node_port(family), "nodeport_shortcuts", family),
        ]));
    }
    rules.push(vmap_rule(node_port(family), "local_nodeports", family));
    rules
}

/// Whose connections to a frontend with policy Local see every endpoint: those of local pods and of the host itself.
fn shortcut_origins(options: &Options, family: Family) -> impl Iterator<Item = Statement> {
    from_local_pod(options, family)
        .into_iter()
        .chain([Statement::SaddrIsLocal])
}

fn source_ranges_rule(family: Family) -> Rule {
    let with_source = [frontend(family), vec![Field::Saddr(family)]].concat();
    Rule(vec![
        is_in(frontend(family), "guarded", family),
        Statement::Lookup {
            key: with_source,
            set: suffixed("source_ranges", family),
            is_negated: true,
        },
        Statement::Verdict(Verdict::Drop),
    ])
}

fn no_endpoint_nodeports_rule(family: Family) -> Rule {
    Rule(vec![
        is_in(vec![Field::Daddr(family)], "node_ips", family),
        vmap(node_port(family), "no_endpoint_nodeports", family),
    ])
}

/// A cluster IP that is still the destination here had no such port; one that no Service has is dropped.
fn unused_cluster_ips() -> Vec<Rule> {
    let refuse = |family| {
        Rule(vec![
            is_in(vec![Field::Daddr(family)], "cluster_ips", family),
            goto(REFUSE),
        ])
    };
    let drop = |family| {
        Rule(vec![
            is_in(vec![Field::Daddr(family)], "service_cidrs", family),
            Statement::Verdict(Verdict::Drop),
        ])
    };
    Family::ALL
        .map(refuse)
        .into_iter()
        .chain(Family::ALL.map(drop))
        .collect()
}

fn masquerading() -> Vec<Rule> {
    let original = |family| vec![Field::OriginalDaddr(family)];
    let hairpin = |family| {
        let to_itself = is_in(vec![Field::Saddr(family), Field::Daddr(family)], "hairpin", family);
        Rule(vec![to_itself, goto(MASQUERADE_ALWAYS)])
    };
    let by_address = |family| vmap_rule(original(family), "masquerade", family);
    let cluster_ip = |family| {
        Rule(vec![
            is_in(original(family), "cluster_ips", family),
            goto(&suffixed(MASQUERADE_CLUSTER_IP, family)),
        ])
    };
    let by_node_port = |family| {
        Rule(vec![
            is_in(original(family), "node_ips", family),
            jump(&suffixed(MASQUERADE_NODEPORTS, family)),
        ])
    };
    let rules = [
        Family::ALL.map(hairpin),
        Family::ALL.map(by_address),
        Family::ALL.map(cluster_ip),
        Family::ALL.map(by_node_port),
    ];
    rules.into_iter().flatten().collect()
}

fn masquerade_nodeports_rule(protocol: Protocol, family: Family) -> Rule {
    let map = masquerade_nodeports(protocol, family);
    Rule(vec![
        Statement::L4Proto(protocol),
        Statement::VerdictMap {
            key: vec![Field::OriginalDport],
            map,
        },
    ])
}

/// What a local pod began keeps its source.
fn unless_from_local_pod(options: &Options, family: Family) -> Option<Rule> {
    from_local_pod(options, family).map(|origin| Rule(vec![origin, Statement::Verdict(Verdict::Return)]))
}

fn masquerade_host(options: &Options) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Family::ALL
        .into_iter()
        .filter_map(|family| unless_from_local_pod(options, family))
        .collect();
    rules.dedup();
    rules.push(Rule(vec![Statement::SaddrIsLocal, goto(MASQUERADE_ALWAYS)]));
    rules
}

fn masquerade_cluster_ip(options: &Options, family: Family) -> Vec<Rule> {
    let masquerade = Rule(vec![goto(MASQUERADE_ALWAYS)]);
    if options.masquerade_all {
        return vec![masquerade];
    }
    // Where local pods are not recognised, nothing is known to be foreign.
    unless_from_local_pod(options, family).map_or_else(Vec::new, |rule| vec![rule, masquerade])
}

#[cfg(test)]
mod tests;
