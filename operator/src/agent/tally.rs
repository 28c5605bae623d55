//! What is known of each Service beyond the rule set: health checks, and the figures behind some metrics.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fairlead_model::{Family, Protocol, Selection, Service, ServiceName, ServicePort, TrafficPolicy};

use super::announce::plan::Backing;
use super::health_check_node_port::HealthCheck;
use super::metrics::{Metrics, PolicySide};

/// Facts of all Services.
#[derive(Debug, Default)]
pub struct Tally {
    services: HashMap<ServiceName, Facts>,
    health_checks: BTreeMap<ServiceName, HealthCheck>,
    totals: [Figures; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    figures: [Figures; 2],
    has_udp: bool,
    has_endpoint: bool,
    has_local_ready: bool,
}

/// Figures of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Figures {
    ports: usize,
    endpoints: usize,
    no_local_internal: usize,
    no_local_external: usize,
}

impl Tally {
    /// Takes a Service in, or forgets it. Returns whether it has UDP ports.
    pub fn set(
        &mut self,
        name: &ServiceName,
        service: Option<&Service>,
        select: impl Fn(&ServicePort, Family) -> Selection,
    ) -> bool {
        let facts = service.map(|service| self.look_at(service, select));
        let old = match facts {
            Some(facts) => self.services.insert(name.clone(), facts),
            None => self.services.remove(name),
        };
        if service.is_none_or(|service| service.health_check_node_port.is_none()) {
            self.health_checks.remove(name);
        }
        let (old, new) = (old.unwrap_or_default(), facts.unwrap_or_default());
        for (total, (old, new)) in self.totals.iter_mut().zip(old.figures.iter().zip(&new.figures)) {
            total.ports = total.ports + new.ports - old.ports;
            total.endpoints = total.endpoints + new.endpoints - old.endpoints;
            total.no_local_internal = total.no_local_internal + new.no_local_internal - old.no_local_internal;
            total.no_local_external = total.no_local_external + new.no_local_external - old.no_local_external;
        }
        new.has_udp
    }

    fn look_at(&mut self, service: &Service, select: impl Fn(&ServicePort, Family) -> Selection) -> Facts {
        let mut facts = Facts::default();
        let mut local_ready_endpoints = 0;
        for (family, figures) in Family::ALL.into_iter().zip(&mut facts.figures) {
            if !service.cluster_ips.iter().any(|address| Family::of(*address) == family) {
                continue;
            }
            let mut local_ready = BTreeSet::new();
            for port in &service.ports {
                facts.has_udp |= port.protocol == Protocol::Udp;
                let selection = select(port, family);
                let locals = selection.candidates.iter().filter(|c| c.is_ready && c.backend.is_local);
                facts.has_endpoint |= selection.cluster().next().is_some();
                local_ready.extend(locals.map(|candidate| candidate.backend.address));
                figures.ports += 1;
                figures.endpoints += selection.candidates.len();
                if selection.local().next().is_none() && selection.cluster().next().is_some() {
                    figures.no_local_internal += usize::from(service.internal_policy == TrafficPolicy::Local);
                    let is_external = port.node_port.is_some()
                        || !service.external_ips.is_empty()
                        || !service.load_balancer_ips.is_empty();
                    let counts = is_external && service.external_policy == TrafficPolicy::Local;
                    figures.no_local_external += usize::from(counts);
                }
            }
            // A pod with an address of each family is one endpoint.
            local_ready_endpoints = local_ready_endpoints.max(local_ready.len());
        }
        facts.has_local_ready = local_ready_endpoints > 0;
        if let Some(port) = service.health_check_node_port {
            let check = HealthCheck {
                port,
                local_ready_endpoints,
            };
            self.health_checks.insert(service.name.clone(), check);
        }
        facts
    }

