//! Echo requests by raw sockets, so that every ICMP message that comes back is seen.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use fairlead_lab::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

/// A socket that sends echo requests and hears answers.
pub(crate) struct Pinger {
    socket: OwnedFd,
    target: IpAddr,
}

/// An ICMP message that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The reply.
    Reply,
    /// An error about it: type and code.
    Error(u8, u8),
}

impl Pinger {
    pub(crate) fn new(host: &Namespace, target: IpAddr) -> Self {
        let (family, protocol) = match target {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let open = || rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol));
        Self {
            socket: host.run(open).unwrap(),
            target,
        }
    }

    /// Sends a request.
    pub(crate) fn ask(&self, sequence: u8) {
        // An identifier, the sequence number, and some payload. The kernel writes the checksum of ICMPv6.
        let mut message = vec![128, 0, 0, 0, 0x12, 0x34, 0, sequence];
        message.extend(b"fairlead");
        if self.target.is_ipv4() {
            message[0] = 8;
            let sum: u32 = message
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("few words");
            message[2..4].copy_from_slice(&(!folded).to_be_bytes());
        }
        let target = SocketAddr::new(self.target, 0);
        rustix::net::sendto(&self.socket, &message, SendFlags::empty(), &target).unwrap();
    }

    /// The next reply to, or error about, an echo request.
    pub(crate) fn answer(&self, within: Duration) -> Option<Answer> {
        let deadline = Instant::now() + within;
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
            let mut descriptor = [PollFd::new(&self.socket, PollFlags::IN)];
            if poll(&mut descriptor, Some(&left)).unwrap() == 0 {
                return None;
            }
            let mut buffer = [0; 1500];
            let received = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT);
            let (len, _) = match received {
                Err(errno) if io::Error::from(errno).kind() == io::ErrorKind::WouldBlock => continue,
                other => other.unwrap(),
            };
            // Before IPv4's the socket shows the header of the packet.
            let header = if self.target.is_ipv4() {
                usize::from(buffer[0] & 15) * 4
            } else {
                0
            };
            match (self.target.is_ipv4(), buffer[header..len].first()) {
                (true, Some(0)) | (false, Some(129)) => return Some(Answer::Reply),
                (true, Some(3 | 11)) | (false, Some(1..=4)) => {
                    return Some(Answer::Error(buffer[header], buffer[header + 1]));
                }
                _ => {}
            }
        }
    }
}

/// Sends one request and wants a reply.
pub(crate) fn ping(host: &Namespace, target: IpAddr) {
    let pinger = Pinger::new(host, target);
    pinger.ask(1);
    assert_eq!(pinger.answer(super::PATIENT), Some(Answer::Reply), "{target}");
}

/// Sends requests until one is answered: what crosses a link in its first moments can be lost.
pub(crate) fn ping_until_answered(host: &Namespace, target: IpAddr) {
    let pinger = Pinger::new(host, target);
    let deadline = Instant::now() + super::PATIENT;
    while Instant::now() < deadline {
        pinger.ask(1);
        if pinger.answer(Duration::from_millis(200)) == Some(Answer::Reply) {
            return;
        }
    }
    panic!("{target} does not answer");
}
