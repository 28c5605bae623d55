//! The decision: `MetalLB`'s objects in, ours out, with what differs.

use std::collections::BTreeSet;

use fairlead_crds::{
    AddressPool, AddressPoolSpec, Allocation, LoadBalancerProvider, LoadBalancerProviderSpec, LocalProvider,
    NodePortServices,
};
use fairlead_local::allocation::{AddressRange, Selector};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::announcement::{announcement, is_of_pool, of_pool};
use super::metallb::{AllocationSpec, Metallb, Named, PoolSpec};
use super::note::{Note, Weight};
use super::services::{self, Tally};

/// The provider's name.
pub(super) const PROVIDER: &str = "local";
/// The highest number that a pool can have as its priority.
const LAST_PRIORITY: u32 = 2_147_483_647;
/// `maxItems` of lists in an `AddressPool`.
const MOST_ADDRESSES: usize = 256;
const MOST_SELECTORS: usize = 64;

/// What is printed.
#[derive(Debug)]
pub struct Migration {
    /// Who makes the load balancers.
    pub provider: LoadBalancerProvider,
    /// The pools.
    pub pools: Vec<AddressPool>,
    /// What is to be told, the worst first.
    pub notes: Vec<Note>,
    /// What becomes of the Services' addresses.
    pub tally: Tally,
}

impl Migration {
    /// How much is lost.
    pub fn losses(&self) -> usize {
        self.notes.iter().filter(|note| note.weight == Weight::Lost).count()
    }
}

/// Turns `MetalLB`'s objects into ours.
pub fn migrate(metallb: &Metallb) -> Migration {
    let mut notes = metallb.notes.clone();
    let mut pools = Vec::new();
    let mut names = BTreeSet::new();
    for pool in &metallb.pools {
        let Some(name) = name_of(pool, &names, &mut notes) else {
            continue;
        };
        let Some(addresses) = addresses(pool, &name, &mut notes) else {
            continue;
        };
        let spec = spec(metallb, pool, &name, addresses, &mut notes);
        names.insert(name.clone());
        pools.push(AddressPool::new(&name, spec));
    }
    notes.extend(bgp(metallb, &names));
    notes.extend(unknown_pools(metallb));
    let class = services::class(metallb, &pools, &mut notes);
    let provider = LoadBalancerProvider::new(
        PROVIDER,
        LoadBalancerProviderSpec {
            is_default: class.is_default,
            load_balancer_class: class.name,
            node_port_services: NodePortServices::Never,
            node_port_namespace_selector: None,
            local: Some(LocalProvider::default()),
            aws: None,
        },
    );
    let (tally, told) = services::check(metallb, &provider, &pools);
    notes.extend(told);
    notes.extend(in_general(&pools));
    for note in &mut notes {
        // One about a pool that is not printed is printed where all is.
        note.pools.retain(|pool| names.contains(pool));
    }
    notes.sort_by_key(|note| note.weight);
    Migration {
        provider,
        pools,
        notes,
        tally,
    }
}

/// The name as Kubernetes wants it, if nobody has it yet.
fn name_of(pool: &Named<PoolSpec>, taken: &BTreeSet<String>, notes: &mut Vec<Note>) -> Option<String> {
    let lower = pool.name.to_lowercase();
    let is_plain = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '.';
    let plain: String = lower.chars().map(|one| if is_plain(one) { one } else { '-' }).collect();
    let plain = plain.trim_matches(['-', '.']).to_owned();
    if plain.is_empty() {
        let text = format!("{:?} is no name for a pool; nothing was made of it", pool.name);
        notes.push(Note::lost(&pool.about, name_field(pool), text));
        return None;
    }
    if taken.contains(&plain) {
        let text = format!(
            "there is another pool with the name {plain}, and ours are not in namespaces; nothing was made of this one"
        );
        notes.push(Note::lost(&pool.about, name_field(pool), text));
        return None;
    }
    if plain != pool.name {
        let text = format!(
            "{:?} is no name in Kubernetes, so that the pool is {plain}; Services that ask for it must say so too",
            pool.name
        );
        notes.push(Note::differs(&pool.about, name_field(pool), text).with_pool(&plain));
    }
    Some(plain)
}

/// Where a pool's name is.
fn name_field(pool: &Named<PoolSpec>) -> String {
    if pool.place == "spec." {
        "metadata.name".to_owned()
    } else {
        pool.field("name")
    }
}

