//! The facts of one look at the sandbox, as they are shown and as `--json` prints them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fairlead_model::{Candidate, Family, Service, Standing, TrafficPolicy};
use serde::Serialize;

use super::announced::Announced;
use super::expected::{Expected, Seen, Why};
use super::health::HealthCheck;
use super::judge::{Sighted, complaint, sighted};
use super::plan::{Home, Plan};
use super::question::{Frontend, Origin};
use super::scene::Scene;
use super::traffic::Asked;

/// One look at the sandbox.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The folder of manifests.
    pub(super) manifests: String,
    /// What led to this look; nothing for the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edit: Option<EditReport>,
    /// Nodes and their agents.
    pub(super) nodes: Vec<NodeReport>,
    /// The client outside.
    pub(super) client: [IpAddr; 2],
    /// The pod on node-1 that asks.
    pub(super) pod: [IpAddr; 2],
    /// The workloads.
    pub(super) workloads: Vec<WorkloadReport>,
    /// The Services that are served.
    pub(super) services: Vec<ServiceReport>,
    /// The Services that are not, and why.
    pub(super) ignored: Vec<IgnoredReport>,
    /// The addresses of pools, and who answers for them.
    pub(super) announced: Vec<AnnouncedReport>,
    /// What is wrong with the manifests, or does not fit the lab.
    pub(super) problems: Vec<String>,
    /// What came of every question.
    pub(super) traffic: Vec<TrafficReport>,
    /// What the health check node ports said.
    pub(super) health_checks: Vec<HealthReport>,
    /// Whether everything was as the manifests say.
    pub(super) passed: bool,
}

/// An edit of the manifests.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EditReport {
    /// Services that were asked again.
    pub(super) services: Vec<String>,
    /// From the edit until the last node had it in its kernel; nothing where no agent heard of it.
    pub(super) effect_millis: Option<f64>,
}

/// A node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeReport {
    pub(super) name: String,
    pub(super) addresses: [IpAddr; 2],
    pub(super) zone: Option<String>,
    pub(super) agent_pid: u32,
    /// From its start until its rules were in the kernel.
    pub(super) first_commit_millis: f64,
}

/// A workload.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadReport {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) host_network: bool,
    pub(super) listens: Vec<String>,
}

/// A Service that is served.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceReport {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_: String,
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: Vec<IpAddr>,
    #[serde(rename = "loadBalancerIPs")]
    pub(super) load_balancer_ips: Vec<IpAddr>,
    #[serde(rename = "externalIPs")]
    pub(super) external_ips: Vec<IpAddr>,
    pub(super) source_ranges: Vec<String>,
    pub(super) ports: Vec<PortReport>,
    pub(super) internal_traffic_policy: &'static str,
    pub(super) external_traffic_policy: &'static str,
    pub(super) session_affinity_seconds: Option<u64>,
    pub(super) health_check_node_port: Option<u16>,
    pub(super) endpoints: Vec<EndpointReport>,
}

/// A port of a Service.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortReport {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) port: u16,
    pub(super) node_port: Option<u16>,
}

/// An endpoint of a Service, seen from node-1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointReport {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) node: Option<String>,
    /// `ready`, `not ready`, `terminating` (and serving).
    pub(super) state: &'static str,
    /// Why node-1 leaves it out although it is ready.
    pub(super) left_out: Option<&'static str>,
}

/// An address of a pool, and who answers for it on the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnnouncedReport {
    pub(super) service: String,
    pub(super) address: IpAddr,
    pub(super) pool: Option<String>,
    /// By the client's neighbour table.
    pub(super) node: Option<String>,
    pub(super) mac: Option<String>,
    /// By the agent of that node, as in the status of a `LoadBalancer`.
    pub(super) reason: Option<String>,
    pub(super) epoch: Option<u64>,
    /// The reason for people.
    #[serde(skip)]
    pub(super) why: String,
}

