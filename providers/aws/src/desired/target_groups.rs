//! The target groups: one for each port of the Service, and for those of other Services that its listeners send to.

use std::collections::BTreeMap;

use fairlead_model::Family;

use crate::contract::reader::Reader;
use crate::contract::{
    Backend, IpAddressType, ListenerProtocol, ListenerSettings, Port, Service, Settings, TargetType,
};

use super::{Surroundings, TargetGroup, listeners, names, tags, targets};

pub(super) fn build(
    reader: &mut Reader<'_>,
    settings: &Settings,
    around: Surroundings<'_>,
) -> BTreeMap<String, TargetGroup> {
    let mut groups = BTreeMap::new();
    check_family(reader, settings, reader.service);
    for listener in &settings.listeners.each {
        let is_own_used = listener
            .forward
            .as_ref()
            .is_none_or(|forward| forward.own_weight.is_some());
        if is_own_used {
            let (key, group) = one(
                reader.service,
                &listener.port,
                listener.target_protocol,
                settings,
                None,
                around,
            );
            groups.insert(key, group);
        }
        for to in listener.forward.iter().flat_map(|forward| &forward.to) {
            if let Backend::Service { name, port, decrypts } = &to.backend {
                groups.extend(neighbour(reader, listener, (name, port, *decrypts), settings, around));
            }
        }
    }
    groups
}

fn check_family(reader: &mut Reader<'_>, settings: &Settings, service: &Service) {
    let is_ipv4 = settings.identity.ip_address_type == IpAddressType::Ipv4;
    if is_ipv4 && settings.adoption.load_balancer.is_none() && family(service) == Family::V6 {
        let message = "unsupported IPv6 configuration, lb not dual-stack";
        reader.fault_at("spec.ipFamilies", message);
    }
}

fn family(service: &Service) -> Family {
    if service.families.contains(&Family::V6) {
        Family::V6
    } else {
        Family::V4
    }
}

fn one(
    service: &Service,
    port: &Port,
    protocol: ListenerProtocol,
    settings: &Settings,
    base: Option<&Service>,
    around: Surroundings<'_>,
) -> (String, TargetGroup) {
    let key = listeners::key(&service.name.namespace, &service.name.name, port.port);
    let family = family(service);
    let target_type = settings.identity.target_type;
    let adopted = settings
        .adoption
        .target_groups
        .get(&port.port)
        .filter(|_| base.is_none());
    let mut group = TargetGroup {
        name: String::new(),
        protocol,
        port: match target_type {
            TargetType::Instance => port.node_port.unwrap_or_default(),
            TargetType::Ip => port.target_number(),
        },
        target_type,
        family,
        health_check: settings.health_check.clone(),
        attributes: settings.target_groups.attributes(port.port),
        targets: match target_type {
            TargetType::Instance => targets::instances(port, &settings.target_groups.node_labels, around.cluster),
            TargetType::Ip => targets::pods(service, port, family, protocol, around),
        },
        has_foreign_targets: settings.identity.is_shared_by_clusters || adopted.is_some(),
        // It is marked as the Service's whose load balancer it serves.
        tags: tags::of(base.unwrap_or(service), settings, around.defaults, &key),
        adopted: adopted.cloned(),
    };
    group.name = names::target_group(
        service,
        base.map(|base| base.uid.as_str()),
        port.port,
        &group,
        &around.defaults.cluster,
    );
    (key, group)
}

/// The target group of another Service. What it is like, its own annotations say; whose it is, the tags of the one that sends there.
fn neighbour(
    reader: &mut Reader<'_>,
    listener: &ListenerSettings,
    (name, port, decrypts): (&str, &str, Option<bool>),
    settings: &Settings,
    around: Surroundings<'_>,
) -> Option<(String, TargetGroup)> {
    let place = listeners::action(listener);
    let base = reader.service;
    let Some(service) = around.cluster.services.get(name) else {
        let message = format!("backend service not found: {}/{name}", base.name.namespace);
        reader.fault(&place, message);
        return None;
    };
    let Some(port) = service.port(port) else {
        reader.fault(
            &place,
            format!("unable to find port {port} on service {}", service.name),
        );
        return None;
    };
    let own = match Settings::read(service, around.defaults) {
        Ok(own) => own,
        Err(faults) => {
            reader.fault(&place, faults.to_string());
            return None;
        }
    };
    check_family(reader, settings, service);
    let protocol = match (listener.protocol, decrypts) {
        (ListenerProtocol::Tls, Some(true)) => ListenerProtocol::Tcp,
        (ListenerProtocol::Tls, Some(false)) => ListenerProtocol::Tls,
        _ => listener.target_protocol,
    };
    let (key, mut group) = one(service, port, protocol, &own, Some(base), around);
    group.tags = tags::of(base, settings, around.defaults, &key);
    Some((key, group))
}
