//! The VPC, and the interfaces of targets.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types as ec2;
use fairlead_aws::desired::{Subnet, Vpc, ZoneKind};
use fairlead_provider::ProviderError;
use ipnet::IpNet;

use crate::AwsAccount;
use crate::convert::{tags_of_ec2, text};
use crate::error::{Failure, missing};

/// How many values a filter may have.
const IN_A_FILTER: usize = 200;
/// How much a page of EC2 has at most.
const PAGE: i32 = 1000;

pub(crate) fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a String>) -> ec2::Filter {
    let values = values.into_iter().cloned().collect();
    ec2::Filter::builder().name(name).set_values(Some(values)).build()
}

impl AwsAccount {
    fn in_vpc(&self) -> ec2::Filter {
        filter("vpc-id", [&self.vpc])
    }

    pub(crate) async fn describe_vpc(&self) -> Result<Vpc, ProviderError> {
        let id = &self.vpc;
        let vpcs = self
            .caller
            .ec2("DescribeVpcs", |ec2| ec2.describe_vpcs().vpc_ids(id).send());
        let zones = self.caller.ec2("DescribeAvailabilityZones", |ec2| {
            ec2.describe_availability_zones().send()
        });
        let (vpcs, subnets, tables, zones) =
            futures::try_join!(vpcs, self.describe_subnets(), self.describe_route_tables(), zones)?;
        let vpc = vpcs.vpcs().first().ok_or_else(|| missing(id))?;
        if self.memory().groups.is_none() {
            self.list_groups().await?;
        }
        let kinds: BTreeMap<_, _> = zones
            .availability_zones()
            .iter()
            .filter_map(|zone| Some((zone.zone_name()?, zone_kind(zone.zone_type()))))
            .collect();
        let subnets = subnets.iter().filter_map(|found| {
            let zone = found.availability_zone().unwrap_or_default();
            let kind = match found.outpost_arn() {
                Some(_) => ZoneKind::Outpost,
                None => kinds.get(zone).copied().unwrap_or(ZoneKind::AvailabilityZone),
            };
            subnet(found, kind, &tables)
        });
        Ok(Vpc {
            id: id.clone(),
            ranges: ranges(vpc),
            subnets: subnets.collect(),
            security_groups: self.memory().groups.clone().unwrap_or_default(),
        })
    }

    async fn describe_subnets(&self) -> Result<Vec<ec2::Subnet>, Failure> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.caller.ec2("DescribeSubnets", |ec2| {
                let request = ec2.describe_subnets().filters(self.in_vpc()).max_results(PAGE);
                request.set_next_token(token.clone()).send()
            });
            let page = page.await?;
            token = page.next_token().map(str::to_owned);
            all.extend(page.subnets.unwrap_or_default());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn describe_route_tables(&self) -> Result<Vec<ec2::RouteTable>, Failure> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.caller.ec2("DescribeRouteTables", |ec2| {
                // This one takes no more.
                let request = ec2.describe_route_tables().filters(self.in_vpc()).max_results(100);
                request.set_next_token(token.clone()).send()
            });
            let page = page.await?;
            token = page.next_token().map(str::to_owned);
            all.extend(page.route_tables.unwrap_or_default());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn describe_groups(&self, filter: &ec2::Filter) -> Result<Vec<ec2::SecurityGroup>, Failure> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.caller.ec2("DescribeSecurityGroups", |ec2| {
                let request = ec2.describe_security_groups().filters(filter.clone()).max_results(PAGE);
                request.set_next_token(token.clone()).send()
            });
            let page = page.await?;
            token = page.next_token().map(str::to_owned);
            all.extend(page.security_groups.unwrap_or_default());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn describe_all_groups(&self) -> Result<Vec<ec2::SecurityGroup>, Failure> {
        self.describe_groups(&self.in_vpc()).await
    }

    pub(crate) async fn describe_interfaces(
        &self,
        filter: &ec2::Filter,
    ) -> Result<Vec<ec2::NetworkInterface>, Failure> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let page = self.caller.ec2("DescribeNetworkInterfaces", |ec2| {
                let request = ec2
                    .describe_network_interfaces()
                    .filters(self.in_vpc())
                    .filters(filter.clone())
                    .max_results(PAGE);
                request.set_next_token(token.clone()).send()
            });
            let page = page.await?;
            token = page.next_token().map(str::to_owned);
            all.extend(page.network_interfaces.unwrap_or_default());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Those of these security groups that an interface has.
    pub(crate) async fn groups_in_use(&self, groups: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        let mut used = BTreeSet::new();
        for part in batches(groups) {
            let found = self.describe_interfaces(&filter("group-id", &part)).await?;
            let ids = found.iter().flat_map(groups_of);
            used.extend(ids.filter(|id| groups.contains(id)));
        }
        Ok(used)
    }

