use serde::Deserialize;
use serde_json::Value;

use super::reader::Reader;

/// Where a listener sends to, with weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The part of the Service itself, if it has one.
    pub own_weight: Option<u16>,
    /// The others.
    pub to: Vec<ForwardTo>,
    /// Whether a client stays with what it was sent to.
    pub is_sticky: bool,
}

/// One of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardTo {
    /// What it is.
    pub backend: Backend,
    /// Its part.
    pub weight: Option<u16>,
}

/// What a listener can send to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// A port, by name or number, of a Service of the same namespace.
    Service {
        /// Its name.
        name: String,
        /// Its port.
        port: String,
        /// Whether TLS ends at the load balancer; `None` without a word about it.
        decrypts: Option<bool>,
    },
    /// A target group that somebody else keeps.
    TargetGroup(String),
}

const HEAVIEST: i64 = 999;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(rename = "targetGroupARN")]
    target_group: Option<String>,
    forward_config: Option<ForwardConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForwardConfig {
    base_service_weight: Option<i64>,
    #[serde(default)]
    target_groups: Vec<Destination>,
    target_group_stickiness_config: Option<Stickiness>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    service_name: Option<String>,
    service_port: Option<Value>,
    #[serde(rename = "targetGroupARN")]
    target_group: Option<String>,
    weight: Option<i64>,
    decrypt: Option<bool>,
}

#[derive(Deserialize)]
struct Stickiness {
    #[serde(default)]
    enabled: bool,
}

/// Reads the action of one listener.
pub(super) fn read(reader: &mut Reader<'_>, name: &str) -> Option<Forward> {
    let text = reader.text(name)?;
    let action: Action = reader.parsed("json", name, text, serde_json::from_str(text).ok())?;
    if action.kind != "forward" {
        reader.fault(name, format!("unknown action type: {}", action.kind));
        return None;
    }
    let config = action.forward_config.unwrap_or(ForwardConfig {
        base_service_weight: None,
        target_groups: Vec::new(),
        target_group_stickiness_config: None,
    });
    let mut to: Vec<_> = config
        .target_groups
        .into_iter()
        .filter_map(|group| forward_to(reader, name, group))
        .collect();
    to.extend(action.target_group.map(|arn| ForwardTo {
        backend: Backend::TargetGroup(arn),
        weight: None,
    }));
    let own_weight = config
        .base_service_weight
        .and_then(|number| weight(reader, name, number));
    let parts = to.len() + usize::from(own_weight.is_some());
    if parts > 1 && to.iter().any(|to| to.weight.is_none()) {
        reader.fault(name, "weight must be set when routing to multiple target groups");
    }
    if parts == 0 {
        reader.fault(name, "missing forwardConfig");
    }
    Some(Forward {
        own_weight,
        to,
        is_sticky: config
            .target_group_stickiness_config
            .is_some_and(|config| config.enabled),
    })
}

fn forward_to(reader: &mut Reader<'_>, name: &str, group: Destination) -> Option<ForwardTo> {
    let weight = group.weight.and_then(|number| weight(reader, name, number));
    let backend = match (group.target_group, group.service_name) {
        (Some(arn), None) => Backend::TargetGroup(arn),
        (None, Some(service)) => {
            let port = match group.service_port {
                Some(Value::String(port)) => port,
                Some(Value::Number(port)) => port.to_string(),
                _ => {
                    reader.fault(name, "missing servicePort");
                    return None;
                }
            };
            Backend::Service {
                name: service,
                port,
                decrypts: group.decrypt,
            }
        }
        _ => {
            reader.fault(name, "precisely one of targetGroupARN and serviceName can be specified");
            return None;
        }
    };
    Some(ForwardTo { backend, weight })
}

fn weight(reader: &mut Reader<'_>, name: &str, number: i64) -> Option<u16> {
    let weight = u16::try_from(number).ok().filter(|_| number <= HEAVIEST);
    if weight.is_none() {
        reader.fault(name, "target group weight must be between 0 and 999");
    }
    weight
}
