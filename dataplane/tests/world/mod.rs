//! Random clusters, small enough that things clash, and what kube-proxy would do in them.

pub(crate) mod generate;
pub(crate) mod normal_form;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_dataplane::compile::Compiler;
use fairlead_dataplane::program::{LocalPods, Options};
use fairlead_dataplane::table::Table;
use fairlead_model::select::Here;
use fairlead_model::{EndpointSlice, Service, ServiceName, SliceName, select};

/// The node that everything is seen from.
pub(crate) const NODE: &str = "node-1";
/// Its zone.
pub(crate) const ZONE: &str = "zone-a";

/// A cluster and a node's configuration.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) services: BTreeMap<ServiceName, Service>,
    pub(crate) slices: BTreeMap<SliceName, EndpointSlice>,
    pub(crate) options: Options,
}

/// A change of a world.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    SetService(Box<Service>),
    RemoveService(ServiceName),
    SetSlice(EndpointSlice),
    RemoveSlice(SliceName),
}

impl World {
    /// Carries out a change and says which Service it concerns.
    pub(crate) fn apply(&mut self, change: Change) -> ServiceName {
        match change {
            Change::SetService(service) => {
                let name = service.name.clone();
                self.services.insert(name.clone(), *service);
                name
            }
            Change::RemoveService(name) => {
                self.services.remove(&name);
                name
            }
            Change::SetSlice(slice) => {
                let name = slice.service.clone();
                self.slices.insert(slice.name.clone(), slice);
                name
            }
            Change::RemoveSlice(name) => {
                let removed = self.slices.remove(&name);
                removed.map_or_else(|| ServiceName::new("default", "none"), |slice| slice.service)
            }
        }
    }

    /// Brings one Service of the compiler up to date.
    pub(crate) fn refresh(&self, compiler: &mut Compiler, name: &ServiceName) {
        let here = Here {
            node: NODE,
            zone: Some(ZONE),
        };
        match self.services.get(name) {
            Some(service) => compiler.set_service(service, |port, family| {
                let slices = self.slices.values().filter(|slice| slice.service == *name);
                select(slices, &port.name, port.protocol, family, here)
            }),
            None => compiler.remove_service(name),
        }
    }

    /// A compiler that knows the whole world.
    pub(crate) fn compile(&self, seed: Option<Arc<Table>>) -> Compiler {
        let mut compiler = Compiler::new(&self.options, seed);
        compiler.set_node_ips(node_ips().into_iter().collect(), node_ips());
        compiler.set_service_cidrs(&service_cidrs());
        for name in self.services.keys() {
            self.refresh(&mut compiler, name);
        }
        compiler
    }
}

/// The node's addresses that accept node ports.
pub(crate) fn node_ips() -> Vec<IpAddr> {
    ["172.30.0.11", "fd00:172:30::11"]
        .map(|address| address.parse().unwrap())
        .into()
}

pub(crate) fn service_cidrs() -> Vec<ipnet::IpNet> {
    ["10.96.0.0/24", "fd00:10:96::/120"]
        .map(|net| net.parse().unwrap())
        .into()
}

/// The ways to recognise local pods that a random world may have.
pub(crate) fn pod_options() -> Vec<LocalPods> {
    let both = ["10.244.0.0/16", "fd00:10:244::/48"].map(|net| net.parse().unwrap());
    vec![
        LocalPods::Cidrs(both.into()),
        LocalPods::Cidrs(both[..1].into()),
        LocalPods::Unknown,
    ]
}
