//! `ServiceCIDRs`: the ranges that cluster IPs come from.

use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1 as networking;

use crate::ParseError;
use crate::parse::Subject;

/// A `ServiceCIDR` object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Its name.
    pub name: Arc<str>,
    /// Its ranges.
    pub cidrs: Vec<IpNet>,
}

impl ServiceCidr {
    /// Reads a `ServiceCIDR`.
    pub fn from_resource(object: &networking::ServiceCIDR) -> Result<Self, ParseError> {
        let subject = Subject::in_cluster("ServiceCIDR", &object.metadata);
        let name = subject.subdomain_name()?;
        let texts = object
            .spec
            .as_ref()
            .and_then(|spec| spec.cidrs.as_deref())
            .unwrap_or_default();
        let nets = texts
            .iter()
            .enumerate()
            .map(|(i, text)| subject.net(format_args!("spec.cidrs[{i}]"), text));
        Ok(Self {
            name,
            cidrs: nets.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(cidrs: &serde_json::Value) -> Result<ServiceCidr, String> {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": { "name": "kubernetes" },
            "spec": { "cidrs": cidrs },
        });
        let object = serde_json::from_value(object).expect("a ServiceCIDR");
        ServiceCidr::from_resource(&object).map_err(|error| error.to_string())
    }

    #[test]
    fn both_families_are_read() {
        let object = read(&json!(["10.96.0.0/12", "fd00:96::/112"])).expect("valid");
        assert_eq!(&*object.name, "kubernetes");
        assert_eq!(
            object.cidrs,
            [
                "10.96.0.0/12".parse().expect("net"),
                "fd00:96::/112".parse().expect("net")
            ]
        );
    }

    #[test]
    fn a_bad_range_is_named() {
        assert_eq!(
            read(&json!(["10.96.0.0/12", "fd00:96::"])),
            Err("ServiceCIDR kubernetes: spec.cidrs[1]: \"fd00:96::\" is not a CIDR".into())
        );
    }
}
