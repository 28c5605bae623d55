//! Ranges of addresses, and which addresses of them are taken.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use fairlead_model::Family;
use ipnet::IpNet;

use super::intervals::Intervals;

/// Addresses from the first to the last, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    family: Family,
    first: u128,
    last: u128,
}

/// A text that is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither form.
    #[error("{0:?} is neither a CIDR such as 198.51.100.0/24 nor a range such as 198.51.100.10-198.51.100.20")]
    Malformed(String),
    /// An end is IPv4 and the other one IPv6.
    #[error("{0:?} begins and ends with different IP families")]
    TwoFamilies(String),
    /// It would be empty.
    #[error("{0:?} ends before it begins")]
    Reversed(String),
}

impl AddressRange {
    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The first address.
    pub fn first(&self) -> IpAddr {
        address(self.family, self.first)
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        address(self.family, self.last)
    }

    /// True if the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family && (self.first..=self.last).contains(&number(address))
    }

    /// What both have in common.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (self.family == other.family && first <= last).then_some(Self {
            family: self.family,
            first,
            last,
        })
    }

    /// How many addresses; saturating.
    pub fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// How many of them [are buggy](is_buggy).
    pub fn buggy(&self) -> u128 {
        if self.family == Family::V6 {
            return 0;
        }
        // How many numbers up to this one, and not including it, end in a byte of 0, or of 255.
        let zeros = |bound: u128| bound.div_ceil(256);
        let ones = |bound: u128| bound / 256;
        let end = self.last + 1;
        zeros(end) - zeros(self.first) + ones(end) - ones(self.first)
    }

    pub(super) fn bounds(&self) -> (u128, u128) {
        (self.first, self.last)
    }
}

/// IPv4 addresses that end in .0 or .255: some old devices take them for the network's or for its broadcast address.
pub fn is_buggy(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if matches!(address.octets()[3], 0 | 255))
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

pub(super) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number).expect("an IPv4 range has IPv4 addresses")).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let malformed = || RangeError::Malformed(text.to_owned());
        let (first, last): (IpAddr, IpAddr) = if let Some((first, last)) = text.split_once('-') {
            (
                first.trim().parse().map_err(|_| malformed())?,
                last.trim().parse().map_err(|_| malformed())?,
            )
        } else {
            let net: IpNet = text.trim().parse().map_err(|_| malformed())?;
            (net.network(), net.broadcast())
        };
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::TwoFamilies(text.to_owned()));
        }
        if first > last {
            return Err(RangeError::Reversed(text.to_owned()));
        }
        Ok(Self {
            family: Family::of(first),
            first: number(first),
            last: number(last),
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (address(self.family, self.first), address(self.family, self.last));
        if first == last {
            first.fmt(f)
        } else {
            write!(f, "{first}-{last}")
        }
    }
}

/// Addresses that nobody can have: the first free one after any address is found without a walk.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    v4: Intervals,
    v6: Intervals,
}

impl Taken {
    fn of(&self, family: Family) -> &Intervals {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn of_mut(&mut self, family: Family) -> &mut Intervals {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    pub(super) fn insert(&mut self, taken: IpAddr) {
        self.of_mut(Family::of(taken)).insert(number(taken));
    }

    pub(super) fn remove(&mut self, free: IpAddr) {
        self.of_mut(Family::of(free)).remove(number(free));
    }

    /// The first free address of a range. `looks` counts the intervals that were looked at.
    pub(super) fn first_free(&self, range: &AddressRange, avoid_buggy: bool, looks: &mut u64) -> Option<IpAddr> {
        let (mut at, last) = range.bounds();
        while at <= last {
            *looks += 1;
            let found = address(range.family(), at);
            at = match self.of(range.family()).end_of(at) {
                Some(end) => end.checked_add(1)?,
                None if avoid_buggy && is_buggy(found) => at.checked_add(1)?,
                None => return Some(found),
            };
        }
        None
    }

    /// How many addresses of a range are taken.
    pub(super) fn count(&self, range: &AddressRange) -> u128 {
        let (first, last) = range.bounds();
        self.of(range.family()).count(first, last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_are_read_in_both_families() {
        for (text, shown, size) in [
            ("198.51.100.0/24", "198.51.100.0-198.51.100.255", 256),
            ("198.51.100.7/24", "198.51.100.0-198.51.100.255", 256),
            ("198.51.100.10 - 198.51.100.12", "198.51.100.10-198.51.100.12", 3),
            ("2001:db8::7/128", "2001:db8::7", 1),
            ("2001:db8::1-2001:db8::2", "2001:db8::1-2001:db8::2", 2),
            ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
        ] {
            assert_eq!((range(text).to_string().as_str(), range(text).size()), (shown, size));
        }
    }

    #[test]
    fn what_is_no_range_is_named() {
        let error = |text: &str| text.parse::<AddressRange>().unwrap_err().to_string();
        assert_eq!(
            error("198.51.100.9-198.51.100.8"),
            "\"198.51.100.9-198.51.100.8\" ends before it begins"
        );
        assert!(error("198.51.100.9-::1").contains("different IP families"));
        for text in ["198.51.100.7", "198.51.100.0/33", "a-b", ""] {
            assert!(error(text).contains("neither a CIDR"), "{text}");
        }
    }

    #[test]
    fn buggy_addresses_are_counted() {
        for (text, count) in [
            ("198.51.100.0/24", 2),
            ("198.51.100.1-198.51.100.254", 0),
            ("198.51.100.255-198.51.101.0", 2),
            ("10.0.0.0/8", 131_072),
            ("0.0.0.0/0", 33_554_432),
            ("2001:db8::/64", 0),
        ] {
            assert_eq!(range(text).buggy(), count, "{text}");
        }
    }

    proptest! {
        /// The intervals say the same as a plain set.
        #[test]
        fn taken_addresses_are_a_set(steps in prop::collection::vec((any::<bool>(), 0_u8..=20), 0..60), from in 0_u8..=20, to in 0_u8..=20) {
            let mut taken = Taken::default();
            let mut set = std::collections::BTreeSet::new();
            // The last addresses that there are, so that nothing overflows.
            let address = |offset: u8| IpAddr::from([255, 255, 255, 235 + offset]);
            for (is_taken, offset) in steps {
                if is_taken {
                    taken.insert(address(offset));
                    set.insert(offset);
                } else {
                    taken.remove(address(offset));
                    set.remove(&offset);
                }
                prop_assert!(taken.v4.len() <= 11, "intervals that touch are one");
            }
            let (from, to) = (from.min(to), from.max(to));
            let range = range(&format!("{}-{}", address(from), address(to)));
            let free = (from..=to).find(|offset| !set.contains(offset)).map(address);
            prop_assert_eq!(taken.first_free(&range, false, &mut 0), free);
            prop_assert_eq!(taken.count(&range), set.range(from..=to).count() as u128);
        }
    }
}
