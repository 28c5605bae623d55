use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use fairlead_model::Protocol;

use super::reader::Reader;
use super::settings::choices;
use super::value::go_list;
use super::{Defaults, Forward, ListenerProtocol, Port, TargetPort, action, annotation, value};

/// What a load balancer listens for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// One for each number among the Service's ports, by number.
    pub each: Vec<ListenerSettings>,
    /// The certificates of those that speak TLS; the first is what clients get that name no host.
    pub certificates: Vec<String>,
    /// Their security policy.
    pub tls_policy: String,
    /// What they agree on about HTTP.
    pub alpn: Option<AlpnPolicy>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// What clients speak.
    pub protocol: ListenerProtocol,
    /// What targets speak.
    pub target_protocol: ListenerProtocol,
    /// The Service's port; one of two where TCP and UDP have the same number.
    pub port: Port,
    /// Its attributes that shall not be at their defaults.
    pub attributes: BTreeMap<String, String>,
    /// Where it sends to, where that is not simply the Service.
    pub forward: Option<Forward>,
}

/// What TLS listeners agree on about HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlpnPolicy {
    /// Nothing.
    None,
    /// HTTP/1 only.
    Http1Only,
    /// HTTP/2 only.
    Http2Only,
    /// HTTP/1 rather than HTTP/2.
    Http2Optional,
    /// HTTP/2 rather than HTTP/1.
    Http2Preferred,
}

impl AlpnPolicy {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Http1Only,
        Self::Http2Only,
        Self::Http2Optional,
        Self::Http2Preferred,
    ];

    /// The one that AWS writes so.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.word() == word)
    }

    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Http1Only => "HTTP1Only",
            Self::Http2Only => "HTTP2Only",
            Self::Http2Optional => "HTTP2Optional",
            Self::Http2Preferred => "HTTP2Preferred",
        }
    }
}

impl Listeners {
    pub(super) fn read(reader: &mut Reader<'_>, defaults: &Defaults) -> Self {
        let certificates = reader.list(annotation::CERTIFICATES);
        let mut each = merged(reader);
        upgrade_to_tls(reader, &mut each, !certificates.is_empty());
        upgrade_to_quic(reader, &mut each);
        attach(reader, &mut each);
        let has_tls = each.iter().any(|listener| listener.protocol == ListenerProtocol::Tls);
        Self {
            alpn: if has_tls { alpn(reader) } else { None },
            each,
            certificates,
            tls_policy: reader
                .text(annotation::TLS_POLICY)
                .unwrap_or(&defaults.tls_policy)
                .to_owned(),
        }
    }

    /// The listener of this number.
    pub fn of_port(&self, port: u16) -> Option<&ListenerSettings> {
        self.each.iter().find(|listener| listener.port.port == port)
    }
}

/// One listener for each number. TCP and UDP with the same number become one.
fn merged(reader: &mut Reader<'_>) -> Vec<ListenerSettings> {
    let may_merge = reader.boolean(annotation::TCP_UDP).unwrap_or(true);
    let mut by_number: BTreeMap<u16, Vec<&Port>> = BTreeMap::new();
    for port in &reader.service.ports {
        by_number.entry(port.port).or_default().push(port);
    }
    let mut listeners = Vec::new();
    for (number, ports) in by_number {
        let listener = match ports.as_slice() {
            [port] => protocol_of_one(reader, port).map(|protocol| (protocol, *port)),
            [first, second] => {
                if !may_merge {
                    let message = format!("port {number} is there twice, and only a TCP_UDP listener can serve both");
                    reader.fault(annotation::TCP_UDP, message);
                }
                merge(reader, first, second).map(|protocol| (protocol, *first))
            }
            more => {
                reader.fault(
                    annotation::TCP_UDP,
                    format!("can only merge two ports, not {}", more.len()),
                );
                None
            }
        };
        listeners.extend(listener.map(|(protocol, port)| ListenerSettings {
            protocol,
            target_protocol: protocol,
            port: port.clone(),
            attributes: BTreeMap::new(),
            forward: None,
        }));
    }
    listeners
}

fn protocol_of_one(reader: &mut Reader<'_>, port: &Port) -> Option<ListenerProtocol> {
    match port.protocol {
        Protocol::Tcp => Some(ListenerProtocol::Tcp),
        Protocol::Udp => Some(ListenerProtocol::Udp),
        Protocol::Sctp => {
            let message = format!(
                "port {} is SCTP, which Network Load Balancers do not forward",
                port.port
            );
            reader.fault_at("spec.ports", message);
            None
        }
    }
}

