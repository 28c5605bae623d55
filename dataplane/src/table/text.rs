//! The rule set as nft text, in the words of `nft list ruleset`; `nft -f` loads it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fairlead_model::Family;

use super::{
    Chain, ChainKind, Datum, Field, FieldType, Holds, Hook, HookPoint, InterfacePattern, Rule, Set, SetData, SetSpec,
    Statement, TABLE, Table, Value, Verdict,
};

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        let mut separator = "";
        for (name, set) in &self.sets {
            f.write_str(separator)?;
            writeln!(f, "\t{} {name} {{", set.spec.keyword())?;
            set.fmt(f)?;
            writeln!(f, "\t}}")?;
            separator = "\n";
        }
        for (name, chain) in &self.chains {
            f.write_str(separator)?;
            writeln!(f, "\tchain {name} {{")?;
            chain.fmt(f)?;
            writeln!(f, "\t}}")?;
            separator = "\n";
        }
        writeln!(f, "}}")
    }
}

impl SetSpec {
    /// `set` or `map`.
    pub const fn keyword(&self) -> &'static str {
        match self.data {
            SetData::Nothing => "set",
            SetData::Verdict | SetData::Fields(_) => "map",
        }
    }
}

impl fmt::Display for SetSpec {
    /// The type in nft's words, as in `type ipv4_addr . inet_proto . inet_service : verdict`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A slot has no type name of its own: such a map is declared by expressions of its fields' types.
        let family = match self.key {
            key if key.contains(&FieldType::Ipv6Addr) => Family::V6,
            _ => match self.data {
                SetData::Fields(data) if data.contains(&FieldType::Ipv6Addr) => Family::V6,
                _ => Family::V4,
            },
        };
        let is_typeof = self.key.contains(&FieldType::Slot);
        f.write_str(if is_typeof { "typeof " } else { "type " })?;
        let field = |kind: FieldType| {
            if is_typeof {
                kind.expression(family)
            } else {
                kind.type_name()
            }
        };
        let join = |fields: &[FieldType]| fields.iter().map(|kind| field(*kind)).collect::<Vec<_>>().join(" . ");
        f.write_str(&join(self.key))?;
        match self.data {
            SetData::Nothing => Ok(()),
            SetData::Verdict => f.write_str(" : verdict"),
            SetData::Fields(fields) => write!(f, " : {}", join(fields)),
        }
    }
}

impl FieldType {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Slot => "integer",
        }
    }

    const fn expression(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Ipv4Addr | Self::Ipv6Addr, Family::V4) => "ip daddr",
            (Self::Ipv4Addr | Self::Ipv6Addr, Family::V6) => "ip6 daddr",
            (Self::InetProto, _) => "meta l4proto",
            (Self::InetService, _) => "th dport",
            (Self::Slot, _) => "numgen random mod 1",
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\t\t{}", self.spec)?;
        match self.spec.holds {
            Holds::Keys => {}
            Holds::Ranges => writeln!(f, "\t\tflags interval")?,
            Holds::Learned => writeln!(f, "\t\tsize 65535\n\t\tflags dynamic,timeout")?,
        }
        // A map has no order; for people and for snapshots the text has one.
        let mut elements: Vec<_> = self.elements.iter().collect();
        elements.sort_unstable_by_key(|(key, _)| **key);
        let elements = elements
            .into_iter()
            .map(|(key, value)| element_text(&self.spec, key, value));
        let ranges = self.ranges.iter().map(|range| range_text(&self.spec, range));
        let all: Vec<_> = elements.chain(ranges).collect();
        if all.is_empty() {
            return Ok(());
        }
        writeln!(f, "\t\telements = {{ {} }}", all.join(",\n\t\t\t     "))
    }
}

/// An element in nft's words, as in `10.96.0.1 . tcp . 80 : goto pick4_2`.
pub(crate) fn element_text(spec: &SetSpec, key: &Datum, value: &Value) -> String {
    let key = datum_text(spec.key, key);
    match (value, spec.data) {
        (Value::Verdict(verdict), _) => format!("{key} : {verdict}"),
        (Value::Data(data), SetData::Fields(fields)) => format!("{key} : {}", datum_text(fields, data)),
        (Value::Data(data), _) => format!("{key} : {data:?}"),
        (Value::Nothing, _) => key,
    }
}

/// A key or its data in nft's words.
pub(crate) fn datum_text(fields: &[FieldType], datum: &Datum) -> String {
    datum
        .fields(fields)
        .map(|field| field.to_string())
        .collect::<Vec<_>>()
        .join(" . ")
}

/// A range in nft's words: each field as an address, a prefix or `first-last`.
pub(crate) fn range_text(spec: &SetSpec, (first, last): &(Datum, Datum)) -> String {
    let fields = first.fields(spec.key).zip(last.fields(spec.key));
    let fields = fields.map(|(first, last)| match (first, last) {
        (first, last) if first == last => first.to_string(),
        (super::FieldValue::Address(first), super::FieldValue::Address(last)) => match prefix_len(first, last) {
            Some(len) => format!("{first}/{len}"),
            None => format!("{first}-{last}"),
        },
        (first, last) => format!("{first}-{last}"),
    });
    fields.collect::<Vec<_>>().join(" . ")
}