/// The addresses that can be read, as the API server takes them.
fn addresses(pool: &Named<PoolSpec>, name: &str, notes: &mut Vec<Note>) -> Option<Vec<String>> {
    let mut addresses = Vec::new();
    for (index, text) in pool.spec.addresses.iter().enumerate() {
        match text.parse::<AddressRange>() {
            Ok(range) => addresses.push(match text.trim().parse::<IpNet>() {
                Ok(net) => net.trunc().to_string(),
                Err(_) => format!("{}-{}", range.first(), range.last()),
            }),
            Err(error) => {
                let field = pool.field(&format!("addresses[{index}]"));
                notes.push(Note::lost(&pool.about, field, format!("left out: {error}")).with_pool(name));
            }
        }
    }
    if addresses.is_empty() {
        let text = "there is no address in it; nothing was made of this pool";
        notes.push(Note::lost(&pool.about, pool.field("addresses"), text));
        return None;
    }
    check_length(pool, name, "addresses", addresses.len(), MOST_ADDRESSES, notes);
    Some(addresses)
}

fn check_length(pool: &Named<PoolSpec>, name: &str, field: &str, length: usize, most: usize, notes: &mut Vec<Note>) {
    if length > most {
        let text = format!(
            "there are {length} items, and the API server takes {most} in an AddressPool; make two pools of it"
        );
        notes.push(Note::lost(&pool.about, pool.field(field), text).with_pool(name));
    }
}

fn spec(
    metallb: &Metallb,
    pool: &Named<PoolSpec>,
    name: &str,
    addresses: Vec<String>,
    notes: &mut Vec<Note>,
) -> AddressPoolSpec {
    let (allocation, is_open) = match &pool.spec.service_allocation {
        None => (None, true),
        Some(allocation) => {
            let (allocation, is_open) = allocation_of(pool, name, allocation, notes);
            (Some(allocation), is_open)
        }
    };
    let advertisements = of_pool(pool, &metallb.l2);
    let is_announced_to_routers = metallb.bgp.iter().any(|bgp| is_of_pool(pool, bgp));
    let (announcement, told) = announcement(name, &advertisements, is_announced_to_routers);
    notes.extend(told.into_iter().map(|mut note| {
        if note.about.is_empty() {
            note.about.clone_from(&pool.about);
        }
        note.with_pool(name)
    }));
    let spec = AddressPoolSpec {
        provider: Some(PROVIDER.to_owned()),
        addresses,
        auto_assign: pool.spec.auto_assign.unwrap_or(true) && is_open,
        avoid_buggy_ips: pool.spec.avoid_buggy_ips,
        allocation,
        announcement,
        reuse_delay_seconds: 60,
    };
    let announced = spec.announcement.clone().unwrap_or_default();
    for (field, length) in [
        ("nodeSelectors", announced.node_selectors.len()),
        ("preferredNodeSelectors", announced.preferred_nodes.len()),
        ("interfaces", announced.interfaces.len()),
    ] {
        if length > MOST_SELECTORS {
            let text = format!(
                "there are {length} items of all its L2Advertisements, and the API server takes {MOST_SELECTORS}"
            );
            notes.push(Note::lost(&pool.about, format!("L2Advertisement spec.{field}"), text).with_pool(name));
        }
    }
    spec
}

/// Who gets addresses, and whether somebody can without asking for the pool.
fn allocation_of(
    pool: &Named<PoolSpec>,
    name: &str,
    from: &AllocationSpec,
    notes: &mut Vec<Note>,
) -> (Allocation, bool) {
    let mut readable = |list: &str, selectors: &[LabelSelector]| {
        let mut good = Vec::new();
        for (index, selector) in selectors.iter().enumerate() {
            match Selector::try_from(selector) {
                Ok(_) => good.push(selector.clone()),
                Err(error) => {
                    let field = pool.field(&format!("serviceAllocation.{list}[{index}]"));
                    let text = format!("it cannot be read and is left out: {error}");
                    notes.push(Note::lost(&pool.about, field, text).with_pool(name));
                }
            }
        }
        good
    };
    let namespace_selectors = readable("namespaceSelectors", &from.namespace_selectors);
    let service_selectors = readable("serviceSelectors", &from.service_selectors);
    // A list of which nothing is left would select all.
    let has_lost_namespaces =
        from.namespaces.is_empty() && namespace_selectors.is_empty() && !from.namespace_selectors.is_empty();
    let has_lost_services = service_selectors.is_empty() && !from.service_selectors.is_empty();
    let is_open = !has_lost_namespaces && !has_lost_services;
    if !is_open {
        let text = "without what cannot be read the pool would be for every Service, so that spec.autoAssign is false";
        notes.push(Note::lost(&pool.about, pool.field("serviceAllocation"), text).with_pool(name));
    }
    for (field, length, most) in [
        ("serviceAllocation.namespaces", from.namespaces.len(), MOST_ADDRESSES),
        (
            "serviceAllocation.namespaceSelectors",
            namespace_selectors.len(),
            MOST_SELECTORS,
        ),
        (
            "serviceAllocation.serviceSelectors",
            service_selectors.len(),
            MOST_SELECTORS,
        ),
    ] {
        check_length(pool, name, field, length, most, notes);
    }
    let is_for_all =
        from.namespaces.is_empty() && from.namespace_selectors.is_empty() && from.service_selectors.is_empty();
    let allocation = Allocation {
        priority: priority(pool, name, from.priority, is_for_all, notes),
        exclusive: false,
        namespaces: from.namespaces.clone(),
        namespace_selectors,
        service_selectors,
    };
    (allocation, is_open)
}

