//! Asks the health check node ports, as a load balancer would.

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_lab::{Lab, wait_for};
use fairlead_model::{Family, ServiceName};
use serde_json::Value;

use super::ground::of_family;
use super::http;
use super::scene::Scene;

/// An agent brings its servers up to date just after it says that its rules are.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);

/// What a node says of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthCheck {
    /// The Service.
    pub(super) service: ServiceName,
    /// The node, by number.
    pub(super) node: u8,
    /// Where it was asked.
    pub(super) to: SocketAddr,
    /// Whether the node has a ready endpoint.
    pub(super) has_endpoint: bool,
    /// The answer.
    pub(super) answer: Result<Health, String>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    /// 200, or 503.
    pub(super) status: u16,
    /// How many ready endpoints the node says it has.
    pub(super) local_endpoints: u64,
}

impl HealthCheck {
    /// What is wrong with the answer.
    pub(super) fn complaint(&self) -> Option<String> {
        let wanted = if self.has_endpoint { 200 } else { 503 };
        match &self.answer {
            Ok(health) if health.status == wanted => None,
            Ok(health) => Some(format!("status {} instead of {wanted}", health.status)),
            Err(error) => Some(error.clone()),
        }
    }
}

/// Asks every node about every Service that has a health check port, from outside.
pub(super) fn health_checks(scene: &Scene<'_>, lab: &Lab) -> Vec<HealthCheck> {
    let mut checks = Vec::new();
    for service in scene.services() {
        let Some(port) = service.health_check_node_port else {
            continue;
        };
        for node in &scene.ground.nodes {
            let has_endpoint = Family::ALL.into_iter().any(|family| {
                service.cluster_ip(family).is_some()
                    && service.ports.iter().any(|port| {
                        let selection = scene.selection(node.number, service, port, family);
                        selection
                            .candidates
                            .iter()
                            .any(|candidate| candidate.is_ready && candidate.backend.is_local)
                    })
            });
            for family in Family::ALL {
                let mut check = HealthCheck {
                    service: service.name.clone(),
                    node: node.number,
                    to: SocketAddr::new(of_family(node.addresses, family), port.0),
                    has_endpoint,
                    answer: Err("no answer".to_owned()),
                };
                // What it said last is the result, right or wrong.
                let _ = wait_for(FOLLOWS_WITHIN, "the health check to agree", || {
                    check.answer = ask(lab, check.to);
                    check.complaint().is_none().then_some(())
                });
                checks.push(check);
            }
        }
    }
    checks
}

fn ask(lab: &Lab, to: SocketAddr) -> Result<Health, String> {
    let response = http::get(lab.client(), to, "/").map_err(|error| error.to_string())?;
    let body: Value = serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
    let local_endpoints = body.get("localEndpoints").and_then(Value::as_u64).unwrap_or_default();
    Ok(Health {
        status: response.status,
        local_endpoints,
    })
}
