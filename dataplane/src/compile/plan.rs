//! What a Service claims.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use fairlead_model::{Family, Selection, Service, ServicePort, ServicePortName, TrafficPolicy};

use super::Compiler;
use super::affinity::Choice;
use super::claim::{Claim, Frontend, Masquerade, Route, Target};
use crate::ranges;
use crate::slots;
use crate::table::{FieldType, FieldValue, Table, Value};

/// What one Service wants of the dataplane.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub(super) claims: Vec<Arc<Claim>>,
    pub(super) targets: Vec<Arc<Target>>,
    /// Addresses of its endpoints on this node.
    pub(super) hairpins: Vec<IpAddr>,
    pub(super) cluster_ips: Vec<IpAddr>,
}

/// A claim before its endpoints have slots.
type Wish = (Route, Masquerade, Option<Arc<[(IpAddr, IpAddr)]>>);

impl Compiler {
    pub(super) fn plan_service(
        &self,
        service: &Service,
        previous: Option<&Planned>,
        select: impl Fn(&ServicePort, Family) -> Selection,
    ) -> Planned {
        let mut planned = Planned {
            cluster_ips: service.cluster_ips.clone(),
            ..Planned::default()
        };
        let mut hairpins = BTreeSet::new();
        let families = Family::ALL
            .into_iter()
            .filter(|family| of_family(&service.cluster_ips, *family).next().is_some());
        for family in families {
            let sources = self.allowed_sources(service, family);
            for port in &service.ports {
                let owner = ServicePortName {
                    service: service.name.clone(),
                    port: Arc::clone(&port.name),
                    protocol: port.protocol,
                };
                let selection = select(port, family);
                let chosen = selection.cluster().chain(selection.local());
                hairpins.extend(chosen.filter(|backend| backend.is_local).map(|backend| backend.address));
                let wishes = wishes(service, port, family, sources.as_ref());
                let slots = |choice, wanted: &mut dyn Iterator<Item = SocketAddr>| {
                    let old = match Self::target(previous, &owner, family) {
                        Some(target) => choice_slots(target, choice),
                        None => self.seeded_slots(&owner, &wishes, choice),
                    };
                    slots::assign(&old, wanted)
                };
                let address = |backend: fairlead_model::Backend| SocketAddr::new(backend.address, backend.port);
                let target = Arc::new(Target {
                    family,
                    cluster: slots(Choice::Cluster, &mut selection.cluster().map(address)),
                    local: slots(Choice::Local, &mut selection.local().map(address)),
                    affinity: service.affinity,
                    uses_cluster_set: wishes.values().any(|(route, ..)| route.uses_cluster_set()),
                    uses_local_set: wishes.values().any(|(route, ..)| route.uses_local_set()),
                    owner,
                });
                for (frontend, (route, masquerade, sources)) in wishes {
                    let target = Arc::clone(&target);
                    planned.claims.push(Arc::new(Claim {
                        frontend,
                        target,
                        route,
                        masquerade,
                        sources,
                    }));
                }
                planned.targets.push(target);
            }
        }
        planned.hairpins = hairpins.into_iter().collect();
        planned
    }

    /// Where connections to the Service's load balancer addresses may come from; `None`: from anywhere. Ranges of one family
    /// leave the other unguarded, as with kube-proxy.
    fn allowed_sources(&self, service: &Service, family: Family) -> Option<Arc<[(IpAddr, IpAddr)]>> {
        let mut nets: Vec<IpNet> = service
            .source_ranges
            .iter()
            .filter(|net| Family::of_net(net) == family)
            .copied()
            .collect();
        if nets.is_empty() {
            return None;
        }
        // A node that may connect does so from the load balancer's address itself, if that is on one of its interfaces.
        if self
            .primary_ips
            .iter()
            .any(|node_ip| nets.iter().any(|net| net.contains(node_ip)))
        {
            nets.extend(of_family(&service.load_balancer_ips, family).map(IpNet::from));
        }
        Some(ranges::merge_addresses(nets.iter()).into())
    }

