//! `MetalLB`'s objects: what of them matters here, and what has no counterpart.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config_map;
use super::note::Note;
use crate::objects::Object;

/// `MetalLB`'s API group.
pub const GROUP: &str = "metallb.io";

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Metallb {
    /// Pools, in the order in which they were found.
    pub pools: Vec<Named<PoolSpec>>,
    /// Who announces them on the local network.
    pub l2: Vec<Named<L2Spec>>,
    /// Who announces them to routers.
    pub bgp: Vec<Named<BgpSpec>>,
    /// The class of `MetalLB`'s Services, where its operator says it.
    pub class: Option<String>,
    /// Services of type `LoadBalancer`.
    pub services: Vec<Service>,
    /// Namespaces.
    pub namespaces: Vec<Namespace>,
    /// What could not be read, and what has no counterpart.
    pub notes: Vec<Note>,
}

/// What an object says, and where it says it.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// The object, as in `IPAddressPool metallb-system/public`.
    pub about: String,
    /// What comes before the names of its fields, as in `spec.`.
    pub place: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it says.
    pub spec: T,
}

impl<T> Named<T> {
    /// A field's path.
    pub fn field(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }
}

/// The spec of an `IPAddressPool`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolSpec {
    /// CIDRs and ranges.
    pub addresses: Vec<String>,
    /// Whether Services that ask for nothing in particular get its addresses.
    pub auto_assign: Option<bool>,
    /// Whether addresses that end in .0 and .255 are left out.
    #[serde(rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Which Services may have its addresses.
    pub service_allocation: Option<AllocationSpec>,
}

/// `spec.serviceAllocation` of an `IPAddressPool`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllocationSpec {
    /// Lower is tried first, 0 last.
    pub priority: i64,
    /// Namespaces by name.
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label.
    pub service_selectors: Vec<LabelSelector>,
}

/// The spec of an `L2Advertisement`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L2Spec {
    /// Pools by name.
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// The nodes that may announce; none selects all.
    pub node_selectors: Vec<LabelSelector>,
    /// The interfaces; none means all.
    pub interfaces: Vec<String>,
    /// The Services that are announced; none selects all.
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that rank higher.
    pub preferred_node_selectors: Vec<PreferredNodeSpec>,
}

/// An item of `spec.preferredNodeSelectors` of an `L2Advertisement`.
#[derive(Debug, Clone, Deserialize)]
pub struct PreferredNodeSpec {
    /// How much higher.
    pub weight: i64,
    /// The nodes.
    pub preference: LabelSelector,
}

/// What matters of the spec of a `BGPAdvertisement`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpSpec {
    /// Pools by name.
    pub ip_address_pools: Vec<String>,
    /// Pools by label.
    pub ip_address_pool_selectors: Vec<LabelSelector>,
}

/// The spec of the kind `MetalLB` of `MetalLB`'s operator.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OperatorSpec {
    load_balancer_class: Option<String>,
}

/// The spec of an `AddressPool`, the predecessor of the `IPAddressPool`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OldPoolSpec {
    protocol: String,
    addresses: Vec<String>,
    auto_assign: Option<bool>,
}

impl Metallb {
    /// Reads what was found. Objects of other programs are passed over.
    pub fn read(objects: &[Object]) -> Self {
        let mut found = Self::default();
        for object in objects {
            match (object.group(), object.kind.as_str()) {
                (GROUP, _) => found.read_own(object),
                ("", "Service") => {
                    if let Some(service) = found.whole::<Service>(object) {
                        let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
                        found
                            .services
                            .extend((type_ == Some("LoadBalancer")).then_some(service));
                    }
                }
                ("", "Namespace") => {
                    let namespace = found.whole(object);
                    found.namespaces.extend(namespace);
                }
                ("", "ConfigMap") => config_map::read(object, &mut found),
                _ => {}
            }
        }
        found
    }

