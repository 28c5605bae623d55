//! The answer as a value: what the evaluator found, with the Service behind it and the standing of each endpoint.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use fairlead_dataplane::compile::Frontend;
use fairlead_dataplane::evaluate::{Endpoint, Evaluation, Outcome, Packet, Step};
use fairlead_dataplane::program::LocalPods;
use fairlead_model::{Candidate, Family, Service, ServicePort, ServicePortName, TrafficPolicy};
use serde_json::{Value, json};

use crate::source::Surroundings;
use crate::view::View;

/// What becomes of a connection, and why.
pub(super) struct Explanation {
    pub(super) packet: Packet,
    pub(super) origin: Origin,
    pub(super) evaluation: Evaluation,
    pub(super) frontend: Option<Found>,
    pub(super) answerer: Option<Answerer>,
}

/// The node that answers for an address on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answerer {
    pub(super) node: String,
    pub(super) reason: String,
    /// The MAC address of a machine outside of the cluster that the address is left to.
    pub(super) stranger: Option<String>,
}

impl Answerer {
    /// Who answers for it, if it is an address of a local provider that a node has claimed.
    pub(super) fn of(surroundings: &Surroundings, address: IpAddr) -> Option<Self> {
        let statuses = surroundings
            .load_balancers
            .values()
            .filter_map(|load_balancer| load_balancer.status.as_ref());
        let mut claims = statuses.flat_map(|status| &status.announcements);
        let (_, by) = claims.find(|(text, _)| text.parse() == Ok(address))?;
        Some(Self {
            node: by.node.clone(),
            reason: by.reason.clone(),
            stranger: by.stranger.clone(),
        })
    }
}

/// Where the connection comes from, as the rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Host,
    LocalPod,
    Outside,
}

/// The Service port that the connection is for.
pub(super) struct Found {
    pub(super) owner: ServicePortName,
    pub(super) port: ServicePort,
    pub(super) kind: Kind,
    pub(super) policy: TrafficPolicy,
    pub(super) candidates: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ClusterIp,
    LoadBalancerIp,
    ExternalIp,
    NodePort,
}

impl Explanation {
    pub(super) fn new(view: &View, packet: &Packet, is_from_host: bool, evaluation: Evaluation) -> Self {
        let origin = if is_local_pod(view, packet, is_from_host) {
            Origin::LocalPod
        } else if is_from_host {
            Origin::Host
        } else {
            Origin::Outside
        };
        Self {
            packet: packet.clone(),
            origin,
            evaluation,
            frontend: find(view, packet),
            answerer: None,
        }
    }

    /// `ns/name:port`; the port's number where it has no name.
    pub(super) fn service(&self) -> Option<String> {
        self.frontend.as_ref().map(|found| {
            let service = &found.owner.service;
            match &*found.owner.port {
                "" => format!("{service}:{}", found.port.port),
                name => format!("{service}:{name}"),
            }
        })
    }

    /// The endpoints that the connection may go to.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        match &self.evaluation.outcome {
            Outcome::Sent(endpoints) => Some(endpoints),
            Outcome::Untouched | Outcome::Dropped | Outcome::Rejected => None,
        }
        .into_iter()
        .flatten()
    }

    /// Whether the source is replaced, whichever endpoint is chosen.
    pub(super) fn is_masqueraded(&self) -> bool {
        self.endpoints().next().is_some() && self.endpoints().all(|endpoint| endpoint.is_masqueraded)
    }

    pub(super) fn to_json(&self) -> Value {
        let verdict = match self.evaluation.outcome {
            Outcome::Untouched => "none",
            Outcome::Dropped => "drop",
            Outcome::Rejected => "reject",
            Outcome::Sent(_) => "endpoints",
        };
        json!({
            "verdict": verdict,
            "endpoints": self.endpoints().map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>(),
            "masquerade": self.is_masqueraded(),
            "service": self.service(),
            "answeredBy": self.answerer.as_ref().map(|answerer| &answerer.node),
            "steps": self.evaluation.steps.iter().map(|step| step_text(step, usize::MAX)).collect::<Vec<_>>(),
        })
    }
}

/// One rule in one line: hook, chain, rule, and in braces the elements that matched, not more than `most` of them.
pub(super) fn step_text(step: &Step, most: usize) -> String {
    let mut line = format!("{} {}: {}", step.hook, step.chain, step.rule);
    if !step.elements.is_empty() {
        let shown = &step.elements[..step.elements.len().min(most)];
        let _ = write!(line, "  {{ {}", shown.join(", "));
        if shown.len() < step.elements.len() {
            let _ = write!(line, ", and {} more", step.elements.len() - shown.len());
        }
        line.push_str(" }");
    }
    line
}

fn is_local_pod(view: &View, packet: &Packet, is_from_host: bool) -> bool {
    match view.config().map(|config| &config.options.local_pods) {
        Some(LocalPods::Cidrs(nets)) => nets.iter().any(|net| net.contains(&packet.source)),
        // Packets of the host itself arrive at no interface.
        Some(LocalPods::Interface(pattern)) if !is_from_host => {
            packet.interface.as_deref().is_some_and(|name| pattern.matches(name))
        }
        _ => false,
    }
}

fn find(view: &View, packet: &Packet) -> Option<Found> {
    let (address, port) = (packet.destination.ip(), packet.destination.port());
    let family = Family::of(address);
    let compiler = view.compiler()?;
    let by_address = compiler.owner(&Frontend::Address(address, packet.protocol, port));
    let is_node_ip = view.config()?.node_port_addresses.contains(&address);
    let by_node_port = || {
        compiler
            .owner(&Frontend::NodePort(family, packet.protocol, port))
            .filter(|_| is_node_ip)
    };
    let owner = by_address.or_else(by_node_port)?;
    let service: &Service = view.cluster().service(&owner.service)?;
    let port = service
        .ports
        .iter()
        .find(|port| port.name == owner.port && port.protocol == owner.protocol)?;
    let kind = if by_address.is_none() {
        Kind::NodePort
    } else if service.cluster_ips.contains(&address) {
        Kind::ClusterIp
    } else if service.load_balancer_ips.contains(&address) || view.is_announced(&owner.service, address) {
        Kind::LoadBalancerIp
    } else {
        Kind::ExternalIp
    };
    let policy = match kind {
        Kind::ClusterIp => service.internal_policy,
        Kind::LoadBalancerIp | Kind::ExternalIp | Kind::NodePort => service.external_policy,
    };
    let candidates = view.selection(service, port, family).candidates;
    Some(Found {
        owner: owner.clone(),
        port: port.clone(),
        kind,
        policy,
        candidates,
    })
}

/// Address and port of a candidate.
pub(super) fn address_of(candidate: &Candidate) -> SocketAddr {
    SocketAddr::new(candidate.backend.address, candidate.backend.port)
}