    /// The slots of a target that is new to us, but may be loaded since before a restart. A frontend that another Service has
    /// holds the slots of that one: Services compiled in the order of their names never look there.
    fn seeded_slots(
        &self,
        owner: &ServicePortName,
        wishes: &BTreeMap<Frontend, Wish>,
        choice: Choice,
    ) -> Vec<SocketAddr> {
        if self.seed.sets.is_empty() {
            return Vec::new();
        }
        let is_ours = |frontend: &Frontend| self.owner(frontend).is_none_or(|other| other >= owner);
        let ours = wishes.iter().filter(|(frontend, _)| is_ours(frontend));
        let loaded = ours.filter_map(|(frontend, (route, ..))| {
            let [to_any, shortcut, to_local] = frontend.dispatches();
            let dispatch = match (route, choice) {
                (Route::Cluster, Choice::Cluster) | (Route::InternalLocal, Choice::Local) => to_any,
                (Route::ExternalLocal, Choice::Cluster) => shortcut,
                (Route::ExternalLocal, Choice::Local) => to_local,
                (Route::Cluster, Choice::Local) | (Route::InternalLocal, Choice::Cluster) => return None,
            };
            let map = dispatch.endpoints(frontend.family());
            let slots = (0..)
                .map_while(|slot| endpoint_at(&self.seed, &map, *frontend, slot))
                .collect::<Vec<_>>();
            (!slots.is_empty()).then_some(slots)
        });
        loaded.take(1).flatten().collect()
    }
}

fn endpoint_at(table: &Table, map: &str, frontend: Frontend, slot: u32) -> Option<SocketAddr> {
    let Value::Data(data) = table.sets.get(map)?.elements.get(&frontend.slot_key(slot))? else {
        return None;
    };
    let address = match frontend.family() {
        Family::V4 => FieldType::Ipv4Addr,
        Family::V6 => FieldType::Ipv6Addr,
    };
    let fields = [address, FieldType::InetService];
    match data.fields(&fields).collect::<Vec<_>>()[..] {
        [FieldValue::Address(address), FieldValue::Port(port)] => Some(SocketAddr::new(address, port)),
        _ => None,
    }
}

fn choice_slots(target: &Target, choice: Choice) -> Vec<SocketAddr> {
    choice.endpoints(target).to_vec()
}

fn of_family(addresses: &[IpAddr], family: Family) -> impl Iterator<Item = IpAddr> {
    addresses
        .iter()
        .copied()
        .filter(move |address| Family::of(*address) == family)
}

/// The frontends of one port. An address that is a cluster IP and something else at once is the cluster IP; one that is a
/// load balancer's and an external IP is guarded.
fn wishes(
    service: &Service,
    port: &ServicePort,
    family: Family,
    sources: Option<&Arc<[(IpAddr, IpAddr)]>>,
) -> BTreeMap<Frontend, Wish> {
    let internal = match service.internal_policy {
        TrafficPolicy::Cluster => Route::Cluster,
        TrafficPolicy::Local => Route::InternalLocal,
    };
    let (external, masquerade) = match service.external_policy {
        TrafficPolicy::Cluster => (Route::Cluster, Masquerade::Always),
        TrafficPolicy::Local => (Route::ExternalLocal, Masquerade::Host),
    };
    let mut wishes = BTreeMap::new();
    let at = |address| Frontend::Address(address, port.protocol, port.port);
    if let Some(node_port) = port.node_port {
        wishes.insert(
            Frontend::NodePort(family, port.protocol, node_port),
            (external, masquerade, None),
        );
    }
    for address in of_family(&service.external_ips, family) {
        wishes.insert(at(address), (external, masquerade, None));
    }
    for address in of_family(&service.load_balancer_ips, family) {
        wishes.insert(at(address), (external, masquerade, sources.cloned()));
    }
    for address in of_family(&service.cluster_ips, family) {
        wishes.insert(at(address), (internal, Masquerade::ClusterIp, None));
    }
    wishes
}