/// A Service that is not served.
#[derive(Debug, Clone, Serialize)]
pub(super) struct IgnoredReport {
    pub(super) name: String,
    pub(super) reason: String,
}

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrafficReport {
    pub(super) service: String,
    pub(super) port: String,
    pub(super) protocol: String,
    pub(super) family: String,
    pub(super) frontend: Frontend,
    pub(super) to: SocketAddr,
    pub(super) from: Origin,
    /// The node whose rules decided.
    pub(super) through: String,
    pub(super) expected: ExpectedReport,
    /// Why nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<String>,
    /// Replies by workload.
    pub(super) answers: BTreeMap<String, usize>,
    /// Replies by the client address that the workload saw.
    pub(super) clients_seen: BTreeMap<IpAddr, usize>,
    /// Whose addresses these are: `itself`, or nodes.
    pub(super) seen_as: Vec<String>,
    pub(super) refused: usize,
    pub(super) unanswered: usize,
    pub(super) failed: BTreeMap<String, usize>,
    pub(super) median_micros: Option<u128>,
    /// What is wrong with it; nothing if all is as the manifests say.
    pub(super) complaint: Option<String>,
}

/// What must become of a question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "verdict", rename_all = "camelCase")]
pub(super) enum ExpectedReport {
    /// One of these answers.
    #[serde(rename_all = "camelCase")]
    Answer {
        /// By workload: whom it sees.
        from: BTreeMap<String, String>,
        /// Whether it must be one of them only.
        one: bool,
    },
    /// It is refused.
    Refused,
    /// It gets no answer.
    Dropped {
        /// Why.
        why: &'static str,
    },
    /// Nobody answers.
    NotServed,
}

/// What a health check node port said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthReport {
    pub(super) service: String,
    pub(super) node: String,
    pub(super) to: SocketAddr,
    pub(super) status: Option<u16>,
    pub(super) local_endpoints: Option<u64>,
    pub(super) complaint: Option<String>,
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The workloads of a plan.
pub(super) fn workloads(scene: &Scene<'_>, plan: &Plan) -> Vec<WorkloadReport> {
    let report = |(home, workload): (&Home, &super::plan::Workload)| WorkloadReport {
        name: workload.name.clone(),
        node: scene.ground.node(home.node()).name.clone(),
        host_network: matches!(home, Home::Node(_)),
        listens: workload
            .listeners
            .iter()
            .map(|l| format!("{}/{}", l.address, l.protocol))
            .collect(),
    };
    plan.workloads.iter().map(report).collect()
}

/// The Services that are served.
pub(super) fn services(scene: &Scene<'_>, plan: &Plan) -> Vec<ServiceReport> {
    let report = |service: &Service| ServiceReport {
        name: service.name.to_string(),
        type_: scene
            .notes
            .service(&service.name)
            .map_or_else(|| "ClusterIP".to_owned(), |note| note.type_.clone()),
        cluster_ips: service.cluster_ips.clone(),
        load_balancer_ips: service.load_balancer_ips.clone(),
        external_ips: service.external_ips.clone(),
        source_ranges: service.source_ranges.iter().map(ToString::to_string).collect(),
        ports: service
            .ports
            .iter()
            .map(|port| PortReport {
                name: port.name.to_string(),
                protocol: port.protocol.to_string(),
                port: port.port,
                node_port: port.node_port,
            })
            .collect(),
        internal_traffic_policy: policy(service.internal_policy),
        external_traffic_policy: policy(service.external_policy),
        session_affinity_seconds: service.affinity.map(|affinity| affinity.as_secs()),
        health_check_node_port: service.health_check_node_port.map(|port| port.0),
        endpoints: endpoints(scene, plan, service),
    };
    scene.services().into_iter().map(|service| report(service)).collect()
}

fn policy(policy: TrafficPolicy) -> &'static str {
    match policy {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    }
}

/// The endpoints of all ports, each address once.
fn endpoints(scene: &Scene<'_>, plan: &Plan, service: &Service) -> Vec<EndpointReport> {
    let mut endpoints: Vec<EndpointReport> = Vec::new();
    for family in Family::ALL {
        for port in &service.ports {
            for candidate in scene.selection(1, service, port, family).candidates {
                let address = candidate.backend.address;
                if endpoints.iter().all(|known| known.address != address) {
                    endpoints.push(EndpointReport {
                        name: scene.name_of(plan, address),
                        address,
                        node: candidate.node.as_deref().map(str::to_owned),
                        state: state(&candidate),
                        left_out: left_out(&candidate),
                    });
                }
            }
        }
    }
    endpoints
}

fn state(candidate: &Candidate) -> &'static str {
    match (candidate.is_ready, candidate.cluster) {
        (true, _) => "ready",
        (false, Standing::Terminating | Standing::ChosenTerminating) => "terminating",
        (false, _) => "not ready",
    }
}

fn left_out(candidate: &Candidate) -> Option<&'static str> {
    match candidate.cluster {
        Standing::OtherZone => Some("other zone"),
        Standing::OtherNode => Some("other node"),
        _ => None,
    }
}

