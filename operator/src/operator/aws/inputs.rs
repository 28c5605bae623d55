//! What is known of the cluster, in the words of the provider.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fairlead_aws::contract::{Defaults, PREFIX, Service, TargetType};
use fairlead_aws::desired::{Cluster, Endpoint, Node, PortKey, Taint};
use fairlead_crds::AwsProvider;
use fairlead_model::{Protocol, ServiceName};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::gates;
use super::watch::{Pod, Told};
use crate::operator::controller::world::key_of;
use crate::watch::Change;

/// The label by which EndpointSlices say whose they are.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The provider's part of the settings of all Services.
pub fn defaults(provider: &AwsProvider) -> Defaults {
    Defaults {
        target_type: match provider.default_target_type {
            fairlead_crds::TargetType::Instance => TargetType::Instance,
            fairlead_crds::TargetType::Ip => TargetType::Ip,
        },
        tags: provider.tags.clone(),
        ..Defaults::of_cluster(&provider.cluster_name)
    }
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These Services.
    Services(BTreeSet<ServiceName>),
    /// All of them.
    Everything,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Inputs {
    nodes: Option<BTreeMap<String, Node>>,
    slices: Option<BTreeMap<ServiceName, Slice>>,
    pods: Option<BTreeMap<ServiceName, GatedPod>>,
    services: Option<BTreeMap<ServiceName, Service>>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    service: String,
    ports: Vec<(String, Protocol, u16)>,
    slots: Vec<Slot>,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    addresses: Vec<IpAddr>,
    is_ready: bool,
    is_terminating: bool,
    pod: Option<String>,
}

/// A pod with readiness gates of load balancers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedPod {
    /// Its UID.
    pub uid: Option<String>,
    /// The gates of load balancers, and whether each is open.
    pub gates: BTreeMap<String, bool>,
    /// Whether it waits for nothing but those.
    pub waits_for_load_balancers: bool,
}

impl GatedPod {
    /// `None` for a pod without such gates.
    fn read(pod: &Pod) -> Option<Self> {
        let is_true = |type_: &str| {
            let mut conditions = pod.status.conditions.iter();
            conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
        };
        let types = || pod.spec.readiness_gates.iter().map(|gate| gate.condition_type.as_str());
        let gates: BTreeMap<_, _> = types()
            .filter(|type_| type_.starts_with(gates::PREFIX))
            .map(|type_| (type_.to_owned(), is_true(type_)))
            .collect();
        let mut others = types().filter(|type_| !type_.starts_with(gates::PREFIX));
        (!gates.is_empty()).then(|| Self {
            uid: pod.uid(),
            waits_for_load_balancers: pod.metadata.deletion_timestamp.is_none()
                && is_true("ContainersReady")
                && others.all(is_true),
            gates,
        })
    }
}

impl Inputs {
    /// True once everything was listed. What is missing before that might only not be known yet.
    pub fn is_complete(&self) -> bool {
        self.nodes.is_some() && self.slices.is_some() && self.pods.is_some() && self.services.is_some()
    }

