//! kube-proxy's ipvs mode: virtual services in the kernel's load balancer, whose addresses sit on a device.

use std::fs;
use std::io;

use super::netlink::{GENERIC, Message, perform};
use super::{Outcome, ipset, link, outcome};

/// The device that holds the virtual addresses.
pub(super) const DEVICE: &str = "kube-ipvs0";

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_VERSION: u8 = 1;
const IPVS_NAME: &str = "IPVS";
const IPVS_CMD_FLUSH: u8 = 17;
const IPVS_VERSION: u8 = 1;
/// The fixed part of a generic netlink message.
const FIXED: usize = 4;

/// True if kube-proxy in ipvs mode was here: its device or its sets are. Virtual services alone may be another program's
/// (keepalived, say).
pub(super) fn is_kube_proxys() -> bool {
    link::exists(DEVICE) || ipset::names().is_ok_and(|names| !names.is_empty())
}

/// Virtual services in the text of `/proc/net/ip_vs`: lines that begin with a protocol or a firewall mark.
fn count(ip_vs: &str) -> usize {
    let kinds = ["TCP ", "UDP ", "SCTP ", "FWM "];
    ip_vs
        .lines()
        .filter(|line| kinds.iter().any(|kind| line.starts_with(kind)))
        .count()
}

/// Removes all virtual services. To be called only where [`is_kube_proxys`].
pub(super) fn remove_services(record: &mut dyn FnMut(Outcome)) {
    // The file is there when the module is loaded; asking over netlink would load it.
    let Ok(text) = fs::read_to_string("/proc/thread-self/net/ip_vs") else {
        return;
    };
    let services = count(&text);
    if services > 0 {
        record(outcome(format!("{services} ipvs virtual services"), flush()));
    }
}

fn flush() -> io::Result<()> {
    let lookup =
        Message::new(GENL_ID_CTRL, &[CTRL_CMD_GETFAMILY, CTRL_VERSION, 0, 0]).string(CTRL_ATTR_FAMILY_NAME, IPVS_NAME);
    let answers = perform(GENERIC, &lookup)?;
    let id = answers.iter().find_map(|answer| {
        let (_, value) = answer
            .attributes(FIXED)
            .find(|&(kind, _)| kind == CTRL_ATTR_FAMILY_ID)?;
        Some(u16::from_ne_bytes(value.try_into().ok()?))
    });
    let id = id.ok_or_else(|| io::Error::other("the kernel does not tell how to reach ipvs"))?;
    perform(GENERIC, &Message::new(id, &[IPVS_CMD_FLUSH, IPVS_VERSION, 0, 0])).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_services_are_counted_and_their_servers_are_not() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\n\
            Prot LocalAddress:Port Scheduler Flags\n  \
              -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
            TCP  0A600001:01BB rr\n  -> C0A80164:192B      Masq    1      0          0\n\
            UDP  [fd00:0000:0000:0000:0000:0000:0000:000a]:0035 rr\n\
            FWM  00000001 wlc\n";
        assert_eq!(count(text), 3);
        assert_eq!(count(""), 0);
    }

    #[test]
    fn the_lookup_of_a_family_is_understood_by_the_kernel() {
        // The controller itself is a family that every kernel has.
        let lookup = Message::new(GENL_ID_CTRL, &[CTRL_CMD_GETFAMILY, CTRL_VERSION, 0, 0])
            .string(CTRL_ATTR_FAMILY_NAME, "nlctrl");
        let answers = perform(GENERIC, &lookup).unwrap();
        let ids: Vec<_> = answers.iter().flat_map(|answer| answer.attributes(FIXED)).collect();
        assert!(
            ids.contains(&(CTRL_ATTR_FAMILY_ID, GENL_ID_CTRL.to_ne_bytes().as_slice())),
            "{ids:?}"
        );
    }
}
