//! Which node answers on the LAN for each address of a pool: by the client's neighbour table, and by what the agents say of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairlead_crds::LoadBalancer;
use fairlead_lab::{Error, Lab, NeighbourState, wait_for};
use fairlead_model::ServiceName;

use super::agents::Agent;
use super::control_plane::addresses_of;
use super::traffic::Interrupted;

/// How long it may take until somebody answers: agents that start wait for each other.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Nobody listens there: whoever sends to it wants to know where the address is, and no more.
const DISCARD: u16 = 9;
const INTERFACE: &str = "eth0";

/// An address that the agents announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// The Service that has it.
    pub(super) service: ServiceName,
    /// The pool that it is of.
    pub(super) pool: Option<String>,
    /// The address.
    pub(super) address: IpAddr,
    /// Who answers for it; nobody, after a while.
    pub(super) owner: Option<Owner>,
}

/// Who answers for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The number of the node.
    pub(super) node: u8,
    /// Where the client's packets go to.
    pub(super) mac: [u8; 6],
    /// What the node's agent says; nothing if it does not know.
    pub(super) word: Option<Word>,
}

/// Why a node answers for an address, in its agent's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// How often the address has changed hands.
    pub(super) epoch: u64,
    /// Why, as in the status of a `LoadBalancer`.
    pub(super) reason: String,
    /// For how long the node before had been silent.
    pub(super) silence: Option<Duration>,
}

impl Word {
    /// The last word about an address in an agent's log; nothing if it does not answer for it any more.
    pub(super) fn of_log(log: &str, address: IpAddr) -> Option<Self> {
        let is_about = |line: &&str| line.split(' ').any(|word| word == format!("address={address}"));
        let mut told = log.lines().filter(|line| line.contains("answering for the address"));
        let last = told.rfind(is_about)?;
        if last.contains("not answering") {
            return None;
        }
        let fields: BTreeMap<_, _> = last.split(' ').filter_map(|word| word.split_once('=')).collect();
        let silence = fields.get("silence").and_then(|text| text.strip_prefix("Some("));
        Some(Self {
            epoch: fields.get("epoch")?.parse().ok()?,
            reason: fields.get("reason")?.trim_matches('"').to_owned(),
            silence: silence.and_then(|text| duration(text.trim_end_matches(')'))),
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        match (self.reason.as_str(), self.silence) {
            ("Vacant", _) => "nobody had it".to_owned(),
            ("OwnerDead", Some(silence)) => format!("the owner was silent for {} ms", silence.as_millis()),
            ("OwnerDead", None) => "the owner was silent".to_owned(),
            ("OwnerLeaves", _) => "the owner gave it away".to_owned(),
            ("Resumed", _) => "it had it before".to_owned(),
            ("Reverted", _) => "it comes first and is back".to_owned(),
            (other, _) => other.to_owned(),
        }
    }
}

/// Reads a duration as agents log it: `312.5ms`, `1.2s`.
fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

/// Waits until the client has found the owner of every address of these load balancers that is on its link, and the owner says the same.
/// What nobody answers for within `limit` stays without one.
pub(super) fn announced(
    load_balancers: &[LoadBalancer],
    lab: &Lab,
    agents: &[Agent],
    limit: Duration,
    is_interrupted: &AtomicBool,
) -> anyhow::Result<Vec<Announced>> {
    let mut announced = Vec::new();
    for load_balancer in load_balancers {
        for address in addresses_on_link(load_balancer) {
            let (Some(service), status) = (load_balancer.spec.services.first(), &load_balancer.status) else {
                continue;
            };
            announced.push(Announced {
                service: ServiceName::new(&*service.namespace, &*service.name),
                pool: status.as_ref().and_then(|status| status.pool.clone()),
                address,
                owner: None,
            });
        }
    }
    let mut failure = None;
    let look = || {
        if is_interrupted.load(Ordering::Relaxed) {
            return Some(());
        }
        for announced in &mut announced {
            match owner_of(lab, agents, announced.address) {
                Ok(owner) => announced.owner = owner,
                Err(error) => failure = Some(error),
            }
        }
        let is_agreed = |owner: &Owner| owner.word.is_some();
        let are_all = announced
            .iter()
            .all(|announced| announced.owner.as_ref().is_some_and(is_agreed));
        (are_all || failure.is_some()).then_some(())
    };
    // Where nobody answers, the report says so.
    let _deadline = wait_for(limit, "nodes to answer for their addresses", look);
    if is_interrupted.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    failure.map_or(Ok(announced), |error| Err(error.into()))
}

/// The addresses of a load balancer that the client finds on its own link.
pub(super) fn addresses_on_link(load_balancer: &LoadBalancer) -> impl Iterator<Item = IpAddr> {
    addresses_of(load_balancer).filter(|address| is_on_link(*address))
}

fn is_on_link(address: IpAddr) -> bool {
    Lab::lan_cidrs().both().iter().any(|net| net.contains(&address))
}

/// Who answers for an address now.
pub(super) fn owner_of(lab: &Lab, agents: &[Agent], address: IpAddr) -> Result<Option<Owner>, Error> {
    let client = lab.client();
    client.run(|| knock(address));
    let neighbour = client.neighbour(INTERFACE, address)?;
    let known = neighbour.filter(|neighbour| neighbour.state != NeighbourState::Failed);
    let Some(mac) = known.and_then(|neighbour| neighbour.mac) else {
        return Ok(None);
    };
    let node = lab.nodes().iter().find(|node| node.mac() == mac);
    Ok(node.map(|node| {
        let agent = agents.iter().find(|agent| agent.node() == node.number());
        Owner {
            node: node.number(),
            mac,
            word: agent.and_then(|agent| Word::of_log(&agent.log(), address)),
        }
    }))
}

/// Makes the kernel look for an address, as a first packet does.
fn knock(address: IpAddr) {
    let any: IpAddr = if address.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    // What comes of it is in the neighbour table.
    let _ = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], (address, DISCARD)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-01-01T00:00:00.000000Z  INFO answering for the address address=172.30.0.200 epoch=1 reason=\"Vacant\" silence=None
2026-01-01T00:00:00.000001Z  INFO answering for the address address=fd00:172:30::200 epoch=3 reason=\"OwnerDead\" silence=Some(312.5ms)
2026-01-01T00:00:01.000000Z  INFO not answering for the address any more address=172.30.0.200 reason=\"Superseded\"
2026-01-01T00:00:02.000000Z  INFO the node is heard node=\"node-2\"
";

    #[test]
    fn an_agents_last_word_about_an_address_counts() {
        let word = |address: &str| Word::of_log(LOG, address.parse().unwrap());
        assert_eq!(word("172.30.0.200"), None, "it gave it up");
        assert_eq!(word("172.30.0.20"), None);
        let dead = word("fd00:172:30::200").unwrap();
        assert_eq!((dead.epoch, dead.reason.as_str()), (3, "OwnerDead"));
        assert_eq!(dead.sentence(), "the owner was silent for 312 ms");
        assert_eq!(duration("1.25s"), Some(Duration::from_millis(1250)));
    }
}
