//! Bytes to expressions.

use std::time::Duration;

use fairlead_model::Family;

use super::Names;
use crate::netlink::attribute::{Attribute, Attributes};
use crate::netlink::expression::{CtOriginal, Expression, Gives, Immediate, PayloadBase, Register, Source, nfproto};
use crate::netlink::uapi::data;
use crate::netlink::uapi::expression as uapi;

/// Reads the expressions of a rule; `None` if one is none that our rules have.
pub(super) fn read(list: Attributes<'_>, names: &mut Names) -> Option<Vec<Expression>> {
    let mut expressions = Vec::new();
    for element in list {
        let name = element.nested().find(uapi::NAME)?.str()?;
        let body = Body(element.nested().find(uapi::BODY)?.nested());
        if name != "byteorder" {
            expressions.push(read_one(name, body, names)?);
        } else if !body.is_idle_byteorder()? {
            return None;
        }
    }
    Some(expressions)
}

fn read_one(name: &str, body: Body<'_>, names: &mut Names) -> Option<Expression> {
    let load = |source| {
        Some(Expression::Load {
            source,
            to: body.register(load_register(name)?)?,
        })
    };
    match name {
        "meta" => load(body.meta()?),
        "payload" => load(body.payload()?),
        "ct" => load(body.ct()?),
        "fib" => load(body.fib()?),
        "numgen" => load(body.numgen()?),
        "bitwise" => body.mask(),
        "cmp" => body.compare(),
        "immediate" => body.immediate(names),
        "lookup" => body.lookup(names),
        "dynset" => body.update(names),
        "nat" => body.dnat(),
        "masq" => body.masquerade(),
        "reject" => body.reject(),
        _ => None,
    }
}

fn load_register(name: &str) -> Option<u16> {
    match name {
        "meta" => Some(uapi::META_DREG),
        "payload" => Some(uapi::PAYLOAD_DREG),
        "ct" => Some(uapi::CT_DREG),
        "fib" => Some(uapi::FIB_DREG),
        "numgen" => Some(uapi::NUMGEN_DREG),
        _ => None,
    }
}

/// The attributes of one expression.
#[derive(Clone, Copy)]
struct Body<'a>(Attributes<'a>);

