//! Where a pool is announced: several `L2Advertisement`s become one `announcement`.
//!
//! Each advertisement is an area: some nodes, times some interfaces. `MetalLB` announces in all areas together; a pool of ours has
//! one area. Where areas together make one, nothing changes. Where they do not, the pool gets the smallest one that has them all in
//! it, and that is told.

use std::collections::BTreeSet;

use fairlead_crds::{Announcement, PreferredNode};
use fairlead_local::allocation::Selector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::metallb::{BgpSpec, L2Spec, Named, PoolSpec};
use super::note::Note;

/// Some nodes, times some interfaces. `None` is all of them.
#[derive(Debug, Clone, PartialEq)]
struct Area {
    nodes: Option<Vec<LabelSelector>>,
    interfaces: Option<BTreeSet<String>>,
}

impl Area {
    /// Whether nothing of the other one is outside of it, as far as can be seen without nodes.
    fn covers(&self, other: &Self) -> bool {
        let nodes = covers_nodes(self.nodes.as_ref(), other.nodes.as_ref());
        let interfaces = match (&self.interfaces, &other.interfaces) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => mine.is_superset(theirs),
        };
        nodes && interfaces
    }

    /// Both, if they make one area.
    fn joined(&self, other: &Self) -> Option<Self> {
        let has_same_nodes = covers_nodes(self.nodes.as_ref(), other.nodes.as_ref())
            && covers_nodes(other.nodes.as_ref(), self.nodes.as_ref());
        (has_same_nodes || self.interfaces == other.interfaces).then(|| self.around(other))
    }

    /// The smallest area that has both in it.
    fn around(&self, other: &Self) -> Self {
        let nodes = self.nodes.as_ref().zip(other.nodes.as_ref()).map(|(mine, theirs)| {
            let mut all = mine.clone();
            all.extend(theirs.iter().filter(|selector| !mine.contains(selector)).cloned());
            all
        });
        let interfaces = self.interfaces.as_ref().zip(other.interfaces.as_ref());
        Self {
            nodes,
            interfaces: interfaces.map(|(mine, theirs)| mine.union(theirs).cloned().collect()),
        }
    }
}

fn covers_nodes(mine: Option<&Vec<LabelSelector>>, theirs: Option<&Vec<LabelSelector>>) -> bool {
    match (mine, theirs) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(mine), Some(theirs)) => theirs.iter().all(|selector| mine.contains(selector)),
    }
}

/// Whether an advertisement with these names and selectors is of the pool.
fn picks(pool: &Named<PoolSpec>, names: &[String], selectors: &[LabelSelector]) -> bool {
    let selects =
        |selector: &LabelSelector| Selector::try_from(selector).is_ok_and(|selector| selector.selects(&pool.labels));
    (names.is_empty() && selectors.is_empty()) || names.contains(&pool.name) || selectors.iter().any(selects)
}

/// The advertisements of a pool.
pub(super) fn of_pool<'a>(pool: &Named<PoolSpec>, all: &'a [Named<L2Spec>]) -> Vec<&'a Named<L2Spec>> {
    let spec = |one: &Named<L2Spec>| picks(pool, &one.spec.ip_address_pools, &one.spec.ip_address_pool_selectors);
    all.iter().filter(|one| spec(one)).collect()
}

/// Whether an advertisement to routers is of the pool.
pub(super) fn is_of_pool(pool: &Named<PoolSpec>, bgp: &Named<BgpSpec>) -> bool {
    picks(pool, &bgp.spec.ip_address_pools, &bgp.spec.ip_address_pool_selectors)
}

/// Where the pool with this name is announced. `None` is what a pool does that does not say it.
pub(super) fn announcement(
    pool: &str,
    advertisements: &[&Named<L2Spec>],
    is_announced_to_routers: bool,
) -> (Option<Announcement>, Vec<Note>) {
    let mut notes = Vec::new();
    let mut areas: Vec<Area> = Vec::new();
    let mut origins = Vec::new();
    for one in advertisements {
        if let Some(area) = area(one, &mut notes) {
            areas.push(area);
            origins.push(*one);
        }
    }
    if areas.is_empty() {
        if is_announced_to_routers && advertisements.is_empty() {
            return (None, notes);
        }
        if advertisements.is_empty() {
            let text = "no L2Advertisement or BGPAdvertisement is for this pool, so that MetalLB announces it nowhere; \
                        spec.announcement.nodeSelectors selects no node to keep it so, take it out to announce the pool";
            notes.push(Note::differs("", "", text));
        }
        return (Some(nowhere()), notes);
    }
    let (area, is_exact) = one_area(&areas);
    if !is_exact {
        let names: Vec<_> = origins.iter().map(|one| one.about.as_str()).collect();
        let (which, interfaces) = (describe_nodes(&area), describe_interfaces(&area));
        let text = format!(
            "they pair nodes with interfaces, of which a pool has one list each: {which} announce it on {interfaces}; \
             make a pool of each to keep them apart"
        );
        notes.push(Note::differs(
            &names.join(" and "),
            "spec.nodeSelectors and spec.interfaces",
            text,
        ));
    }
    let mut preferred_nodes = Vec::new();
    for one in &origins {
        preferred_nodes.extend(preferred(one, &area, &mut notes));
        if !one.spec.service_selectors.is_empty() {
            let text = format!(
                "nodes announce every Service with an address of AddressPool {pool}, not only those that it selects"
            );
            notes.push(Note::lost(&one.about, one.field("serviceSelectors"), text));
        }
    }
    let announcement = Announcement {
        node_selectors: area.nodes.unwrap_or_default(),
        preferred_nodes,
        // Where interfaces are named, MetalLB's users mean them, whatever networks they are in.
        require_on_link: area.interfaces.is_none(),
        interfaces: area.interfaces.into_iter().flatten().collect(),
    };
    let is_default = announcement == Announcement::default();
    ((!is_default).then_some(announcement), notes)
}