fn merge(reader: &mut Reader<'_>, first: &Port, second: &Port) -> Option<ListenerProtocol> {
    for port in [first, second] {
        if port.protocol == Protocol::Sctp {
            reader.fault(annotation::TCP_UDP, "unsupported protocol for merging: SCTP");
            return None;
        }
    }
    if first.protocol == second.protocol {
        let word = first.protocol.to_string().to_uppercase();
        reader.fault(
            annotation::TCP_UDP,
            format!("protocols can't match for merging: {word}"),
        );
        return None;
    }
    // One target group has one port for both.
    if first.node_port != second.node_port || first.target != second.target {
        reader.fault(
            annotation::TCP_UDP,
            format!(
                "port {} is there twice, and the target ports or node ports of TCP and UDP differ",
                first.port
            ),
        );
    }
    Some(ListenerProtocol::TcpUdp)
}

fn upgrade_to_tls(reader: &mut Reader<'_>, listeners: &mut [ListenerSettings], has_certificates: bool) {
    let asked = reader.list(annotation::TLS_PORTS);
    let is_port = |asked: &String, port: &Port| *asked == port.name || *asked == port.port.to_string();
    let ports = &reader.service.ports;
    let unused: Vec<_> = asked
        .iter()
        .filter(|asked| !ports.iter().any(|port| is_port(asked, port)))
        .collect();
    if !unused.is_empty() {
        reader.fault(
            annotation::TLS_PORTS,
            format!("Unused port in ssl-ports annotation {}", go_list(unused)),
        );
    }
    if !has_certificates {
        return;
    }
    let speaks_tls_to_targets = reader.text(annotation::BACKEND_PROTOCOL) == Some("ssl");
    for listener in listeners {
        let is_meant = asked.iter().any(|asked| is_port(asked, &listener.port));
        match listener.protocol {
            ListenerProtocol::Tcp if asked.is_empty() || is_meant => {
                listener.protocol = ListenerProtocol::Tls;
                listener.target_protocol = if speaks_tls_to_targets {
                    ListenerProtocol::Tls
                } else {
                    ListenerProtocol::Tcp
                };
            }
            ListenerProtocol::TcpUdp if is_meant => {
                reader.fault(annotation::TLS_PORTS, "unsupported protocol for merging: TLS");
            }
            _ => {}
        }
    }
}

fn upgrade_to_quic(reader: &mut Reader<'_>, listeners: &mut [ListenerSettings]) {
    let asked: BTreeSet<_> = reader.list(annotation::QUIC_PORTS).into_iter().collect();
    for listener in listeners {
        if !asked.contains(&listener.port.port.to_string()) {
            continue;
        }
        let upgraded = match listener.protocol {
            ListenerProtocol::Udp => ListenerProtocol::Quic,
            ListenerProtocol::TcpUdp => ListenerProtocol::TcpQuic,
            other => {
                reader.fault(
                    annotation::QUIC_PORTS,
                    format!("Unsupported QUIC upgrade for protocol {other}"),
                );
                continue;
            }
        };
        listener.protocol = upgraded;
        listener.target_protocol = upgraded;
    }
}

/// What annotations say of one listener by `PROTOCOL-PORT`. Those of listeners that there are not say nothing.
fn attach(reader: &mut Reader<'_>, listeners: &mut [ListenerSettings]) {
    for listener in listeners {
        let suffix = format!("{}-{}", listener.protocol, listener.port.port);
        listener.attributes = reader.map(&format!("{}.{suffix}", annotation::LISTENER_ATTRIBUTES));
        listener.forward = action::read(reader, &format!("{}.{suffix}", annotation::ACTIONS));
    }
}

fn alpn(reader: &mut Reader<'_>) -> Option<AlpnPolicy> {
    let text = reader.text(annotation::ALPN)?;
    let policy = AlpnPolicy::ALL.into_iter().find(|policy| policy.word() == text);
    if policy.is_none() {
        let words = AlpnPolicy::ALL.map(AlpnPolicy::word);
        reader.fault(
            annotation::ALPN,
            format!("invalid ALPN policy {text}, policy must be one of {}", choices(&words)),
        );
    }
    policy
}

impl Port {
    /// The number that target groups of pods have. Pods with a named port are registered each with its own number, and the target group
    /// itself has 1, so that it need not be replaced when pods change.
    pub const fn target_number(&self) -> u16 {
        match self.target {
            TargetPort::Number(number) => number,
            TargetPort::Name(_) => 1,
        }
    }
}

pub(super) fn port_numbers(reader: &mut Reader<'_>, name: &str, words: &str) -> BTreeSet<u16> {
    let mut numbers = BTreeSet::new();
    for text in reader.list(name) {
        match u16::from_str(&text) {
            Ok(number) => drop(numbers.insert(number)),
            Err(_) => reader.fault(name, format!("{words}: {text}")),
        }
    }
    numbers
}

/// An attribute's value that must be a truth value, in the contract's words if it is not.
pub(super) fn check_boolean(reader: &mut Reader<'_>, name: &str, attributes: &BTreeMap<String, String>, key: &str) {
    if let Some(text) = attributes.get(key).filter(|text| value::boolean(text).is_none()) {
        reader.fault(name, format!("failed to parse attribute {key}={text}"));
    }
}
