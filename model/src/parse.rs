//! What is wrong with an object that cannot be used.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::address::{parse_address, parse_net};
use crate::{Protocol, ServiceName, intern};

#[cfg(test)]
mod tests;

/// A field of a Kubernetes object that cannot be used. The object's other fields were not looked at after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {object}: {field}: {problem}")]
pub struct ParseError {
    /// The object's kind, as in `Service`.
    pub kind: &'static str,
    /// `namespace/name`, or the name of an object without a namespace.
    pub object: String,
    /// Path of the field, as in `spec.ports[1].nodePort`.
    pub field: String,
    /// What is wrong with the value, with the value in it.
    pub problem: String,
}

/// Path of a field. Only written out when something is wrong with the field.
type Field<'a> = fmt::Arguments<'a>;

/// The object that is being read. Its methods turn one field each into what the model holds, or name what is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    kind: &'static str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Subject<'a> {
    /// An object of a kind that lives in namespaces; one that names none lives in `default`.
    pub(crate) fn in_namespace(kind: &'static str, metadata: &'a ObjectMeta) -> Self {
        let namespace = metadata
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or("default");
        Self {
            kind,
            namespace: Some(namespace),
            name: metadata.name.as_deref().unwrap_or_default(),
        }
    }

    /// An object of a kind that does not live in namespaces.
    pub(crate) fn in_cluster(kind: &'static str, metadata: &'a ObjectMeta) -> Self {
        Self {
            kind,
            namespace: None,
            name: metadata.name.as_deref().unwrap_or_default(),
        }
    }

    pub(crate) fn error(&self, field: Field<'_>, problem: impl Into<String>) -> ParseError {
        ParseError {
            kind: self.kind,
            object: self
                .namespace
                .map_or_else(|| self.name.into(), |namespace| format!("{namespace}/{}", self.name)),
            field: field.to_string(),
            problem: problem.into(),
        }
    }

    /// The namespace, which is a DNS label.
    pub(crate) fn namespace(&self) -> Result<Arc<str>, ParseError> {
        self.label(format_args!("metadata.namespace"), self.namespace.unwrap_or_default())
    }

    /// Namespace and name of a kind whose names are DNS labels, as those of Services and their Endpoints are.
    pub(crate) fn service_name(&self) -> Result<ServiceName, ParseError> {
        let namespace = self.namespace()?;
        Ok(ServiceName {
            namespace,
            name: self.label(format_args!("metadata.name"), self.name)?,
        })
    }

    /// The name of a kind whose names are DNS subdomains, as those of most kinds are.
    pub(crate) fn subdomain_name(&self) -> Result<Arc<str>, ParseError> {
        if self.name.len() <= 253 && self.name.split('.').all(is_label) {
            Ok(self.name.into())
        } else {
            Err(self.error(
                format_args!("metadata.name"),
                format!("{:?} is not a DNS subdomain", self.name),
            ))
        }
    }

    /// A DNS label.
    pub(crate) fn label(&self, field: Field<'_>, text: &str) -> Result<Arc<str>, ParseError> {
        if text.len() <= 63 && is_label(text) {
            Ok(intern::text(text))
        } else {
            Err(self.error(
                field,
                format!("{text:?} is not a DNS label (a-z, 0-9 and -, at most 63)"),
            ))
        }
    }

    /// A port's name: a DNS label, or empty.
    pub(crate) fn port_name(&self, field: Field<'_>, text: &str) -> Result<Arc<str>, ParseError> {
        if text.is_empty() {
            Ok(Arc::default())
        } else {
            self.label(field, text)
        }
    }

    pub(crate) fn address(&self, field: Field<'_>, text: &str) -> Result<IpAddr, ParseError> {
        parse_address(text).ok_or_else(|| self.error(field, format!("{text:?} is not an IP address")))
    }

    pub(crate) fn net(&self, field: Field<'_>, text: &str) -> Result<IpNet, ParseError> {
        parse_net(text).ok_or_else(|| self.error(field, format!("{text:?} is not a CIDR")))
    }

    pub(crate) fn port(&self, field: Field<'_>, number: i32) -> Result<u16, ParseError> {
        match u16::try_from(number) {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(self.error(field, format!("{number} is not a port from 1 to 65535"))),
        }
    }

    /// A port where 0 stands for none.
    pub(crate) fn optional_port(&self, field: Field<'_>, number: Option<i32>) -> Result<Option<u16>, ParseError> {
        number
            .filter(|number| *number != 0)
            .map(|number| self.port(field, number))
            .transpose()
    }

    /// A protocol; TCP where the object names none.
    pub(crate) fn protocol(&self, field: Field<'_>, text: Option<&str>) -> Result<Protocol, ParseError> {
        match text {
            None | Some("" | "TCP") => Ok(Protocol::Tcp),
            Some("UDP") => Ok(Protocol::Udp),
            Some("SCTP") => Ok(Protocol::Sctp),
            Some(other) => Err(self.error(field, format!("{other:?} is not TCP, UDP or SCTP"))),
        }
    }
}

/// Whether this is one part of a DNS name (RFC 1123), whatever its length.
fn is_label(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
}