    /// Takes in what was told.
    pub fn absorb(&mut self, told: Told) -> Touched {
        match told {
            Told::Node(change) => {
                let has_changed = change_of(&mut self.nodes, change, ResourceExt::name_any, |node| {
                    Some(read_node(node))
                });
                if has_changed.is_empty() {
                    Touched::Services(BTreeSet::new())
                } else {
                    Touched::Everything
                }
            }
            Told::EndpointSlice(change) => {
                // Of one that is gone, only the object says whose it was.
                let gone = match &change {
                    Change::All(_) => {
                        change_of(&mut self.slices, change, key_of, read_slice);
                        return Touched::Everything;
                    }
                    Change::Is(_) => None,
                    Change::Gone(slice) => Some((key_of(&**slice), read_slice(slice))),
                };
                let changed = change_of(&mut self.slices, change, key_of, read_slice);
                let of = |key: &ServiceName| {
                    let gone = gone.as_ref().and_then(|(_, slice)| slice.as_ref());
                    let slice = self.slices.as_ref().and_then(|slices| slices.get(key)).or(gone)?;
                    Some(ServiceName::new(&*key.namespace, &*slice.service))
                };
                Touched::Services(self.with_users(changed.iter().filter_map(of).collect()))
            }
            Told::Pod(change) => {
                let changed = change_of(&mut self.pods, change, key_of, GatedPod::read);
                let namespaces: BTreeSet<_> = changed.iter().map(|pod| pod.namespace.clone()).collect();
                let pods: BTreeSet<_> = changed.iter().collect();
                let slices = self.slices.iter().flatten();
                let of = slices.filter(|(key, slice)| {
                    namespaces.contains(&key.namespace)
                        && slice.slots.iter().any(|slot| {
                            let pod = slot.pod.as_ref();
                            pod.is_some_and(|pod| pods.contains(&ServiceName::new(&*key.namespace, &**pod)))
                        })
                });
                let services = of.map(|(key, slice)| ServiceName::new(&*key.namespace, &*slice.service));
                Touched::Services(self.with_users(services.collect()))
            }
        }
    }

    /// Takes in what was told of Services.
    pub fn absorb_services(&mut self, change: Change<core::Service>) -> Touched {
        let changed = change_of(&mut self.services, change, key_of, Service::from_resource);
        Touched::Services(self.with_users(changed))
    }

    /// And those whose listeners may send to them.
    fn with_users(&self, mut services: BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        let namespaces: BTreeSet<_> = services.iter().map(|key| key.namespace.clone()).collect();
        let actions = format!("{PREFIX}actions.");
        let users = self.services.iter().flatten().filter(|(key, service)| {
            namespaces.contains(&key.namespace) && service.annotations.keys().any(|name| name.starts_with(&actions))
        });
        services.extend(users.map(|(key, _)| key.clone()));
        services
    }

    /// The cluster as a namespace sees it.
    pub fn cluster(
        &self,
        namespace: &str,
        interface_groups: &BTreeMap<String, Vec<String>>,
        backend_group: Option<String>,
    ) -> Cluster {
        let mut endpoints: BTreeMap<PortKey, Vec<Endpoint>> = BTreeMap::new();
        for (key, slice) in of_namespace(self.slices.as_ref(), namespace) {
            for (name, protocol, port) in &slice.ports {
                let port_key = PortKey {
                    service: slice.service.clone(),
                    port: name.clone(),
                    protocol: *protocol,
                };
                let all = endpoints.entry(port_key).or_default();
                for slot in &slice.slots {
                    let pod = slot.pod.as_ref();
                    let pod = pod.and_then(|pod| self.pods.as_ref()?.get(&ServiceName::new(&*key.namespace, &**pod)));
                    all.extend(slot.addresses.iter().map(|address| Endpoint {
                        address: *address,
                        port: *port,
                        is_ready: slot.is_ready || pod.is_some_and(|pod| pod.waits_for_load_balancers),
                        is_terminating: slot.is_terminating,
                        quic_server_id: None,
                    }));
                }
            }
        }
        let services = of_namespace(self.services.as_ref(), namespace);
        Cluster {
            nodes: self.nodes.iter().flat_map(BTreeMap::values).cloned().collect(),
            endpoints,
            services: services
                .map(|(key, service)| (key.name.to_string(), service.clone()))
                .collect(),
            interface_groups: interface_groups.clone(),
            backend_group,
        }
    }

