//! The maps that lead from a frontend to its endpoints.

use fairlead_model::Family;

use super::suffixed;
use crate::table::{Chain, Field, Name, Rule, Statement};

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
            node_port()
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

/// `ip daddr . meta l4proto . th dport`
pub(super) fn frontend(family: Family) -> Vec<Field> {
    vec![Field::Daddr(family), Field::L4Proto, Field::Dport]
}

/// `meta l4proto . th dport`
pub(super) fn node_port() -> Vec<Field> {
    vec![Field::L4Proto, Field::Dport]
}
