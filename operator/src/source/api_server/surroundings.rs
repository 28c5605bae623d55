//! [`Surroundings`] from the API server. Nodes and load balancers are watched once there is a local provider.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::watcher::Config;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch::Sender;

use crate::source::surroundings::{Member, Surroundings, key_of};
use crate::watch::{self, Change, IfUnknown};

/// Follows everything, and sends the picture when it has changed and is complete.
pub(super) async fn follow(client: Client, sender: Sender<Option<Arc<Surroundings>>>) {
    let ours = IfUnknown::Inform("without the chart fairlead-crds no addresses are announced");
    let config = Config::default;
    let mut providers = pin!(watch::follow(Api::all(client.clone()), config(), ours).fuse());
    let mut pools = pin!(watch::follow(Api::all(client.clone()), config(), ours).fuse());
    let mut load_balancers = pin!(watch::follow(Api::all(client.clone()), config(), ours));
    let mut nodes = pin!(watch::follow(Api::all(client), config(), ours));
    let mut picture = Surroundings::default();
    let mut has = Listed::default();
    loop {
        let has_provider = !picture.providers.is_empty();
        // Cancel-safe: streams lose nothing.
        tokio::select! {
            Some(change) = providers.next() => {
                has.providers |= matches!(change, Change::All(_));
                absorb(&mut picture.providers, change, |provider: &fairlead_crds::LoadBalancerProvider| provider.name_any(), |provider| {
                    provider.spec.local.is_some().then(|| provider.clone())
                });
            }
            Some(change) = pools.next() => {
                has.pools |= matches!(change, Change::All(_));
                absorb(&mut picture.pools, change, |pool: &fairlead_crds::AddressPool| pool.name_any(), |pool| Some(pool.clone()));
            }
            Some(change) = load_balancers.next(), if has_provider => {
                has.load_balancers |= matches!(change, Change::All(_));
                absorb(&mut picture.load_balancers, change, key_of, |load_balancer| Some(load_balancer.clone()));
            }
            Some(change) = nodes.next(), if has_provider => {
                has.nodes |= matches!(change, Change::All(_));
                absorb(&mut picture.members, change, |node: &k8s_openapi::api::core::v1::Node| node.name_any(), |node| {
                    Some(Arc::new(Member::from(&**node)))
                });
            }
        }
        if has.all(!picture.providers.is_empty()) {
            sender.send_if_modified(|known| {
                let is_new = known.as_deref() != Some(&picture);
                if is_new {
                    *known = Some(Arc::new(picture.clone()));
                }
                is_new
            });
        }
    }
}

/// What has been listed.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind")]
struct Listed {
    providers: bool,
    pools: bool,
    load_balancers: bool,
    nodes: bool,
}

impl Listed {
    fn all(&self, has_provider: bool) -> bool {
        self.providers && (!has_provider || (self.pools && self.load_balancers && self.nodes))
    }
}

fn absorb<I: Ord, K, V: PartialEq>(
    known: &mut BTreeMap<I, V>,
    change: Change<K>,
    key: impl Fn(&K) -> I,
    value: impl Fn(&Arc<K>) -> Option<V>,
) {
    match change {
        Change::All(objects) => {
            *known = objects
                .iter()
                .filter_map(|object| Some((key(object), value(object)?)))
                .collect();
        }
        Change::Is(object) => match value(&object) {
            Some(value) => drop(known.insert(key(&object), value)),
            None => drop(known.remove(&key(&object))),
        },
        Change::Gone(object) => drop(known.remove(&key(&object))),
    }
}
