//! Which UDP flows conntrack must forget, so that their next packet is sent to an endpoint that serves.
//!
//! A UDP flow has no end that conntrack could see: as long as a client keeps sending, its entry keeps sending it to an
//! endpoint that is gone, or, begun before the Service existed, to nowhere. TCP and SCTP connections end by themselves and
//! are left alone. Traffic policies and hints are ignored on purpose: a flow to an endpoint that serves is never moved.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use fairlead_model::{Family, Protocol, Selection, Service, ServicePort};

/// The UDP frontends of some Services with the endpoints that serve them.
#[derive(Debug, Clone, Default)]
pub struct UdpServices {
    addresses: HashMap<SocketAddr, HashSet<SocketAddr>>,
    node_ports: HashMap<(Family, u16), HashSet<SocketAddr>>,
}

impl UdpServices {
    /// Adds a Service's UDP ports. A port without serving endpoints is left out: there is nowhere better to send its flows.
    pub fn add(&mut self, service: &Service, select: impl Fn(&ServicePort, Family) -> Selection) {
        for port in service.ports.iter().filter(|port| port.protocol == Protocol::Udp) {
            for family in Family::ALL {
                let selection = select(port, family);
                let serving = selection.candidates.iter().filter(|candidate| candidate.is_serving);
                let serving: HashSet<_> = serving
                    .map(|c| SocketAddr::new(c.backend.address, c.backend.port))
                    .collect();
                if serving.is_empty() {
                    continue;
                }
                let all = service
                    .cluster_ips
                    .iter()
                    .chain(&service.external_ips)
                    .chain(&service.load_balancer_ips);
                for address in all.filter(|address| Family::of(**address) == family) {
                    self.addresses
                        .insert(SocketAddr::new(*address, port.port), serving.clone());
                }
                if let Some(node_port) = port.node_port {
                    self.node_ports.insert((family, node_port), serving);
                }
            }
        }
    }

    /// Whether no Service was added that has a serving UDP endpoint.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.node_ports.is_empty()
    }

    /// Whether a flow must be forgotten: it asked for one of the frontends, and what answers is none of its endpoints.
    pub fn is_stale(&self, asked_for: SocketAddr, answers: SocketAddr) -> bool {
        let node_port = || self.node_ports.get(&(Family::of(asked_for.ip()), asked_for.port()));
        let serving = self.addresses.get(&asked_for).or_else(node_port);
        serving.is_some_and(|serving| !serving.contains(&answers))
    }
}

#[cfg(test)]
mod tests {
    use fairlead_model::{Backend, Candidate, ServiceName, Standing, TrafficPolicy};

    use super::*;

    fn candidate(address: &str, is_serving: bool) -> Candidate {
        let address: SocketAddr = address.parse().unwrap();
        Candidate {
            backend: Backend {
                address: address.ip(),
                port: address.port(),
                is_local: false,
            },
            node: None,
            zone: None,
            is_serving,
            is_ready: false,
            cluster: Standing::NotReady,
            local: Standing::NotLocal,
        }
    }

    fn services(v4: &[(&str, bool)], v6: &[(&str, bool)]) -> UdpServices {
        let port = |protocol| ServicePort {
            name: "".into(),
            protocol,
            port: 53,
            node_port: Some(30053),
        };
        let service = Service {
            name: ServiceName::new("kube-system", "dns"),
            cluster_ips: vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()],
            external_ips: vec!["198.51.100.1".parse().unwrap()],
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            ports: vec![port(Protocol::Udp), port(Protocol::Tcp)],
            affinity: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Cluster,
            health_check_node_port: None,
            uid: None,
        };
        let mut services = UdpServices::default();
        services.add(&service, |_, family| {
            let all = if family == Family::V4 { v4 } else { v6 };
            Selection {
                candidates: all
                    .iter()
                    .map(|(address, serves)| candidate(address, *serves))
                    .collect(),
            }
        });
        services
    }

    #[test]
    fn a_flow_to_an_endpoint_that_does_not_serve_is_stale() {
        let services = services(
            &[("10.244.1.1:5353", true), ("10.244.1.2:5353", false)],
            &[("[fd01::1]:5353", true)],
        );
        let is_stale = |to: &str, from: &str| services.is_stale(to.parse().unwrap(), from.parse().unwrap());
        assert!(!is_stale("10.96.0.10:53", "10.244.1.1:5353"));
        assert!(is_stale("10.96.0.10:53", "10.244.1.2:5353"));
        assert!(is_stale("10.96.0.10:53", "10.96.0.10:53"), "never sent to an endpoint");
        assert!(is_stale("198.51.100.1:53", "10.244.9.9:5353"));
        assert!(is_stale("172.30.0.11:30053", "10.244.9.9:5353"));
        assert!(is_stale("[fd00::a]:53", "[fd01::2]:5353"));
        assert!(!is_stale("[fd00:172:30::11]:30053", "[fd01::1]:5353"));
        assert!(
            !is_stale("10.96.0.10:54", "10.244.9.9:5353"),
            "not a port of the Service"
        );
        assert!(!is_stale("8.8.8.8:53", "8.8.8.8:53"), "not a Service");
    }

    #[test]
    fn without_a_serving_endpoint_nothing_is_stale() {
        let services = services(&[("10.244.1.2:5353", false)], &[]);
        assert!(services.is_empty());
        assert!(!services.is_stale("10.96.0.10:53".parse().unwrap(), "10.244.1.2:5353".parse().unwrap()));
    }
}
