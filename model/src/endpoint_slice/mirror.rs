//! Endpoints as `EndpointSlices`, as Kubernetes' mirroring controller makes them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;

use super::{Endpoint, EndpointSlice, HEADLESS, SliceName, SlicePort, label};
use crate::parse::Subject;
use crate::{Family, ParseError, intern};

#[cfg(test)]
mod tests;

const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// What tells two addresses apart: a pod that got the address of another one is not the same endpoint.
type AddressKey<'a> = (IpAddr, Option<&'a str>);

/// One address over all subsets.
struct Mirrored<'a> {
    node: Option<&'a str>,
    /// Whether it is ready, per port. Subsets may name a port twice; not ready wins.
    is_ready: BTreeMap<SlicePort, bool>,
}

pub(super) fn mirror(endpoints: &core::Endpoints) -> Result<Vec<EndpointSlice>, ParseError> {
    let metadata = &endpoints.metadata;
    let is_leader_election = metadata
        .annotations
        .as_ref()
        .is_some_and(|all| all.contains_key(LEADER));
    if label(metadata, SKIP_MIRROR) == Some("true") || label(metadata, HEADLESS).is_some() || is_leader_election {
        return Ok(Vec::new());
    }
    let subject = Subject::in_namespace("Endpoints", metadata);
    let service = subject.service_name()?;

    // Which address stands in which slice: those that are ready, or not ready, on the same ports stand together.
    let mut slices: BTreeMap<(Family, Vec<SlicePort>), Vec<Endpoint>> = BTreeMap::new();
    for ((address, _), mirrored) in &addresses(subject, endpoints)? {
        for is_ready in [true, false] {
            let ports = mirrored
                .is_ready
                .iter()
                .filter(|(_, ready)| **ready == is_ready)
                .map(|(port, _)| port.clone());
            let ports: Vec<_> = ports.collect();
            if ports.is_empty() {
                continue;
            }
            slices.entry((Family::of(*address), ports)).or_default().push(Endpoint {
                address: *address,
                is_ready,
                // The controller sets no condition but `ready`.
                is_serving: true,
                is_terminating: false,
                node: mirrored.node.map(intern::text),
                zone: None,
                node_hints: Arc::default(),
                zone_hints: Arc::default(),
            });
        }
    }

    let mut made = Vec::with_capacity(slices.len());
    let mut of_family = BTreeMap::<Family, usize>::new();
    for ((family, mut ports), mut endpoints) in slices {
        let number = of_family.entry(family).or_default();
        let suffix = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let name = format!("{}~{suffix}-{number}", service.name).into();
        *number += 1;
        ports.shrink_to_fit();
        endpoints.shrink_to_fit();
        made.push(EndpointSlice {
            name: SliceName {
                namespace: Arc::clone(&service.namespace),
                name,
            },
            service: service.clone(),
            family,
            ports,
            endpoints,
            last_change_trigger_micros: None,
        });
    }
    Ok(made)
}

fn addresses<'a>(
    subject: Subject<'_>,
    endpoints: &'a core::Endpoints,
) -> Result<BTreeMap<AddressKey<'a>, Mirrored<'a>>, ParseError> {
    let mut addresses = BTreeMap::<_, Mirrored<'_>>::new();
    for (i, subset) in endpoints.subsets.iter().flatten().enumerate() {
        let ports = ports(subject, i, subset)?;
        let lists = [
            ("addresses", &subset.addresses, true),
            ("notReadyAddresses", &subset.not_ready_addresses, false),
        ];
        for (field, list, is_ready) in lists {
            for (j, entry) in list.iter().flatten().enumerate() {
                let address = subject.address(format_args!("subsets[{i}].{field}[{j}].ip"), &entry.ip)?;
                let uid = entry.target_ref.as_ref().and_then(|target| target.uid.as_deref());
                let mirrored = addresses.entry((address, uid)).or_insert_with(|| Mirrored {
                    node: entry.node_name.as_deref(),
                    is_ready: BTreeMap::new(),
                });
                for port in &ports {
                    *mirrored.is_ready.entry(port.clone()).or_insert(true) &= is_ready;
                }
            }
        }
    }
    Ok(addresses)
}

fn ports(subject: Subject<'_>, i: usize, subset: &core::EndpointSubset) -> Result<Vec<SlicePort>, ParseError> {
    let written = subset.ports.iter().flatten().enumerate();
    let ports = written.map(|(j, port)| {
        Ok(SlicePort {
            name: subject.port_name(
                format_args!("subsets[{i}].ports[{j}].name"),
                port.name.as_deref().unwrap_or_default(),
            )?,
            protocol: subject.protocol(
                format_args!("subsets[{i}].ports[{j}].protocol"),
                port.protocol.as_deref(),
            )?,
            port: subject.port(format_args!("subsets[{i}].ports[{j}].port"), port.port)?,
        })
    });
    ports.collect()
}
