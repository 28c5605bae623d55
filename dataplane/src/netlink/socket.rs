//! A netlink socket: requests, dumps, and draining what has arrived.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::c_int;

use super::attribute::Writer;
use super::error::NetlinkError;
use super::message::{Message, Messages};
use super::sys;
use super::uapi::netlink;

/// The kernel makes datagrams of up to 32 KiB for a reader that has shown such a buffer; a smaller one makes a dump of a set
/// slower, since each datagram walks the set from its start.
const RECEIVE_LEN: usize = 64 * 1024;

/// Room for answers: one per refused operation of a transaction.
const RECEIVE_BUFFER: c_int = 4 * 1024 * 1024;

/// What the kernel wants to have free beyond the message itself.
const SEND_MARGIN: usize = 64 * 1024;

/// The kernel answers within microseconds, except a dump that waits for a large transaction to end.
const TIMEOUT_SECONDS: u32 = 30;

/// How often a dump is begun again when what it walks changes meanwhile.
const DUMP_ATTEMPTS: u32 = 10;

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    port_id: u32,
    next_sequence: u32,
    buffer: Vec<u8>,
    send_buffer_len: usize,
}

/// What draining a socket came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// Everything was read.
    Completely,
    /// The kernel dropped messages for want of room.
    WithLoss,
}

/// Number of a message: the kernel's answers repeat it.
pub(super) type Sequence = u32;

impl Socket {
    /// Opens a socket of the network namespace of this thread.
    pub(super) fn open(protocol: c_int) -> Result<Self, NetlinkError> {
        let fd = sys::socket(protocol).map_err(failed("open a netlink socket"))?;
        let port_id = sys::bind(&fd).map_err(failed("bind a netlink socket"))?;
        // Answers without a copy of the request, and with an explanation.
        let explains = [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK];
        for option in explains {
            sys::set_int_option(&fd, libc::SOL_NETLINK, option, 1).map_err(failed("set a netlink option"))?;
        }
        sys::set_receive_timeout(&fd, TIMEOUT_SECONDS).map_err(failed("set a receive timeout"))?;
        let socket = Self {
            fd,
            port_id,
            next_sequence: 1,
            buffer: vec![0; RECEIVE_LEN],
            send_buffer_len: 0,
        };
        socket.set_receive_buffer(RECEIVE_BUFFER);
        Ok(socket)
    }

    /// Asks for a receive buffer of this size; without the right to have it, takes what it can get.
    pub(super) fn set_receive_buffer(&self, len: c_int) {
        if sys::set_int_option(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, len).is_err() {
            let _ = sys::set_int_option(&self.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, len);
        }
    }

    /// Makes the socket a member of a multicast group.
    pub(super) fn join(&self, group: u32) -> Result<(), NetlinkError> {
        let group = group.cast_signed();
        sys::set_int_option(&self.fd, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
            .map_err(failed("join a netlink group"))
    }

    /// Drops each arriving message for which the classic BPF program returns 0.
    pub(super) fn filter(&self, program: &mut [libc::sock_filter]) -> Result<(), NetlinkError> {
        sys::attach_filter(&self.fd, program).map_err(failed("attach a socket filter"))
    }

    pub(super) const fn port_id(&self) -> u32 {
        self.port_id
    }

    /// The sequence number of the next message.
    pub(super) const fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    /// Counts messages that are about to be sent.
    pub(super) const fn skip_sequences(&mut self, count: u32) {
        self.next_sequence = self.next_sequence.wrapping_add(count);
    }

    /// Sends one datagram, however long: one transaction must be one datagram.
    pub(super) fn send(&mut self, bytes: &[u8], action: &'static str) -> Result<(), NetlinkError> {
        let wanted = bytes.len() + SEND_MARGIN;
        if wanted > self.send_buffer_len {
            self.send_buffer_len = wanted;
            let len = c_int::try_from(wanted).unwrap_or(c_int::MAX);
            if sys::set_int_option(&self.fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, len).is_err() {
                let _ = sys::set_int_option(&self.fd, libc::SOL_SOCKET, libc::SO_SNDBUF, len);
            }
        }
        loop {
            match sys::send(&self.fd, bytes) {
                Ok(_) => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => {
                    return Err(match err.raw_os_error() {
                        Some(libc::EMSGSIZE | libc::ENOBUFS) => NetlinkError::TooLarge { what: action },
                        _ => NetlinkError::Socket {
                            action: "send to the kernel",
                            source: err,
                        },
                    });
                }
            }
        }
    }

    /// Sends one request and waits for its answers: each message goes to `each`, until the last one.
    ///
    /// `write` writes the request with the sequence number that it is given. A dump that was interrupted by a change is
    /// begun again, after `restart`; what `each` has seen before does not count then.
    pub(super) fn request<State>(
        &mut self,
        action: &'static str,
        write: impl Fn(&mut Writer, Sequence),
        mut restart: impl FnMut() -> State,
        mut each: impl FnMut(&mut State, &Message<'_>),
    ) -> Result<State, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next_sequence;
            self.skip_sequences(1);
            let mut writer = Writer::default();
            write(&mut writer, sequence);
            let bytes = writer.finish().map_err(|_| NetlinkError::TooLarge { what: action })?;
            self.send(&bytes, action)?;
            let mut state = restart();
            if self.read_answers(action, sequence, |message| each(&mut state, message))? {
                return Ok(state);
            }
        }
        Err(NetlinkError::KeptChanging {
            attempts: DUMP_ATTEMPTS,
        })
    }

