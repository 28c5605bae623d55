//! The sockets that heartbeats go through: one for each IP family that the machine has.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

/// Network control, as routing protocols mark their packets (RFC 4594): a full link drops others first.
const CLASS: u8 = 6 << 5;
/// A node's heartbeats of some seconds.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The sockets.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    sockets: Vec<(bool, UdpSocket)>,
}

impl Sockets {
    /// Opens the port in both families; one that the machine does not have is left out.
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let mut sockets = Vec::new();
        let mut missing = None;
        for is_ipv4 in [true, false] {
            match open(is_ipv4, port) {
                Ok(socket) => sockets.push((is_ipv4, socket)),
                Err(error) if is_without_family(&error) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        match missing {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(Self { sockets }),
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &UdpSocket> {
        self.sockets.iter().map(|(_, socket)| socket)
    }

    /// Sends to the first of the addresses that can be sent to.
    pub(super) fn send(&self, addresses: &[IpAddr], port: u16, bytes: &[u8]) -> io::Result<()> {
        let mut failure = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in addresses {
            let Some((_, socket)) = self.sockets.iter().find(|(is_ipv4, _)| *is_ipv4 == address.is_ipv4()) else {
                continue;
            };
            match socket.send_to(bytes, SocketAddr::new(*address, port)) {
                Ok(_) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

fn is_without_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn open(is_ipv4: bool, port: u16) -> io::Result<UdpSocket> {
    let (family, any): (_, IpAddr) = if is_ipv4 {
        (AddressFamily::INET, Ipv4Addr::UNSPECIFIED.into())
    } else {
        (AddressFamily::INET6, Ipv6Addr::UNSPECIFIED.into())
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(family, SocketType::DGRAM, flags, None)?;
    if is_ipv4 {
        sockopt::set_ip_tos(&socket, CLASS)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_tclass(&socket, CLASS.into())?;
    }
    // Only root of the machine may go beyond the machine's limit.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    }
    bind(&socket, &SocketAddr::new(any, port))?;
    Ok(UdpSocket::from(socket))
}
