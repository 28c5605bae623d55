//! The few calls that the compiler cannot check.
#![expect(
    unsafe_code,
    reason = "namespaces are entered between fork and exec, and unshare may split what threads share"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_network() -> rustix::io::Result<()> {
    // SAFETY: only CLONE_FILES makes `unshare` unsafe, because file descriptors then mean different files in different threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// What to write into `/proc/self/uid_map` and `gid_map` so that this process is root in its user namespace. Made before a fork, since it
/// allocates.
pub(crate) struct RootMaps {
    users: String,
    groups: String,
}

impl RootMaps {
    pub(crate) fn of_this_process() -> Self {
        Self {
            users: format!("0 {} 1", rustix::process::geteuid().as_raw()),
            groups: format!("0 {} 1", rustix::process::getegid().as_raw()),
        }
    }
}

/// Moves the calling process, which must have one thread, into a new user and network namespace in which it is root.
///
/// Allocates nothing and takes no lock: it may run between fork and exec.
pub(crate) fn become_root_apart(maps: &RootMaps) -> rustix::io::Result<()> {
    // SAFETY: as in `unshare_network`.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)? };
    // user_namespaces(7): without privileges in the parent, groups can only be mapped after setgroups(2) is given up.
    write_file(c"/proc/self/setgroups", "deny")?;
    write_file(c"/proc/self/uid_map", &maps.users)?;
    write_file(c"/proc/self/gid_map", &maps.groups)
}

fn write_file(path: &std::ffi::CStr, text: &str) -> rustix::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, text.as_bytes()).map(drop)
}

/// Lets `command` run as root in a new user and network namespace, and not longer than the thread that starts it.
pub(crate) fn run_as_root_apart(command: &mut Command, maps: RootMaps) {
    // SAFETY: `become_root_apart` and `prctl` are bare system calls on data that existed before the fork.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            become_root_apart(&maps).map_err(io::Error::from)
        });
    }
}

/// Lets `command` run in `network`, and not longer than the thread that starts it.
pub(crate) fn run_in_network(command: &mut Command, network: OwnedFd) {
    let parent = rustix::process::getpid();
    // SAFETY: `enter` makes bare system calls on values that existed before the fork.
    unsafe {
        command.pre_exec(move || enter(&network, parent).map_err(io::Error::from));
    }
}

fn enter(network: &OwnedFd, parent: Pid) -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the signal was asked for.
    if rustix::process::getppid() != Some(parent) {
        return Err(rustix::io::Errno::SRCH);
    }
    rustix::thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
}