/// The length of the prefix that covers exactly this range, if there is one.
fn prefix_len(first: IpAddr, last: IpAddr) -> Option<u32> {
    let (first, last, width) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (u128::from(first.to_bits()), u128::from(last.to_bits()), 32),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits(), last.to_bits(), 128),
        _ => return None,
    };
    let host = first ^ last;
    let is_prefix = host & host.wrapping_add(1) == 0 && first & host == 0;
    is_prefix.then(|| width - (128 - host.leading_zeros()))
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hook) = self.hook {
            writeln!(f, "\t\t{hook}")?;
        }
        self.rules.iter().try_for_each(|rule| writeln!(f, "\t\t{rule}"))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        write!(
            f,
            "type {kind} hook {} priority {}; policy accept;",
            self.point, self.priority
        )
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for statement in &self.0 {
            write!(f, "{separator}{statement}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::L4Proto(protocol) => write!(f, "meta l4proto {protocol}"),
            Self::Icmp(Family::V4) => f.write_str("meta l4proto icmp"),
            Self::Icmp(Family::V6) => f.write_str("meta l4proto ipv6-icmp"),
            Self::IifName(InterfacePattern::Exact(name)) => write!(f, "iifname \"{name}\""),
            Self::IifName(InterfacePattern::Prefix(prefix)) => write!(f, "iifname \"{prefix}*\""),
            Self::SaddrIsLocal => f.write_str("fib saddr type local"),
            Self::CtStateNew => f.write_str("ct state new"),
            Self::CtStatusDnat => f.write_str("ct status dnat"),
            Self::OneIn(count) => write!(f, "numgen random mod {count} 0"),
            Self::Lookup { key, set, is_negated } => {
                let negation = if *is_negated { "!= " } else { "" };
                write!(f, "{} {negation}@{set}", Key(key))
            }
            Self::VerdictMap { key, map } => write!(f, "{} vmap @{map}", Key(key)),
            Self::Update { key, set, timeout } => {
                write!(f, "update @{set} {{ {key} timeout {} }}", Seconds(*timeout))
            }
            Self::DnatMap { family, key, map } => {
                write!(f, "dnat {} to {} map @{map}", family_keyword(*family), Key(key))
            }
            Self::Dnat(to @ SocketAddr::V4(_)) => write!(f, "dnat ip to {to}"),
            Self::Dnat(to @ SocketAddr::V6(_)) => write!(f, "dnat ip6 to {to}"),
            Self::Masquerade => f.write_str("masquerade fully-random"),
            Self::Reject => f.write_str("reject"),
            Self::Reset => f.write_str("reject with tcp reset"),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

struct Key<'a>(&'a [Field]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for field in self.0 {
            write!(f, "{separator}{field}")?;
            separator = " . ";
        }
        Ok(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Saddr(family) => write!(f, "{} saddr", family_keyword(*family)),
            Self::Daddr(family) => write!(f, "{} daddr", family_keyword(*family)),
            Self::L4Proto => f.write_str("meta l4proto"),
            Self::Dport => f.write_str("th dport"),
            Self::IcmpKind => f.write_str("th sport"),
            Self::OriginalDaddr(family) => write!(f, "ct original {} daddr", family_keyword(*family)),
            Self::OriginalDport => f.write_str("ct original proto-dst"),
            Self::RandomSlot(count) => write!(f, "numgen random mod {count}"),
        }
    }
}

const fn family_keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

/// A duration as nft writes it, as in `1d2h3m4s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 86_400, "d"),
            (seconds / 3_600 % 24, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
        ];
        let mut is_empty = true;
        for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{count}{unit}")?;
            is_empty = false;
        }
        if is_empty { f.write_str("0s") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_prints_as_a_prefix_where_it_is_one() {
        let cases = [
            ("10.0.0.0", "10.255.255.255", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.2", "10.0.0.1-10.0.0.2"),
            ("0.0.0.0", "255.255.255.255", "0.0.0.0/0"),
            ("fd00::", "fd00::ffff", "fd00::/112"),
            ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ];
        for (first, last, text) in cases {
            let first: IpAddr = first.parse().unwrap();
            let key: &[FieldType] = if first.is_ipv4() {
                &[FieldType::Ipv4Addr]
            } else {
                &[FieldType::Ipv6Addr]
            };
            let key: &'static [FieldType] = key.to_vec().leak();
            let spec = SetSpec {
                key,
                data: SetData::Nothing,
                holds: Holds::Ranges,
            };
            let range = (Datum::address(first), Datum::address(last.parse().unwrap()));
            assert_eq!(range_text(&spec, &range), text);
        }
    }

    #[test]
    fn a_timeout_prints_as_nft_prints_it() {
        let cases = [(0, "0s"), (10_800, "3h"), (90, "1m30s"), (90_061, "1d1h1m1s")];
        for (seconds, text) in cases {
            assert_eq!(Seconds(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