    fn read_own(&mut self, object: &Object) {
        let about = object.describe();
        match object.kind.as_str() {
            "IPAddressPool" => {
                let known = ["addresses", "autoAssign", "avoidBuggyIPs", "serviceAllocation"];
                let within = ["priority", "namespaces", "namespaceSelectors", "serviceSelectors"];
                self.unknown(object, "spec.serviceAllocation", &within);
                let pool = self.spec(object, &known);
                self.pools.extend(pool);
            }
            "L2Advertisement" => {
                let known = [
                    "ipAddressPools",
                    "ipAddressPoolSelectors",
                    "nodeSelectors",
                    "interfaces",
                    "serviceSelectors",
                    "preferredNodeSelectors",
                ];
                let advertisement = self.spec(object, &known);
                self.l2.extend(advertisement);
            }
            // What else it says is how to speak BGP, and lost with that.
            "BGPAdvertisement" => {
                if let Some(spec) = self.read_spec(object) {
                    self.bgp.push(named(object, spec));
                }
            }
            "BGPPeer" | "BFDProfile" | "Community" => {
                let text = "Fairlead does not speak BGP, which is all that this object is for";
                self.notes.push(Note::lost(&about, "", text));
            }
            "AddressPool" => {
                if let Some(named) =
                    self.spec::<OldPoolSpec>(object, &["protocol", "addresses", "autoAssign", "bgpAdvertisements"])
                {
                    let OldPoolSpec {
                        protocol,
                        addresses,
                        auto_assign,
                    } = &named.spec;
                    let spec = PoolSpec {
                        addresses: addresses.clone(),
                        auto_assign: *auto_assign,
                        ..PoolSpec::default()
                    };
                    self.pool_with_protocol(named.with(spec), protocol);
                }
            }
            "MetalLB" => {
                if let Some(named) = self.spec::<OperatorSpec>(object, &["loadBalancerClass"]) {
                    self.class = named.spec.load_balancer_class.filter(|class| !class.is_empty());
                }
            }
            // What MetalLB writes about itself.
            "ServiceL2Status" | "ServiceBGPStatus" | "ConfigurationState" => {}
            _ => {
                let text = "this kind of MetalLB's is not known here; nothing was made of it";
                self.notes.push(Note::lost(&about, "", text));
            }
        }
    }

    /// A pool of a form that said by itself how it is announced.
    pub(super) fn pool_with_protocol(&mut self, pool: Named<PoolSpec>, protocol: &str) {
        let pools = vec![pool.name.clone()];
        match protocol {
            "layer2" => self.l2.push(pool.with(L2Spec {
                ip_address_pools: pools,
                ..L2Spec::default()
            })),
            "bgp" => self.bgp.push(pool.with(BgpSpec {
                ip_address_pools: pools,
                ..BgpSpec::default()
            })),
            other => {
                let text = format!("{other:?} is neither layer2 nor bgp, so that nothing announces the pool");
                self.notes.push(Note::lost(&pool.about, pool.field("protocol"), text));
            }
        }
        self.pools.push(pool);
    }

    /// An object's spec, if it can be read. Fields that are not known are told.
    fn spec<T: DeserializeOwned + Default>(&mut self, object: &Object, known: &[&str]) -> Option<Named<T>> {
        self.unknown(object, "spec", known);
        let spec = self.read_spec(object)?;
        Some(named(object, spec))
    }

    fn read_spec<T: DeserializeOwned + Default>(&mut self, object: &Object) -> Option<T> {
        // One that says nothing goes without: an advertisement of every pool often does.
        #[derive(Deserialize)]
        struct Whole<T> {
            spec: Option<T>,
        }
        self.whole::<Whole<T>>(object)
            .map(|whole| whole.spec.unwrap_or_default())
    }

    fn whole<T: DeserializeOwned>(&mut self, object: &Object) -> Option<T> {
        object
            .read()
            .map_err(|fault| {
                let text = format!(
                    "it cannot be read, and nothing was made of this object: {}",
                    fault.problem
                );
                self.notes.push(Note::lost(&object.describe(), fault.field, text));
            })
            .ok()
    }

    fn unknown(&mut self, object: &Object, place: &str, known: &[&str]) {
        let pointer = format!("/{}", place.replace('.', "/"));
        let fields = object.value.pointer(&pointer).and_then(Value::as_object);
        for name in fields.into_iter().flat_map(|fields| fields.keys()) {
            if !known.contains(&name.as_str()) {
                let text = "this field is not known here; nothing was made of it";
                self.notes
                    .push(Note::lost(&object.describe(), format!("{place}.{name}"), text));
            }
        }
    }
}

impl<T> Named<T> {
    /// Something else that is said in the same place.
    fn with<U>(&self, spec: U) -> Named<U> {
        Named {
            about: self.about.clone(),
            place: self.place.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            spec,
        }
    }
}

fn named<T>(object: &Object, spec: T) -> Named<T> {
    let labels = object.value.pointer("/metadata/labels").and_then(Value::as_object);
    let label = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Named {
        about: object.describe(),
        place: "spec.".to_owned(),
        name: object.name().to_owned(),
        labels: labels.into_iter().flatten().filter_map(label).collect(),
        spec,
    }
}
