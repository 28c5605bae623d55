//! ServiceCIDRs: the ranges that cluster IPs come from.

use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1 as networking;

use crate::ParseError;

/// A ServiceCIDR object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Its name.
    pub name: Arc<str>,
    /// Its ranges.
    pub cidrs: Vec<IpNet>,
}

impl ServiceCidr {
    /// Reads a ServiceCIDR.
    pub fn from_resource(object: &networking::ServiceCIDR) -> Result<Self, ParseError> {
        let _ = object;
        todo!()
    }
}
