//! Listeners.

use std::collections::BTreeSet;

use crate::contract::AlpnPolicy;
use crate::desired::{Listener, LoadBalancer, Tls};

use super::matching::Matching;
use super::step::Destinations;
use super::{Draft, ListenerRef, ObservedListener, Owner, Ref, Step, attributes};

/// Makes them, changes them, and deletes those of ours that are not wanted.
pub(super) fn prepare(draft: &mut Draft, owner: &Owner, desired: &LoadBalancer, matching: &Matching<'_>) {
    for (port, wanted) in &desired.listeners {
        let to = matching.destinations(wanted);
        match matching.listener(*port) {
            None => create(draft, matching.load_balancer(), *port, wanted, to),
            Some((found, true)) => change(draft, found, wanted, to),
            // It sends to where it shall.
            Some((_, false)) => {}
        }
    }
    let Some(current) = matching.current else {
        return;
    };
    let ours = current.listeners.iter().filter(|found| owner.has(&found.tags));
    for found in ours.filter(|found| !desired.listeners.contains_key(&found.port)) {
        draft.steps.push(delete(found));
    }
}

pub(super) fn delete(found: &ObservedListener) -> Step {
    Step::DeleteListener {
        arn: found.arn.clone(),
        port: found.port,
    }
}

fn create(draft: &mut Draft, load_balancer: Ref, port: u16, wanted: &Listener, to: Destinations) {
    draft.steps.push(Step::CreateListener {
        load_balancer: load_balancer.clone(),
        port,
        listener: Box::new(wanted.clone()),
        to,
    });
    let listener = ListenerRef::At(load_balancer, port);
    let more = wanted
        .tls
        .as_ref()
        .map(|tls| tls.more_certificates.clone())
        .unwrap_or_default();
    add_certificates(draft, &listener, port, more);
    let changes = attributes::of_listener(&wanted.attributes, &[].into(), wanted.protocol);
    set_attributes(draft, listener, port, changes);
}

fn change(draft: &mut Draft, found: &ObservedListener, wanted: &Listener, to: Destinations) {
    let is: Destinations = found
        .to
        .iter()
        .map(|(arn, weight)| (Ref::Arn(arn.clone()), *weight))
        .collect();
    let is_same = found.protocol == wanted.protocol
        && is_same_tls(wanted.tls.as_ref(), found.tls.as_ref())
        && is == to
        && found.is_sticky == wanted.is_sticky;
    let port = found.port;
    if !is_same {
        draft.steps.push(Step::ModifyListener {
            arn: found.arn.clone(),
            port,
            listener: Box::new(wanted.clone()),
            to,
        });
    }
    let listener = ListenerRef::Arn(found.arn.clone());
    if let Some(tls) = &wanted.tls {
        let nothing = BTreeSet::new();
        let is = found.tls.as_ref().map_or(&nothing, |tls| &tls.more_certificates);
        add_certificates(
            draft,
            &listener,
            port,
            tls.more_certificates.difference(is).cloned().collect(),
        );
        let surplus: BTreeSet<_> = is.difference(&tls.more_certificates).cloned().collect();
        if !surplus.is_empty() {
            draft.steps.push(Step::RemoveListenerCertificates {
                listener: listener.clone(),
                port,
                certificates: surplus,
            });
        }
    }
    let changes = attributes::of_listener(&wanted.attributes, &found.attributes, wanted.protocol);
    set_attributes(draft, listener, port, changes);
}

/// Further certificates are another call's.
fn is_same_tls(wanted: Option<&Tls>, found: Option<&Tls>) -> bool {
    let alpn = |tls: &Tls| tls.alpn.unwrap_or(AlpnPolicy::None);
    match (wanted, found) {
        (None, None) => true,
        (Some(wanted), Some(found)) => {
            wanted.certificate == found.certificate && wanted.policy == found.policy && alpn(wanted) == alpn(found)
        }
        _ => false,
    }
}

fn add_certificates(draft: &mut Draft, listener: &ListenerRef, port: u16, certificates: BTreeSet<String>) {
    if !certificates.is_empty() {
        draft.steps.push(Step::AddListenerCertificates {
            listener: listener.clone(),
            port,
            certificates,
        });
    }
}

fn set_attributes(
    draft: &mut Draft,
    listener: ListenerRef,
    port: u16,
    attributes: std::collections::BTreeMap<String, String>,
) {
    if !attributes.is_empty() {
        draft.steps.push(Step::ModifyListenerAttributes {
            listener,
            port,
            attributes,
        });
    }
}
