//! The configuration of `MetalLB` before 0.13: a `ConfigMap` with the name `config`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::metallb::{Metallb, Named, PoolSpec};
use super::note::Note;
use crate::objects::Object;

/// The entry that holds the configuration, as a path.
const ENTRY: &str = "data.config";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Config {
    peers: Vec<Value>,
    bgp_communities: Value,
    bfd_profiles: Vec<Value>,
    address_pools: Vec<Pool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Pool {
    name: String,
    protocol: String,
    addresses: Vec<String>,
    auto_assign: Option<bool>,
    avoid_buggy_ips: bool,
}

/// Reads the `ConfigMap`, if it is `MetalLB`'s.
pub(super) fn read(object: &Object, found: &mut Metallb) {
    let Some(text) = object.value.pointer("/data/config").and_then(Value::as_str) else {
        return;
    };
    let parts = ["address-pools", "peers", "bgp-communities", "bfd-profiles"];
    let config: Value = match serde_saphyr::from_str(text) {
        Ok(config) => config,
        // Without such a part it is not MetalLB's, but of a program that has its configuration in the same place.
        Err(_) if !parts.iter().any(|part| text.contains(part)) => return,
        Err(error) => {
            let message = error.without_snippet().to_string();
            let message = message.lines().next().unwrap_or_default();
            found.notes.push(Note::lost(
                &object.describe(),
                ENTRY,
                format!("it is no YAML, and nothing was made of it: {message}"),
            ));
            return;
        }
    };
    if !parts.iter().any(|part| config.get(part).is_some()) {
        return;
    }
    let about = object.describe();
    let fields = config.as_object().into_iter().flat_map(|fields| fields.keys());
    for field in fields.filter(|field| !parts.contains(&field.as_str())) {
        let text = "this field is not known here; nothing was made of it";
        found.notes.push(Note::lost(&about, format!("{ENTRY}.{field}"), text));
    }
    let config: Config = match serde_path_to_error::deserialize(&config) {
        Ok(config) => config,
        Err(error) => {
            let field = format!("{ENTRY}.{}", error.path());
            let text = format!(
                "it cannot be read, and nothing was made of this object: {}",
                error.inner()
            );
            found.notes.push(Note::lost(&about, field, text));
            return;
        }
    };
    let mut lost = |field: &str| {
        let text = "Fairlead does not speak BGP, which is all that this is for";
        found.notes.push(Note::lost(&about, format!("{ENTRY}.{field}"), text));
    };
    for index in 0..config.peers.len() {
        lost(&format!("peers[{index}]"));
    }
    for index in 0..config.bfd_profiles.len() {
        lost(&format!("bfd-profiles[{index}]"));
    }
    if !config.bgp_communities.is_null() {
        lost("bgp-communities");
    }
    for (index, pool) in config.address_pools.into_iter().enumerate() {
        let named = Named {
            about: about.clone(),
            place: format!("{ENTRY}.address-pools[{index}]."),
            name: pool.name,
            // Pools of a ConfigMap have none.
            labels: BTreeMap::new(),
            spec: PoolSpec {
                addresses: pool.addresses,
                auto_assign: pool.auto_assign,
                avoid_buggy_ips: pool.avoid_buggy_ips,
                service_allocation: None,
            },
        };
        found.pool_with_protocol(named, &pool.protocol);
    }
}
