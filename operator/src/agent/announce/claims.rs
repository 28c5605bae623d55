//! What this node has to say at the API server about the addresses that it answers for: the difference between what is there and what should
//! be. Pure; [`write()`] sends it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::chain::Chain;
use crate::source::Surroundings;

/// How long one write may take.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Since which change of hands an address is this node's, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// How often it has changed hands.
    pub epoch: u64,
    /// Why it is this node.
    pub reason: &'static str,
    /// Whether somebody else has it.
    pub stranger: Stranger,
}

/// What is known of a machine outside of the cluster that has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// Nothing: what the last owner has written stays.
    Unknown,
    /// There is none.
    Absent,
    /// Its MAC address.
    Present(String),
}

/// The changes of statuses that are due, by load balancer: JSON merge patches.
///
/// What is withdrawn is withdrawn only from the object that was seen, since another node may have claimed it meanwhile.
pub fn writes(
    surroundings: &Surroundings,
    node: &str,
    owned: &BTreeMap<IpAddr, Claim>,
) -> BTreeMap<ServiceName, Vec<Value>> {
    let due = surroundings.load_balancers.iter().map(|(key, load_balancer)| {
        let withdrawn = withdrawal(load_balancer, node, owned);
        let patches = withdrawn.into_iter().chain(claim(load_balancer, node, owned));
        (key.clone(), patches.collect::<Vec<_>>())
    });
    due.filter(|(_, patches)| !patches.is_empty()).collect()
}

fn claim(load_balancer: &LoadBalancer, node: &str, owned: &BTreeMap<IpAddr, Claim>) -> Option<Value> {
    let status = load_balancer.status.as_ref()?;
    let mut change = json!({});
    let mut claimed = Map::new();
    for (index, text) in status.addresses.iter().enumerate() {
        let Some(claim) = text.parse().ok().and_then(|address| owned.get(&address)) else {
            continue;
        };
        let epoch = i64::try_from(claim.epoch).unwrap_or(i64::MAX);
        let known = status.announcements.get(text);
        // Of a higher claim this node hears soon, and then it does not own the address any more.
        if known.is_some_and(|known| known.epoch > epoch) {
            continue;
        }
        let written = known.and_then(|known| known.stranger.as_deref());
        let stranger = match &claim.stranger {
            Stranger::Unknown => written,
            Stranger::Absent => None,
            Stranger::Present(mac) => Some(mac.as_str()),
        };
        if stranger != written || known.is_none_or(|known| known.epoch != epoch || known.node != node) {
            let mut entry = json!({ "node": node, "reason": claim.reason, "epoch": epoch });
            // What is not named in the patch stays.
            if stranger != written {
                entry["stranger"] = json!(stranger);
            }
            claimed.insert(text.clone(), entry);
        }
        if index == 0 && (status.node.as_deref() != Some(node) || !claimed.is_empty()) {
            change["node"] = json!(node);
            change["nodeReason"] = json!(claim.reason);
        }
    }
    if !claimed.is_empty() {
        change["announcements"] = Value::Object(claimed);
    }
    (change != json!({})).then(|| json!({ "status": change }))
}

fn withdrawal(load_balancer: &LoadBalancer, node: &str, owned: &BTreeMap<IpAddr, Claim>) -> Option<Value> {
    let status = load_balancer.status.as_ref()?;
    let is_kept = |text: &String| {
        let address = text.parse().ok();
        status.addresses.contains(text) && address.is_some_and(|address| owned.contains_key(&address))
    };
    let mine = status.announcements.iter().filter(|(_, by)| by.node == node);
    let withdrawn: Map<_, _> = mine
        .filter(|(text, _)| !is_kept(text))
        .map(|(text, _)| (text.clone(), Value::Null))
        .collect();
    if withdrawn.is_empty() {
        return None;
    }
    let is_first = status
        .addresses
        .first()
        .is_none_or(|first| withdrawn.contains_key(first));
    let mut change = json!({ "announcements": withdrawn });
    if is_first && status.node.as_deref() == Some(node) {
        change["node"] = Value::Null;
        change["nodeReason"] = Value::Null;
    }
    Some(json!({
        "metadata": { "resourceVersion": load_balancer.resource_version() },
        "status": change,
    }))
}

/// What others have claimed, by address: epoch and node.
pub fn claims_of_others(surroundings: &Surroundings, node: &str) -> BTreeMap<IpAddr, (u64, String)> {
    let statuses = surroundings
        .load_balancers
        .values()
        .filter_map(|load_balancer| load_balancer.status.as_ref());
    let all = statuses.flat_map(|status| &status.announcements);
    all.filter(|(_, by)| by.node != node)
        .filter_map(|(text, by)| Some((text.parse().ok()?, (u64::try_from(by.epoch).ok()?, by.node.clone()))))
        .collect()
}

/// Sends the patches of one load balancer. What is refused because it is out of date is not worth a word.
pub async fn write(client: Client, key: ServiceName, patches: Vec<Value>) -> Result<(), String> {
    let api: Api<LoadBalancer> = Api::namespaced(client, &key.namespace);
    for patch in patches {
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match timeout(WRITE_WITHIN, api.patch_status(&key.name, &parameters, &patch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => {}
            Ok(Err(error)) => return Err(Chain(&error).to_string()),
            Err(_) => return Err(format!("no answer within {WRITE_WITHIN:?}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
