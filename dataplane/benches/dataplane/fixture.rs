//! Clusters of any size.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use fairlead_dataplane::compile::Compiler;
use fairlead_dataplane::program::{LocalPods, Options};
use fairlead_dataplane::table::Table;
use fairlead_model::select::Here;
use fairlead_model::{
    Endpoint, EndpointSlice, Family, Protocol, Service, ServiceName, ServicePort, SliceName, SlicePort, TrafficPolicy,
    select,
};

/// Services with one slice each.
pub(crate) struct Cluster {
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<EndpointSlice>,
}

/// The cluster IP of a Service.
pub(crate) fn cluster_ip(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 10).to_bits() + index)
}

impl Cluster {
    /// `services` Services of type `ClusterIP` with one TCP port and `endpoints` endpoints each; every third endpoint is on this node.
    pub(crate) fn new(services: u32, endpoints: u32) -> Self {
        let indexes = 0..services;
        Self {
            services: indexes.clone().map(service).collect(),
            slices: indexes
                .map(|index| slice(index, index * endpoints..(index + 1) * endpoints))
                .collect(),
        }
    }

    /// Replaces endpoint number `which` of a Service by one that no Service had.
    pub(crate) fn replace_endpoint(&mut self, index: usize, which: usize, fresh: u32) {
        self.slices[index].endpoints[which] = endpoint(0x0080_0000 + fresh);
    }

    /// Compiles everything, as an agent does at its start.
    pub(crate) fn compile(&self, seed: Option<Arc<Table>>) -> Compiler {
        let mut compiler = Compiler::new(&options(), seed);
        for index in 0..self.services.len() {
            self.refresh(&mut compiler, index);
        }
        compiler
    }

    /// Brings one Service up to date.
    pub(crate) fn refresh(&self, compiler: &mut Compiler, index: usize) {
        let here = Here {
            node: "node-1",
            zone: None,
        };
        compiler.set_service(&self.services[index], |port, family| {
            select(
                std::iter::once(&self.slices[index]),
                &port.name,
                port.protocol,
                family,
                here,
            )
        });
    }
}

/// The configuration of a node that knows the cluster's pods.
pub(crate) fn options() -> Options {
    let pods = LocalPods::Cidrs(vec!["10.244.0.0/16".parse().expect("a network")]);
    Options {
        local_pods: pods,
        masquerade_all: false,
    }
}

fn name(index: u32) -> ServiceName {
    ServiceName::new("default", format!("service-{index}"))
}

fn service(index: u32) -> Service {
    Service {
        name: name(index),
        cluster_ips: vec![cluster_ip(index).into()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        affinity: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        uid: None,
    }
}

fn slice(index: u32, endpoints: std::ops::Range<u32>) -> EndpointSlice {
    EndpointSlice {
        name: SliceName {
            namespace: "default".into(),
            name: format!("service-{index}-abcde").into(),
        },
        service: name(index),
        family: Family::V4,
        ports: vec![SlicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
        endpoints: endpoints.map(endpoint).collect(),
        last_change_trigger_micros: None,
    }
}

fn endpoint(number: u32) -> Endpoint {
    let first = Ipv4Addr::new(11, 0, 0, 0).to_bits();
    Endpoint {
        address: IpAddr::V4(Ipv4Addr::from_bits(first + number)),
        is_ready: true,
        is_serving: true,
        is_terminating: false,
        node: Some(if number.is_multiple_of(3) {
            "node-1".into()
        } else {
            "node-2".into()
        }),
        zone: None,
        node_hints: Arc::default(),
        zone_hints: Arc::default(),
    }
}