    /// What is behind a Service that was set; `None` if it was not.
    pub fn backing(&self, name: &ServiceName, service: &Service) -> Option<Backing> {
        let facts = self.services.get(name)?;
        Some(Backing {
            is_local: service.external_policy == TrafficPolicy::Local,
            has_endpoint: facts.has_endpoint,
            has_local_endpoint: facts.has_local_ready,
        })
    }

    /// What the health check node ports must tell.
    pub const fn health_checks(&self) -> &BTreeMap<ServiceName, HealthCheck> {
        &self.health_checks
    }

    /// Shows the figures.
    pub fn show(&self, metrics: &Metrics) {
        for (family, figures) in Family::ALL.into_iter().zip(&self.totals) {
            metrics.programmed(family, figures.ports, figures.endpoints);
            let count = |figure: usize| u64::try_from(figure).unwrap_or(u64::MAX);
            metrics.no_local_endpoints(family, PolicySide::Internal, count(figures.no_local_internal));
            metrics.no_local_endpoints(family, PolicySide::External, count(figures.no_local_external));
        }
    }
}

#[cfg(test)]
mod tests {
    use fairlead_model::{Backend, Candidate, HealthCheckNodePort, Standing};

    use super::*;

    fn service() -> Service {
        let port = |name: &str, port| ServicePort {
            name: name.into(),
            protocol: Protocol::Tcp,
            port,
            node_port: Some(30080),
        };
        Service {
            name: ServiceName::new("default", "web"),
            cluster_ips: vec!["10.96.0.1".parse().unwrap()],
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            ports: vec![port("http", 80), port("https", 443)],
            affinity: None,
            internal_policy: TrafficPolicy::Cluster,
            external_policy: TrafficPolicy::Local,
            health_check_node_port: Some(HealthCheckNodePort(32000)),
            uid: None,
        }
    }

    fn candidate(address: &str, is_local: bool, is_ready: bool) -> Candidate {
        Candidate {
            backend: Backend {
                address: address.parse().unwrap(),
                port: 8080,
                is_local,
            },
            node: None,
            zone: None,
            is_serving: true,
            is_ready,
            cluster: Standing::Chosen,
            local: if is_local { Standing::Chosen } else { Standing::NotLocal },
        }
    }

    #[test]
    fn the_health_check_counts_each_local_ready_address_once_over_all_ports() {
        let mut tally = Tally::default();
        let service = service();
        let candidates = [
            candidate("10.244.1.1", true, true),
            candidate("10.244.1.2", true, false),
            candidate("10.244.2.1", false, true),
        ];
        tally.set(&service.name, Some(&service), |_, _| Selection {
            candidates: candidates.to_vec(),
        });
        assert_eq!(tally.health_checks()[&service.name].local_ready_endpoints, 1);
        assert_eq!(
            tally.totals[0],
            Figures {
                ports: 2,
                endpoints: 6,
                ..Figures::default()
            }
        );
        assert_eq!(tally.totals[1], Figures::default(), "the Service has no IPv6 address");

        let mut dual = service.clone();
        dual.cluster_ips.push("fd00:10:96::1".parse().unwrap());
        tally.set(&dual.name, Some(&dual), |_, family| match family {
            Family::V4 => Selection {
                candidates: vec![candidate("10.244.1.1", true, true)],
            },
            Family::V6 => Selection {
                candidates: vec![candidate("fd00:10:244:1::1", true, true)],
            },
        });
        assert_eq!(
            tally.health_checks()[&service.name].local_ready_endpoints,
            1,
            "one pod with two addresses"
        );

        let remote = [candidate("10.244.2.1", false, true)];
        tally.set(&service.name, Some(&service), |_, _| Selection {
            candidates: remote.to_vec(),
        });
        assert_eq!(tally.health_checks()[&service.name].local_ready_endpoints, 0);
        assert_eq!(tally.totals[0].no_local_external, 2);
        assert_eq!(tally.totals[0].no_local_internal, 0);

        tally.set(&service.name, None, |_, _| Selection::default());
        assert!(tally.health_checks().is_empty());
        assert_eq!(tally.totals[0], Figures::default());
    }
}
