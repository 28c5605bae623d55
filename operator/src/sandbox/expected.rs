//! What must become of a connection, by what Kubernetes says about Services. Pure.
//!
//! It is worked out from the manifests and not from the rule set, so that the table shows whether the two agree.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fairlead_model::{Backend, Family, Service, ServicePort, TrafficPolicy};

use super::ground::{Place, of_family};
use super::plan::Plan;
use super::question::{Frontend, HOME_NODE, Origin, QuestionKey};
use super::scene::Scene;

/// What must become of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// One of these workloads answers, and sees this client.
    Answer {
        /// By name.
        from: BTreeMap<String, Seen>,
        /// Whether a client must always get the same one.
        is_affine: bool,
        /// Whether some endpoint has no workload in the lab, so that connections to it find nobody.
        is_incomplete: bool,
    },
    /// It is refused: nobody is ready anywhere.
    Refused,
    /// It gets no answer.
    Dropped(Why),
    /// Nobody answers, in whatever way: the address is not served.
    NotServed,
}

/// Why a connection gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// `loadBalancerSourceRanges` does not name the client.
    SourceRange,
    /// The policy is Local and the node has no endpoint.
    NoLocalEndpoint,
}

/// Whom a workload sees as its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// Whoever asks.
    Client,
    /// The node that passed the connection on.
    Node(u8),
}

/// The address that a connection of this origin comes from.
pub(super) fn source_of(scene: &Scene<'_>, origin: Origin, family: Family) -> IpAddr {
    let addresses = match origin {
        Origin::Pod => scene.ground.visitor,
        Origin::Node => scene.ground.node(HOME_NODE).addresses,
        Origin::Outside => scene.ground.client,
    };
    of_family(addresses, family)
}

/// What must become of a connection to a Service port that node `through` decides about.
pub(super) fn expected(
    scene: &Scene<'_>,
    plan: &Plan,
    service: &Service,
    port: &ServicePort,
    key: &QuestionKey,
    through: u8,
) -> Expected {
    let family = Family::of(key.to.ip());
    let source = source_of(scene, key.origin, family);
    if key.frontend == Frontend::LoadBalancer {
        let mut ranges = service
            .source_ranges
            .iter()
            .filter(|range| Family::of_net(range) == family)
            .peekable();
        if ranges.peek().is_some() && !ranges.any(|range| range.contains(&source)) {
            return Expected::Dropped(Why::SourceRange);
        }
    }
    let selection = scene.selection(through, service, port, family);
    let everywhere: Vec<_> = selection.cluster().collect();
    if everywhere.is_empty() {
        return Expected::Refused;
    }
    let here: Vec<_> = selection.local().collect();
    let is_inside_through = key.origin == Origin::Node && through == HOME_NODE;
    let (endpoints, seen) = match (key.frontend, service.internal_policy, service.external_policy) {
        (Frontend::ClusterIp | Frontend::Ignored, policy, _) => {
            let seen = if key.origin == Origin::Pod {
                Seen::Client
            } else {
                Seen::Node(through)
            };
            (
                if policy == TrafficPolicy::Local {
                    here
                } else {
                    everywhere
                },
                seen,
            )
        }
        (_, _, TrafficPolicy::Cluster) => (everywhere, Seen::Node(through)),
        // From inside the cluster all endpoints are as good as those of this node.
        (_, _, TrafficPolicy::Local) if key.origin == Origin::Pod => (everywhere, Seen::Client),
        (_, _, TrafficPolicy::Local) if is_inside_through => (everywhere, Seen::Node(through)),
        (_, _, TrafficPolicy::Local) => (here, Seen::Client),
    };
    if endpoints.is_empty() {
        return Expected::Dropped(Why::NoLocalEndpoint);
    }
    answer(scene, plan, &endpoints, seen, service.affinity.is_some())
}

fn answer(scene: &Scene<'_>, plan: &Plan, endpoints: &[Backend], seen: Seen, is_affine: bool) -> Expected {
    let seen_by = |endpoint: &Backend| match (seen, scene.ground.place_of(endpoint.address)) {
        // What a node delivers to itself leaves by no interface, so the source is not exchanged.
        (Seen::Node(node), Place::Node(home)) if node == home => Seen::Client,
        _ => seen,
    };
    Expected::Answer {
        from: endpoints
            .iter()
            .map(|e| (scene.name_of(plan, e.address), seen_by(e)))
            .collect(),
        is_affine,
        is_incomplete: endpoints
            .iter()
            .any(|endpoint| plan.name_of(endpoint.address).is_none()),
    }
}
