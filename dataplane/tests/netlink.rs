//! The netlink layer against the running kernel, and against what `nft` reads and writes.

#[path = "support/nft.rs"]
mod nft;
#[path = "support/tables.rs"]
mod tables;

use std::collections::BTreeSet;

use fairlead_dataplane::netlink::{Connection, Loaded, NetlinkError, NfFamily, Ownership};
use fairlead_dataplane::table::{Chain, Datum, Name, Rule, Statement, Table, Value, Verdict};
use fairlead_dataplane::transaction::{SetChange, Transaction, diff};
use fairlead_lab::{in_namespace, test_name};

use nft::{nft, nft_load, nft_refusal, sorted_lines};
use tables::{everything, many};

fn connect(ownership: Ownership) -> Connection {
    Connection::open(ownership).unwrap()
}

fn read(connection: &mut Connection) -> Loaded {
    connection.load().unwrap().expect("the table exists")
}

/// Differences one by one: a whole table is too long to compare with the eye.
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
        assert!(nft(&["-j", "list", "ruleset"]).contains("\"nftables\""));
    });
}
