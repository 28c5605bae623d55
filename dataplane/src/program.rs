//! The part of the rule set that does not depend on Services: base chains, the order of look-ups, and the form of every map.
//!
//! ```text
//! prerouting -110, output -110   source_ranges     drop what a guarded frontend does not allow
//! prerouting -110                announced         drop pings and neighbour solicitations that were answered before the kernel
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

mod chains;
mod dispatch;
mod sets;

use ipnet::IpNet;

use fairlead_model::{Family, Protocol};

pub use dispatch::Dispatch;
pub use sets::set_spec;

use crate::ranges;
use crate::table::{Chain, InterfacePattern, Name, Table};

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

/// The table without any Service.
pub fn program(options: &Options) -> Table {
    let mut table = Table::default();
    sets::add_all(&mut table);
    if let LocalPods::Cidrs(cidrs) = &options.local_pods {
        for family in Family::ALL {
            let pods = table
                .sets
                .get_mut(&suffixed("pods", family))
                .expect("the set was added above");
            pods.ranges = ranges::merge(cidrs.iter().filter(|net| Family::of_net(net) == family));
        }
    }
    for (name, chain) in chains::base_chains() {
        table.chains.insert(name.into(), chain);
    }
    for (name, rules) in chains::regular_chains(options) {
        table.chains.insert(name, Chain { hook: None, rules });
    }
    table
}

#[cfg(test)]
mod tests;
