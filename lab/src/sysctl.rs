//! The settings of a namespace that make the lab's answers independent of timing and of the machine it runs on.

use std::fs;
use std::io;

use crate::Error;

/// Whether a namespace passes packets on that are not for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Host,
    Router,
}

/// Changing the role resets other settings to the defaults of that role (ip-sysctl), so these come first.
const ROUTER: &[(&str, &str)] = &[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

/// Written for `all` and for `default`, the second so that interfaces that come later have it.
const PER_INTERFACE: &[(&str, &str, &str)] = &[
    // IPv4 settings are copied from the machine's own namespace, where distributions turn reverse path filters on.
    ("ipv4", "rp_filter", "0"),
    // A node sends a packet back out to the LAN when the endpoint is on another node; the client must not learn a shortcut from it.
    ("ipv4", "send_redirects", "0"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv6", "accept_redirects", "0"),
    ("ipv6", "disable_ipv6", "0"),
    ("ipv6", "accept_dad", "0"),
    ("ipv6", "accept_ra", "0"),
];

const ONCE: &[(&str, &str)] = &[
    // 1: no link-local address by itself. The lab gives each interface one that is there at once.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    // "Refused" over UDP is an ICMP error, and every one is to be seen.
    ("ipv4/icmp_ratemask", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    // A load loop opens more connections than there are ports in the minute that a closed one is remembered.
    ("ipv4/tcp_tw_reuse", "1"),
    // Present where the module is loaded: bridged packets would meet the rule set a second time.
    ("bridge/bridge-nf-call-iptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("bridge/bridge-nf-call-arptables", "0"),
];

/// Applies the lab's settings to the calling thread's namespace, before it has interfaces.
pub(crate) fn prepare(namespace: &str, role: Role) -> Result<(), Error> {
    if role == Role::Router {
        for (key, value) in ROUTER {
            write(namespace, key, value)?;
        }
    }
    for (family, key, value) in PER_INTERFACE {
        for interface in ["all", "default"] {
            write_if_present(namespace, &format!("{family}/conf/{interface}/{key}"), value)?;
        }
    }
    ONCE.iter()
        .try_for_each(|(key, value)| write_if_present(namespace, key, value))
}

/// Writes a setting of the calling thread's namespace. `/proc/sys/net` shows each thread its own.
pub(crate) fn write(namespace: &str, key: &str, value: &str) -> Result<(), Error> {
    fs::write(format!("/proc/sys/net/{key}"), value).map_err(|source| Error::Sysctl {
        namespace: namespace.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        source,
    })
}

fn write_if_present(namespace: &str, key: &str, value: &str) -> Result<(), Error> {
    match write(namespace, key, value) {
        Err(Error::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
