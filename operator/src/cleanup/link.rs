//! Network devices.

use std::fs;

use super::netlink::{Message, ROUTE, perform};
use super::{Outcome, outcome};

const RTM_DELLINK: u16 = 17;
const IFLA_IFNAME: u16 = 3;
/// An empty `struct ifinfomsg`: the device is named by an attribute.
const IFINFOMSG: [u8; 16] = [0; 16];

/// True if the network namespace has a device of this name.
pub(super) fn exists(device: &str) -> bool {
    // Not /sys/class/net, which shows the namespace that /sys was mounted in.
    let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, _)| name.trim() == device)
}

/// Removes a device, if there is one.
pub(super) fn remove(device: &str, record: &mut dyn FnMut(Outcome)) {
    if !exists(device) {
        return;
    }
    let result = match perform(
        ROUTE,
        &Message::new(RTM_DELLINK, &IFINFOMSG).string(IFLA_IFNAME, device),
    ) {
        Err(err) if err.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result.map(|_| ()),
    };
    record(outcome(format!("network device {device}"), result));
}
