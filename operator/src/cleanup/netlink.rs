//! As much netlink as removing things takes: one request, its answers, an error or none.
//!
//! Attributes and headers are in host byte order; a decoder never trusts a length.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// How long the kernel may take to answer. It answers at once; this ends a wait for an answer that was lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger than any datagram that the kernel fills for a dump (32 KiB).
const BUFFER: usize = 64 << 10;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;
const NFNETLINK_V0: u8 = 0;

/// Routes, addresses and devices: protocol 0, which `rustix` has no number for.
pub(super) const ROUTE: Option<Protocol> = None;
/// Netfilter's subsystems.
pub(super) const NETFILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);
/// Generic netlink.
pub(super) const GENERIC: Option<Protocol> = Some(rustix::net::netlink::GENERIC);

/// A message without its header.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: u16,
    payload: Vec<u8>,
}

impl Message {
    /// A message that begins with a fixed part of its own.
    pub(super) fn new(kind: u16, fixed: &[u8]) -> Self {
        Self {
            kind,
            payload: fixed.to_vec(),
        }
    }

    /// A message of a netfilter subsystem.
    pub(super) fn netfilter(subsystem: u8, message: u8, family: u8) -> Self {
        Self::new(
            u16::from(subsystem) << 8 | u16::from(message),
            &[family, NFNETLINK_V0, 0, 0],
        )
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).expect("a name or a number fits an attribute");
        self.payload.extend(length.to_ne_bytes());
        self.payload.extend(kind.to_ne_bytes());
        self.payload.extend(value);
        self.payload.resize(self.payload.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a string attribute, with the zero byte that the kernel wants.
    pub(super) fn string(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn encode(&self, flags: u16, sequence: u32, into: &mut Vec<u8>) {
        let length = u32::try_from(HEADER + self.payload.len()).expect("a request is short");
        into.extend(length.to_ne_bytes());
        into.extend(self.kind.to_ne_bytes());
        into.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        into.extend(sequence.to_ne_bytes());
        into.extend(0_u32.to_ne_bytes());
        into.extend(&self.payload);
    }
}

/// One answer's payload.
#[derive(Debug, Clone)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// The attributes after a fixed part of so many bytes: type and value.
    pub(super) fn attributes(&self, fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = self.0.get(fixed..).unwrap_or_default();
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
            let kind = u16::from_ne_bytes(rest.get(2..ATTRIBUTE_HEADER)?.try_into().ok()?);
            let value = rest.get(ATTRIBUTE_HEADER..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind & ATTRIBUTE_TYPE_MASK, value))
        })
    }

    /// A string attribute after a fixed part.
    pub(super) fn string(&self, fixed: usize, kind: u16) -> Option<String> {
        let (_, value) = self.attributes(fixed).find(|&(found, _)| found == kind)?;
        Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned())
    }

    /// The first byte of the fixed part: the family, for netfilter.
    pub(super) fn family(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }
}

/// Asks for a list.
pub(super) fn dump(protocol: Option<Protocol>, message: &Message) -> io::Result<Vec<Answer>> {
    exchange(protocol, message, NLM_F_DUMP)
}

/// Has one thing done, and returns what the kernel says besides its consent.
pub(super) fn perform(protocol: Option<Protocol>, message: &Message) -> io::Result<Vec<Answer>> {
    exchange(protocol, message, NLM_F_ACK)
}

/// Sends a request and waits for the end of the answer.
fn exchange(protocol: Option<Protocol>, message: &Message, flags: u16) -> io::Result<Vec<Answer>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    let mut datagram = Vec::new();
    message.encode(flags, 1, &mut datagram);
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &datagram, SendFlags::empty(), &kernel)?;
    receive(&socket)
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let (_, length) = recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, payload, after)) = split(rest) {
            match kind {
                NLMSG_DONE => return Ok(answers),
                NLMSG_ERROR => {
                    let code = payload
                        .get(..4)
                        .and_then(|code| code.try_into().ok())
                        .map_or(0, i32::from_ne_bytes);
                    return if code == 0 {
                        Ok(answers)
                    } else {
                        Err(io::Error::from_raw_os_error(-code))
                    };
                }
                _ => answers.push(Answer(payload.to_vec())),
            }
            rest = after;
        }
    }
}

/// The first message of a datagram: type, payload, and what follows.
fn split(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let payload = datagram.get(HEADER..length)?;
    let after = datagram.get(length.checked_next_multiple_of(4)?..).unwrap_or_default();
    Some((kind, payload, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let message = Message::netfilter(10, 2, 1)
            .string(1, "abcd")
            .attribute(2, &7_u32.to_be_bytes());
        let answer = Answer(message.payload.clone());
        assert_eq!(answer.family(), 1);
        assert_eq!(answer.string(4, 1).as_deref(), Some("abcd"));
        assert_eq!(
            answer
                .attributes(4)
                .map(|(kind, value)| (kind, value.len()))
                .collect::<Vec<_>>(),
            [(1, 5), (2, 4)]
        );
        let mut datagram = Vec::new();
        message.encode(NLM_F_ACK, 9, &mut datagram);
        let (kind, payload, after) = split(&datagram).unwrap();
        assert_eq!(
            (kind, payload, after),
            (10 << 8 | 2, message.payload.as_slice(), [].as_slice())
        );
    }

    #[test]
    fn what_is_cut_short_is_not_read() {
        let message = Message::netfilter(10, 2, 1).string(1, "abcd");
        for length in 0..message.payload.len() - 3 {
            assert_eq!(
                Answer(message.payload[..length].to_vec()).string(4, 1),
                None,
                "{length}"
            );
        }
        let mut datagram = Vec::new();
        message.encode(0, 1, &mut datagram);
        for length in 0..datagram.len() {
            assert!(split(&datagram[..length]).is_none(), "{length}");
        }
        // A length below the header's own would never end.
        assert!(split(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert_eq!(Answer(vec![0, 0, 0, 0, 0, 0, 1, 0]).attributes(4).count(), 0);
    }
}
