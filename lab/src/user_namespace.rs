use std::fs;
use std::io;

use rustix::io::Errno;

use crate::link::LOOPBACK;
use crate::netlink::{Batch, Netlink};
use crate::{Error, sys};

/// linux/capability.h
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Gives this process what it needs to make network namespaces: the first thing a program calls, before it starts a thread.
///
/// A process with the capabilities (root) stays as it is. Any other becomes root in a user namespace of its own, and moves into an empty network
/// namespace. [`Error::Unavailable`] says that the kernel does not allow it.
pub fn enter_user_namespace() -> Result<(), Error> {
    if may_make_namespaces() {
        return Ok(());
    }
    sys::become_root_apart(&sys::RootMaps::of_this_process())
        .map_err(|errno| unavailable(&errno.into(), "cannot become root in a user namespace"))?;
    check()
}

/// Whether this process has the capabilities to make network namespaces.
pub(crate) fn may_make_namespaces() -> bool {
    let needed = CAP_NET_ADMIN | CAP_SYS_ADMIN;
    effective_capabilities() & needed == needed
}

/// Sees whether capabilities are worth something. Security modules can let a process into a user namespace and refuse everything in it.
fn check() -> Result<(), Error> {
    let refused =
        |error: &io::Error| unavailable(error, "a user namespace exists, but no network can be configured in it");
    let netlink = Netlink::open().map_err(|errno| refused(&errno.into()))?;
    let mut batch = Batch::default();
    batch.set_link(LOOPBACK, true);
    netlink.send(batch).map(drop).map_err(|failed| refused(&failed.source))
}

/// The error for a refused user namespace, with the setting that is known to refuse it.
pub(crate) fn unavailable(error: &io::Error, what: &str) -> Error {
    let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "; look at the sysctls kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, \
             at a container's seccomp profile, or run as root"
        }
        Some(Errno::NOSPC | Errno::USERS) => "; look at the sysctl user.max_user_namespaces",
        Some(Errno::INVAL) => "; the kernel may lack user namespaces, or the process has more than one thread",
        _ => "",
    };
    Error::Unavailable {
        reason: format!("{what}: {error}{hint}"),
    }
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}
