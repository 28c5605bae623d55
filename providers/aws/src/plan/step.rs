//! One thing to do. Each is one kind of call, has all that the call needs, and does no harm if it is done again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fairlead_model::Family;

use crate::contract::{HealthCheck, IpAddressType, ListenerProtocol, Scheme, TargetType};
use crate::desired::{Group, Listener, Rule, SubnetMapping, Tags, Target};

/// A load balancer or a target group, there or still to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ref {
    /// By ARN.
    Arn(String),
    /// By the name that an earlier step makes it with.
    Named(String),
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Arn(arn) => f.write_str(&shown(arn)),
        }
    }
}

/// The name that is in an ARN.
fn shown(arn: &str) -> String {
    let path = arn.rsplit(':').next().unwrap_or(arn);
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["loadbalancer", _, name, ..] | ["targetgroup", name, ..] => (*name).to_owned(),
        ["listener", _, name, ..] => format!("a listener of {name}"),
        _ => arn.to_owned(),
    }
}

/// A listener, there or still to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenerRef {
    /// By ARN.
    Arn(String),
    /// By its load balancer and port.
    At(Ref, u16),
}

/// A load balancer to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLoadBalancer {
    /// Its name.
    pub name: String,
    /// Where it can be reached from.
    pub scheme: Scheme,
    /// Its addresses.
    pub ip_address_type: IpAddressType,
    /// Whether it sends to IPv6 targets from addresses of its own.
    pub has_source_nat: bool,
    /// Where it is.
    pub subnets: Vec<SubnetMapping>,
    /// Its security groups.
    pub security_groups: BTreeSet<Group>,
    /// Its tags.
    pub tags: Tags,
}

/// A target group to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTargetGroup {
    /// Its name.
    pub name: String,
    /// What targets speak.
    pub protocol: ListenerProtocol,
    /// Its port.
    pub port: u16,
    /// What targets are.
    pub target_type: TargetType,
    /// The family of their addresses.
    pub family: Family,
    /// How they are checked.
    pub health_check: HealthCheck,
    /// Its tags.
    pub tags: Tags,
}

/// What a listener sends to, with the parts if there are several.
pub type Destinations = BTreeMap<Ref, Option<u16>>;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are those of the call that each variant is named after"
)]
pub enum Step {
    CreateSecurityGroup {
        name: String,
        description: &'static str,
        tags: Tags,
    },
    AuthorizeIngress {
        group: Group,
        rules: BTreeSet<Rule>,
    },
    RevokeIngress {
        group: Group,
        rules: BTreeSet<Rule>,
    },
    DeleteSecurityGroup {
        id: String,
    },

    CreateTargetGroup(Box<NewTargetGroup>),
    ModifyTargetGroup {
        group: Ref,
        health_check: HealthCheck,
    },
    ModifyTargetGroupAttributes {
        group: Ref,
        attributes: BTreeMap<String, String>,
    },
    /// Written down in the cluster before the call that it is about.
    RecordTargets {
        group: Ref,
        targets: BTreeSet<Target>,
    },
    RegisterTargets {
        group: Ref,
        targets: BTreeSet<Target>,
    },
    DeregisterTargets {
        group: Ref,
        targets: BTreeSet<Target>,
    },
    DeleteTargetGroup {
        arn: String,
    },

    CreateLoadBalancer(Box<NewLoadBalancer>),
    SetSubnets {
        load_balancer: Ref,
        subnets: Vec<SubnetMapping>,
        ip_address_type: IpAddressType,
        has_source_nat: bool,
    },
    SetIpAddressType {
        load_balancer: Ref,
        ip_address_type: IpAddressType,
    },
    SetSecurityGroups {
        load_balancer: Ref,
        groups: BTreeSet<Group>,
        applies_to_private_link: bool,
    },
    ModifyLoadBalancerAttributes {
        load_balancer: Ref,
        attributes: BTreeMap<String, String>,
    },
    ModifyCapacityReservation {
        load_balancer: Ref,
        units: i32,
    },
    DeleteLoadBalancer {
        arn: String,
    },

    CreateListener {
        load_balancer: Ref,
        port: u16,
        listener: Box<Listener>,
        to: Destinations,
    },
    ModifyListener {
        arn: String,
        port: u16,
        listener: Box<Listener>,
        to: Destinations,
    },
    AddListenerCertificates {
        listener: ListenerRef,
        port: u16,
        certificates: BTreeSet<String>,
    },
    RemoveListenerCertificates {
        listener: ListenerRef,
        port: u16,
        certificates: BTreeSet<String>,
    },
    ModifyListenerAttributes {
        listener: ListenerRef,
        port: u16,
        attributes: BTreeMap<String, String>,
    },
    DeleteListener {
        arn: String,
        port: u16,
    },

