//! Monitors, conntrack and addresses.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use fairlead_dataplane::netlink::addresses::{self, AddressMonitor, InterfaceAddress};
use fairlead_dataplane::netlink::conntrack::Conntrack;
use fairlead_dataplane::netlink::{Activity, Monitor, Ownership};
use fairlead_dataplane::transaction::Transaction;
use fairlead_lab::{in_namespace, test_name};
use fairlead_model::{Family, Protocol};

use super::nft::nft;
use super::tables::{everything, many};
use super::{connect, connect_and_write};

#[test]
fn a_monitor_hears_of_others_and_not_of_us() {
    in_namespace(test_name!(), || {
        let mut connection = connect(Ownership::Shared);
        let mut monitor = Monitor::open(connection.port_id()).unwrap();
        assert_eq!(monitor.read().unwrap(), Activity::Quiet);
        // Far more events than would fit.
        connection.commit(&Transaction::load(&many(30_000)), None).unwrap();
        connection.commit(&Transaction::load(&everything()), None).unwrap();
        assert_eq!(monitor.read().unwrap(), Activity::Quiet);

        // An event is queued before the system call that makes it returns.
        nft(&["add", "table", "inet", "other"]);
        nft(&["add", "table", "ip", "fairlead"]);
        assert_eq!(monitor.read().unwrap(), Activity::Quiet);
        nft(&["add", "element", "inet", "fairlead", "node_ips4", "{ 10.0.0.7 }"]);
        assert_eq!(monitor.read().unwrap(), Activity::TableChanged);
        assert_eq!(monitor.read().unwrap(), Activity::Quiet);
        nft(&["flush", "ruleset"]);
        assert_eq!(monitor.read().unwrap(), Activity::TableDeleted);
        nft(&["add", "table", "inet", "fairlead"]);
        assert_eq!(monitor.read().unwrap(), Activity::TableChanged);

        let mut other = connect(Ownership::Shared);
        other.commit(&Transaction::load(&many(100_000)), None).unwrap();
        assert_eq!(monitor.read().unwrap(), Activity::Overrun);
        assert_eq!(monitor.read().unwrap(), Activity::Quiet);
        nft(&["delete", "table", "inet", "fairlead"]);
        assert_eq!(monitor.read().unwrap(), Activity::TableDeleted);
    });
}

#[test]
fn stale_udp_entries_are_deleted_and_others_stay() {
    in_namespace(test_name!(), || {
        // Rules that look at conntrack switch it on.
        let _connection = connect_and_write(&everything());
        let mut conntrack = Conntrack::open().unwrap();
        for address in ["127.0.0.1", "::1"] {
            let server = UdpSocket::bind((address, 0)).unwrap();
            let other = UdpSocket::bind((address, 0)).unwrap();
            let client = UdpSocket::bind((address, 0)).unwrap();
            let ports = [server.local_addr().unwrap().port(), other.local_addr().unwrap().port()];
            for port in ports {
                client.send_to(b"?", (address, port)).unwrap();
            }
            let address: IpAddr = address.parse().unwrap();
            let family = Family::of(address);
            let entries = conntrack.entries(family, Protocol::Udp).unwrap();
            assert_eq!(entries.len(), 2, "{entries:?}");
            let entry = entries
                .iter()
                .find(|entry| entry.original.destination_port == ports[0])
                .unwrap();
            assert_eq!(entry.original.source, address);
            assert_eq!(entry.original.source_port, client.local_addr().unwrap().port());
            assert_eq!((entry.reply.source, entry.reply.source_port), (address, ports[0]));
            assert_eq!((entry.original.protocol, entry.zone), (17, 0));
            assert!(entry.id.is_some());

            assert_eq!(conntrack.entries(family, Protocol::Tcp).unwrap(), []);
            let deleted = conntrack.delete_stale(family, Protocol::Udp, |entry| {
                entry.original.destination_port == ports[0]
            });
            assert_eq!(deleted.unwrap(), 1);
            assert!(!conntrack.delete(entry).unwrap(), "it has gone");
            let left = conntrack.entries(family, Protocol::Udp).unwrap();
            assert_eq!(
                left.iter()
                    .map(|entry| entry.original.destination_port)
                    .collect::<Vec<_>>(),
                [ports[1]]
            );
        }
    });
}

/// Waits until it is so.
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "it took too long");
        std::thread::yield_now();
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("ip is installed");
    assert!(status.success(), "ip {arguments:?}");
}

#[test]
fn addresses_are_listed_and_their_changes_heard_of() {
    in_namespace(test_name!(), || {
        let mut monitor = AddressMonitor::open().unwrap();
        let before = addresses::list().unwrap();
        assert!(
            before
                .iter()
                .any(|found| found.address == IpAddr::from([127, 0, 0, 1]) && found.prefix_len == 8)
        );
        assert!(
            before
                .iter()
                .any(|found| found.address.is_ipv6() && found.address.is_loopback())
        );

        // The kernel tells of IPv6 addresses when it gets round to it, of IPv4 at once.
        ip(&["address", "add", "fd00::5/64", "dev", "lo", "nodad"]);
        wait_for(|| monitor.read().unwrap());
        ip(&["address", "add", "10.1.2.3/24", "dev", "lo"]);
        assert!(monitor.read().unwrap());
        assert!(!monitor.read().unwrap());
        let new: Vec<InterfaceAddress> = addresses::list()
            .unwrap()
            .into_iter()
            .filter(|found| !before.contains(found))
            .collect();
        let mut new: Vec<_> = new
            .iter()
            .map(|found| (found.address, found.prefix_len, found.interface, found.scope))
            .collect();
        new.sort_unstable();
        assert_eq!(
            new,
            [
                ("10.1.2.3".parse().unwrap(), 24, 1, 0),
                ("fd00::5".parse().unwrap(), 64, 1, 0)
            ]
        );

        ip(&["address", "del", "10.1.2.3/24", "dev", "lo"]);
        assert!(monitor.read().unwrap());
    });
}
