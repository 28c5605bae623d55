//! How connections are masqueraded, by where they went originally.

use std::collections::HashMap;
use std::net::IpAddr;

use fairlead_model::{Family, Protocol};

use super::Compiler;
use super::claim::{Frontend, Masquerade};
use crate::program::{
    MASQUERADE_ALWAYS, MASQUERADE_CLUSTER_IP, MASQUERADE_HOST, MASQUERADE_NODEPORTS, masquerade_nodeports, suffixed,
};
use crate::table::{Chain, Datum, Field, Name, Rule, Statement, Value, Verdict};

impl Masquerade {
    fn verdict(self, family: Family) -> Verdict {
        Verdict::Goto(match self {
            Self::ClusterIp => suffixed(MASQUERADE_CLUSTER_IP, family),
            Self::Always => MASQUERADE_ALWAYS.into(),
            Self::Host => MASQUERADE_HOST.into(),
        })
    }
}

impl Compiler {
    /// Sets how connections to a frontend are masqueraded, or that no Service has it.
    pub(super) fn masquerade_frontend(&mut self, frontend: Frontend, masquerade: Option<Masquerade>) {
        match frontend {
            Frontend::Address(address, protocol, port) => {
                let ports = self.masquerade.entry(address).or_default();
                let old = match masquerade {
                    Some(masquerade) => ports.insert((protocol, port), masquerade),
                    None => ports.remove(&(protocol, port)),
                };
                if old != masquerade {
                    self.masquerade_address(address);
                }
            }
            Frontend::NodePort(family, protocol, port) => {
                let value = masquerade.map(|masquerade| Value::Verdict(masquerade.verdict(family)));
                self.draft
                    .put(&masquerade_nodeports(protocol, family), Datum::port(port), value);
            }
        }
    }

    /// Writes how connections to an address are masqueraded: by the address alone where that decides it, else by a chain of
    /// its own with one map per protocol. An address of the node needs that too, since it has node ports beside.
    pub(super) fn masquerade_address(&mut self, address: IpAddr) {
        let family = Family::of(address);
        if self
            .masquerade
            .get(&address)
            .is_some_and(std::collections::BTreeMap::is_empty)
        {
            self.masquerade.remove(&address);
        }
        let is_node_ip = self.node_ips.contains(&address);
        let ports = self.masquerade.get(&address).cloned().unwrap_or_default();
        let mut kinds = ports.values().copied();
        let first = kinds.next();
        let uniform = first.filter(|first| !is_node_ip && kinds.all(|kind| kind == *first));
        let needs_chain = first.is_some() && uniform.is_none();

        let chain_name = vip_chain(address);
        let mut rules = Vec::new();
        for protocol in Protocol::ALL {
            let map = vip_map(address, protocol);
            let wanted: HashMap<Datum, Value> = ports
                .iter()
                .filter(|((p, _), _)| needs_chain && *p == protocol)
                .map(|((_, port), kind)| (Datum::port(*port), Value::Verdict(kind.verdict(family))))
                .collect();
            self.draft.put_set(&map, !wanted.is_empty());
            if wanted.is_empty() {
                continue;
            }
            let loaded: Vec<Datum> = self.draft.table().sets[&map].elements.keys().copied().collect();
            for key in loaded.into_iter().filter(|key| !wanted.contains_key(key)) {
                self.draft.put(&map, key, None);
            }
            for (key, value) in wanted {
                self.draft.put(&map, key, Some(value));
            }
            let lookup = Statement::VerdictMap {
                key: vec![Field::OriginalDport],
                map,
            };
            rules.push(Rule(vec![Statement::L4Proto(protocol), lookup]));
        }
        if is_node_ip {
            let node_ports = suffixed(MASQUERADE_NODEPORTS, family);
            rules.push(Rule(vec![Statement::Verdict(Verdict::Goto(node_ports))]));
        }
        self.draft
            .put_chain(&chain_name, needs_chain.then_some(Chain { hook: None, rules }));
        let verdict = match uniform {
            // The program knows cluster IPs. A verdict for each would make every later one dearer: the kernel walks them all
            // when one is added.
            Some(Masquerade::ClusterIp) => None,
            Some(kind) => Some(kind.verdict(family)),
            None => needs_chain.then_some(Verdict::Goto(chain_name)),
        };
        self.draft.put(
            &suffixed("masquerade", family),
            Datum::address(address),
            verdict.map(Value::Verdict),
        );
    }
}

/// Name of the chain of one address.
fn vip_chain(address: IpAddr) -> Name {
    format!(
        "{}/{}",
        suffixed("vip", Family::of(address)),
        address.to_string().replace(':', "-")
    )
    .into()
}

fn vip_map(address: IpAddr, protocol: Protocol) -> Name {
    format!("{}/{protocol}", vip_chain(address)).into()
}
