//! The form of rtnetlink's messages, and how everything of a kind is asked for.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

const HEADER_LEN: usize = 16;
/// The kernel answers while it is asked.
const PATIENCE: Duration = Duration::from_secs(5);
const BUFFER: usize = 64 * 1024;

/// A socket that hears what the groups hear, in the network namespace of the calling thread.
pub(crate) fn open(groups: u32) -> io::Result<OwnedFd> {
    // No protocol is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Asks for everything of a kind, on a socket of its own. `take` gets the type and payload of each message.
pub(crate) fn dump(kind: u16, header_len: usize, mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let socket = open(0)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    rustix::net::send(&socket, &dump_request(kind, header_len), SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (len, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        for (kind, payload) in Messages(&buffer[..len]) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                _ => take(kind, payload),
            }
        }
    }
}

fn dump_request(kind: u16, header_len: usize) -> Vec<u8> {
    // An empty header of the kind asks for everything.
    message(kind, libc::NLM_F_DUMP, &vec![0; header_len])
}

/// Asks for something to be done, and does not wait for what comes of it.
pub(crate) fn ask(kind: u16, flags: i32, payload: &[u8]) -> io::Result<()> {
    rustix::net::send(&open(0)?, &message(kind, flags, payload), SendFlags::empty())?;
    Ok(())
}

fn message(kind: u16, flags: i32, payload: &[u8]) -> Vec<u8> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | flags).expect("16 bits");
    let len = u32::try_from(HEADER_LEN + payload.len()).expect("a short request");
    let mut request = Vec::new();
    request.extend(len.to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    // Sequence number and port.
    request.resize(HEADER_LEN, 0);
    request.extend(payload);
    request
}

/// The types and payloads of the netlink messages in a datagram.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, l2, l3, k0, k1, ..] = *self.0.first_chunk::<HEADER_LEN>()?;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let payload = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]), payload))
    }
}

/// The types and values of netlink attributes.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [l0, l1, k0, k1] = *self.0.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        // The upper two bits say how the value is to be read.
        Some((u16::from_ne_bytes([k0, k1]) & 0x3fff, value))
    }
}