    /// The pods of a Service that have gates of load balancers, with their addresses.
    pub fn gated_pods(&self, service: &ServiceName) -> BTreeMap<ServiceName, (&GatedPod, BTreeSet<IpAddr>)> {
        let mut found: BTreeMap<ServiceName, (&GatedPod, BTreeSet<IpAddr>)> = BTreeMap::new();
        let slices = of_namespace(self.slices.as_ref(), &service.namespace);
        for (_, slice) in slices.filter(|(_, slice)| *slice.service == *service.name) {
            for slot in &slice.slots {
                let Some(name) = slot
                    .pod
                    .as_ref()
                    .map(|pod| ServiceName::new(&*service.namespace, &**pod))
                else {
                    continue;
                };
                if let Some(pod) = self.pods.as_ref().and_then(|pods| pods.get(&name)) {
                    found
                        .entry(name)
                        .or_insert((pod, BTreeSet::new()))
                        .1
                        .extend(&slot.addresses);
                }
            }
        }
        found
    }
}

fn of_namespace<'a, V>(
    all: Option<&'a BTreeMap<ServiceName, V>>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a ServiceName, &'a V)> {
    let first = ServiceName::new(namespace, "");
    let from = all.into_iter().flat_map(move |all| all.range(first.clone()..));
    from.take_while(move |(key, _)| *key.namespace == *namespace)
}

/// Takes a change in, and gives the keys of what is another than before.
fn change_of<I: Ord + Clone, K, V: PartialEq>(
    known: &mut Option<BTreeMap<I, V>>,
    change: Change<K>,
    key: impl Fn(&K) -> I,
    read: impl Fn(&K) -> Option<V>,
) -> BTreeSet<I> {
    match change {
        Change::All(objects) => {
            let new: BTreeMap<_, _> = objects
                .iter()
                .filter_map(|object| Some((key(object), read(object)?)))
                .collect();
            let old = known.take().unwrap_or_default();
            let keys: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
            let changed = keys.into_iter().filter(|key| old.get(key) != new.get(key)).collect();
            *known = Some(new);
            changed
        }
        Change::Is(object) => {
            let (id, known) = (key(&object), known.get_or_insert_default());
            let new = read(&object);
            if known.get(&id) == new.as_ref() {
                return BTreeSet::new();
            }
            match new {
                Some(new) => drop(known.insert(id.clone(), new)),
                None => drop(known.remove(&id)),
            }
            [id].into()
        }
        Change::Gone(object) => {
            let id = key(&object);
            let was_there = known.get_or_insert_default().remove(&id).is_some();
            was_there.then_some(id).into_iter().collect()
        }
    }
}

fn read_node(node: &core::Node) -> Node {
    let spec = node.spec.as_ref();
    let taints = spec.into_iter().flat_map(|spec| spec.taints.iter().flatten());
    Node {
        name: node.name_any(),
        provider_id: spec.and_then(|spec| spec.provider_id.clone()).unwrap_or_default(),
        labels: node.labels().clone(),
        taints: taints
            .map(|taint| Taint {
                key: taint.key.clone(),
                effect: taint.effect.clone(),
            })
            .collect(),
        is_deleting: node.metadata.deletion_timestamp.is_some(),
    }
}

fn read_slice(slice: &EndpointSlice) -> Option<Slice> {
    let ports = slice.ports.iter().flatten().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(_) => return None,
        };
        let number = u16::try_from(port.port?).ok()?;
        Some((port.name.clone().unwrap_or_default(), protocol, number))
    });
    let slots = slice.endpoints.iter().map(|endpoint| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let pod = endpoint.target_ref.as_ref();
        let pod = pod.filter(|target| target.kind.as_deref() == Some("Pod"));
        Slot {
            addresses: endpoint.addresses.iter().filter_map(|text| text.parse().ok()).collect(),
            is_ready: conditions.ready.unwrap_or(true),
            is_terminating: conditions.terminating.unwrap_or_default(),
            pod: pod.and_then(|target| target.name.clone()),
        }
    });
    Some(Slice {
        service: slice.labels().get(SERVICE_NAME)?.clone(),
        ports: ports.collect(),
        slots: slots.collect(),
    })
}

#[cfg(test)]
mod tests;
