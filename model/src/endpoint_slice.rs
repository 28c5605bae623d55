//! EndpointSlices, and Endpoints mirrored into them.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

use crate::{Family, ParseError, Protocol, ServiceName};

/// Namespace and name of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SliceName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name within it.
    pub name: Arc<str>,
}

/// One port of a slice; ports without a number or without a name are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// Name of the Service port it is for; empty for the port without a name.
    pub name: Arc<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The endpoints' port; never 0.
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of its addresses; further ones are ignored, as kube-proxy does.
    pub address: IpAddr,
    /// `conditions.ready`; true where it is absent.
    pub is_ready: bool,
    /// `conditions.serving`; true where it is absent.
    pub is_serving: bool,
    /// `conditions.terminating`; false where it is absent.
    pub is_terminating: bool,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The zone it runs in. Only shown to people, never used to choose.
    pub zone: Option<Arc<str>>,
    /// `hints.forNodes`; empty where there are none.
    pub node_hints: Arc<[Arc<str>]>,
    /// `hints.forZones`; empty where there are none.
    pub zone_hints: Arc<[Arc<str>]>,
}

/// An EndpointSlice of a Service that a proxy serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: SliceName,
    /// The Service of label `kubernetes.io/service-name`.
    pub service: ServiceName,
    /// Family of its addresses.
    pub family: Family,
    /// Its ports.
    pub ports: Vec<SlicePort>,
    /// Its endpoints, in the order of the object.
    pub endpoints: Vec<Endpoint>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time` as microseconds since 1970.
    pub last_change_trigger_micros: Option<i64>,
}

impl EndpointSlice {
    /// Reads what a proxy needs of a slice: `None` for a slice without a Service, of address type FQDN, or with label
    /// `service.kubernetes.io/headless`.
    pub fn from_resource(slice: &discovery::EndpointSlice) -> Result<Option<Self>, ParseError> {
        let _ = slice;
        todo!()
    }

    /// The slices that Kubernetes' mirroring controller makes of an Endpoints object: one per family and set of ports;
    /// none where label `endpointslice.kubernetes.io/skip-mirror` is true.
    pub fn from_endpoints(endpoints: &core::Endpoints) -> Result<Vec<Self>, ParseError> {
        let _ = endpoints;
        todo!()
    }
}
