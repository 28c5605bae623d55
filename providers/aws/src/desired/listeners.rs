//! The listeners, and which target groups each sends to.

use std::collections::BTreeMap;

use crate::contract::annotation::{ACTIONS, SOURCE_NAT};
use crate::contract::reader::Reader;
use crate::contract::{Backend, IpAddressType, ListenerProtocol, ListenerSettings, Service, Settings};

use super::{Destination, Listener, Surroundings, TargetGroupRef, Tls, tags};

/// What a target group is for: this port of this Service of the namespace.
pub(super) fn key(namespace: &str, service: &str, port: u16) -> String {
    format!("{namespace}/{service}:{port}")
}

/// The name of the annotation that a listener's action is in.
pub(super) fn action(listener: &ListenerSettings) -> String {
    format!("{ACTIONS}.{}-{}", listener.protocol, listener.port.port)
}

pub(super) fn build(reader: &mut Reader<'_>, settings: &Settings, around: Surroundings<'_>) -> BTreeMap<u16, Listener> {
    let mut listeners = BTreeMap::new();
    for listener in &settings.listeners.each {
        check_dualstack(reader, settings, listener);
        let number = listener.port.port;
        let built = Listener {
            protocol: listener.protocol,
            tls: tls(settings, listener.protocol),
            to: destinations(reader.service, listener, around),
            is_sticky: listener.forward.as_ref().is_some_and(|forward| forward.is_sticky),
            attributes: listener.attributes.clone(),
            tags: tags::of(reader.service, settings, around.defaults, &number.to_string()),
        };
        listeners.insert(number, built);
    }
    listeners
}

/// Datagrams reach IPv6 targets only from a prefix of the load balancer's own.
fn check_dualstack(reader: &mut Reader<'_>, settings: &Settings, listener: &ListenerSettings) {
    let is_tcp_only = matches!(listener.protocol, ListenerProtocol::Tcp | ListenerProtocol::Tls);
    let is_dualstack = settings.identity.ip_address_type == IpAddressType::Dualstack;
    if is_dualstack
        && !is_tcp_only
        && settings.placement.source_nat != Some(true)
        && settings.adoption.load_balancer.is_none()
    {
        reader.fault(
            SOURCE_NAT,
            format!(
                "a {} listener of a dualstack load balancer needs enable-prefix-for-ipv6-source-nat set to on",
                listener.protocol
            ),
        );
    }
}

fn tls(settings: &Settings, protocol: ListenerProtocol) -> Option<Tls> {
    let (first, more) = settings.listeners.certificates.split_first()?;
    (protocol == ListenerProtocol::Tls).then(|| Tls {
        certificate: first.clone(),
        more_certificates: more
            .iter()
            .filter(|certificate| *certificate != first)
            .cloned()
            .collect(),
        policy: settings.listeners.tls_policy.clone(),
        alpn: settings.listeners.alpn,
    })
}

fn destinations(service: &Service, listener: &ListenerSettings, around: Surroundings<'_>) -> Vec<Destination> {
    let (namespace, name) = (&*service.name.namespace, &*service.name.name);
    let own = |weight| Destination {
        group: TargetGroupRef::Ours(key(namespace, name, listener.port.port)),
        weight,
    };
    let Some(forward) = &listener.forward else {
        return vec![own(None)];
    };
    let mut all: Vec<_> = forward.own_weight.map(|weight| own(Some(weight))).into_iter().collect();
    for to in &forward.to {
        let group = match &to.backend {
            Backend::TargetGroup(arn) => TargetGroupRef::Foreign(arn.clone()),
            Backend::Service { name, port, .. } => {
                let Some(port) = around.cluster.services.get(name).and_then(|service| service.port(port)) else {
                    // The target groups have said so.
                    continue;
                };
                TargetGroupRef::Ours(key(namespace, name, port.port))
            }
        };
        all.push(Destination {
            group,
            weight: to.weight,
        });
    }
    if let [only] = all.as_mut_slice() {
        only.weight = None;
    }
    all.sort();
    all
}
