//! The system calls on packet sockets that have no safe form elsewhere.

#![expect(unsafe_code, reason = "the system calls take pointers to structures of the kernel's")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_int, c_ushort, sockaddr_ll, socklen_t};

const ADDRESS_LEN: socklen_t = 20;
const _: () = assert!(size_of::<sockaddr_ll>() == ADDRESS_LEN as usize);

const FILTER_LEN: socklen_t = {
    let len = size_of::<libc::sock_fprog>();
    assert!(len <= 16);
    #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
    {
        len as socklen_t
    }
};

/// Binds a packet socket to frames of this kind that arrive by this link.
pub(super) fn bind(socket: &OwnedFd, link: u32, kind: u16) -> io::Result<()> {
    let mut address = unset_address();
    address.sll_protocol = kind.to_be();
    address.sll_ifindex = c_int::try_from(link).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the pointer is to a `sockaddr_ll` that lives through the call, and the length is its size.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Drops each arriving frame for which the classic BPF program returns 0.
pub(super) fn attach_filter(socket: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: c_ushort::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the pointer is to a `sock_fprog` of that size that lives through the call, and so does the program it points to.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            FILTER_LEN,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A frame that was received into a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) len: usize,
    /// Whether the kernel found that it is for another station, or for a VLAN that there is no link for.
    pub(super) is_for_others: bool,
}

/// Receives one frame, without waiting. What does not fit into the buffer is lost.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut address = unset_address();
    let mut len = ADDRESS_LEN;
    // SAFETY: buffer pointer and length are those of the slice; the address is a `sockaddr_ll` of that size.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            (&raw mut address).cast(),
            &raw mut len,
        )
    };
    Ok(Received {
        len: usize::try_from(received).map_err(|_| io::Error::last_os_error())?,
        is_for_others: address.sll_pkttype == libc::PACKET_OTHERHOST,
    })
}

fn unset_address() -> sockaddr_ll {
    sockaddr_ll {
        sll_family: c_ushort::try_from(libc::AF_PACKET).expect("a small number"),
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}
