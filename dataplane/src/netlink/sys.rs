//! The system calls behind the sockets.

#![expect(unsafe_code, reason = "the system calls take pointers and return raw descriptors")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sockaddr_nl, socklen_t};

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn check_int(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn size_of<T>() -> socklen_t {
    socklen_t::try_from(size_of_usize::<T>()).expect("a few bytes")
}

const fn size_of_usize<T>() -> usize {
    std::mem::size_of::<T>()
}

/// A new netlink socket that is closed on exec.
pub(super) fn socket(protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    check_int(fd)?;
    // SAFETY: the descriptor is new and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives the socket a port id of the kernel's choice, and says which.
pub(super) fn bind(fd: &OwnedFd) -> io::Result<u32> {
    let mut address = kernel_address();
    let mut len = size_of::<sockaddr_nl>();
    let fd = fd.as_raw_fd();
    // SAFETY: the pointer is to a `sockaddr_nl` that lives through the call, and the length is its size.
    check_int(unsafe { libc::bind(fd, (&raw const address).cast(), len) })?;
    // SAFETY: as above, and the kernel writes at most `len` bytes.
    check_int(unsafe { libc::getsockname(fd, (&raw mut address).cast(), &raw mut len) })?;
    Ok(address.nl_pid)
}

fn kernel_address() -> sockaddr_nl {
    // SAFETY: all-zero bytes are a valid `sockaddr_nl`.
    let mut address: sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).expect("a small number");
    address
}

fn set_option<T>(fd: &OwnedFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let pointer: *const T = value;
    // SAFETY: the pointer is to a `T` that lives through the call, and the length is its size.
    check_int(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer.cast::<c_void>(), size_of::<T>()) })
}

/// Sets an option whose value is an int.
pub(super) fn set_int_option(fd: &OwnedFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, level, option, &value)
}

/// Lets a blocking read end after a whole number of seconds.
pub(super) fn set_receive_timeout(fd: &OwnedFd, seconds: u32) -> io::Result<()> {
    let timeout = libc::timeval {
        tv_sec: libc::time_t::from(seconds.cast_signed()),
        tv_usec: 0,
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)
}

/// Drops each arriving message for which the classic BPF program returns 0.
pub(super) fn attach_filter(fd: &OwnedFd, program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: libc::c_ushort::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        filter: program.as_mut_ptr(),
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Sends all the bytes to the kernel as one datagram.
pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of the slice.
    check(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) })
}

/// A datagram that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Its length, which can be more than the buffer took.
    pub(super) len: usize,
    /// Whether the kernel sent it, rather than another process.
    pub(super) is_from_kernel: bool,
}

/// Receives one datagram.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8], may_block: bool) -> io::Result<Received> {
    let mut address = kernel_address();
    let mut len = size_of::<sockaddr_nl>();
    let flags = libc::MSG_TRUNC | if may_block { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: buffer pointer and length are those of the slice; the address is a `sockaddr_nl` of that size.
    let received = check(unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
            (&raw mut address).cast(),
            &raw mut len,
        )
    })?;
    Ok(Received {
        len: received,
        is_from_kernel: address.nl_pid == 0,
    })
}
