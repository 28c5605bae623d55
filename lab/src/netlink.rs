//! rtnetlink, as little of it as the lab needs: a batch of requests in one message, and the answers to it.
//!
//! A socket belongs to the namespace it was opened in, whichever thread uses it. So each namespace has one, and the lab is built without
//! moving between namespaces.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const HEADER: usize = size_of::<libc::nlmsghdr>();
/// Longer than any answer to a single request: a link is described in about 2 KiB.
const LONGEST_ANSWER: usize = 32 * 1024;

const REQUEST: u16 = flag(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
pub(crate) const CREATE: u16 = flag(libc::NLM_F_CREATE | libc::NLM_F_EXCL);
pub(crate) const REPLACE: u16 = flag(libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
pub(crate) const PLAIN: u16 = 0;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "netlink flags are 16 bits wide"
)]
const fn flag(value: libc::c_int) -> u16 {
    value as u16
}

/// Requests that are sent together and carried out in order.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// What each request does, for the error.
    actions: Vec<String>,
}

impl Batch {
    /// Adds a request; `fill` writes its body.
    pub(crate) fn push(&mut self, action: String, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        // The sequence number is the position in the batch; `send` makes it unique.
        let sequence = u32::try_from(self.actions.len()).expect("a batch has few requests");
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        fill(&mut Body { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - start).expect("a request is short");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.actions.push(action);
    }
}

/// The body of a request being written.
pub(crate) struct Body<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Body<'_> {
    /// Appends a fixed structure.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |body| body.raw(value));
    }

    /// Appends an attribute with a text that ends in a zero byte.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.nested(kind, |body| {
            body.raw(value.as_bytes());
            body.raw(&[0]);
        });
    }

    /// Appends an attribute that holds what `fill` writes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Body { bytes: self.bytes });
        let length = u16::try_from(self.bytes.len() - start).expect("an attribute is short");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Which request failed, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) action: String,
    pub(crate) source: io::Error,
}

/// An rtnetlink socket of one namespace.
pub(crate) struct Netlink {
    socket: OwnedFd,
    /// The first sequence number of the next batch. Held during a batch, so that its answers are not read by another thread.
    next: Mutex<u32>,
}

impl Netlink {
    /// Opens a socket in the calling thread's namespace.
    pub(crate) fn open() -> rustix::io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // 0 is NETLINK_ROUTE.
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            socket,
            next: Mutex::new(1),
        })
    }

    /// Sends the batch and returns the bodies of the messages that answer it, without the acknowledgements.
    ///
    /// The kernel carries out what follows a failed request too; the first failure is returned.
    pub(crate) fn send(&self, mut batch: Batch) -> Result<Vec<Vec<u8>>, Failed> {
        if batch.actions.is_empty() {
            return Ok(Vec::new());
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *next;
        *next = next.wrapping_add(u32::try_from(batch.actions.len()).expect("a batch has few requests"));

        let mut at = 0;
        while at < batch.bytes.len() {
            let position = word(&batch.bytes, at + 8);
            batch.bytes[at + 8..at + 12].copy_from_slice(&first.wrapping_add(position).to_ne_bytes());
            at += word(&batch.bytes, at) as usize;
        }
        let everything = || Failed {
            action: batch.actions.join(", "),
            source: io::Error::last_os_error(),
        };
        let broken = |error: rustix::io::Errno| Failed {
            source: error.into(),
            ..everything()
        };
        rustix::net::send(&self.socket, &batch.bytes, SendFlags::empty()).map_err(broken)?;

        let mut acknowledged = 0;
        let mut failed = None;
        let mut answers = Vec::new();
        let mut buffer = vec![0; LONGEST_ANSWER];
        while acknowledged < batch.actions.len() {
            let (length, _) = rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()).map_err(broken)?;
            let mut rest = &buffer[..length];
            while rest.len() >= HEADER {
                let length = (word(rest, 0) as usize).clamp(HEADER, rest.len());
                let (message, body) = (&rest[..length], &rest[HEADER..length]);
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
                let position = word(message, 8).wrapping_sub(first) as usize;
                if position >= batch.actions.len() {
                    // The answer to an earlier batch that ended early.
                    continue;
                }
                if i32::from(half(message, 4)) != libc::NLMSG_ERROR {
                    answers.push(body.to_vec());
                    continue;
                }
                acknowledged += 1;
                let code = if body.len() >= 4 {
                    word(body, 0).cast_signed()
                } else {
                    0
                };
                if code != 0 && failed.is_none() {
                    let action = batch.actions[position].clone();
                    failed = Some(Failed {
                        action,
                        source: io::Error::from_raw_os_error(code.wrapping_neg()),
                    });
                }
            }
        }
        failed.map_or(Ok(answers), Err)
    }
}

/// The value of attribute `kind` among `attributes`.
pub(crate) fn find_attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let length = usize::from(half(attributes, 0)).clamp(4, attributes.len());
        if half(attributes, 2) == kind {
            return Some(&attributes[4..length]);
        }
        attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
    }
    None
}

/// The 32 bits at `at`, which the caller has checked to be there.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}
