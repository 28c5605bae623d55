//! `ClientIP` affinity: the only chains that grow with the Services, and only with those that ask for it.
//!
//! ```text
//! affine4/ns/name/port/tcp               a client seen before goes where it went; others are spread at random
//! endpoint4/ns/name/port/tcp/ADDR/PORT   remembers the client, then DNAT
//! affinity4/ns/name/port/tcp/ADDR/PORT   the clients of that endpoint: the kernel's own memory, which a restart keeps
//! ```
//!
//! The key is client and Service *port*: whichever address of the Service a client uses, it reaches the same endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::{Family, Protocol};

use super::Compiler;
use super::claim::Target;
use crate::program::suffixed;
use crate::table::{Chain, Field, Name, Rule, Statement, Verdict};

/// One of the two sets of endpoints of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The set of policy Cluster.
    Cluster,
    /// The set of policy Local.
    Local,
}

impl Choice {
    pub(super) fn endpoints(self, target: &Target) -> &[SocketAddr] {
        match self {
            Self::Cluster => &target.cluster,
            Self::Local => &target.local,
        }
    }
}

/// Name of the chain that keeps clients at their endpoint.
pub(super) fn affine_chain(target: &Target, choice: Choice) -> Name {
    let stem = match choice {
        Choice::Cluster => "affine",
        Choice::Local => "affine_local",
    };
    format!("{}/{}", suffixed(stem, target.family), port_path(target)).into()
}

/// A Service port within a name: `ns/name/port/tcp`. The parts are DNS labels, so that no two ports share a path.
fn port_path(target: &Target) -> String {
    let owner = &target.owner;
    format!(
        "{}/{}/{}/{}",
        owner.service.namespace, owner.service.name, owner.port, owner.protocol
    )
}

/// A set's or chain's name for one endpoint of a target. nft's names have no colon.
fn endpoint_name(stem: &str, target: &Target, endpoint: SocketAddr) -> Name {
    let address = endpoint.ip().to_string().replace(':', "-");
    format!(
        "{}/{}/{address}/{}",
        suffixed(stem, target.family),
        port_path(target),
        endpoint.port()
    )
    .into()
}

/// The chains and sets of a target.
#[derive(Debug, Default)]
struct Parts {
    chains: BTreeMap<Name, Chain>,
    sets: BTreeSet<Name>,
}

fn parts(target: &Target) -> Parts {
    let mut parts = Parts::default();
    let Some(timeout) = target.affinity else { return parts };
    let choices = [
        (Choice::Cluster, target.uses_cluster_set),
        (Choice::Local, target.uses_local_set),
    ];
    for (choice, _) in choices.into_iter().filter(|(_, is_used)| *is_used) {
        let endpoints: BTreeSet<SocketAddr> = choice.endpoints(target).iter().copied().collect();
        if endpoints.is_empty() {
            continue;
        }
        for endpoint in &endpoints {
            let affinity = endpoint_name("affinity", target, *endpoint);
            let rules = endpoint_rules(target.family, target.owner.protocol, *endpoint, &affinity, timeout);
            parts.chains.insert(
                endpoint_name("endpoint", target, *endpoint),
                Chain { hook: None, rules },
            );
            parts.sets.insert(affinity);
        }
        let chain = Chain {
            hook: None,
            rules: affine_rules(target, &endpoints),
        };
        parts.chains.insert(affine_chain(target, choice), chain);
    }
    parts
}

fn affine_rules(target: &Target, endpoints: &BTreeSet<SocketAddr>) -> Vec<Rule> {
    let goto = |endpoint| Statement::Verdict(Verdict::Goto(endpoint_name("endpoint", target, endpoint)));
    let remembered = endpoints.iter().map(|endpoint| {
        let set = endpoint_name("affinity", target, *endpoint);
        let lookup = Statement::Lookup {
            key: vec![Field::Saddr(target.family)],
            set,
            is_negated: false,
        };
        Rule(vec![lookup, goto(*endpoint)])
    });
    // Of n endpoints the first gets one connection in n, the second one in n-1 of the rest, and so on.
    let left = (1..=u32::try_from(endpoints.len()).expect("a Service has fewer than 2^32 endpoints")).rev();
    let spread = endpoints.iter().zip(left).map(|(endpoint, left)| match left {
        1 => Rule(vec![goto(*endpoint)]),
        left => Rule(vec![Statement::OneIn(left), goto(*endpoint)]),
    });
    remembered.chain(spread).collect()
}

fn endpoint_rules(
    family: Family,
    protocol: Protocol,
    endpoint: SocketAddr,
    affinity: &Name,
    timeout: Duration,
) -> Vec<Rule> {
    // Two rules: if the set is full the client is not remembered, but still served.
    let update = Statement::Update {
        key: Field::Saddr(family),
        set: Name::clone(affinity),
        timeout,
    };
    vec![
        Rule(vec![update]),
        Rule(vec![Statement::L4Proto(protocol), Statement::Dnat(endpoint)]),
    ]
}

impl Compiler {
    /// Replaces the chains and sets of one Service's targets.
    pub(super) fn replace_affinity(&mut self, old: &[Arc<Target>], new: &[Arc<Target>]) {
        if old.iter().chain(new).all(|target| target.affinity.is_none()) {
            return;
        }
        let all = |targets: &[Arc<Target>]| {
            targets
                .iter()
                .map(|target| parts(target))
                .fold(Parts::default(), |mut all, parts| {
                    all.chains.extend(parts.chains);
                    all.sets.extend(parts.sets);
                    all
                })
        };
        let (old, new) = (all(old), all(new));
        for name in old.chains.keys().filter(|name| !new.chains.contains_key(*name)) {
            self.draft.put_chain(name, None);
        }
        for name in old.sets.difference(&new.sets) {
            self.draft.put_set(name, false);
        }
        for name in &new.sets {
            self.draft.put_set(name, true);
        }
        for (name, chain) in new.chains {
            self.draft.put_chain(&name, Some(chain));
        }
    }
}
