//! Netlink messages: framing and the kernel's answer codes.

use super::attribute::{Attribute, Attributes, Writer};
use super::uapi::{netlink, nfnetlink};

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER_LEN: usize = 16;

/// A message as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// What follows the header.
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind the protocol's own header of `header_len` bytes.
    pub(super) fn attributes(&self, header_len: usize) -> Attributes<'a> {
        Attributes(self.payload.get(header_len..).unwrap_or_default())
    }

    /// The family in the nfnetlink header, and the attributes behind it.
    pub(super) fn nfnetlink(&self) -> Option<(u8, Attributes<'a>)> {
        Some((
            *self.payload.first()?,
            Attributes(self.payload.get(nfnetlink::HEADER_LEN..)?),
        ))
    }

    /// The answer to a request, if this is one.
    pub(super) fn answer(&self) -> Option<Answer<'a>> {
        if self.kind != netlink::ERROR {
            return None;
        }
        let (code, rest) = self.payload.split_first_chunk::<4>()?;
        // Behind the code: the header of the request, its content unless capped, and then explanations.
        let request_len = match self.flags & netlink::CAPPED {
            0 => usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?,
            _ => HEADER_LEN,
        };
        let attributes = match self.flags & netlink::ACK_TLVS {
            0 => Attributes(&[]),
            _ => Attributes(rest.get(request_len.checked_next_multiple_of(4)?..).unwrap_or_default()),
        };
        let offset = attributes
            .find(netlink::ACK_OFFSET)
            .and_then(|offset| usize::try_from(u32::from_ne_bytes(offset.value.try_into().ok()?)).ok());
        Some(Answer {
            errno: i32::from_ne_bytes(*code).wrapping_neg(),
            explanation: attributes.find(netlink::ACK_MESSAGE).and_then(Attribute::str),
            offset,
        })
    }
}

/// The kernel's verdict on one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// 0 for success.
    pub(super) errno: i32,
    pub(super) explanation: Option<&'a str>,
    /// Where in the request the culprit is.
    pub(super) offset: Option<usize>,
}

/// Messages one after the other. Ends at the first that is cut off or malformed.
#[derive(Debug, Clone)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER_LEN>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some(payload) = self.0.get(HEADER_LEN..len) else {
            self.0 = &[];
            return None;
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        })
    }
}

impl Writer {
    /// Begins a message; [`Writer::end_message`] fills in its length.
    pub(super) fn begin_message(&mut self, kind: u16, flags: u16, sequence: u32) -> usize {
        let start = self.len();
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&(flags | netlink::REQUEST).to_ne_bytes());
        self.raw(&sequence.to_ne_bytes());
        self.raw(&[0; 4]);
        start
    }

    /// Begins a message of an nfnetlink subsystem.
    pub(super) fn begin_nfnetlink(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> usize {
        let start = self.begin_message(kind, flags, sequence);
        let [r0, r1] = resource.to_be_bytes();
        self.raw(&[family, 0, r0, r1]);
        start
    }

    /// Adds a flag to the message that begins there.
    pub(super) fn set_flag(&mut self, start: usize, flag: u16) {
        let at = start + 6;
        let flags = u16::from_ne_bytes([self.byte(at), self.byte(at + 1)]);
        self.patch(at, &(flags | flag).to_ne_bytes());
    }

    pub(super) fn end_message(&mut self, start: usize) {
        let len = u32::try_from(self.len() - start).expect("a message holds at most one full attribute list");
        self.patch(start, &len.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_read_back() {
        let mut writer = Writer::default();
        let start = writer.begin_nfnetlink(0x0a10, netlink::ACK, 5, 1, 0);
        writer.be32(1, 77);
        writer.end_message(start);
        let bytes = writer.finish().unwrap();
        let message = Messages(&bytes).next().unwrap();
        assert_eq!(
            (message.kind, message.flags, message.sequence),
            (0x0a10, netlink::ACK | netlink::REQUEST, 5)
        );
        let (family, attributes) = message.nfnetlink().unwrap();
        assert_eq!((family, attributes.find(1).unwrap().be32()), (1, Some(77)));
    }

    #[test]
    fn an_answer_has_its_explanation() {
        let mut writer = Writer::default();
        let start = writer.begin_message(netlink::ERROR, netlink::CAPPED | netlink::ACK_TLVS, 9);
        writer.raw(&(-libc::ENOENT).to_ne_bytes());
        writer.raw(&[0; HEADER_LEN]);
        writer.string(netlink::ACK_MESSAGE, "no such thing");
        writer.bytes(netlink::ACK_OFFSET, &44_u32.to_ne_bytes());
        writer.end_message(start);
        let bytes = writer.finish().unwrap();
        let answer = Messages(&bytes).next().unwrap().answer().unwrap();
        assert_eq!(
            answer,
            Answer {
                errno: libc::ENOENT,
                explanation: Some("no such thing"),
                offset: Some(44)
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            for message in Messages(&bytes) {
                let _ = (message.answer(), message.nfnetlink(), message.attributes(8).into_iter().count());
            }
        }
    }
}