/// The Services that are not served.
pub(super) fn ignored(scene: &Scene<'_>) -> Vec<IgnoredReport> {
    let ignored = scene.notes.services().filter_map(|note| {
        Some(IgnoredReport {
            name: note.name.to_string(),
            reason: note.ignored.as_ref()?.to_string(),
        })
    });
    ignored.collect()
}

/// The addresses of pools.
pub(super) fn announced(scene: &Scene<'_>, announced: &[Announced]) -> Vec<AnnouncedReport> {
    let report = |announced: &Announced| {
        let owner = announced.owner.as_ref();
        let word = owner.and_then(|owner| owner.word.as_ref());
        AnnouncedReport {
            service: announced.service.to_string(),
            address: announced.address,
            pool: announced.pool.clone(),
            node: owner.map(|owner| scene.ground.node(owner.node).name.clone()),
            mac: owner.map(|owner| mac(owner.mac)),
            reason: word.map(|word| word.reason.clone()),
            epoch: word.map(|word| word.epoch),
            why: match (owner, word) {
                (None, _) => "nobody answers for it".to_owned(),
                (Some(_), None) => "the agent there says that it does not answer for it".to_owned(),
                (Some(_), Some(word)) => word.sentence(),
            },
        }
    };
    announced.iter().map(report).collect()
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What came of the questions.
pub(super) fn traffic(scene: &Scene<'_>, asked: &[Asked]) -> Vec<TrafficReport> {
    asked.iter().map(|asked| one_question(scene, asked)).collect()
}

fn one_question(scene: &Scene<'_>, asked: &Asked) -> TrafficReport {
    let question = &asked.question;
    let protocol = question.protocol();
    let tally = asked.tally.clone().unwrap_or_default();
    let mut seen_as: Vec<Sighted> = tally
        .clients()
        .keys()
        .map(|client| sighted(scene, question, *client))
        .collect();
    seen_as.sort();
    seen_as.dedup();
    TrafficReport {
        service: question.key.port.service.to_string(),
        port: question.key.port.port.to_string(),
        protocol: protocol.to_string(),
        family: question.family().to_string(),
        frontend: question.key.frontend,
        to: question.key.to,
        from: question.key.origin,
        through: scene.ground.node(question.through).name.clone(),
        expected: expectation(scene, question.key.origin, &question.expected),
        skipped: asked
            .tally
            .is_none()
            .then(|| format!("this kernel has no {}", protocol.to_string().to_uppercase())),
        answers: tally
            .answers()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        clients_seen: tally.clients(),
        seen_as: seen_as.iter().map(ToString::to_string).collect(),
        refused: tally.refused,
        unanswered: tally.unanswered,
        failed: tally.failed.clone(),
        median_micros: tally.median().map(|median| median.as_micros()),
        complaint: complaint(scene, asked),
    }
}

fn expectation(scene: &Scene<'_>, origin: Origin, expected: &Expected) -> ExpectedReport {
    let node = |number| scene.ground.node(number).name.clone();
    match expected {
        Expected::Answer { from, is_affine, .. } => {
            let seen = |seen: &Seen| match seen {
                Seen::Client if origin == Origin::Node => node(super::question::HOME_NODE),
                Seen::Client => Sighted::Itself.to_string(),
                Seen::Node(number) => node(*number),
            };
            ExpectedReport::Answer {
                from: from.iter().map(|(name, whom)| (name.clone(), seen(whom))).collect(),
                one: *is_affine,
            }
        }
        Expected::Refused => ExpectedReport::Refused,
        Expected::Dropped(Why::SourceRange) => ExpectedReport::Dropped { why: "source range" },
        Expected::Dropped(Why::NoLocalEndpoint) => ExpectedReport::Dropped {
            why: "no local endpoint",
        },
        Expected::NotServed => ExpectedReport::NotServed,
    }
}

/// What the health check node ports said.
pub(super) fn health(scene: &Scene<'_>, checks: &[HealthCheck]) -> Vec<HealthReport> {
    let report = |check: &HealthCheck| HealthReport {
        service: check.service.to_string(),
        node: scene.ground.node(check.node).name.clone(),
        to: check.to,
        status: check.answer.as_ref().ok().map(|health| health.status),
        local_endpoints: check.answer.as_ref().ok().map(|health| health.local_endpoints),
        complaint: check.complaint(),
    };
    checks.iter().map(report).collect()
}
