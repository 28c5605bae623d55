//! Whole frames from and to one link.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::responder::Channel;
use super::{echo, ip, ndp, sys, wire};

/// A socket that hears the frames of one [`Channel`] on one link.
#[derive(Debug)]
pub(super) struct PacketSocket {
    socket: OwnedFd,
}

/// What was received.
#[derive(Debug)]
pub(super) enum Arrival<'a> {
    /// A frame.
    Frame(&'a [u8]),
    /// A frame for another station, or with the tag of a VLAN.
    ForOthers,
    /// Nothing more waits.
    Nothing,
}

impl PacketSocket {
    /// Opens it in the namespace of the calling thread.
    pub(super) fn open(link: u32, channel: Channel) -> io::Result<Self> {
        // It hears nothing before it is bound, and by then it has its filter.
        let socket = unbound()?;
        let (kind, mut program) = match channel {
            Channel::Arp => (wire::ARP, Vec::new()),
            Channel::Echo => (wire::IPV4, echo_requests()),
            Channel::Icmpv6 => (wire::IPV6, icmpv6()),
        };
        if !program.is_empty() {
            sys::attach_filter(&socket, &mut program)?;
        }
        sys::bind(&socket, link, kind)?;
        Ok(Self { socket })
    }

    /// Reads the next frame that waits.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Arrival<'a>> {
        match sys::receive(&self.socket, buffer) {
            Ok(received) if received.is_for_others => Ok(Arrival::ForOthers),
            Ok(received) => Ok(Arrival::Frame(&buffer[..received.len.min(buffer.len())])),
            // The link went down: told once, and of no interest here.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NetworkDown) => {
                Ok(Arrival::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a frame, or fails at once.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.socket, frame, SendFlags::DONTWAIT)?;
        Ok(())
    }
}

/// Whether this process may open such sockets at all.
pub(super) fn check_permission() -> io::Result<()> {
    unbound().map(drop)
}

fn unbound() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE_AT_X: u16 = 0x50;
/// X = 4 * (the low four bits of a byte): the length of an IPv4 header.
const LOAD_HEADER_LEN: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// ICMP echo requests; of those that are in parts, the first part.
fn echo_requests() -> Vec<libc::sock_filter> {
    vec![
        instruction(LOAD_BYTE, 0, 0, 14 + 9),
        instruction(JUMP_IF_EQUAL, 0, 6, u32::from(ip::ICMP)),
        instruction(LOAD_HALF, 0, 0, 14 + 6),
        instruction(JUMP_IF_ANY_BIT, 4, 0, 0x1fff),
        instruction(LOAD_HEADER_LEN, 0, 0, 14),
        instruction(LOAD_BYTE_AT_X, 0, 0, 14),
        instruction(JUMP_IF_EQUAL, 0, 1, u32::from(echo::REQUEST_V4)),
        instruction(RETURN, 0, 0, u32::MAX),
        instruction(RETURN, 0, 0, 0),
    ]
}

/// Neighbour solicitations and advertisements, and ICMPv6 echo requests.
fn icmpv6() -> Vec<libc::sock_filter> {
    vec![
        instruction(LOAD_BYTE, 0, 0, 14 + 6),
        instruction(JUMP_IF_EQUAL, 0, 5, u32::from(ip::ICMPV6)),
        instruction(LOAD_BYTE, 0, 0, 14 + 40),
        instruction(JUMP_IF_EQUAL, 2, 0, u32::from(ndp::SOLICITATION)),
        instruction(JUMP_IF_EQUAL, 1, 0, u32::from(ndp::ADVERTISEMENT)),
        instruction(JUMP_IF_EQUAL, 0, 1, u32::from(echo::REQUEST_V6)),
        instruction(RETURN, 0, 0, u32::MAX),
        instruction(RETURN, 0, 0, 0),
    ]
}
