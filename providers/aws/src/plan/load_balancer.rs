//! The load balancer itself.

use std::collections::BTreeSet;

use crate::contract::IpAddressType;
use crate::desired::{Group, LoadBalancer, SubnetMapping};

use super::matching::Matching;
use super::{Draft, NewLoadBalancer, ObservedLoadBalancer, State, Step, Wait, attributes};

/// What listeners need: that it is there, with the addresses that they are going to have.
pub(super) fn prepare(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>) {
    if desired.adopted.is_some() {
        return;
    }
    let groups = matching.security_groups(desired);
    match matching.current {
        None => create(draft, desired, matching, groups),
        Some(current) => {
            if !is_narrower(desired, current) {
                place(draft, desired, current);
            }
            change_security_groups(draft, desired, current, groups);
            change_attributes(draft, desired, matching);
            reserve_capacity(draft, desired, Some(current));
            tell_fixed_addresses(draft, desired, current);
        }
    }
}

/// What listeners must not need any more.
pub(super) fn finish(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>) {
    if let Some(current) = matching.current.filter(|_| desired.adopted.is_none())
        && is_narrower(desired, current)
    {
        place(draft, desired, current);
    }
}

fn create(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>, groups: BTreeSet<Group>) {
    draft.steps.push(Step::CreateLoadBalancer(Box::new(NewLoadBalancer {
        name: desired.name.clone(),
        scheme: desired.scheme,
        ip_address_type: desired.ip_address_type,
        has_source_nat: desired.has_source_nat,
        subnets: desired.subnets.clone(),
        security_groups: groups.clone(),
        tags: desired.tags.clone(),
    })));
    if desired.applies_to_private_link == Some(false) && !groups.is_empty() {
        draft.steps.push(Step::SetSecurityGroups {
            load_balancer: matching.load_balancer(),
            groups,
            applies_to_private_link: false,
        });
    }
    change_attributes(draft, desired, matching);
    reserve_capacity(draft, desired, None);
}

/// Whether it loses IPv6 addresses or the prefix that datagrams need, which listeners may still use.
fn is_narrower(desired: &LoadBalancer, current: &ObservedLoadBalancer) -> bool {
    let loses_ipv6 =
        current.ip_address_type == IpAddressType::Dualstack && desired.ip_address_type == IpAddressType::Ipv4;
    loses_ipv6 || (current.has_source_nat && !desired.has_source_nat)
}

fn place(draft: &mut Draft, desired: &LoadBalancer, current: &ObservedLoadBalancer) {
    let ids = |mappings: &[SubnetMapping]| -> BTreeSet<String> {
        mappings.iter().map(|mapping| mapping.subnet.clone()).collect()
    };
    let load_balancer = super::Ref::Arn(current.arn.clone());
    let ip_address_type = desired.ip_address_type;
    if ids(&desired.subnets) != ids(&current.subnets) || desired.has_source_nat != current.has_source_nat {
        draft.steps.push(Step::SetSubnets {
            load_balancer,
            subnets: desired.subnets.clone(),
            ip_address_type,
            has_source_nat: desired.has_source_nat,
        });
    } else if ip_address_type != current.ip_address_type {
        draft.steps.push(Step::SetIpAddressType {
            load_balancer,
            ip_address_type,
        });
    }
}

fn change_security_groups(
    draft: &mut Draft,
    desired: &LoadBalancer,
    current: &ObservedLoadBalancer,
    groups: BTreeSet<Group>,
) {
    let found: BTreeSet<_> = current.security_groups.iter().cloned().map(Group::Id).collect();
    if found.is_empty() != groups.is_empty() {
        let message = if found.is_empty() {
            format!(
                "load balancer {} was made without security groups and cannot get any",
                current.name
            )
        } else {
            format!("load balancer {} cannot do without its security groups", current.name)
        };
        draft.notes.push(message);
        return;
    }
    let applies_to_private_link = desired.applies_to_private_link.unwrap_or(true);
    let differs = groups != found || applies_to_private_link != current.applies_to_private_link;
    if differs && !groups.is_empty() {
        draft.steps.push(Step::SetSecurityGroups {
            load_balancer: super::Ref::Arn(current.arn.clone()),
            groups,
            applies_to_private_link,
        });
    }
}

fn change_attributes(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>) {
    let found = matching
        .current
        .map(|current| current.attributes.clone())
        .unwrap_or_default();
    let changes = attributes::of_load_balancer(&desired.attributes, &found);
    if !changes.is_empty() {
        draft.steps.push(Step::ModifyLoadBalancerAttributes {
            load_balancer: matching.load_balancer(),
            attributes: changes,
        });
    }
}

/// Capacity can be reserved only for one that is active.
fn reserve_capacity(draft: &mut Draft, desired: &LoadBalancer, current: Option<&ObservedLoadBalancer>) {
    let units = desired.capacity_units.unwrap_or_default();
    if units == current.map_or(0, |current| current.capacity_units) {
        return;
    }
    match current.filter(|current| current.state == State::Active) {
        Some(current) => draft.steps.push(Step::ModifyCapacityReservation {
            load_balancer: super::Ref::Arn(current.arn.clone()),
            units,
        }),
        None => draft.wait(Wait::Provisioning(desired.name.clone())),
    }
}

/// The addresses in a subnet are given once.
fn tell_fixed_addresses(draft: &mut Draft, desired: &LoadBalancer, current: &ObservedLoadBalancer) {
    for wanted in &desired.subnets {
        let Some(found) = current.subnets.iter().find(|found| found.subnet == wanted.subnet) else {
            continue;
        };
        let differs = (wanted.eip_allocation.is_some() && wanted.eip_allocation != found.eip_allocation)
            || (wanted.private_ipv4.is_some() && wanted.private_ipv4 != found.private_ipv4)
            || (wanted.ipv6.is_some() && wanted.ipv6 != found.ipv6);
        if differs {
            let (subnet, name) = (&wanted.subnet, &current.name);
            draft.notes.push(format!(
                "the addresses of load balancer {name} in {subnet} cannot be changed"
            ));
        }
    }
}
