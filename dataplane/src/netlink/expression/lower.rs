//! Statements to expressions.

use std::net::{IpAddr, SocketAddr};

use fairlead_model::Family;

use super::{CtOriginal, Expression, Gives, Immediate, PayloadBase, Register, Source};
use crate::netlink::uapi::expression::{CT_STATE_NEW, CT_STATUS_DNAT, FIB_LOCAL};
use crate::table::{Field, FieldType, InterfacePattern, Name, Rule, Statement};

/// Bytes of an interface name with its NUL.
const INTERFACE_NAME_LEN: usize = 16;

/// The expressions that nft would write for this rule.
pub(in crate::netlink) fn lower(rule: &Rule) -> Vec<Expression> {
    let mut lowering = Lowering {
        expressions: Vec::new(),
        matched: None,
    };
    for statement in &rule.0 {
        lowering.statement(statement);
    }
    lowering.expressions
}

struct Lowering {
    expressions: Vec<Expression>,
    /// The family that the rule has matched so far.
    matched: Option<Family>,
}

impl Lowering {
    fn load(&mut self, source: Source) {
        self.expressions.push(Expression::Load {
            source,
            to: Register::FIRST,
        });
    }

    fn compare(&mut self, is_equal: bool, value: &[u8]) {
        let len = value.len().min(INTERFACE_NAME_LEN);
        let value = Immediate::new(&value[..len]).expect("an immediate takes that many bytes");
        self.expressions.push(Expression::Compare {
            register: Register::FIRST,
            is_equal,
            value,
        });
    }

    /// Matches any of these flags.
    fn has_flag(&mut self, source: Source, mask: u32) {
        self.load(source);
        self.expressions.push(Expression::Mask {
            register: Register::FIRST,
            mask,
        });
        self.compare(false, &0_u32.to_ne_bytes());
    }

    /// Matches the family once, before the first field that only packets of that family have.
    fn family(&mut self, key: &[Field]) {
        let in_packet = |field: &Field| match field {
            // Conntrack knows the family of its entry by itself.
            Field::OriginalDaddr(_) => None,
            _ => field.family(),
        };
        if let Some(family) = key.iter().find_map(in_packet)
            && self.matched != Some(family)
        {
            self.matched = Some(family);
            self.load(Source::Nfproto);
            self.compare(true, &[nfproto(family)]);
        }
    }

    /// Loads the fields one after the other, each into whole registers.
    fn key(&mut self, key: &[Field]) {
        self.family(key);
        let mut slot = 0_u8;
        for field in key {
            self.expressions.push(Expression::Load {
                source: source(*field),
                to: Register(slot),
            });
            slot = slot.saturating_add(registers(field.kind()));
        }
    }

    fn lookup(&mut self, key: &[Field], set: &Name, is_negated: bool, gives: Gives) {
        self.key(key);
        let set = Name::clone(set);
        self.expressions.push(Expression::Lookup {
            set,
            key: Register::FIRST,
            is_negated,
            gives,
        });
    }

    fn dnat(&mut self, family: Family) {
        let address = match family {
            Family::V4 => FieldType::Ipv4Addr,
            Family::V6 => FieldType::Ipv6Addr,
        };
        let port = Register(registers(address));
        self.expressions.push(Expression::Dnat {
            family,
            address: Register::FIRST,
            port,
        });
    }

    fn dnat_to(&mut self, to: SocketAddr) {
        let mut set = |register, value: &[u8]| {
            let value = Immediate::new(value).expect("an address has at most 16 bytes");
            self.expressions.push(Expression::Set { to: register, value });
        };
        match to.ip() {
            IpAddr::V4(address) => set(Register::FIRST, &address.octets()),
            IpAddr::V6(address) => set(Register::FIRST, &address.octets()),
        }
        // nft gives each immediate a register of 16 bytes.
        let port = Register(4);
        set(port, &to.port().to_be_bytes());
        let family = Family::of(to.ip());
        self.expressions.push(Expression::Dnat {
            family,
            address: Register::FIRST,
            port,
        });
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::L4Proto(protocol) => {
                self.load(Source::L4Proto);
                self.compare(true, &[protocol.number()]);
            }
            Statement::Icmp(family) => {
                self.load(Source::L4Proto);
                self.compare(true, &[icmp(*family)]);
            }
            Statement::IifName(pattern) => {
                self.load(Source::IifName);
                match pattern {
                    InterfacePattern::Exact(name) => {
                        let mut bytes = name.clone().into_bytes();
                        bytes.resize(INTERFACE_NAME_LEN, 0);
                        self.compare(true, &bytes);
                    }
                    InterfacePattern::Prefix(prefix) => self.compare(true, prefix.as_bytes()),
                }
            }
            Statement::SaddrIsLocal => {
                self.load(Source::SaddrType);
                self.compare(true, &FIB_LOCAL.to_ne_bytes());
            }
            Statement::CtStateNew => self.has_flag(Source::CtState, CT_STATE_NEW),
            Statement::CtStatusDnat => self.has_flag(Source::CtStatus, CT_STATUS_DNAT),
            Statement::OneIn(count) => {
                self.load(Source::Random(*count));
                self.compare(true, &0_u32.to_ne_bytes());
            }
            Statement::Lookup { key, set, is_negated } => self.lookup(key, set, *is_negated, Gives::Match),
            Statement::VerdictMap { key, map } => self.lookup(key, map, false, Gives::Verdict),
            Statement::Update { key, set, timeout } => {
                self.key(&[*key]);
                let set = Name::clone(set);
                self.expressions.push(Expression::Update {
                    set,
                    key: Register::FIRST,
                    timeout: *timeout,
                });
            }
            Statement::DnatMap { family, key, map } => {
                self.lookup(key, map, false, Gives::Data(Register::FIRST));
                self.dnat(*family);
            }
            Statement::Dnat(to) => self.dnat_to(*to),
            Statement::Masquerade => self.expressions.push(Expression::Masquerade),
            Statement::Reject => self.expressions.push(Expression::Reject),
            Statement::Reset => self.expressions.push(Expression::Reset),
            Statement::Verdict(verdict) => self.expressions.push(Expression::Verdict(verdict.clone())),
        }
    }
}

/// The family's number in the kernel, in one byte.
pub(in crate::netlink) const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// The protocol number of ICMP.
pub(super) const fn icmp(family: Family) -> u8 {
    match family {
        Family::V4 => 1,
        Family::V6 => 58,
    }
}

/// How many registers a field fills.
fn registers(kind: FieldType) -> u8 {
    u8::try_from(kind.padded_width() / 4).expect("a field has at most 16 bytes")
}

/// Where a field comes from.
pub(super) const fn source(field: Field) -> Source {
    use PayloadBase::{Network, Transport};
    match field {
        Field::Saddr(Family::V4) => Source::Payload(Network, 12, 4),
        Field::Daddr(Family::V4) => Source::Payload(Network, 16, 4),
        Field::Saddr(Family::V6) => Source::Payload(Network, 8, 16),
        Field::Daddr(Family::V6) => Source::Payload(Network, 24, 16),
        Field::L4Proto => Source::L4Proto,
        Field::Dport => Source::Payload(Transport, 2, 2),
        Field::IcmpKind => Source::Payload(Transport, 0, 2),
        Field::OriginalDaddr(family) => Source::CtOriginal(CtOriginal::Daddr(family)),
        Field::OriginalDport => Source::CtOriginal(CtOriginal::Dport),
        Field::RandomSlot(count) => Source::Random(count),
    }
}
