//! Datagrams: their form, and the seal that shows that a member of the cluster made them.
//!
//! `version, from, to, incarnation, sequence, body, HMAC-SHA256`, big endian, at most 1,200 bytes.
//! The seal covers the receiver too, so that a datagram cannot be reflected.

use aws_lc_rs::hmac;

use super::config::GroupId;
use super::rank::NodeId;

const VERSION: u8 = 1;
const TAG: usize = 32;
const ENTRY: usize = 16 + 8 + 8 + 8 + 1 + 2;
/// Entries in one datagram, so that it stays below 1,200 bytes.
pub(super) const ENTRIES: usize = 25;
/// Most peers of one agent: their list fits into one heartbeat.
pub(super) const MEMBERS: usize = 128;

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// Neither of the keys made the seal.
    #[error("the datagram's seal is not by a key of this cluster")]
    Seal,
    /// The bytes end early, or something follows them.
    #[error("the datagram has a wrong length")]
    Length,
    /// Another version of the protocol.
    #[error("the datagram has version {0}")]
    Version(u8),
    /// A value that has no meaning.
    #[error("the datagram has a value without a meaning: {0}")]
    Value(u8),
}

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    pub(super) body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Heartbeat(Heartbeat),
    State { after: u64, entries: Vec<Entry> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heartbeat {
    /// The receiver's incarnation and newest sequence that the sender has: proof that this is not old.
    pub(super) echo: (u64, u64),
    /// Up to where the sender has the receiver's table.
    pub(super) has: u64,
    /// The sender's own table.
    pub(super) revision: u64,
    pub(super) joined: bool,
    pub(super) entitled: bool,
    /// The sender asks for an answer at once.
    pub(super) probe: bool,
    pub(super) hears: Vec<NodeId>,
}

/// What a node says about one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) group: GroupId,
    pub(super) revision: u64,
    /// The highest claim it knows.
    pub(super) epoch: u64,
    pub(super) owner: NodeId,
    /// The sender holds that claim. Of another's claim: its owner has told the sender that it holds it
    /// and does not leave.
    pub(super) holds: bool,
    pub(super) standing: Standing,
    pub(super) weight: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Ineligible,
    Leaving,
    Eligible,
}

/// Encodes and seals.
pub(super) fn seal(datagram: &Datagram, key: &hmac::Key) -> Vec<u8> {
    let mut out = vec![VERSION];
    for word in [datagram.from.0, datagram.to.0, datagram.incarnation, datagram.sequence] {
        out.extend(word.to_be_bytes());
    }
    match &datagram.body {
        Body::Heartbeat(beat) => {
            out.push(0);
            for word in [beat.echo.0, beat.echo.1, beat.has, beat.revision] {
                out.extend(word.to_be_bytes());
            }
            out.push(u8::from(beat.joined) | u8::from(beat.entitled) << 1 | u8::from(beat.probe) << 2);
            for node in beat.hears.iter().take(MEMBERS) {
                out.extend(node.0.to_be_bytes());
            }
        }
        Body::State { after, entries } => {
            out.push(1);
            out.extend(after.to_be_bytes());
            for entry in entries {
                out.extend(entry.group.0);
                for word in [entry.revision, entry.epoch, entry.owner.0] {
                    out.extend(word.to_be_bytes());
                }
                let standing = match entry.standing {
                    Standing::Ineligible => 0,
                    Standing::Leaving => 1,
                    Standing::Eligible => 2,
                };
                out.push(standing | u8::from(entry.holds) << 2);
                out.extend(entry.weight.to_be_bytes());
            }
        }
    }
    let tag = hmac::sign(key, &out);
    out.extend(tag.as_ref());
    out
}

/// Checks the seal with each key and decodes.
pub(super) fn open(bytes: &[u8], keys: &[hmac::Key]) -> Result<Datagram, WireError> {
    let at = bytes.len().checked_sub(TAG).ok_or(WireError::Length)?;
    let (content, tag) = bytes.split_at(at);
    if !keys.iter().any(|key| hmac::verify(key, content, tag).is_ok()) {
        return Err(WireError::Seal);
    }
    decode(content)
}

