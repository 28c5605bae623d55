//! The chains that do not depend on Services.

use fairlead_model::{Family, Protocol};

use super::dispatch::{frontend, node_port};
use super::{
    LocalPods, MASQUERADE_ALWAYS, MASQUERADE_CLUSTER_IP, MASQUERADE_HOST, MASQUERADE_NODEPORTS, Options, REFUSE,
    masquerade_nodeports, suffixed,
};
use crate::table::{Chain, ChainKind, Field, Hook, HookPoint, Name, Rule, Statement, Verdict};

/// Before DNAT, where the address is still the one that the client asked for.
const BEFORE_DNAT: i32 = -110;
const DNAT: i32 = -100;
const FILTER: i32 = 0;
const SNAT: i32 = 100;

pub(super) fn base_chains() -> [(&'static str, Chain); 8] {
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
            base(
                Filter,
                Prerouting,
                BEFORE_DNAT,
                [
                    vec![for_new("source_ranges")],
                    Family::ALL.map(not_for_the_kernel).into(),
                ]
                .concat(),
            ),
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

/// No interface has an announced address, so the kernel would forward questions about it, although its owner has answered.
fn not_for_the_kernel(family: Family) -> Rule {
    Rule(vec![
        Statement::Icmp(family),
        is_in(vec![Field::Daddr(family), Field::IcmpKind], "announced", family),
        Statement::Verdict(Verdict::Drop),
    ])
}

pub(super) fn regular_chains(options: &Options) -> Vec<(Name, Vec<Rule>)> {
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
    let mut rules = vec![vmap_rule(node_port(), "nodeports", family)];
    for origin in shortcut_origins(options, family) {
        rules.push(Rule(vec![origin, vmap(node_port(), "nodeport_shortcuts", family)]));
    }
    rules.push(vmap_rule(node_port(), "local_nodeports", family));
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
        vmap(node_port(), "no_endpoint_nodeports", family),
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
