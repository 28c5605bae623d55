//! The netlink layer against the running kernel, and against what `nft` reads and writes.

#[path = "netlink/events.rs"]
mod events;
#[path = "netlink/links.rs"]
mod links;
#[path = "support/nft.rs"]
mod nft;
#[path = "netlink/ownership.rs"]
mod ownership;
#[path = "support/tables.rs"]
mod tables;
#[path = "netlink/transactions.rs"]
mod transactions;

use std::collections::BTreeSet;

use fairlead_dataplane::netlink::{Connection, Loaded, Ownership};
use fairlead_dataplane::table::{self, Table};
use fairlead_dataplane::transaction::Transaction;
use fairlead_lab::{in_namespace, test_name};

use nft::{nft, nft_load, sorted_lines};
use tables::everything;

fn connect(ownership: Ownership) -> Connection {
    Connection::open(ownership).unwrap()
}

/// A connection that has written this table.
fn connect_and_write(table: &Table) -> Connection {
    let mut connection = connect(Ownership::Owned);
    connection.commit(&Transaction::load(table), None).unwrap();
    connection
}

fn read(connection: &mut Connection) -> Loaded {
    connection.load().unwrap().expect("the table exists")
}

/// Compares part by part: a whole table is too long for the eye.
fn assert_same(found: &Table, expected: &Table) {
    assert_eq!(
        found.sets.keys().collect::<Vec<_>>(),
        expected.sets.keys().collect::<Vec<_>>()
    );
    assert_eq!(
        found.chains.keys().collect::<Vec<_>>(),
        expected.chains.keys().collect::<Vec<_>>()
    );
    for (name, set) in &expected.sets {
        assert_eq!(&found.sets[name], set, "set {name}");
    }
    for (name, chain) in &expected.chains {
        assert_eq!(&found.chains[name], chain, "chain {name}");
    }
}

#[test]
fn every_set_and_every_statement_is_read_back_as_it_was_written() {
    in_namespace(test_name!(), || {
        let mut connection = connect(Ownership::Owned);
        assert_eq!(connection.load().unwrap(), None);
        let before = connection.generation().unwrap();
        let committed = connection
            .commit(&Transaction::load(&everything()), Some(before))
            .unwrap();
        assert_eq!(committed.generation, Some(connection.generation().unwrap()));

        let loaded = read(&mut connection);
        assert_same(&loaded.table, &everything());
        assert_eq!(loaded.unreadable, BTreeSet::new());
        assert!(loaded.is_owned && !loaded.is_dormant);
        assert_eq!(Some(loaded.generation), committed.generation);
    });
}

#[test]
fn nft_prints_what_we_write_as_it_prints_what_it_wrote_itself() {
    in_namespace(test_name!(), || {
        nft_load(&everything().to_string());
        let by_nft = nft(&["list", "ruleset"]);
        let mut connection = connect(Ownership::Shared);
        let loaded = read(&mut connection);
        assert_eq!(loaded.unreadable, BTreeSet::new());
        assert_same(&loaded.table, &everything());

        connection.commit(&Transaction::load(&everything()), None).unwrap();
        let by_us = nft(&["list", "ruleset"]);
        assert_eq!(sorted_lines(&by_us), sorted_lines(&by_nft));
        assert!(
            by_us.contains("typeof numgen random mod 1 . ip6 daddr . meta l4proto . th dport : ip6 daddr . th dport")
        );
        assert!(by_us.contains("endpoints4 {\n\t\ttypeof"));
        let json = nft(&["-j", "list", "ruleset"]);
        assert!(json.contains("\"nodeport_pick6_1\""));
    });
}

#[test]
fn what_others_put_into_the_table_is_named() {
    in_namespace(test_name!(), || {
        let mut table = everything();
        let mut connection = connect(Ownership::Shared);
        connection.commit(&Transaction::load(&table), None).unwrap();
        nft(&["add", "rule", "inet", "fairlead", "empty", "counter", "accept"]);
        nft(&[
            "add", "rule", "inet", "fairlead", "refuse", "ip", "saddr", "10.0.0.1", "drop",
        ]);
        nft(&[
            "add",
            "chain",
            "inet",
            "fairlead",
            "foreign",
            "{ type filter hook ingress device lo priority 0; }",
        ]);
        nft(&["add", "set", "inet", "fairlead", "odd", "{ type ether_addr; }"]);
        nft(&[
            "add",
            "chain",
            "inet",
            "fairlead",
            "services",
            "{ comment \"no more than a comment\"; }",
        ]);
        nft(&["add", "table", "inet", "fairlead", "{ flags dormant; }"]);

        let loaded = read(&mut connection);
        let unreadable: Vec<&str> = loaded.unreadable.iter().map(|name| &**name).collect();
        assert_eq!(unreadable, ["empty", "foreign", "odd", "refuse"]);
        assert!(loaded.is_dormant);
        assert_same(&loaded.table, &table);

        // What is ours and added by hand is read like our own.
        nft(&[
            "add",
            "rule",
            "inet",
            "fairlead",
            "masq_always",
            "masquerade",
            "fully-random",
        ]);
        let masquerade = table.chains.get_mut("masq_always").unwrap();
        masquerade.rules.push(masquerade.rules.last().unwrap().clone());
        assert_same(&read(&mut connection).table, &table);

        connection.commit(&Transaction::load(&everything()), None).unwrap();
        let loaded = read(&mut connection);
        assert_eq!(loaded.unreadable, BTreeSet::new());
        assert!(!loaded.is_dormant);
    });
}