    /// Tags of load balancers, target groups and listeners.
    AddTags {
        arns: BTreeSet<String>,
        tags: Tags,
    },
    RemoveTags {
        arns: BTreeSet<String>,
        keys: BTreeSet<String>,
    },
    /// Tags of a security group.
    CreateTags {
        id: String,
        tags: Tags,
    },
    DeleteTags {
        id: String,
        keys: BTreeSet<String>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateSecurityGroup { name, .. } => write!(f, "+ security group {name}"),
            Self::AuthorizeIngress { group, rules } => write!(f, "+ rules of {group}: {}", list(rules)),
            Self::RevokeIngress { group, rules } => write!(f, "- rules of {group}: {}", list(rules)),
            Self::DeleteSecurityGroup { id } => write!(f, "- security group {id}"),
            Self::CreateTargetGroup(new) => {
                let (kind, family) = (new.target_type, new.family);
                write!(
                    f,
                    "+ target group {} ({} {}, {kind}, {family})",
                    new.name, new.protocol, new.port
                )
            }
            Self::ModifyTargetGroup { group, health_check } => {
                let (protocol, port) = (health_check.protocol.word(), health_check.port);
                write!(f, "~ target group {group}: health check {protocol} {port}")
            }
            Self::ModifyTargetGroupAttributes { group, attributes } => {
                write!(f, "~ target group {group}: {}", pairs(attributes))
            }
            Self::RecordTargets { group, targets } => write!(f, "~ record of {group}: {}", list(targets)),
            Self::RegisterTargets { group, targets } => write!(f, "+ targets of {group}: {}", list(targets)),
            Self::DeregisterTargets { group, targets } => write!(f, "- targets of {group}: {}", list(targets)),
            Self::DeleteTargetGroup { arn } => write!(f, "- target group {}", Ref::Arn(arn.clone())),
            Self::CreateLoadBalancer(new) => {
                let subnets = new.subnets.iter().map(|mapping| &mapping.subnet);
                let (scheme, addresses) = (new.scheme, new.ip_address_type);
                write!(
                    f,
                    "+ load balancer {} ({scheme}, {addresses}) in {}",
                    new.name,
                    list(subnets)
                )
            }
            Self::SetSubnets {
                load_balancer,
                subnets,
                ip_address_type,
                ..
            } => {
                let subnets = subnets.iter().map(|mapping| &mapping.subnet);
                write!(
                    f,
                    "~ load balancer {load_balancer}: {ip_address_type} in {}",
                    list(subnets)
                )
            }
            Self::SetIpAddressType {
                load_balancer,
                ip_address_type,
            } => {
                write!(f, "~ load balancer {load_balancer}: {ip_address_type}")
            }
            Self::SetSecurityGroups {
                load_balancer,
                groups,
                applies_to_private_link,
            } => {
                let private_link = if *applies_to_private_link {
                    ""
                } else {
                    ", not for PrivateLink"
                };
                write!(
                    f,
                    "~ load balancer {load_balancer}: security groups {}{private_link}",
                    list(groups)
                )
            }
            Self::ModifyLoadBalancerAttributes {
                load_balancer,
                attributes,
            } => {
                write!(f, "~ load balancer {load_balancer}: {}", pairs(attributes))
            }
            Self::ModifyCapacityReservation { load_balancer, units } => {
                write!(f, "~ load balancer {load_balancer}: {units} capacity units")
            }
            Self::DeleteLoadBalancer { arn } => write!(f, "- load balancer {}", Ref::Arn(arn.clone())),
            Self::CreateListener {
                load_balancer,
                port,
                listener,
                to,
            } => {
                write!(
                    f,
                    "+ listener {port} {} of {load_balancer} -> {}",
                    listener.protocol,
                    list(to.keys())
                )
            }
            Self::ModifyListener { port, listener, to, .. } => {
                write!(f, "~ listener {port} {} -> {}", listener.protocol, list(to.keys()))
            }
            Self::AddListenerCertificates { port, certificates, .. } => {
                write!(f, "+ certificates of listener {port}: {}", list(certificates))
            }
            Self::RemoveListenerCertificates { port, certificates, .. } => {
                write!(f, "- certificates of listener {port}: {}", list(certificates))
            }
            Self::ModifyListenerAttributes { port, attributes, .. } => {
                write!(f, "~ listener {port}: {}", pairs(attributes))
            }
            Self::DeleteListener { port, .. } => write!(f, "- listener {port}"),
            Self::AddTags { arns, tags } => write!(f, "+ tags of {}: {}", names(arns), pairs(tags)),
            Self::RemoveTags { arns, keys } => write!(f, "- tags of {}: {}", names(arns), list(keys)),
            Self::CreateTags { id, tags } => write!(f, "+ tags of {id}: {}", pairs(tags)),
            Self::DeleteTags { id, keys } => write!(f, "- tags of {id}: {}", list(keys)),
        }
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

fn names(arns: &BTreeSet<String>) -> String {
    list(arns.iter().map(|arn| shown(arn)))
}

fn pairs(pairs: &BTreeMap<String, String>) -> String {
    list(pairs.iter().map(|(key, value)| format!("{key}={value}")))
}