    pub(crate) async fn find_interfaces(
        &self,
        targets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let unknown: BTreeSet<_> = {
            let mut memory = self.memory();
            memory.interfaces.asked.extend(targets.iter().cloned());
            let known = &memory.interfaces.groups;
            targets
                .iter()
                .filter(|target| !known.contains_key(*target))
                .cloned()
                .collect()
        };
        self.learn_interfaces(&unknown).await?;
        let memory = self.memory();
        let known = targets.iter().filter_map(|target| {
            let groups = memory.interfaces.groups.get(target)?;
            (!groups.is_empty()).then(|| (target.clone(), groups.clone()))
        });
        Ok(known.collect())
    }

    /// Learns what has been asked for since the last look again, and forgets the rest.
    pub(crate) async fn refresh_interfaces(&self) -> Result<(), Failure> {
        let asked = {
            let mut memory = self.memory();
            memory.interfaces.ranges = None;
            std::mem::take(&mut memory.interfaces.asked)
        };
        let learned = self.learn_interfaces(&asked).await;
        let mut memory = self.memory();
        let newer = memory.interfaces.asked.clone();
        memory
            .interfaces
            .groups
            .retain(|target, _| asked.contains(target) || newer.contains(target));
        learned
    }

    async fn learn_interfaces(&self, targets: &BTreeSet<String>) -> Result<(), Failure> {
        let kind = |target: &String| match target {
            instance if instance.starts_with("i-") => "attachment.instance-id",
            address if address.contains(':') => "ipv6-addresses.ipv6-address",
            _ => "addresses.private-ip-address",
        };
        let mut found = BTreeMap::new();
        let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for target in targets {
            kinds.entry(kind(target)).or_default().insert(target.clone());
        }
        for (name, targets) in &kinds {
            for part in batches(targets) {
                let interfaces = self.describe_interfaces(&filter(name, &part)).await?;
                for interface in &interfaces {
                    for key in keys(interface).into_iter().filter(|key| targets.contains(key)) {
                        found.insert(key, groups_of(interface));
                    }
                }
            }
        }
        let is_address = |target: &&String| !target.starts_with("i-");
        let rest: Vec<_> = targets.iter().filter(|target| !found.contains_key(*target)).collect();
        if rest.iter().any(is_address) {
            self.learn_ranges().await?;
        }
        let mut memory = self.memory();
        for target in rest {
            let groups = memory.interfaces.in_range(target).cloned().unwrap_or_default();
            found.insert(target.clone(), groups);
        }
        memory.interfaces.groups.extend(found);
        Ok(())
    }

    /// Addresses out of a range that an interface has are not listed one by one, and nothing finds them by a filter.
    async fn learn_ranges(&self) -> Result<(), Failure> {
        if self.memory().interfaces.ranges.is_some() {
            return Ok(());
        }
        let interfaces = self.describe_interfaces(&self.in_vpc()).await?;
        let ranges = interfaces.iter().flat_map(|interface| {
            let ipv4 = interface.ipv4_prefixes().iter().filter_map(|it| it.ipv4_prefix());
            let ipv6 = interface.ipv6_prefixes().iter().filter_map(|it| it.ipv6_prefix());
            let all = ipv4.chain(ipv6).filter_map(|text| text.parse::<IpNet>().ok());
            all.map(|range| (range, groups_of(interface))).collect::<Vec<_>>()
        });
        self.memory().interfaces.ranges = Some(ranges.collect());
        Ok(())
    }
}

fn batches(all: &BTreeSet<String>) -> Vec<Vec<String>> {
    crate::convert::requests::batches(all, IN_A_FILTER)
}

fn groups_of(interface: &ec2::NetworkInterface) -> Vec<String> {
    let groups = interface.groups().iter();
    groups.filter_map(|group| group.group_id().map(str::to_owned)).collect()
}

/// What an interface is found by. An instance is found by its first.
fn keys(interface: &ec2::NetworkInterface) -> Vec<String> {
    let attachment = interface.attachment();
    let is_first =
        attachment.is_some_and(|it| it.device_index() == Some(0) && it.network_card_index().unwrap_or(0) == 0);
    let instance = attachment.and_then(ec2::NetworkInterfaceAttachment::instance_id);
    let ipv4 = interface.private_ip_addresses().iter();
    let ipv4 = ipv4.filter_map(ec2::NetworkInterfacePrivateIpAddress::private_ip_address);
    let ipv6 = interface.ipv6_addresses().iter();
    let ipv6 = ipv6.filter_map(ec2::NetworkInterfaceIpv6Address::ipv6_address);
    let instance = instance.filter(|_| is_first);
    instance
        .into_iter()
        .chain(ipv4)
        .chain(ipv6)
        .map(str::to_owned)
        .collect()
}

