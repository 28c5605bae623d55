//! What is in an account, without the parts that are given at random.

use std::collections::{BTreeMap, BTreeSet};

use super::Contents;

impl Contents {
    /// One line for each thing, in which others are called by their names.
    pub fn shown(&self) -> BTreeSet<String> {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        names.extend(
            self.load_balancers
                .values()
                .map(|it| (it.arn.as_str(), it.name.as_str())),
        );
        names.extend(
            self.target_groups
                .values()
                .map(|it| (it.arn.as_str(), it.name.as_str())),
        );
        names.extend(
            self.security_groups
                .values()
                .map(|it| (it.id.as_str(), it.name.as_str())),
        );
        let name = |id: &String| names.get(id.as_str()).copied().unwrap_or("?").to_owned();
        let mut lines = BTreeSet::new();
        for it in self.load_balancers.values() {
            let groups: BTreeSet<_> = it.security_groups.iter().map(name).collect();
            lines.insert(format!(
                "load balancer {} {} {} {} {:?} {groups:?} {} {:?} {} {:?}",
                it.name,
                it.scheme,
                it.ip_address_type,
                it.has_source_nat,
                it.subnets,
                it.applies_to_private_link,
                it.attributes,
                it.capacity_units,
                it.tags
            ));
            for listener in &it.listeners {
                let to: BTreeMap<_, _> = listener.to.iter().map(|(arn, weight)| (name(arn), weight)).collect();
                lines.insert(format!(
                    "listener {} {} {} {:?} {to:?} {} {:?} {:?}",
                    it.name,
                    listener.port,
                    listener.protocol,
                    listener.tls,
                    listener.is_sticky,
                    listener.attributes,
                    listener.tags
                ));
            }
        }
        for it in self.target_groups.values() {
            lines.insert(format!(
                "target group {} {} {} {} {:?} {:?} {:?} {:?} {:?}",
                it.name,
                it.protocol,
                it.target_type,
                it.family,
                it.health_check,
                it.attributes,
                it.targets,
                it.recorded,
                it.tags
            ));
        }
        for it in self.security_groups.values() {
            let rules: BTreeSet<_> = it.rules.iter().map(ToString::to_string).collect();
            lines.insert(format!("security group {} {rules:?} {:?}", it.name, it.tags));
        }
        lines
    }
}
