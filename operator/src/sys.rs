//! The one place with unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "tokio leaves it to the caller that a file descriptor stays what it is"
)]

use std::io;
use std::os::fd::AsRawFd;

use fairlead_dataplane::netlink::Monitor;
use fairlead_dataplane::netlink::addresses::AddressMonitor;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A value that owns one file descriptor for all its life and always tells the same.
pub(crate) trait OwnsOneDescriptor: AsRawFd {}

impl OwnsOneDescriptor for Monitor {}
impl OwnsOneDescriptor for AddressMonitor {}

/// Registers it with the runtime, to wait until it is readable.
pub(crate) fn wait_for_readable<T: OwnsOneDescriptor>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the value owns its descriptor, which is open until it is dropped, and never changes it: that is what the trait
    // says, and it is implemented for nothing else in this crate.
    let registered = unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}