fn priority(pool: &Named<PoolSpec>, name: &str, priority: i64, is_for_all: bool, notes: &mut Vec<Note>) -> Option<u32> {
    let field = pool.field("serviceAllocation.priority");
    match u32::try_from(priority) {
        // MetalLB tries a pool with a serviceAllocation before those without, even if it selects all.
        Ok(0) if is_for_all => {
            let text = format!(
                "it is {LAST_PRIORITY} here, so that the pool is still tried before those without a serviceAllocation"
            );
            notes.push(Note::differs(&pool.about, field, text).with_pool(name));
            Some(LAST_PRIORITY)
        }
        Ok(0) => None,
        Ok(number) if number <= LAST_PRIORITY => Some(number),
        _ => {
            let nearest = if priority < 0 { 1 } else { LAST_PRIORITY };
            let text = format!("{priority} is not between 0 and {LAST_PRIORITY}; {nearest} is used");
            notes.push(Note::differs(&pool.about, field, text).with_pool(name));
            Some(nearest)
        }
    }
}

/// What is announced to routers, and is not by us.
fn bgp(metallb: &Metallb, names: &BTreeSet<String>) -> Vec<Note> {
    let told = metallb.bgp.iter().map(|bgp| {
        let pools: Vec<_> = metallb.pools.iter().filter(|pool| is_of_pool(pool, bgp)).collect();
        let printed = pools.iter().map(|pool| pool.name.clone()).filter(|name| names.contains(name));
        let printed: Vec<_> = printed.collect();
        let of = match printed.as_slice() {
            [one] => format!("AddressPool {one}"),
            many => format!("AddressPools {}", many.join(", ")),
        };
        let text = if printed.is_empty() {
            "Fairlead does not speak BGP, and none of the pools is announced by this".to_owned()
        } else {
            format!(
                "routers do not hear of addresses of {of} any more, since Fairlead does not speak BGP: nodes answer for them by ARP \
                 and NDP where a network of theirs has them, and routers need static routes to the others"
            )
        };
        let mut note = Note::lost(&bgp.about, "", text);
        if bgp.place != "spec." {
            note.field = bgp.field("protocol");
        }
        note.pools = printed;
        note
    });
    told.collect()
}

/// Pools that advertisements name and that are not there.
fn unknown_pools(metallb: &Metallb) -> Vec<Note> {
    let mut notes = Vec::new();
    let l2 = metallb
        .l2
        .iter()
        .map(|one| (&one.about, &one.place, &one.spec.ip_address_pools));
    let bgp = metallb
        .bgp
        .iter()
        .map(|one| (&one.about, &one.place, &one.spec.ip_address_pools));
    for (about, place, names) in l2.chain(bgp) {
        for (index, name) in names.iter().enumerate() {
            if !metallb.pools.iter().any(|pool| pool.name == *name) {
                let text = format!("there is no pool {name}");
                notes.push(Note::lost(about, format!("{place}ipAddressPools[{index}]"), text));
            }
        }
    }
    let l2 = metallb
        .l2
        .iter()
        .map(|one| (&one.about, &one.spec.ip_address_pool_selectors));
    let bgp = metallb
        .bgp
        .iter()
        .map(|one| (&one.about, &one.spec.ip_address_pool_selectors));
    for (about, selectors) in l2.chain(bgp) {
        for (index, selector) in selectors.iter().enumerate() {
            if let Err(error) = Selector::try_from(selector) {
                let text = format!("it cannot be read and selects no pool: {error}");
                notes.push(Note::lost(about, format!("spec.ipAddressPoolSelectors[{index}]"), text));
            }
        }
    }
    notes
}

/// What differs whatever the objects say.
fn in_general(pools: &[AddressPool]) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut tell = |field: &str, text: &str| {
        notes.push(Note::differs(&format!("LoadBalancerProvider {PROVIDER}"), field, text));
    };
    tell(
        "spec.local.ownership",
        "an address stays where a failure has put it, while MetalLB takes it back to the first node; Revertive does so too",
    );
    let is_on_link = |pool: &AddressPool| pool.spec.announcement.as_ref().is_none_or(|one| one.require_on_link);
    let mut tell = |field: &str, text: &str| notes.push(Note::differs("every AddressPool", field, text));
    if pools.iter().any(is_on_link) {
        tell(
            "spec.announcement.requireOnLink",
            "a node answers on interfaces whose network has the address, while MetalLB answers on all of them; false does so too",
        );
    }
    if !pools.is_empty() {
        tell(
            "spec.reuseDelaySeconds",
            "a released address rests for a minute before another Service gets it, while MetalLB gives it out at once; 0 does so too",
        );
    }
    notes
}
