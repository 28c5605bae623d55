//! Expressions to bytes.

use crate::netlink::attribute::Writer;
use crate::netlink::expression::{CtOriginal, Expression, Gives, Immediate, PayloadBase, Register, Source, nfproto};
use crate::netlink::uapi::expression as uapi;
use crate::netlink::uapi::{LIST_ELEMENT, data};
use crate::table::Verdict;
use fairlead_model::Family;

/// Writes the list element that holds one expression.
pub(super) fn write(writer: &mut Writer, expression: &Expression) {
    writer.nest(LIST_ELEMENT, |w| {
        w.string(uapi::NAME, name(expression));
        w.nest(uapi::BODY, |w| body(w, expression));
    });
}

const fn name(expression: &Expression) -> &'static str {
    match expression {
        Expression::Load { source, .. } => match source {
            Source::Nfproto | Source::Protocol | Source::L4Proto | Source::IifName => "meta",
            Source::Payload(..) => "payload",
            Source::CtState | Source::CtStatus | Source::CtOriginal(_) => "ct",
            Source::SaddrType => "fib",
            Source::Random(_) => "numgen",
        },
        Expression::Mask { .. } => "bitwise",
        Expression::Compare { .. } => "cmp",
        Expression::Set { .. } | Expression::Verdict(_) => "immediate",
        Expression::Lookup { .. } => "lookup",
        Expression::Update { .. } => "dynset",
        Expression::Dnat { .. } => "nat",
        Expression::Hash { .. } => "hash",
        Expression::Forward { .. } => "fwd",
        Expression::Masquerade => "masq",
        Expression::Reject | Expression::Reset => "reject",
    }
}

/// The number of the register that takes a verdict.
const VERDICT_REGISTER: u32 = 0;

fn body(w: &mut Writer, expression: &Expression) {
    match expression {
        Expression::Load { source, to } => load(w, *source, *to),
        Expression::Mask { register, mask } => {
            w.be32(uapi::BITWISE_SREG, register.number());
            w.be32(uapi::BITWISE_DREG, register.number());
            w.be32(uapi::BITWISE_LEN, 4);
            w.nest(uapi::BITWISE_MASK, |w| w.bytes(data::VALUE, &mask.to_ne_bytes()));
            w.nest(uapi::BITWISE_XOR, |w| w.bytes(data::VALUE, &[0; 4]));
        }
        Expression::Compare {
            register,
            is_equal,
            value,
        } => {
            w.be32(uapi::COMPARE_SREG, register.number());
            let operation = if *is_equal {
                uapi::COMPARE_EQUAL
            } else {
                uapi::COMPARE_NOT_EQUAL
            };
            w.be32(uapi::COMPARE_OPERATION, operation);
            w.nest(uapi::COMPARE_DATA, |w| immediate(w, value));
        }
        Expression::Set { to, value } => {
            w.be32(uapi::IMMEDIATE_DREG, to.number());
            w.nest(uapi::IMMEDIATE_DATA, |w| immediate(w, value));
        }
        Expression::Verdict(given) => {
            w.be32(uapi::IMMEDIATE_DREG, VERDICT_REGISTER);
            w.nest(uapi::IMMEDIATE_DATA, |w| verdict(w, given));
        }
        Expression::Lookup {
            set,
            key,
            is_negated,
            gives,
        } => {
            w.be32(uapi::LOOKUP_SREG, key.number());
            match gives {
                Gives::Match => {}
                Gives::Verdict => w.be32(uapi::LOOKUP_DREG, VERDICT_REGISTER),
                Gives::Data(to) => w.be32(uapi::LOOKUP_DREG, to.number()),
            }
            w.string(uapi::LOOKUP_SET, set);
            if *is_negated {
                w.be32(uapi::LOOKUP_FLAGS, uapi::LOOKUP_FLAG_INVERT);
            }
        }
        Expression::Update { set, key, timeout } => {
            w.be32(uapi::DYNSET_SREG_KEY, key.number());
            w.be32(uapi::DYNSET_OPERATION, uapi::DYNSET_UPDATE);
            // Milliseconds; the kernel stores ticks, which a whole number of seconds survives.
            w.be64(uapi::DYNSET_TIMEOUT, timeout.as_secs().saturating_mul(1000));
            w.string(uapi::DYNSET_SET, set);
        }
        Expression::Dnat { family, address, port } => {
            w.be32(uapi::NAT_TYPE, uapi::NAT_DNAT);
            w.be32(uapi::NAT_FAMILY, u32::from(nfproto(*family)));
            w.be32(uapi::NAT_ADDRESS_MIN, address.number());
            w.be32(uapi::NAT_PORT_MIN, port.number());
            w.be32(uapi::NAT_FLAGS, uapi::NAT_FLAG_PORTS);
        }
        Expression::Hash {
            from,
            len,
            modulus,
            seed,
            to,
        } => {
            w.be32(uapi::HASH_SREG, from.number());
            w.be32(uapi::HASH_DREG, to.number());
            w.be32(uapi::HASH_LEN, *len);
            w.be32(uapi::HASH_MODULUS, *modulus);
            w.be32(uapi::HASH_SEED, *seed);
            w.be32(uapi::HASH_TYPE, uapi::HASH_JENKINS);
        }
        Expression::Forward {
            family,
            device,
            address,
        } => {
            w.be32(uapi::FORWARD_SREG_DEVICE, device.number());
            w.be32(uapi::FORWARD_SREG_ADDRESS, address.number());
            w.be32(uapi::FORWARD_NFPROTO, u32::from(nfproto(*family)));
        }
        Expression::Masquerade => w.be32(uapi::MASQUERADE_FLAGS, uapi::MASQUERADE_FULLY_RANDOM),
        Expression::Reset => w.be32(uapi::REJECT_TYPE, uapi::REJECT_TCP_RESET),
        Expression::Reject => {
            w.be32(uapi::REJECT_TYPE, uapi::REJECT_ICMPX);
            w.u8(uapi::REJECT_CODE, uapi::REJECT_PORT_UNREACHABLE);
        }
    }
}

