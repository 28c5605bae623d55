//! Listeners of an account, and what AWS checks of them.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_model::Family;

use super::{Contents, Done, REGION, Refused, refuse};
use crate::contract::{IpAddressType, ListenerProtocol};
use crate::desired::{Listener, Tls};
use crate::plan::{Destinations, ListenerRef, ObservedListener, Ref};

impl Contents {
    /// Makes a listener.
    pub fn create_listener(&mut self, load_balancer: &Ref, port: u16, listener: &Listener, to: &Destinations) -> Done {
        let to = self.destinations(to)?;
        let number = self.number();
        let found = self.load_balancer(load_balancer)?;
        if let Some(there) = found.listeners.iter().find(|there| there.port == port) {
            let is_same = there.protocol == listener.protocol && there.to == to;
            return if is_same {
                Ok(())
            } else {
                refuse("DuplicateListener", port)
            };
        }
        found.listeners.push(ObservedListener {
            arn: format!("{REGION}:listener/net/{}/{port}/{number}", found.name),
            port,
            protocol: listener.protocol,
            tls: listener.tls.clone().map(|tls| Tls {
                more_certificates: BTreeSet::new(),
                ..tls
            }),
            to,
            is_sticky: listener.is_sticky,
            attributes: BTreeMap::new(),
            tags: listener.tags.clone(),
        });
        self.connect();
        self.check_listeners(load_balancer)
    }

    pub(super) fn modify_listener(&mut self, arn: &str, listener: &Listener, to: &Destinations) -> Done {
        let to = self.destinations(to)?;
        let found = self.listener(&ListenerRef::Arn(arn.to_owned()))?;
        let more = found.tls.take().map(|tls| tls.more_certificates).unwrap_or_default();
        found.protocol = listener.protocol;
        found.tls = listener.tls.clone().map(|tls| Tls {
            more_certificates: more,
            ..tls
        });
        found.to = to;
        found.is_sticky = listener.is_sticky;
        let mut all = self.load_balancers.values();
        let of = all.find(|found| found.listeners.iter().any(|listener| listener.arn == arn));
        let of = Ref::Arn(of.expect("the listener was found").arn.clone());
        self.connect();
        self.check_listeners(&of)
    }

    fn destinations(&mut self, to: &Destinations) -> Result<BTreeMap<String, Option<u16>>, Refused> {
        to.iter()
            .map(|(group, weight)| Ok((self.target_group(group)?.arn.clone(), *weight)))
            .collect()
    }

    /// Which load balancer uses which target group.
    pub(super) fn connect(&mut self) {
        for group in self.target_groups.values_mut() {
            let mut users = self.load_balancers.values().filter(|found| {
                found
                    .listeners
                    .iter()
                    .any(|listener| listener.to.contains_key(&group.arn))
            });
            group.load_balancer = users.next().map(|found| found.arn.clone());
        }
    }

    /// What AWS checks of listeners.
    pub(super) fn check_listeners(&mut self, load_balancer: &Ref) -> Done {
        let found = self.load_balancer(load_balancer)?.clone();
        for listener in &found.listeners {
            if (listener.protocol == ListenerProtocol::Tls) != listener.tls.is_some() {
                return refuse("CertificateNotFound", listener.port);
            }
            let is_tcp_only = matches!(listener.protocol, ListenerProtocol::Tcp | ListenerProtocol::Tls);
            if !is_tcp_only && found.ip_address_type == IpAddressType::Dualstack && !found.has_source_nat {
                return refuse("InvalidConfigurationRequest", "datagrams need a prefix");
            }
            if listener.to.len() > 1 && listener.to.values().any(Option::is_none) {
                return refuse("ValidationError", "weights");
            }
            for arn in listener.to.keys() {
                let group = &self.target_groups[arn];
                let is_compatible = match listener.protocol {
                    ListenerProtocol::Tls => matches!(group.protocol, ListenerProtocol::Tls | ListenerProtocol::Tcp),
                    protocol => group.protocol == protocol,
                };
                if !is_compatible {
                    return refuse(
                        "IncompatibleProtocols",
                        format!("{} to {}", listener.protocol, group.protocol),
                    );
                }
                if group.family == Family::V6 && found.ip_address_type == IpAddressType::Ipv4 {
                    return refuse("InvalidConfigurationRequest", "IPv6 targets of an IPv4 load balancer");
                }
                let mut others = self.load_balancers.values().filter(|other| other.arn != found.arn);
                if others.any(|other| other.listeners.iter().any(|listener| listener.to.contains_key(arn))) {
                    return refuse("TargetGroupAssociationLimit", arn);
                }
            }
        }
        if found.has_source_nat && found.ip_address_type == IpAddressType::Ipv4 {
            return refuse("InvalidConfigurationRequest", "a prefix without IPv6");
        }
        Ok(())
    }
}