impl Body<'_> {
    fn number(self, kind: u16) -> Option<u32> {
        self.0.find(kind)?.be32()
    }

    fn number_or_zero(self, kind: u16) -> Option<u32> {
        self.0.find(kind).map_or(Some(0), Attribute::be32)
    }

    fn is_absent(self, kind: u16) -> bool {
        self.0.find(kind).is_none()
    }

    fn register(self, kind: u16) -> Option<Register> {
        Register::from_number(self.number(kind)?)
    }

    fn value(self, kind: u16) -> Option<Immediate> {
        Immediate::new(self.0.find(kind)?.nested().find(data::VALUE)?.value)
    }

    fn meta(self) -> Option<Source> {
        match self.number(uapi::META_KEY)? {
            uapi::META_NFPROTO => Some(Source::Nfproto),
            uapi::META_L4PROTO => Some(Source::L4Proto),
            uapi::META_IIFNAME => Some(Source::IifName),
            _ => None,
        }
    }

    fn payload(self) -> Option<Source> {
        let base = match self.number(uapi::PAYLOAD_BASE)? {
            uapi::PAYLOAD_NETWORK => PayloadBase::Network,
            uapi::PAYLOAD_TRANSPORT => PayloadBase::Transport,
            _ => return None,
        };
        Some(Source::Payload(
            base,
            self.number(uapi::PAYLOAD_OFFSET)?,
            self.number(uapi::PAYLOAD_LEN)?,
        ))
    }

    fn ct(self) -> Option<Source> {
        let direction = self.0.find(uapi::CT_DIRECTION);
        let key = self.number(uapi::CT_KEY)?;
        if let Some(direction) = direction {
            if direction.u8()? != uapi::CT_DIRECTION_ORIGINAL {
                return None;
            }
            return Some(Source::CtOriginal(match key {
                uapi::CT_DST_IP => CtOriginal::Daddr(Family::V4),
                uapi::CT_DST_IP6 => CtOriginal::Daddr(Family::V6),
                uapi::CT_PROTO_DST => CtOriginal::Dport,
                _ => return None,
            }));
        }
        match key {
            uapi::CT_STATE => Some(Source::CtState),
            uapi::CT_STATUS => Some(Source::CtStatus),
            _ => None,
        }
    }

    fn fib(self) -> Option<Source> {
        let is_ours = self.number(uapi::FIB_RESULT)? == uapi::FIB_RESULT_TYPE
            && self.number(uapi::FIB_FLAGS)? == uapi::FIB_FLAG_SADDR;
        is_ours.then_some(Source::SaddrType)
    }

    fn numgen(self) -> Option<Source> {
        let is_ours =
            self.number(uapi::NUMGEN_TYPE)? == uapi::NUMGEN_RANDOM && self.number_or_zero(uapi::NUMGEN_OFFSET)? == 0;
        is_ours.then_some(Source::Random(self.number(uapi::NUMGEN_MODULUS)?))
    }

    fn mask(self) -> Option<Expression> {
        let register = self.register(uapi::BITWISE_SREG)?;
        let is_ours = self.register(uapi::BITWISE_DREG)? == register
            && self.number(uapi::BITWISE_LEN)? == 4
            && self.number_or_zero(uapi::BITWISE_OPERATION)? == 0
            && self.value(uapi::BITWISE_XOR)?.to_u32()? == 0;
        let mask = self.value(uapi::BITWISE_MASK)?.to_u32()?;
        is_ours.then_some(Expression::Mask { register, mask })
    }

    /// nft 1.0.6 swaps the bytes of a protocol number, of which there is only one, in the key of a set of ranges.
    fn is_idle_byteorder(self) -> Option<bool> {
        let is_in_place = self.register(uapi::BYTEORDER_SREG)? == self.register(uapi::BYTEORDER_DREG)?;
        Some(is_in_place && self.number(uapi::BYTEORDER_LEN)? == 1)
    }

    fn compare(self) -> Option<Expression> {
        let is_equal = match self.number(uapi::COMPARE_OPERATION)? {
            uapi::COMPARE_EQUAL => true,
            uapi::COMPARE_NOT_EQUAL => false,
            _ => return None,
        };
        let register = self.register(uapi::COMPARE_SREG)?;
        Some(Expression::Compare {
            register,
            is_equal,
            value: self.value(uapi::COMPARE_DATA)?,
        })
    }

    fn immediate(self, names: &mut Names) -> Option<Expression> {
        let content = self.0.find(uapi::IMMEDIATE_DATA)?.nested();
        if self.number(uapi::IMMEDIATE_DREG)? == 0 {
            return Some(Expression::Verdict(names.verdict(content)?));
        }
        let to = self.register(uapi::IMMEDIATE_DREG)?;
        Some(Expression::Set {
            to,
            value: self.value(uapi::IMMEDIATE_DATA)?,
        })
    }

    fn lookup(self, names: &mut Names) -> Option<Expression> {
        let flags = self.number_or_zero(uapi::LOOKUP_FLAGS)?;
        if flags & !uapi::LOOKUP_FLAG_INVERT != 0 {
            return None;
        }
        let gives = match self.0.find(uapi::LOOKUP_DREG) {
            None => Gives::Match,
            Some(to) => match to.be32()? {
                0 => Gives::Verdict,
                number => Gives::Data(Register::from_number(number)?),
            },
        };
        Some(Expression::Lookup {
            set: names.name(self.0.find(uapi::LOOKUP_SET)?.str()?),
            key: self.register(uapi::LOOKUP_SREG)?,
            is_negated: flags != 0,
            gives,
        })
    }

    fn update(self, names: &mut Names) -> Option<Expression> {
        let timeout = self.0.find(uapi::DYNSET_TIMEOUT)?.be64()?;
        let is_ours = self.number(uapi::DYNSET_OPERATION)? == uapi::DYNSET_UPDATE
            && self.number_or_zero(uapi::DYNSET_FLAGS)? == 0
            && self.is_absent(uapi::DYNSET_SREG_DATA)
            && self.is_absent(uapi::DYNSET_EXPRESSION)
            && self.is_absent(uapi::DYNSET_EXPRESSIONS)
            && timeout % 1000 == 0;
        is_ours.then_some(Expression::Update {
            set: names.name(self.0.find(uapi::DYNSET_SET)?.str()?),
            key: self.register(uapi::DYNSET_SREG_KEY)?,
            timeout: Duration::from_secs(timeout / 1000),
        })
    }

    fn dnat(self) -> Option<Expression> {
        let address = self.register(uapi::NAT_ADDRESS_MIN)?;
        let port = self.register(uapi::NAT_PORT_MIN)?;
        let number = self.number(uapi::NAT_FAMILY)?;
        let family = Family::ALL
            .into_iter()
            .find(|family| u32::from(nfproto(*family)) == number)?;
        // A range of one: the kernel lists its end too.
        let ends_at = |kind, register| match self.0.find(kind) {
            None => Some(true),
            Some(_) => Some(self.register(kind)? == register),
        };
        let is_ours = self.number(uapi::NAT_TYPE)? == uapi::NAT_DNAT
            && ends_at(uapi::NAT_ADDRESS_MAX, address)?
            && ends_at(uapi::NAT_PORT_MAX, port)?
            && self.number_or_zero(uapi::NAT_FLAGS)? & !uapi::NAT_FLAGS_RANGE == 0;
        is_ours.then_some(Expression::Dnat { family, address, port })
    }

    fn masquerade(self) -> Option<Expression> {
        let is_ours = self.number(uapi::MASQUERADE_FLAGS)? == uapi::MASQUERADE_FULLY_RANDOM
            && self.is_absent(uapi::MASQUERADE_PORT_MIN);
        is_ours.then_some(Expression::Masquerade)
    }

    fn reject(self) -> Option<Expression> {
        if self.number(uapi::REJECT_TYPE)? == uapi::REJECT_TCP_RESET {
            return Some(Expression::Reset);
        }
        let is_ours = self.number(uapi::REJECT_TYPE)? == uapi::REJECT_ICMPX
            && self.0.find(uapi::REJECT_CODE)?.u8()? == uapi::REJECT_PORT_UNREACHABLE;
        is_ours.then_some(Expression::Reject)
    }
}