    /// Reads until the request is answered; whether that was without an interruption.
    fn read_answers(
        &mut self,
        action: &'static str,
        sequence: Sequence,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<bool, NetlinkError> {
        let mut is_whole = true;
        loop {
            let len = match self.receive(true) {
                Ok(len) => len,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Err(NetlinkError::TimedOut { action }),
                Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => return Err(NetlinkError::OutcomeUnknown),
                Err(err) => {
                    return Err(NetlinkError::Socket {
                        action: "receive from the kernel",
                        source: err,
                    });
                }
            };
            for message in Messages(self.buffer.get(..len).unwrap_or_default()) {
                // An answer to an earlier request that was given up.
                if message.sequence != sequence {
                    continue;
                }
                is_whole &= message.flags & netlink::DUMP_INTERRUPTED == 0;
                match message.kind {
                    netlink::DONE => {
                        // A dump that fails half-way says so in its last message.
                        let code = message
                            .payload
                            .first_chunk()
                            .map_or(0, |code| i32::from_ne_bytes(*code));
                        return if code < 0 {
                            Err(refused(action, code.wrapping_neg(), None))
                        } else {
                            Ok(is_whole)
                        };
                    }
                    netlink::ERROR => {
                        return match message.answer() {
                            Some(answer) if answer.errno == 0 => Ok(is_whole),
                            Some(answer) => Err(refused(action, answer.errno, answer.explanation)),
                            None => Err(NetlinkError::OutcomeUnknown),
                        };
                    }
                    netlink::OVERRUN => return Err(NetlinkError::OutcomeUnknown),
                    _ => each(&message),
                }
            }
        }
    }

    /// Reads everything that has arrived, without waiting for more.
    pub(super) fn drain(&mut self, mut each: impl FnMut(&Message<'_>)) -> Result<Drained, NetlinkError> {
        let mut drained = Drained::Completely;
        loop {
            match self.receive(false) {
                Ok(len) => Messages(self.buffer.get(..len).unwrap_or_default()).for_each(|message| each(&message)),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(drained),
                Err(err) if err.raw_os_error() == Some(libc::ENOBUFS) => drained = Drained::WithLoss,
                Err(err) => {
                    return Err(NetlinkError::Socket {
                        action: "receive from the kernel",
                        source: err,
                    });
                }
            }
        }
    }

    /// Receives one datagram of the kernel's into the buffer and returns its length.
    fn receive(&mut self, may_block: bool) -> io::Result<usize> {
        loop {
            match sys::receive(&self.fd, &mut self.buffer, may_block) {
                // A datagram that was cut off is lost.
                Ok(received) if received.len > self.buffer.len() => {
                    return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
                }
                Ok(received) if received.is_from_kernel => return Ok(received.len),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { action, source }
}

fn refused(action: &'static str, errno: i32, explanation: Option<&str>) -> NetlinkError {
    match errno {
        libc::EPERM => NetlinkError::NotPermitted,
        _ => NetlinkError::Refused {
            operation: action.to_owned(),
            explanation: explanation.map(str::to_owned),
            others: 0,
            source: io::Error::from_raw_os_error(errno),
        },
    }
}
