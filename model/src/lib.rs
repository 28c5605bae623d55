//! What Kubernetes says about Services, as plain values, and the choice of endpoints that follows from it.
//!
//! Everything here is pure: no runtime, no client, no socket. Kubernetes objects are parsed once at the border
//! ([`Service::from_resource`] and its siblings) into values that cannot hold a wrong state; [`Cluster`] collects them
//! from a stream of [`Change`]s and says which Services a change touches; [`select()`] chooses the endpoints of one
//! Service port for one node, with a reason for each endpoint that it leaves out.
//!
//! Start reading at [`cluster`], then [`mod@select`].

pub mod address;
pub mod cluster;
pub mod endpoint_slice;
mod intern;
pub mod name;
pub mod node;
pub mod parse;
pub mod select;
pub mod service;
pub mod service_cidr;

pub use address::{Family, Protocol};
pub use cluster::{Change, Cluster, Kind, Touched};
pub use endpoint_slice::{Endpoint, EndpointSlice, SliceName, SlicePort};
pub use name::{ServiceName, ServicePortName};
pub use node::Node;
pub use parse::ParseError;
pub use select::{Backend, Candidate, Here, Selection, Standing, select};
pub use service::{HealthCheckNodePort, Service, ServicePort, TrafficPolicy};
pub use service_cidr::ServiceCidr;
