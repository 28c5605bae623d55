//! Hearing of other processes' changes to our table.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use libc::c_int;

use super::decode::{self, Change};
use super::error::NetlinkError;
use super::socket::{Drained, Socket};
use super::uapi::nfnetlink;

/// Room for others' changes: some ten thousand, each an event of its own.
const RECEIVE_BUFFER: c_int = 2 * 1024 * 1024;

/// Offset of the sender's port in a netlink message.
const PORT_ID_OFFSET: u32 = 12;

/// What others have done to our table, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Nothing.
    Quiet,
    /// Changed something in it.
    TableChanged,
    /// Deleted it, perhaps to make another.
    TableDeleted,
    /// Events were lost: anything may have happened.
    Overrun,
}

/// Hears of changes to our table by anybody but our own [`Connection`](super::Connection).
///
/// Readable when events wait. The kernel drops our own events before they are queued, so that a large transaction of ours
/// neither floods the monitor nor slows down.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
}

impl Monitor {
    /// Begins to listen. `own_port_id` is that of the connection whose changes are no news.
    pub fn open(own_port_id: u32) -> Result<Self, NetlinkError> {
        let socket = Socket::open(libc::NETLINK_NETFILTER)?;
        socket.set_receive_buffer(RECEIVE_BUFFER);
        socket.filter(&mut others_than(own_port_id))?;
        socket.join(nfnetlink::GROUP_NFTABLES)?;
        Ok(Self { socket })
    }

    /// Reads every event that waits and says what they come to. Does not wait for one.
    pub fn read(&mut self) -> Result<Activity, NetlinkError> {
        let mut activity = Activity::Quiet;
        let drained = self.socket.drain(|message| {
            activity = activity.max(match decode::change(message) {
                None => Activity::Quiet,
                Some(Change::Content) => Activity::TableChanged,
                Some(Change::Deletion) => Activity::TableDeleted,
            });
        })?;
        Ok(match drained {
            Drained::Completely => activity,
            Drained::WithLoss => Activity::Overrun,
        })
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A classic BPF program that drops datagrams from this port. All messages of a datagram come from one transaction.
fn others_than(port_id: u32) -> [libc::sock_filter; 4] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NOTHING: u32 = 0;
    const EVERYTHING: u32 = u32::MAX;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        // BPF loads a word as big-endian, netlink writes it in the host's order.
        instruction(LOAD_WORD, 0, 0, PORT_ID_OFFSET),
        instruction(JUMP_IF_EQUAL, 0, 1, port_id.to_be()),
        instruction(RETURN, 0, 0, NOTHING),
        instruction(RETURN, 0, 0, EVERYTHING),
    ]
}
