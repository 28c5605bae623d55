//! Conditions of our kinds' status.

use fairlead_crds::condition;
use fairlead_crds::reason::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// One condition as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its status.
    pub is_true: bool,
    /// One word of [`fairlead_crds::reason`].
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
}

/// `Accepted` and `Ready`. One whose status stays as it was keeps the time of its last change.
pub fn conditions(
    old: &[Condition],
    generation: Option<i64>,
    accepted: Finding,
    ready: Finding,
    now: &Time,
) -> Vec<Condition> {
    let make = |(type_, finding): (&str, Finding)| {
        let status = if finding.is_true { "True" } else { "False" };
        let before = old
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: finding.reason.to_string(),
            message: finding.message,
            last_transition_time: before.map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
            observed_generation: generation,
        }
    };
    [(condition::ACCEPTED, accepted), (condition::READY, ready)]
        .map(make)
        .into()
}