/// Decodes what a seal covers. Never panics, whatever the bytes.
pub fn decode(bytes: &[u8]) -> Result<Datagram, WireError> {
    let mut rest = bytes;
    let version = byte(&mut rest)?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let from = NodeId(word(&mut rest)?);
    let to = NodeId(word(&mut rest)?);
    let incarnation = word(&mut rest)?;
    let sequence = word(&mut rest)?;
    let body = match byte(&mut rest)? {
        0 => {
            let echo = (word(&mut rest)?, word(&mut rest)?);
            let has = word(&mut rest)?;
            let revision = word(&mut rest)?;
            let flags = byte(&mut rest)?;
            if flags > 7 {
                return Err(WireError::Value(flags));
            }
            let mut hears = Vec::new();
            while !rest.is_empty() {
                hears.push(NodeId(word(&mut rest)?));
            }
            if hears.len() > MEMBERS {
                return Err(WireError::Length);
            }
            let (joined, entitled, probe) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
            Body::Heartbeat(Heartbeat {
                echo,
                has,
                revision,
                joined,
                entitled,
                probe,
                hears,
            })
        }
        1 => {
            let after = word(&mut rest)?;
            if !rest.len().is_multiple_of(ENTRY) || rest.len() > ENTRY * ENTRIES {
                return Err(WireError::Length);
            }
            let mut entries = Vec::new();
            while !rest.is_empty() {
                entries.push(entry(&mut rest)?);
            }
            Body::State { after, entries }
        }
        other => return Err(WireError::Value(other)),
    };
    Ok(Datagram {
        from,
        to,
        incarnation,
        sequence,
        body,
    })
}

fn entry(rest: &mut &[u8]) -> Result<Entry, WireError> {
    let group = GroupId(take(rest)?);
    let revision = word(rest)?;
    let epoch = word(rest)?;
    let owner = NodeId(word(rest)?);
    let flags = byte(rest)?;
    let standing = match flags & 3 {
        0 => Standing::Ineligible,
        1 => Standing::Leaving,
        2 => Standing::Eligible,
        _ => return Err(WireError::Value(flags)),
    };
    if flags > 7 {
        return Err(WireError::Value(flags));
    }
    let weight = u16::from_be_bytes(take(rest)?);
    Ok(Entry {
        group,
        revision,
        epoch,
        owner,
        holds: flags & 4 != 0,
        standing,
        weight,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (first, after) = rest.split_first_chunk().ok_or(WireError::Length)?;
    *rest = after;
    Ok(*first)
}

fn byte(rest: &mut &[u8]) -> Result<u8, WireError> {
    take::<1>(rest).map(|[byte]| byte)
}

fn word(rest: &mut &[u8]) -> Result<u64, WireError> {
    take(rest).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, secret)
    }

    fn full() -> Datagram {
        let entry = Entry {
            group: GroupId([7; 16]),
            revision: 1,
            epoch: 2,
            owner: NodeId(3),
            holds: true,
            standing: Standing::Eligible,
            weight: 4,
        };
        let body = Body::State {
            after: 0,
            entries: vec![entry; ENTRIES],
        };
        Datagram {
            from: NodeId(1),
            to: NodeId(2),
            incarnation: 3,
            sequence: 4,
            body,
        }
    }

    #[test]
    fn a_sealed_datagram_opens_with_either_key_only() {
        let sealed = seal(&full(), &key(b"old"));
        assert!(sealed.len() <= 1_200, "{}", sealed.len());
        assert_eq!(open(&sealed, &[key(b"new"), key(b"old")]), Ok(full()));
        assert_eq!(open(&sealed, &[key(b"new")]), Err(WireError::Seal));
    }

    #[test]
    fn no_cut_and_no_flipped_byte_passes_or_panics() {
        let sealed = seal(&full(), &key(b"key"));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0xff;
            assert_eq!(open(&flipped, &[key(b"key")]), Err(WireError::Seal), "byte {at}");
            assert!(open(&sealed[..at], &[key(b"key")]).is_err(), "cut at {at}");
            // Without the seal, too.
            let _ = decode(&flipped[..at]);
        }
    }
}
