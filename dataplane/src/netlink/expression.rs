//! `nf_tables` expressions: what rules are made of in the kernel. Statements are lowered to them, and raised from them.
//!
//! Lowering writes exactly what nft writes for the same text, so that nft prints the text again. Raising is its inverse: a
//! rule counts as ours only if lowering its statements gives its expressions again.

mod lower;
mod raise;

use std::time::Duration;

use fairlead_model::Family;

use crate::table::{Name, Verdict};

pub(super) use lower::{lower, nfproto};
pub(super) use raise::raise;

/// One of the sixteen registers of four bytes. A longer value fills several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Register(pub(super) u8);

impl Register {
    pub(super) const FIRST: Self = Self(0);

    /// The kernel's number: 1 to 4 are the four registers of 16 bytes that older programs know, which are the same memory.
    pub(super) const fn number(self) -> u32 {
        let Self(slot) = self;
        if slot.is_multiple_of(4) {
            1 + slot as u32 / 4
        } else {
            8 + slot as u32
        }
    }

    /// The register of that number; `None` for the verdict's and for any other.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            1..=4 => u8::try_from((number - 1) * 4).ok().map(Self),
            8..=23 => u8::try_from(number - 8).ok().map(Self),
            _ => None,
        }
    }
}

/// What a load puts into a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Nfproto,
    /// What a frame carries.
    Protocol,
    L4Proto,
    IifName,
    Payload(PayloadBase, u32, u32),
    CtState,
    CtStatus,
    CtOriginal(CtOriginal),
    SaddrType,
    Random(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadBase {
    Network,
    Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CtOriginal {
    Daddr(Family),
    Dport,
}

/// Bytes of an immediate or a comparison; an interface name is the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Immediate {
    bytes: [u8; 16],
    len: u8,
}

impl Immediate {
    pub(super) fn new(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self {
            bytes,
            len: u8::try_from(value.len()).ok()?,
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(super) fn to_u32(self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.as_bytes().try_into().ok()?))
    }
}

/// An expression, as far as our rules use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Load {
        source: Source,
        to: Register,
    },
    /// `to = to & mask`
    Mask {
        register: Register,
        mask: u32,
    },
    Compare {
        register: Register,
        is_equal: bool,
        value: Immediate,
    },
    Set {
        to: Register,
        value: Immediate,
    },
    Verdict(Verdict),
    /// A look-up that only matches, gives a verdict, or gives data.
    Lookup {
        set: Name,
        key: Register,
        is_negated: bool,
        gives: Gives,
    },
    Update {
        set: Name,
        key: Register,
        timeout: Duration,
    },
    Dnat {
        family: Family,
        address: Register,
        port: Register,
    },
    /// Jenkins' hash of so many bytes, below the modulus.
    Hash {
        from: Register,
        len: u32,
        modulus: u32,
        seed: u32,
        to: Register,
    },
    /// Sends a packet out by a link to a neighbour.
    Forward {
        family: Family,
        device: Register,
        address: Register,
    },
    Masquerade,
    Reject,
    /// `reject with tcp reset`
    Reset,
}

/// What a look-up gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Match,
    Verdict,
    Data(Register),
}
