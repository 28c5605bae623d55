//! What was seen of the VPC.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Tags;

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// Its ranges, of both families.
    pub ranges: Vec<IpNet>,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroup>,
}

impl Vpc {
    /// True if an address is the VPC's.
    pub fn has(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// What kind of zone that is.
    pub zone_kind: ZoneKind,
    /// Its IPv4 range.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 ranges.
    pub ipv6: Vec<Ipv6Net>,
    /// How many IPv4 addresses are free.
    pub free_addresses: u32,
    /// Whether its route table leads to an internet gateway.
    pub is_public: bool,
    /// Its tags.
    pub tags: Tags,
}

/// What kind of zone a subnet is in. Load balancers cannot span two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneKind {
    /// An availability zone.
    AvailabilityZone,
    /// A local zone.
    LocalZone,
    /// A wavelength zone.
    WavelengthZone,
    /// An outpost.
    Outpost,
}

impl ZoneKind {
    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AvailabilityZone => "availabilityZone",
            Self::LocalZone => "localZone",
            Self::WavelengthZone => "wavelengthZone",
            Self::Outpost => "outpost",
        }
    }
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// Its tags.
    pub tags: Tags,
}
