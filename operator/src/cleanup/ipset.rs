//! kube-proxy's ip sets, of its ipvs mode.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::netlink::{Message, NETFILTER, dump, perform};
use super::{Outcome, outcome};

const SUBSYSTEM: u8 = 6;
const IPSET_CMD_DESTROY: u8 = 3;
const IPSET_CMD_LIST: u8 = 7;
const IPSET_ATTR_PROTOCOL: u16 = 1;
const IPSET_ATTR_SETNAME: u16 = 2;
const IPSET_ATTR_FLAGS: u16 = 6;
/// The attribute's value is in network byte order.
const NLA_F_NET_BYTEORDER: u16 = 1 << 14;
/// List names only.
const IPSET_FLAG_LIST_SETNAME: u32 = 1 << 1;
/// The version of the protocol; every kernel with sets speaks it.
const PROTOCOL: u8 = 6;
/// `IPSET_ERR_BUSY`: a rule still looks into the set. Numbers from 4096 on are ip sets' own.
const BUSY: i32 = 4100;
/// The fixed part of a netfilter message.
const FIXED: usize = 4;
const AF_INET: u8 = 2;

/// How long to wait for all sets to be let go of: `nf_tables` frees removed rules after its transaction, not in it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts.
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// kube-proxy's sets begin with this; those of IPv6 with `KUBE-6-`.
const PREFIX: &str = "KUBE-";

fn message(command: u8) -> Message {
    Message::netfilter(SUBSYSTEM, command, AF_INET).attribute(IPSET_ATTR_PROTOCOL, &[PROTOCOL])
}

/// The names of kube-proxy's sets; none where the kernel has no sets.
pub(super) fn names() -> io::Result<Vec<String>> {
    // Asking would load the module.
    if !Path::new("/sys/module/ip_set").exists() {
        return Ok(Vec::new());
    }
    let names_only = message(IPSET_CMD_LIST).attribute(
        IPSET_ATTR_FLAGS | NLA_F_NET_BYTEORDER,
        &IPSET_FLAG_LIST_SETNAME.to_be_bytes(),
    );
    let sets = dump(NETFILTER, &names_only)?;
    let names = sets.iter().filter_map(|set| set.string(FIXED, IPSET_ATTR_SETNAME));
    Ok(names.filter(|name| name.starts_with(PREFIX)).collect())
}

/// Destroys a set. While rules look into it, that is tried until `give_up`.
fn destroy(name: &str, give_up: Instant) -> io::Result<()> {
    let destroy = message(IPSET_CMD_DESTROY).string(IPSET_ATTR_SETNAME, name);
    loop {
        match perform(NETFILTER, &destroy) {
            Ok(_) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(err) if err.raw_os_error() != Some(BUSY) => return Err(err),
            Err(_) if Instant::now() >= give_up => return Err(io::Error::other("a rule still looks into it")),
            Err(_) => thread::sleep(RELEASE_PAUSE),
        }
    }
}

/// Removes kube-proxy's sets.
pub(super) fn remove(record: &mut dyn FnMut(Outcome)) {
    match names() {
        Err(err) => record(Outcome::NotChecked(format!("ip sets: {err}"))),
        Ok(names) => {
            let give_up = Instant::now() + RELEASE_TIMEOUT;
            for name in names {
                record(outcome(format!("ip set {name}"), destroy(&name, give_up)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fairlead_lab::{in_namespace, test_name};

    use super::*;
    use crate::cleanup::program::run;
    use crate::cleanup::{CleanupFlags, cleanup};

    const IPSET_CMD_CREATE: u8 = 2;
    const IPSET_ATTR_TYPENAME: u16 = 3;
    const IPSET_ATTR_REVISION: u16 = 4;
    const IPSET_ATTR_FAMILY: u16 = 5;
    const IPSET_ATTR_DATA: u16 = 7;
    const NLA_F_NESTED: u16 = 1 << 15;

    fn create(name: &str) {
        let create = message(IPSET_CMD_CREATE)
            .string(IPSET_ATTR_SETNAME, name)
            .string(IPSET_ATTR_TYPENAME, "hash:ip,port")
            .attribute(IPSET_ATTR_REVISION, &[1])
            .attribute(IPSET_ATTR_FAMILY, &[AF_INET])
            .attribute(IPSET_ATTR_DATA | NLA_F_NESTED, &[]);
        perform(NETFILTER, &create).unwrap();
    }

    fn iptables(rule: &str) {
        let arguments: Vec<_> = rule.split(' ').collect();
        run(&PathBuf::from("iptables-nft"), &arguments, String::new()).unwrap();
    }

    #[test]
    fn kube_proxys_sets_go_with_the_rules_that_look_into_them() {
        in_namespace(test_name!(), || {
            create("KUBE-CLUSTER-IP");
            create("KUBE-6-LOOP-BACK");
            create("mine");
            iptables("-t nat -N KUBE-SERVICES");
            iptables("-t nat -A PREROUTING -j KUBE-SERVICES");
            iptables("-t nat -A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT");
            let mut lines = Vec::new();
            let flags = CleanupFlags { kube_proxy: true };
            cleanup(&flags, &mut |outcome: &Outcome| lines.push(outcome.to_string())).unwrap();
            lines.sort_unstable();
            assert_eq!(
                lines,
                [
                    "removed ip set KUBE-6-LOOP-BACK",
                    "removed ip set KUBE-CLUSTER-IP",
                    "removed iptables-nft nat chain KUBE-SERVICES",
                    "removed iptables-nft nat rule of PREROUTING: -j KUBE-SERVICES",
                ],
            );
            assert!(names().unwrap().is_empty());
            let is_there = perform(
                NETFILTER,
                &message(IPSET_CMD_DESTROY).string(IPSET_ATTR_SETNAME, "mine"),
            );
            assert!(is_there.is_ok(), "the sets of others stay");
        });
    }

    #[test]
    fn a_set_that_others_look_into_remains_and_is_told() {
        in_namespace(test_name!(), || {
            create("KUBE-CLUSTER-IP");
            iptables("-A INPUT -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT");
            let err = destroy("KUBE-CLUSTER-IP", Instant::now()).unwrap_err();
            assert_eq!(err.to_string(), "a rule still looks into it");
            assert_eq!(names().unwrap(), ["KUBE-CLUSTER-IP"]);
        });
    }
}