fn load(w: &mut Writer, source: Source, to: Register) {
    let to = to.number();
    let meta = |w: &mut Writer, key| {
        w.be32(uapi::META_KEY, key);
        w.be32(uapi::META_DREG, to);
    };
    let ct = |w: &mut Writer, key| {
        w.be32(uapi::CT_KEY, key);
        w.be32(uapi::CT_DREG, to);
    };
    match source {
        Source::Nfproto => meta(w, uapi::META_NFPROTO),
        Source::Protocol => meta(w, uapi::META_PROTOCOL),
        Source::L4Proto => meta(w, uapi::META_L4PROTO),
        Source::IifName => meta(w, uapi::META_IIFNAME),
        Source::Payload(base, offset, len) => {
            let base = match base {
                PayloadBase::Network => uapi::PAYLOAD_NETWORK,
                PayloadBase::Transport => uapi::PAYLOAD_TRANSPORT,
            };
            w.be32(uapi::PAYLOAD_DREG, to);
            w.be32(uapi::PAYLOAD_BASE, base);
            w.be32(uapi::PAYLOAD_OFFSET, offset);
            w.be32(uapi::PAYLOAD_LEN, len);
        }
        Source::CtState => ct(w, uapi::CT_STATE),
        Source::CtStatus => ct(w, uapi::CT_STATUS),
        Source::CtOriginal(what) => {
            let key = match what {
                CtOriginal::Daddr(Family::V4) => uapi::CT_DST_IP,
                CtOriginal::Daddr(Family::V6) => uapi::CT_DST_IP6,
                CtOriginal::Dport => uapi::CT_PROTO_DST,
            };
            ct(w, key);
            w.u8(uapi::CT_DIRECTION, uapi::CT_DIRECTION_ORIGINAL);
        }
        Source::SaddrType => {
            w.be32(uapi::FIB_DREG, to);
            w.be32(uapi::FIB_RESULT, uapi::FIB_RESULT_TYPE);
            w.be32(uapi::FIB_FLAGS, uapi::FIB_FLAG_SADDR);
        }
        Source::Random(modulus) => {
            w.be32(uapi::NUMGEN_DREG, to);
            w.be32(uapi::NUMGEN_MODULUS, modulus);
            w.be32(uapi::NUMGEN_TYPE, uapi::NUMGEN_RANDOM);
            w.be32(uapi::NUMGEN_OFFSET, 0);
        }
    }
}

fn immediate(w: &mut Writer, value: &Immediate) {
    w.bytes(data::VALUE, value.as_bytes());
}

/// Writes a verdict, as the data of an element or of an immediate.
pub(super) fn verdict(w: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (data::DROP, None),
        Verdict::Return => (data::RETURN, None),
        Verdict::Jump(chain) => (data::JUMP, Some(chain)),
        Verdict::Goto(chain) => (data::GOTO, Some(chain)),
    };
    w.nest(data::VERDICT, |w| {
        w.be32(data::VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            w.string(data::VERDICT_CHAIN, chain);
        }
    });
}
