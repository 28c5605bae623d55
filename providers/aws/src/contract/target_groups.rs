use std::collections::{BTreeMap, BTreeSet};

use super::listeners::{check_boolean, port_numbers};
use super::reader::Reader;
use super::{annotation, value};

/// What a Service's target groups are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroups {
    /// The attributes of all of them.
    attributes: BTreeMap<String, String>,
    /// More for those of one Service port.
    by_port: BTreeMap<u16, BTreeMap<String, String>>,
    /// Whether all, or those of which Service ports, tell targets the client by proxy protocol 2.
    proxy_protocol: ProxyProtocol,
    /// The labels of nodes that are targets.
    pub node_labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ProxyProtocol {
    /// As the attributes say.
    ByAttributes,
    Everywhere,
    Only(BTreeSet<u16>),
}

const PROXY_PROTOCOL: &str = "proxy_protocol_v2.enabled";
const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";

impl TargetGroups {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let attributes = reader.map(annotation::TARGET_GROUP_ATTRIBUTES);
        check_boolean(
            reader,
            annotation::TARGET_GROUP_ATTRIBUTES,
            &attributes,
            PRESERVE_CLIENT_IP,
        );
        Self {
            by_port: by_port(reader),
            attributes,
            proxy_protocol: proxy_protocol(reader),
            node_labels: reader.map(annotation::NODE_LABELS),
        }
    }

    /// The attributes of the target group of a Service's port that shall not be at their defaults.
    pub fn attributes(&self, port: u16) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([(PROXY_PROTOCOL.to_owned(), "false".to_owned())]);
        attributes.extend(self.attributes.clone());
        let more = self.by_port.get(&port).into_iter().flatten();
        let named = more.filter(|(_, value)| !value.is_empty());
        attributes.extend(named.map(|(key, value)| (key.clone(), value.clone())));
        let is_on = match &self.proxy_protocol {
            ProxyProtocol::ByAttributes => return attributes,
            ProxyProtocol::Everywhere => true,
            ProxyProtocol::Only(ports) => ports.contains(&port),
        };
        attributes.insert(PROXY_PROTOCOL.to_owned(), is_on.to_string());
        attributes
    }
}

fn by_port(reader: &mut Reader<'_>) -> BTreeMap<u16, BTreeMap<String, String>> {
    let mut by_port = BTreeMap::new();
    for (suffix, text) in reader.suffixed(annotation::TARGET_GROUP_ATTRIBUTES) {
        let name = format!("{}.{suffix}", annotation::TARGET_GROUP_ATTRIBUTES);
        let Some(attributes) = reader.parsed("stringMap", &name, text, value::map(text)) else {
            continue;
        };
        check_boolean(reader, &name, &attributes, PRESERVE_CLIENT_IP);
        match suffix.parse() {
            Ok(port) => drop(by_port.insert(port, attributes)),
            Err(_) => reader.fault(&name, format!("{suffix} is not the number of a port")),
        }
    }
    by_port
}

/// The word for all wins over the list of ports, which wins over the attributes.
fn proxy_protocol(reader: &mut Reader<'_>) -> ProxyProtocol {
    if let Some(text) = reader.text(annotation::PROXY_PROTOCOL) {
        if text != "*" {
            reader.fault(
                annotation::PROXY_PROTOCOL,
                format!(
                    "invalid value {text} for Load Balancer proxy protocol v2 annotation, only value currently supported is *"
                ),
            );
        }
        return ProxyProtocol::Everywhere;
    }
    if reader.text(annotation::PROXY_PROTOCOL_PORTS).is_none() {
        return ProxyProtocol::ByAttributes;
    }
    ProxyProtocol::Only(port_numbers(
        reader,
        annotation::PROXY_PROTOCOL_PORTS,
        "invalid port number in proxy-protocol-per-target-group",
    ))
}
