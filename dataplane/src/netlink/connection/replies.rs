//! The kernel's answers to one batch.

use std::io;

use super::Committed;
use crate::netlink::NfFamily;
use crate::netlink::decode;
use crate::netlink::encode::{Encoded, Operation};
use crate::netlink::error::NetlinkError;
use crate::netlink::message::Message;
use crate::netlink::socket::Drained;
use crate::table::TABLE;

/// The answers to one batch.
pub(super) struct Replies<'a> {
    encoded: &'a Encoded,
    generation: Option<u32>,
    is_acknowledged: bool,
    refusals: Vec<Refusal>,
}

/// One refused operation.
struct Refusal {
    /// 0 for the batch itself, then the operations.
    place: usize,
    errno: i32,
    explanation: Option<String>,
    /// Where in the message the culprit is.
    offset: Option<usize>,
}

impl<'a> Replies<'a> {
    pub(super) const fn to(encoded: &'a Encoded) -> Self {
        Self {
            encoded,
            generation: None,
            is_acknowledged: false,
            refusals: Vec::new(),
        }
    }

    /// What they come to.
    pub(super) fn committed(
        self,
        drained: Drained,
        expected_generation: Option<u32>,
    ) -> Result<Committed, NetlinkError> {
        // What comes after the first refusal can be its consequence.
        if let Some(first) = self.refusals.iter().min_by_key(|refusal| refusal.place) {
            let others = self.refusals.len() - 1;
            return Err(first.to_error(self.encoded, others, expected_generation));
        }
        if drained == Drained::WithLoss || !self.is_acknowledged {
            return Err(NetlinkError::OutcomeUnknown);
        }
        Ok(Committed {
            generation: self.generation,
            bytes: self.encoded.bytes.len(),
            operations: self.encoded.operations.len(),
        })
    }

    /// Takes one in.
    pub(super) fn message(&mut self, message: &Message<'_>) {
        let place = message.sequence.wrapping_sub(self.encoded.first_sequence) as usize;
        if place > self.encoded.operations.len() + 1 {
            // An answer to something earlier.
            return;
        }
        self.generation = self.generation.or(decode::generation(message));
        let Some(answer) = message.answer() else { return };
        if answer.errno == 0 {
            self.is_acknowledged |= place == self.encoded.operations.len();
        } else {
            self.refusals.push(Refusal {
                place,
                errno: answer.errno,
                explanation: answer.explanation.map(str::to_owned),
                offset: answer.offset,
            });
        }
    }
}

impl Refusal {
    fn to_error(&self, encoded: &Encoded, others: usize, expected_generation: Option<u32>) -> NetlinkError {
        let operation = self
            .place
            .checked_sub(1)
            .and_then(|place| encoded.operations.get(place));
        match (self.errno, operation, expected_generation) {
            (libc::EPERM, None, _) => return NetlinkError::NotPermitted,
            (libc::EPERM, Some((Operation::DeleteTable { family, name }, _)), _) => {
                return owned_by_another(*family, name, None);
            }
            (libc::EPERM, Some(_), _) => return owned_by_another(encoded.family, TABLE, None),
            (libc::EOPNOTSUPP | libc::EINVAL, Some((Operation::CreateTable { family: NfFamily::Inet }, _)), _) => {
                return NetlinkError::FlagsRefused {
                    source: io::Error::from_raw_os_error(self.errno),
                };
            }
            (libc::ERESTART, None, Some(expected)) => return NetlinkError::StaleGeneration { expected },
            _ => {}
        }
        let operation = match operation {
            Some((operation, start)) => match self.offset.and_then(|offset| encoded.key_at(start + offset)) {
                Some(key) => format!("{operation}, namely {key:?}"),
                None => operation.to_string(),
            },
            None => "commit the transaction".to_owned(),
        };
        NetlinkError::Refused {
            operation,
            explanation: self.explanation.clone(),
            others,
            source: io::Error::from_raw_os_error(self.errno),
        }
    }
}

/// The error that names the owner, as far as it is known.
pub(super) fn owned_by_another(family: NfFamily, name: &str, port_id: Option<u32>) -> NetlinkError {
    NetlinkError::OwnedByAnother {
        table: format!("{family} {name}"),
        port_id,
    }
}
