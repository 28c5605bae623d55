//! What there is: the objects that the operator watches, read once.

use std::fmt::Debug;

use anyhow::Context;
use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::listing;

/// Objects of the kinds that decide.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) services: Vec<Service>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) providers: Vec<LoadBalancerProvider>,
    pub(super) pools: Vec<AddressPool>,
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) service_cidrs: Vec<ServiceCIDR>,
}

/// Lists them all.
pub(super) async fn gather(client: &Client) -> anyhow::Result<Cluster> {
    Ok(Cluster {
        services: list(client).await?.unwrap_or_default(),
        namespaces: list(client).await?.unwrap_or_default(),
        providers: list_ours(client).await?,
        pools: list_ours(client).await?,
        load_balancers: list_ours(client).await?,
        // Kubernetes has them since 1.33.
        service_cidrs: list(client).await?.unwrap_or_default(),
    })
}

async fn list<K>(client: &Client) -> anyhow::Result<Option<Vec<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    Ok(listing::list_all(&Api::all(client.clone()), &ListParams::default()).await?)
}

/// All objects of a kind of ours.
async fn list_ours<K>(client: &Client) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let list = list(client).await?;
    list.with_context(|| listing::unknown_kind(&K::plural(&())))
}
