use std::fmt;

use fairlead_model::TrafficPolicy;

use super::reader::Reader;
use super::{Exposure, TargetPort, TargetType, annotation};

/// How targets are checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HealthCheck {
    /// What is spoken.
    pub protocol: HealthCheckProtocol,
    /// Where.
    pub port: HealthCheckPort,
    /// What is asked for, by HTTP.
    pub path: Option<String>,
    /// The codes that count as healthy, by HTTP.
    pub success_codes: Option<String>,
    /// Seconds between two checks.
    pub interval: i32,
    /// Seconds to wait for an answer.
    pub timeout: i32,
    /// How many good checks make a target healthy.
    pub healthy_threshold: i32,
    /// How many bad ones make it unhealthy.
    pub unhealthy_threshold: i32,
}

/// What a health check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HealthCheckProtocol {
    /// It only connects.
    Tcp,
    /// HTTP
    Http,
    /// HTTP over TLS
    Https,
}

impl HealthCheckProtocol {
    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
        }
    }
}

/// The port that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HealthCheckPort {
    /// The one that traffic goes to.
    Traffic,
    /// This one.
    Number(u16),
}

impl fmt::Display for HealthCheckPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Traffic => f.write_str("traffic-port"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl HealthCheck {
    /// The defaults of the contract. Nodes that have an endpoint of a Service with `externalTrafficPolicy: Local` say so at its health
    /// check node port.
    fn of_policy(reader: &Reader<'_>, target_type: TargetType) -> Self {
        let service = reader.service;
        let is_local = service.external_policy == TrafficPolicy::Local
            && service.exposure == Exposure::LoadBalancer
            && target_type == TargetType::Instance;
        match service.health_check_node_port.filter(|_| is_local) {
            Some(port) => Self {
                protocol: HealthCheckProtocol::Http,
                port: HealthCheckPort::Number(port),
                path: Some("/healthz".to_owned()),
                success_codes: None,
                interval: 10,
                timeout: 6,
                healthy_threshold: 2,
                unhealthy_threshold: 2,
            },
            None => Self {
                protocol: HealthCheckProtocol::Tcp,
                port: HealthCheckPort::Traffic,
                path: None,
                success_codes: None,
                interval: 10,
                timeout: 10,
                healthy_threshold: 3,
                unhealthy_threshold: 3,
            },
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, target_type: TargetType) -> Self {
        let mut check = Self::of_policy(reader, target_type);
        if let Some(text) = reader.text(annotation::HEALTH_PROTOCOL) {
            check.protocol = match text.to_ascii_lowercase().as_str() {
                "tcp" => HealthCheckProtocol::Tcp,
                "http" => HealthCheckProtocol::Http,
                "https" => HealthCheckProtocol::Https,
                _ => {
                    let message = format!("unsupported health check protocol {text}");
                    reader.fault(annotation::HEALTH_PROTOCOL, message);
                    check.protocol
                }
            };
        }
        if let Some(text) = reader.text(annotation::HEALTH_PORT) {
            check.port = port(reader, text, target_type).unwrap_or(check.port);
        }
        check.path = match check.protocol {
            HealthCheckProtocol::Tcp => None,
            _ => reader
                .text(annotation::HEALTH_PATH)
                .map(str::to_owned)
                .or(check.path)
                .or(Some("/".to_owned())),
        };
        check.success_codes = match check.protocol {
            HealthCheckProtocol::Tcp => None,
            _ => Some(reader.text(annotation::HEALTH_CODES).unwrap_or("200-399").to_owned()),
        };
        for (name, value, least, most) in [
            (annotation::HEALTH_INTERVAL, &mut check.interval, 5, 300),
            (annotation::HEALTH_TIMEOUT, &mut check.timeout, 2, 120),
            (annotation::HEALTHY_THRESHOLD, &mut check.healthy_threshold, 2, 10),
            (annotation::UNHEALTHY_THRESHOLD, &mut check.unhealthy_threshold, 2, 10),
        ] {
            *value = reader.number(name, least, most).unwrap_or(*value);
        }
        check
    }
}

fn port(reader: &mut Reader<'_>, text: &str, target_type: TargetType) -> Option<HealthCheckPort> {
    if text == "traffic-port" {
        return Some(HealthCheckPort::Traffic);
    }
    if let Ok(number) = text.parse() {
        return Some(HealthCheckPort::Number(number));
    }
    let Some(port) = reader.service.ports.iter().find(|port| port.name == text) else {
        let message = format!("failed to resolve healthCheckPort: the Service has no port named {text}");
        reader.fault(annotation::HEALTH_PORT, message);
        return None;
    };
    match (target_type, &port.target) {
        // Without a node port the type of targets is refused already.
        (TargetType::Instance, _) => port.node_port.map(HealthCheckPort::Number),
        (TargetType::Ip, TargetPort::Number(number)) => Some(HealthCheckPort::Number(*number)),
        (TargetType::Ip, TargetPort::Name(_)) => {
            reader.fault(
                annotation::HEALTH_PORT,
                "cannot use named healthCheckPort for IP TargetType when service's targetPort is a named port",
            );
            None
        }
    }
}
