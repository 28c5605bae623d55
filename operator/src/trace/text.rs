//! The answer for people.

use std::fmt;

use fairlead_dataplane::evaluate::Outcome;
use fairlead_model::{Candidate, Standing, TrafficPolicy};

use super::explain::{Answerer, Explanation, Found, Kind, Origin, address_of, step_text};

/// Elements shown of one rule; a Service with a hundred endpoints need not fill the screen twice.
const MOST_ELEMENTS: usize = 3;

/// Prints an explanation.
pub(super) struct Text<'a>(pub(super) &'a Explanation);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(it) = self;
        let origin = match it.origin {
            Origin::Host => "this host",
            Origin::LocalPod => "a pod, by --detect-local-mode",
            Origin::Outside => "outside",
        };
        writeln!(
            f,
            "{} ({origin}) -> {}/{}",
            it.packet.source, it.packet.destination, it.packet.protocol
        )?;
        match (&it.frontend, it.service()) {
            (Some(found), Some(service)) => writeln!(f, "Service {service}, {}", kind_text(found))?,
            _ => writeln!(f, "no Service has this address, port and protocol here")?,
        }
        if let Some(Answerer { node, reason, stranger }) = &it.answerer {
            let address = it.packet.destination.ip();
            match stranger {
                None => writeln!(f, "On the network node {node} answers for {address} ({reason})")?,
                Some(mac) => writeln!(
                    f,
                    "On the network {mac}, which is no node, has {address}; node {node} leaves it alone"
                )?,
            }
        }
        writeln!(f, "\n{}", self.verdict())?;
        self.endpoints(f)?;
        if !it.evaluation.steps.is_empty() {
            writeln!(f, "\nRules that took part:")?;
            for step in &it.evaluation.steps {
                writeln!(f, "  {}", step_text(step, MOST_ELEMENTS))?;
            }
        }
        Ok(())
    }
}

impl Text<'_> {
    fn verdict(&self) -> String {
        let Self(it) = self;
        match &it.evaluation.outcome {
            Outcome::Untouched => "UNTOUCHED: the rules do nothing with it".to_owned(),
            Outcome::Dropped => format!("DROPPED in silence{}", self.reason()),
            Outcome::Rejected => format!("REFUSED{}", self.reason()),
            Outcome::Sent(endpoints) => {
                let count = match endpoints.len() {
                    1 => "to one endpoint".to_owned(),
                    count => format!("to one of {count} endpoints, each as likely as the others"),
                };
                let source = match (
                    it.is_masqueraded(),
                    endpoints.iter().any(|endpoint| endpoint.is_masqueraded),
                ) {
                    (true, _) => "it sees an address of this node in place of the client's",
                    (false, true) => "it sees the client's address, unless the client is the endpoint itself",
                    (false, false) => "it sees the client's address",
                };
                format!("SENT {count}; {source}")
            }
        }
    }

    /// Why nothing was sent, as far as it does not show in the endpoints' standing.
    fn reason(&self) -> String {
        let Self(it) = self;
        let rules = || it.evaluation.steps.iter().map(|step| step.chain.as_ref());
        let reason = if rules().any(|chain| chain == "source_ranges") {
            "loadBalancerSourceRanges do not allow the client"
        } else if let Some(found) = &it.frontend {
            match (&it.evaluation.outcome, found.policy) {
                (Outcome::Dropped, TrafficPolicy::Local) => "the policy is Local, and no endpoint is on this node",
                _ => "no endpoint is ready, and none is serving while it terminates",
            }
        } else if it.evaluation.outcome == Outcome::Rejected {
            "the cluster IP has no such port"
        } else {
            "no Service has this address of the cluster IP range"
        };
        format!(": {reason}")
    }

    fn endpoints(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(it) = self;
        let Some(found) = &it.frontend else { return Ok(()) };
        if found.candidates.is_empty() {
            return writeln!(f, "  the Service has no endpoints of this family");
        }
        let chosen: Vec<_> = it.endpoints().map(|endpoint| endpoint.address).collect();
        let rows: Vec<_> = found
            .candidates
            .iter()
            .map(|candidate| {
                let is_chosen = chosen.contains(&address_of(candidate));
                let mark = if is_chosen { "->" } else { "  " };
                let node = candidate.node.as_deref().unwrap_or("-");
                let zone = candidate.zone.as_deref().unwrap_or("-");
                (
                    mark,
                    address_of(candidate).to_string(),
                    node,
                    zone,
                    self.standing(found, candidate, is_chosen),
                )
            })
            .collect();
        let width =
            |column: fn(&(&str, String, &str, &str, &'static str)) -> usize| rows.iter().map(column).max().unwrap_or(0);
        let (addresses, nodes, zones) = (
            width(|row| row.1.len()),
            width(|row| row.2.len()),
            width(|row| row.3.len()),
        );
        for (mark, address, node, zone, standing) in &rows {
            writeln!(
                f,
                "  {mark} {address:addresses$}  {node:nodes$}  {zone:zones$}  {standing}"
            )?;
        }
        Ok(())
    }

    fn standing(&self, found: &Found, candidate: &Candidate, is_chosen: bool) -> &'static str {
        // With policy Local the host and local pods see the set of policy Cluster, if the frontend is external.
        let is_shortcut = found.kind != Kind::ClusterIp && self.0.origin != Origin::Outside;
        let is_local_set = found.policy == TrafficPolicy::Local && !is_shortcut;
        let standing = if is_local_set {
            candidate.local
        } else {
            candidate.cluster
        };
        match standing {
            Standing::Chosen if is_chosen => "ready",
            Standing::Chosen => "ready, but not reached",
            Standing::ChosenTerminating => "terminating, but serving: nothing is ready",
            Standing::NotReady => "not ready",
            Standing::Terminating => "terminating, and others are ready",
            Standing::OtherNode => "hinted to another node",
            Standing::OtherZone => "hinted to another zone",
            Standing::NotLocal => "not on this node",
        }
    }
}

fn kind_text(found: &Found) -> String {
    let policy = match found.policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    };
    match found.kind {
        Kind::ClusterIp => format!("cluster IP, internalTrafficPolicy {policy}"),
        Kind::LoadBalancerIp => format!("load balancer address, externalTrafficPolicy {policy}"),
        Kind::ExternalIp => format!("external IP, externalTrafficPolicy {policy}"),
        Kind::NodePort => format!("node port, externalTrafficPolicy {policy}"),
    }
}
