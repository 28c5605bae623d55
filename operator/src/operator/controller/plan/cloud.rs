//! The same for what a cloud makes: its own steps are somebody else's, here is the record of what came of them.

use std::sync::Arc;

use fairlead_crds::reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::cloud::State;
use super::super::conditions::Finding;
use super::{Observed, Shown, Step, accepted, keep, pending, reached_at, refused, report};

/// The record, what clients may know, and how it stands.
pub(super) fn make(observed: &Observed<'_>, provider: &Arc<str>, state: Option<&State>, now: &Time) -> Vec<Step> {
    let mut steps = keep(observed, provider);
    // Nothing is known yet. What was written before may still be right.
    let unknown = State::default();
    let state = match (state, observed.status()) {
        (Some(state), _) => state,
        (None, None) => &unknown,
        (None, Some(_)) => return steps,
    };
    if observed.has_load_balancer_status() {
        let names = observed.published_hostnames();
        let addresses = observed.published();
        match &state.hostname {
            Some(hostname) if names != [hostname.as_str()] || !addresses.is_empty() => {
                steps.push(Step::PublishHostname(hostname.clone()));
            }
            None if !(names.is_empty() && addresses.is_empty()) => steps.push(Step::Publish(Vec::new())),
            _ => {}
        }
    }
    let ready = match (&state.hostname, &state.complaint, &state.trouble, &state.pending) {
        (Some(hostname), _, None, None) => reached_at(hostname),
        (Some(hostname), _, Some(trouble), _) => reached_at(&format!("{hostname}, but {}", trouble.message)),
        (Some(hostname), _, None, Some(pending)) => reached_at(&format!("{hostname}; {pending}")),
        (None, Some(complaint), ..) => refused(complaint),
        (None, None, Some(trouble), _) => Finding {
            is_true: false,
            reason: reason::PROVIDER_ERROR,
            message: trouble.message.clone(),
        },
        (None, None, None, Some(text)) => pending(text),
        (None, None, None, None) => pending("no host name yet"),
    };
    let shown = shown(state);
    steps.extend(report(observed, shown, accepted(state.complaint.as_ref()), ready, now));
    steps
}

/// Only the record, as long as there is something.
pub(super) fn leave(observed: &Observed<'_>, state: Option<&State>, now: &Time) -> Vec<Step> {
    let Some(status) = observed
        .load_balancer
        .map(|record| record.status.clone().unwrap_or_default())
    else {
        return Vec::new();
    };
    let complaint = state.and_then(|state| state.complaint.as_ref());
    let trouble = state.and_then(|state| state.trouble.as_ref());
    let wait = state.and_then(|state| state.pending.clone());
    let message = complaint.or(trouble).map(|it| it.message.clone()).or(wait);
    let ready = Finding {
        is_true: false,
        reason: reason::DELETING,
        message: message.unwrap_or_else(|| "it is being deleted".to_owned()),
    };
    let shown = match state {
        Some(state) => shown(state),
        None => Shown {
            hostname: status.hostname,
            ids: status.ids,
            ..Shown::default()
        },
    };
    let step = report(observed, shown, accepted(complaint), ready, now);
    step.into_iter().collect()
}

fn shown(state: &State) -> Shown {
    Shown {
        hostname: state.hostname.clone(),
        ids: state.ids.clone(),
        ..Shown::default()
    }
}