fn area(one: &Named<L2Spec>, notes: &mut Vec<Note>) -> Option<Area> {
    let spec = &one.spec;
    let mut selectors = Vec::new();
    for (index, selector) in spec.node_selectors.iter().enumerate() {
        match Selector::try_from(selector) {
            Ok(_) => selectors.push(selector.clone()),
            Err(error) => {
                let text = format!("it cannot be read and is left out: {error}");
                notes.push(Note::lost(
                    &one.about,
                    one.field(&format!("nodeSelectors[{index}]")),
                    text,
                ));
            }
        }
    }
    if selectors.is_empty() && !spec.node_selectors.is_empty() {
        return None;
    }
    let selects_all = selectors.is_empty() || selectors.contains(&LabelSelector::default());
    Some(Area {
        nodes: (!selects_all).then_some(selectors),
        interfaces: (!spec.interfaces.is_empty()).then(|| spec.interfaces.iter().cloned().collect()),
    })
}

/// One area with all of them in it, and whether nothing else is.
fn one_area(areas: &[Area]) -> (Area, bool) {
    let mut left: Vec<Area> = Vec::new();
    for area in areas {
        left.push(area.clone());
        // Whatever two can become one does, until no two can.
        while let Some((one, other, joined)) = first_pair(&left) {
            left.remove(other);
            left[one] = joined;
        }
    }
    let is_exact = left.len() == 1;
    let around = left.into_iter().reduce(|one, other| one.around(&other));
    (around.expect("a pool that is announced has an area"), is_exact)
}

fn first_pair(areas: &[Area]) -> Option<(usize, usize, Area)> {
    let pairs = (0..areas.len()).flat_map(|one| (one + 1..areas.len()).map(move |other| (one, other)));
    pairs.into_iter().find_map(|(one, other)| {
        let (first, second) = (&areas[one], &areas[other]);
        let joined = if first.covers(second) {
            Some(first.clone())
        } else if second.covers(first) {
            Some(second.clone())
        } else {
            first.joined(second)
        };
        Some((one, other, joined?))
    })
}

fn describe_nodes(area: &Area) -> &'static str {
    if area.nodes.is_some() {
        "the nodes of all of them"
    } else {
        "all nodes"
    }
}

fn describe_interfaces(area: &Area) -> String {
    area.interfaces.as_ref().map_or_else(
        || "every interface".to_owned(),
        |names| names.iter().cloned().collect::<Vec<_>>().join(", "),
    )
}

fn preferred(one: &Named<L2Spec>, area: &Area, notes: &mut Vec<Note>) -> Vec<PreferredNode> {
    let mut preferred = Vec::new();
    for (index, node) in one.spec.preferred_node_selectors.iter().enumerate() {
        let field = one.field(&format!("preferredNodeSelectors[{index}]"));
        let weight = u32::try_from(node.weight)
            .ok()
            .filter(|weight| (1..=100).contains(weight));
        let Some(weight) = weight else {
            let text = format!("{} is not between 1 and 100; the preference is left out", node.weight);
            notes.push(Note::lost(&one.about, format!("{field}.weight"), text));
            continue;
        };
        if let Err(error) = Selector::try_from(&node.preference) {
            let text = format!("it cannot be read and is left out: {error}");
            notes.push(Note::lost(&one.about, format!("{field}.preference"), text));
            continue;
        }
        preferred.push(PreferredNode {
            weight,
            preference: node.preference.clone(),
        });
    }
    let own = one.spec.node_selectors.clone();
    let own = (!own.is_empty()).then_some(own);
    if !preferred.is_empty() && !covers_nodes(own.as_ref(), area.nodes.as_ref()) {
        let text = "it ranks nodes of the other advertisements of the pool too, and not only those that its nodeSelectors select";
        notes.push(Note::differs(&one.about, one.field("preferredNodeSelectors"), text));
    }
    preferred
}

/// Every node has this label.
fn nowhere() -> Announcement {
    let no_node = LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "kubernetes.io/hostname".to_owned(),
            operator: "DoesNotExist".to_owned(),
            values: None,
        }]),
        match_labels: None,
    };
    Announcement {
        node_selectors: vec![no_node],
        ..Announcement::default()
    }
}
