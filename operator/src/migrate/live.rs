//! `MetalLB`'s objects, Services and Namespaces of a cluster.

use anyhow::Context;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};

use super::metallb::GROUP;
use crate::listing;
use crate::objects::Object;

/// What `MetalLB` is configured by; the newest version that a cluster may serve comes first.
const KINDS: [(&str, &str, &str); 8] = [
    ("IPAddressPool", "ipaddresspools", "v1beta1"),
    ("L2Advertisement", "l2advertisements", "v1beta1"),
    ("BGPAdvertisement", "bgpadvertisements", "v1beta1"),
    ("BGPPeer", "bgppeers", "v1beta2"),
    ("Community", "communities", "v1beta1"),
    ("BFDProfile", "bfdprofiles", "v1beta1"),
    ("AddressPool", "addresspools", "v1beta1"),
    ("MetalLB", "metallbs", "v1beta1"),
];

/// Lists everything that matters.
pub(super) async fn objects(client: &Client) -> anyhow::Result<Vec<Object>> {
    let mut objects = Vec::new();
    let all = ListParams::default();
    for (kind, plural, version) in KINDS {
        objects.extend(list(client, (GROUP, version, kind), plural, &all).await?);
    }
    let config = ListParams::default().fields("metadata.name=config");
    objects.extend(list(client, ("", "v1", "ConfigMap"), "configmaps", &config).await?);
    objects.extend(list(client, ("", "v1", "Namespace"), "namespaces", &all).await?);
    objects.extend(list(client, ("", "v1", "Service"), "services", &all).await?);
    Ok(objects)
}

/// A kind that the API server does not know has no objects.
async fn list(
    client: &Client,
    (group, version, kind): (&str, &str, &str),
    plural: &str,
    parameters: &ListParams,
) -> anyhow::Result<Vec<Object>> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api_version = resource.api_version.clone();
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let list = listing::list(&api, plural, parameters).await?.unwrap_or_default();
    let object = |object: DynamicObject| {
        Ok(Object {
            api_version: api_version.clone(),
            kind: kind.to_owned(),
            value: serde_json::to_value(object).context("an object of the API server cannot be written as JSON")?,
        })
    };
    list.into_iter().map(object).collect()
}