fn ranges(vpc: &ec2::Vpc) -> Vec<IpNet> {
    let is_there = |state: Option<&ec2::VpcCidrBlockState>| {
        let state = state.and_then(ec2::VpcCidrBlockState::state);
        state.is_none_or(|state| *state == ec2::VpcCidrBlockStateCode::Associated)
    };
    let ipv4 = vpc.cidr_block_association_set().iter();
    let ipv4 = ipv4
        .filter(|it| is_there(it.cidr_block_state()))
        .filter_map(|it| it.cidr_block());
    let ipv6 = vpc.ipv6_cidr_block_association_set().iter();
    let ipv6 = ipv6
        .filter(|it| is_there(it.ipv6_cidr_block_state()))
        .filter_map(|it| it.ipv6_cidr_block());
    let all: BTreeSet<_> = vpc.cidr_block().into_iter().chain(ipv4).chain(ipv6).collect();
    all.into_iter().filter_map(|text| text.parse().ok()).collect()
}

fn zone_kind(word: Option<&str>) -> ZoneKind {
    match word {
        Some("local-zone") => ZoneKind::LocalZone,
        Some("wavelength-zone") => ZoneKind::WavelengthZone,
        _ => ZoneKind::AvailabilityZone,
    }
}

fn subnet(found: &ec2::Subnet, zone_kind: ZoneKind, tables: &[ec2::RouteTable]) -> Option<Subnet> {
    let id = found.subnet_id()?;
    let ipv6 = found.ipv6_cidr_block_association_set().iter().filter(|it| {
        let state = it.ipv6_cidr_block_state().and_then(ec2::SubnetCidrBlockState::state);
        state.is_none_or(|state| *state == ec2::SubnetCidrBlockStateCode::Associated)
    });
    Some(Subnet {
        id: id.to_owned(),
        zone: text(found.availability_zone()),
        zone_kind,
        ipv4: found.cidr_block().and_then(|text| text.parse().ok()),
        ipv6: ipv6.filter_map(|it| it.ipv6_cidr_block()?.parse().ok()).collect(),
        free_addresses: found
            .available_ip_address_count()
            .and_then(|count| count.try_into().ok())
            .unwrap_or(0),
        is_public: is_public(id, tables),
        tags: tags_of_ec2(found.tags()),
    })
}

/// By its own route table, or by the main one of the VPC.
fn is_public(subnet: &str, tables: &[ec2::RouteTable]) -> bool {
    let own = |table: &&ec2::RouteTable| table.associations().iter().any(|it| it.subnet_id() == Some(subnet));
    let main = |table: &&ec2::RouteTable| table.associations().iter().any(|it| it.main() == Some(true));
    let table = tables.iter().find(own).or_else(|| tables.iter().find(main));
    let leads_out = |route: &ec2::Route| route.gateway_id().is_some_and(|id| id.starts_with("igw-"));
    table.is_some_and(|table| table.routes().iter().any(leads_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(gateway: &str, subnet: Option<&str>) -> ec2::RouteTable {
        let association = ec2::RouteTableAssociation::builder()
            .main(subnet.is_none())
            .set_subnet_id(subnet.map(str::to_owned));
        ec2::RouteTable::builder()
            .associations(association.build())
            .routes(ec2::Route::builder().gateway_id(gateway).build())
            .build()
    }

    #[test]
    fn a_subnet_is_public_by_its_own_table_or_by_the_main_one() {
        let tables = [table("igw-1", None), table("local", Some("subnet-1"))];
        assert!(!is_public("subnet-1", &tables));
        assert!(is_public("subnet-2", &tables));
        assert!(!is_public("subnet-2", &tables[1..]));
    }

    #[test]
    fn an_instance_is_found_by_its_first_interface() {
        let interface = |index| {
            let attachment = ec2::NetworkInterfaceAttachment::builder()
                .instance_id("i-1")
                .device_index(index);
            let address = ec2::NetworkInterfacePrivateIpAddress::builder().private_ip_address("10.0.0.1");
            let found = ec2::NetworkInterface::builder()
                .attachment(attachment.build())
                .private_ip_addresses(address.build());
            keys(&found.build())
        };
        assert_eq!(interface(0), ["i-1", "10.0.0.1"]);
        assert_eq!(interface(1), ["10.0.0.1"]);
    }
}
