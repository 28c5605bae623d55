use std::collections::BTreeMap;

use super::reader::Reader;
use super::{
    Adoption, Defaults, Faults, HealthCheck, Identity, Listeners, Placement, Security, Service, TargetGroups,
    annotation,
};

/// What a Service asks for, with defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What others have made and it uses.
    pub adoption: Adoption,
    /// What the load balancer is.
    pub identity: Identity,
    /// Where in the VPC it is.
    pub placement: Placement,
    /// Who may reach it.
    pub security: Security,
    /// What it listens for.
    pub listeners: Listeners,
    /// What its target groups are like.
    pub target_groups: TargetGroups,
    /// How targets are checked.
    pub health_check: HealthCheck,
    /// The load balancer's attributes that shall not be at their defaults, and such that are named although they are.
    pub attributes: BTreeMap<String, String>,
    /// The capacity that is reserved; `None` without a word about it.
    pub capacity_units: Option<i32>,
}

impl Settings {
    /// Reads a Service. What is refused is named with all its faults.
    pub fn read(service: &Service, defaults: &Defaults) -> Result<Self, Faults> {
        let mut reader = Reader::new(service);
        let identity = Identity::read(&mut reader, defaults);
        let settings = Self {
            adoption: Adoption::read(&mut reader),
            placement: Placement::read(&mut reader, identity.ip_address_type),
            security: Security::read(&mut reader, defaults, identity.ip_address_type),
            listeners: Listeners::read(&mut reader, defaults),
            target_groups: TargetGroups::read(&mut reader),
            health_check: HealthCheck::read(&mut reader, identity.target_type),
            attributes: attributes(&mut reader),
            capacity_units: capacity(&mut reader),
            identity,
        };
        reader.finish(settings)
    }
}

const ROUTING_POLICY: &str = "dns_record.client_routing_policy";
const ROUTING_POLICIES: [&str; 3] = [
    "any_availability_zone",
    "partial_availability_zone_affinity",
    "availability_zone_affinity",
];

/// The attributes. The annotations that are older than the one for all of them win over it.
fn attributes(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut attributes = reader.map(annotation::ATTRIBUTES);
    if let Some(policy) = attributes
        .get(ROUTING_POLICY)
        .filter(|policy| !ROUTING_POLICIES.contains(&policy.as_str()))
    {
        let expected = ROUTING_POLICIES.join(", ");
        reader.fault(
            annotation::ATTRIBUTES,
            format!("invalid {ROUTING_POLICY} {policy}, must be one of [{expected}]"),
        );
    }
    for (name, key) in [
        (annotation::ACCESS_LOG, "access_logs.s3.enabled"),
        (annotation::CROSS_ZONE, "load_balancing.cross_zone.enabled"),
    ] {
        if let Some(is_on) = reader.boolean(name) {
            attributes.insert(key.to_owned(), is_on.to_string());
        }
    }
    for (name, key) in [
        (annotation::ACCESS_LOG_BUCKET, "access_logs.s3.bucket"),
        (annotation::ACCESS_LOG_PREFIX, "access_logs.s3.prefix"),
    ] {
        if let Some(text) = reader.text(name) {
            attributes.insert(key.to_owned(), text.to_owned());
        }
    }
    attributes
}

const CAPACITY_UNITS: &str = "CapacityUnits";

fn capacity(reader: &mut Reader<'_>) -> Option<i32> {
    let mut units = None;
    for (key, text) in reader.map(annotation::CAPACITY) {
        if key != CAPACITY_UNITS {
            let message = format!("invalid key to set the capacity: {key}, Expected key: {CAPACITY_UNITS}");
            reader.fault(annotation::CAPACITY, message);
            continue;
        }
        units = text.parse().ok().filter(|units| *units >= 0);
        if units.is_none() {
            reader.fault(
                annotation::CAPACITY,
                format!("invalid value to set the capacity: {text}"),
            );
        }
    }
    units
}

/// True if a text says on, false if it says off.
pub(super) fn on_or_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// `[a, b]`, as the contract writes the words to choose from.
pub(super) fn choices(words: &[&str]) -> String {
    format!("[{}]", words.join(", "))
}
