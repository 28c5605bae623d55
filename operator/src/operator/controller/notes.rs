//! Events on Services, in the words that people know from Kubernetes' service controller and from MetalLB.

use std::net::IpAddr;
use std::time::Duration;

use fairlead_crds::reason::{self, Reason};
use fairlead_crds::{AnnouncedBy, LoadBalancer, LoadBalancerStatus, condition};
use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::time::timeout;

use super::plan::{Complaint, Observed, Step, Wanted};
use crate::chain::Chain;

/// How long an event may take. It is told to people; nothing waits for it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Something to tell the Service's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether something is wrong.
    pub is_warning: bool,
    /// One word.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

/// What to tell once these steps are done.
pub fn notes(observed: &Observed<'_>, steps: &[Step], wanted: &Wanted) -> Vec<Note> {
    let normal = |reason, message: String| Note {
        is_warning: false,
        reason,
        message,
    };
    let complaint = wanted.complaint();
    let mut notes = Vec::new();
    for step in steps {
        match step {
            Step::Publish(addresses) if !addresses.is_empty() => {
                notes.push(normal(reason::IP_ALLOCATED, format!("Assigned IP {}", list(addresses))));
                notes.push(normal(
                    reason::ENSURED_LOAD_BALANCER,
                    "Ensured load balancer".to_owned(),
                ));
            }
            Step::PublishHostname(_) => {
                notes.push(normal(
                    reason::ENSURED_LOAD_BALANCER,
                    "Ensured load balancer".to_owned(),
                ));
            }
            Step::Publish(_) if complaint.is_some() && !observed.published().is_empty() => {
                let had = list(&observed.published());
                notes.push(normal(reason::CLEAR_ASSIGNMENT, format!("Took back IP {had}")));
            }
            Step::Delete => notes.push(normal(
                reason::DELETED_LOAD_BALANCER,
                "Deleted load balancer".to_owned(),
            )),
            Step::Report(report) => {
                let before = observed
                    .load_balancer
                    .and_then(|load_balancer| load_balancer.status.as_ref());
                if matches!(wanted, Wanted::Leaving(_)) && !before.is_some_and(is_being_deleted) {
                    notes.push(normal(
                        reason::DELETING_LOAD_BALANCER,
                        "Deleting load balancer".to_owned(),
                    ));
                }
                let is_old = before.is_some_and(|status| {
                    let sentence = |condition: &Condition| (condition.reason.clone(), condition.message.clone());
                    let (before, now) = (status.conditions.iter(), report.conditions.iter());
                    before.map(sentence).eq(now.map(sentence))
                });
                notes.extend(
                    complaint
                        .filter(|_| !is_old)
                        .map(|complaint| warning(wanted, complaint)),
                );
            }
            Step::Create(_) => notes.push(normal(
                reason::ENSURING_LOAD_BALANCER,
                "Ensuring load balancer".to_owned(),
            )),
            Step::Publish(_) | Step::Update(_) | Step::AddFinalizer | Step::RemoveFinalizer => {}
        }
    }
    notes
}

/// What is wrong, in the words of MetalLB for addresses, and of Kubernetes' service controller for load balancers of clouds.
fn warning(wanted: &Wanted, complaint: &Complaint) -> Note {
    let (reason, what) = match wanted {
        Wanted::Cloud { .. } => (reason::SYNC_LOAD_BALANCER_FAILED, "Error syncing load balancer: "),
        Wanted::Leaving(_) => (reason::DELETE_LOAD_BALANCER_FAILED, "Error deleting load balancer: "),
        _ => (reason::ALLOCATION_FAILED, ""),
    };
    Note {
        is_warning: true,
        reason,
        message: format!("{what}{}: {}", complaint.reason, complaint.message),
    }
}

fn is_being_deleted(status: &LoadBalancerStatus) -> bool {
    let mut all = status.conditions.iter();
    all.any(|condition| condition.type_ == condition::READY && condition.reason == reason::DELETING)
}

/// What to tell when nodes have begun to answer for addresses.
pub fn assigned(old: &LoadBalancer, new: &LoadBalancer) -> Vec<Note> {
    let by = |load_balancer: &LoadBalancer| {
        let status = load_balancer.status.as_ref();
        status.map(|status| status.announcements.clone()).unwrap_or_default()
    };
    let before = by(old);
    // Who leaves the address to another machine does not answer.
    let answers = |by: &AnnouncedBy| by.stranger.is_none();
    let is_new = |(address, now): &(String, AnnouncedBy)| {
        let old = before.get(address).filter(|old| answers(old));
        answers(now) && old.is_none_or(|old| old.node != now.node)
    };
    let told = by(new).into_iter().filter(is_new).map(|(address, by)| Note {
        is_warning: false,
        reason: reason::NODE_ASSIGNED,
        message: format!(
            "announcing {address} from node \"{}\" with protocol \"layer2\" ({})",
            by.node, by.reason
        ),
    });
    told.collect()
}

fn list(addresses: &[IpAddr]) -> String {
    let all: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", all.join(" "))
}

/// Writes notes as events of the Service. One that cannot be written is logged and otherwise lost.
pub async fn publish(recorder: &Recorder, service: &Service, notes: &[Note]) {
    let regarding: ObjectReference = service.object_ref(&());
    for note in notes {
        let event = Event {
            type_: if note.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason.to_string(),
            note: Some(note.message.clone()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        match timeout(PUBLISH_TIMEOUT, recorder.publish(&event, &regarding)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %Chain(&error), "event was not written"),
            Err(_) => tracing::debug!("event was not written in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn announced_by(nodes: &[(&str, &str)]) -> LoadBalancer {
        let by = |&(address, node): &(&str, &str)| {
            (
                address.to_owned(),
                json!({ "node": node, "reason": "OwnerDead", "epoch": 2 }),
            )
        };
        let announcements: serde_json::Map<_, _> = nodes.iter().map(by).collect();
        serde_json::from_value(json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancer", "metadata": { "name": "web" },
            "spec": { "provider": "lan", "services": [] },
            "status": { "announcements": announcements },
        }))
        .unwrap()
    }

    #[test]
    fn a_node_that_begins_to_answer_is_told_once() {
        let (first, second) = (("198.51.100.7", "a"), ("2001:db8::7", "a"));
        let before = announced_by(&[first]);
        let after = announced_by(&[("198.51.100.7", "b"), second]);
        let messages: Vec<_> = assigned(&before, &after).into_iter().map(|note| note.message).collect();
        assert_eq!(
            messages,
            [
                "announcing 198.51.100.7 from node \"b\" with protocol \"layer2\" (OwnerDead)",
                "announcing 2001:db8::7 from node \"a\" with protocol \"layer2\" (OwnerDead)",
            ]
        );
        assert!(assigned(&after, &after).is_empty());
        assert!(assigned(&before, &announced_by(&[])).is_empty());
    }
}
