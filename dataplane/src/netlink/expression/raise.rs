//! Expressions to statements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fairlead_model::{Family, Protocol};

use super::lower::{icmp, lower, source};
use super::{CtOriginal, Expression, Gives, Immediate, PayloadBase, Source};
use crate::netlink::uapi::expression::CT_STATE_NEW;
use crate::table::{Field, InterfacePattern, Name, Rule, Statement};

/// The rule of ours that has exactly these expressions; `None` if there is none.
///
/// Reads them without a look at registers and operators: lowering the result again shows whether all of that was right.
pub(in crate::netlink) fn raise(expressions: &[Expression]) -> Option<Rule> {
    let mut raising = Raising::default();
    for expression in expressions {
        raising.expression(expression)?;
    }
    let rule = Rule(raising.statements);
    (lower(&rule) == expressions).then_some(rule)
}

#[derive(Default)]
struct Raising {
    statements: Vec<Statement>,
    /// What was loaded and not yet used.
    loads: Vec<Source>,
    mask: Option<u32>,
    immediates: Vec<Immediate>,
    /// A map whose data the next DNAT uses.
    mapped: Option<(Vec<Field>, Name)>,
}

impl Raising {
    fn expression(&mut self, expression: &Expression) -> Option<()> {
        let statement = match expression {
            Expression::Load { source, .. } => {
                self.loads.push(*source);
                return Some(());
            }
            Expression::Mask { mask, .. } => {
                self.mask = Some(*mask);
                return Some(());
            }
            Expression::Set { value, .. } => {
                self.immediates.push(*value);
                return Some(());
            }
            // Implied by a later field, and lowered for it again.
            Expression::Compare { .. } if self.loads.last() == Some(&Source::Nfproto) => {
                self.loads.pop();
                return Some(());
            }
            Expression::Compare { value, .. } => self.compare(value)?,
            Expression::Verdict(verdict) => Statement::Verdict(verdict.clone()),
            Expression::Lookup {
                set, is_negated, gives, ..
            } => {
                let (key, set) = (self.key()?, Name::clone(set));
                match gives {
                    Gives::Match => Statement::Lookup {
                        key,
                        set,
                        is_negated: *is_negated,
                    },
                    Gives::Verdict => Statement::VerdictMap { key, map: set },
                    Gives::Data(_) => {
                        self.mapped = Some((key, set));
                        return Some(());
                    }
                }
            }
            Expression::Update { set, timeout, .. } => {
                let [key] = self.key()?.try_into().ok()?;
                Statement::Update {
                    key,
                    set: Name::clone(set),
                    timeout: *timeout,
                }
            }
            Expression::Dnat { family, .. } => match self.mapped.take() {
                Some((key, map)) => Statement::DnatMap {
                    family: *family,
                    key,
                    map,
                },
                None => Statement::Dnat(self.address(*family)?),
            },
            Expression::Masquerade => Statement::Masquerade,
            Expression::Reject => Statement::Reject,
            Expression::Reset => Statement::Reset,
            // Of the table at the links, which is never read back.
            Expression::Hash { .. } | Expression::Forward { .. } => return None,
        };
        self.statements.push(statement);
        Some(())
    }

    /// The loaded fields as a key.
    fn key(&mut self) -> Option<Vec<Field>> {
        self.loads.drain(..).map(field).collect()
    }

    /// The match that this comparison ends.
    fn compare(&mut self, value: &Immediate) -> Option<Statement> {
        let loaded = self.loads.pop()?;
        let mask = self.mask.take();
        Some(match loaded {
            Source::L4Proto => match value.as_bytes() {
                [number] => match Family::ALL.into_iter().find(|family| icmp(*family) == *number) {
                    Some(family) => Statement::Icmp(family),
                    None => Statement::L4Proto(Protocol::from_number(*number)?),
                },
                _ => return None,
            },
            Source::IifName => Statement::IifName(interface(value.as_bytes())?),
            Source::SaddrType => Statement::SaddrIsLocal,
            Source::CtState if mask == Some(CT_STATE_NEW) => Statement::CtStateNew,
            Source::CtStatus => Statement::CtStatusDnat,
            Source::Random(count) => Statement::OneIn(count),
            Source::Nfproto | Source::Protocol | Source::CtState | Source::CtOriginal(_) | Source::Payload(..) => {
                return None;
            }
        })
    }

    fn address(&mut self, family: Family) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.immediates.pop()?.as_bytes().try_into().ok()?);
        let address = self.immediates.pop()?;
        let address: IpAddr = match family {
            Family::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(address.as_bytes()).ok()?).into(),
            Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(address.as_bytes()).ok()?).into(),
        };
        Some(SocketAddr::new(address, port))
    }
}

fn interface(bytes: &[u8]) -> Option<InterfacePattern> {
    let name = std::str::from_utf8(bytes).ok()?;
    Some(match name.split_once('\0') {
        Some((name, _)) => InterfacePattern::Exact(name.to_owned()),
        None => InterfacePattern::Prefix(name.to_owned()),
    })
}

fn field(loaded: Source) -> Option<Field> {
    let fixed = [
        Field::Saddr(Family::V4),
        Field::Daddr(Family::V4),
        Field::Saddr(Family::V6),
        Field::Daddr(Family::V6),
        Field::L4Proto,
        Field::Dport,
        Field::IcmpKind,
    ];
    match loaded {
        Source::CtOriginal(CtOriginal::Daddr(family)) => Some(Field::OriginalDaddr(family)),
        Source::CtOriginal(CtOriginal::Dport) => Some(Field::OriginalDport),
        Source::Random(count) => Some(Field::RandomSlot(count)),
        Source::Payload(PayloadBase::Network | PayloadBase::Transport, ..) | Source::L4Proto => {
            fixed.into_iter().find(|field| source(*field) == loaded)
        }
        Source::Nfproto
        | Source::Protocol
        | Source::IifName
        | Source::CtState
        | Source::CtStatus
        | Source::SaddrType => None,
    }
}
