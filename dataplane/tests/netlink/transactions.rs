//! Transactions: changes, failures, and size.

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Instant;

use fairlead_dataplane::netlink::{NetlinkError, Ownership};
use fairlead_dataplane::table::{Chain, Datum, Name, Rule, Statement, Table, Value, Verdict};
use fairlead_dataplane::transaction::{SetChange, Transaction, diff};
use fairlead_lab::{in_namespace, test_name};

use super::nft::nft;
use super::tables::{everything, many};
use super::{assert_same, connect, connect_and_write, read};

fn address(text: &str) -> Datum {
    Datum::address(text.parse::<Ipv4Addr>().unwrap().into())
}

fn change(set: &str, change: SetChange) -> Transaction {
    Transaction {
        elements: [(Name::from(set), change)].into(),
        ..Transaction::default()
    }
}

fn add_keys(set: &str, keys: impl IntoIterator<Item = (Datum, Value)>) -> Transaction {
    change(
        set,
        SetChange {
            add: keys.into_iter().collect(),
            ..SetChange::default()
        },
    )
}

#[test]
fn a_difference_leads_from_one_table_to_the_other() {
    in_namespace(test_name!(), || {
        let old = everything();
        let mut new = everything();
        // Replaced data, a new and a lost element.
        let endpoints = new.sets.get_mut("endpoints4").unwrap();
        let mut keys: Vec<Datum> = endpoints.elements.keys().copied().collect();
        keys.sort_unstable();
        endpoints.elements.remove(&keys[1]);
        *endpoints.elements.get_mut(&keys[0]).unwrap() =
            Value::Data(Datum::builder().address([10, 244, 9, 9].into()).port(9).finish());
        // A range that grows into its neighbour's place, one that goes, one that comes.
        let borders = new.sets.get_mut("borders4").unwrap();
        borders.ranges.retain(|(first, _)| !first.as_bytes().starts_with(&[10]));
        borders.ranges.insert((address("10.0.0.0"), address("10.255.255.255")));
        borders
            .ranges
            .remove(&(address("240.0.0.0"), address("255.255.255.255")));
        borders.ranges.insert((address("250.0.0.0"), address("250.0.0.9")));
        let sources = new.sets.get_mut("source_ranges4").unwrap();
        let lost = *sources.ranges.first().unwrap();
        sources.ranges.remove(&lost);
        // A chain that is deleted together with the set whose elements lead to it, and with the chain that leads to it.
        new.sets.remove("nodeports4");
        new.sets.remove("nodeport_endpoints4");
        new.chains.remove("nodeport_pick4_2");
        new.chains.get_mut("services").unwrap().rules.remove(2);
        new.chains.remove("affine");
        new.chains.remove("endpoint6");
        new.chains.get_mut("services").unwrap().rules.pop();
        // A new chain with an element that leads to it.
        let rules = vec![Rule(vec![Statement::Verdict(Verdict::Goto("refuse".into()))])];
        new.chains.insert("new".into(), Chain { hook: None, rules });
        let services = new.sets.get_mut("services4").unwrap();
        let key = *services.elements.keys().next().unwrap();
        services
            .elements
            .insert(key, Value::Verdict(Verdict::Goto("new".into())));

        let mut connection = connect_and_write(&old);
        let forth = diff(&old, &new);
        assert!(!forth.starts_over);
        connection.commit(&forth, None).unwrap();
        assert_same(&read(&mut connection).table, &new);
        nft(&["list", "ruleset"]);

        connection.commit(&diff(&new, &old), None).unwrap();
        assert_same(&read(&mut connection).table, &old);

        // A connection that has not read the table does not know the form of its sets.
        drop(connection);
        let mut other = connect(Ownership::Owned);
        other.commit(&forth, None).unwrap();
        assert_same(&read(&mut other).table, &new);
    });
}

#[test]
fn an_empty_transaction_sends_nothing() {
    in_namespace(test_name!(), || {
        let mut connection = connect(Ownership::Owned);
        let before = connection.generation().unwrap();
        let committed = connection.commit(&Transaction::default(), Some(before + 1)).unwrap();
        assert_eq!((committed.bytes, committed.generation), (0, None));
        assert_eq!(connection.generation().unwrap(), before);
        assert_eq!(connection.load().unwrap(), None);
    });
}

#[test]
fn learned_elements_are_neither_read_nor_lost() {
    in_namespace(test_name!(), || {
        let table = everything();
        let mut connection = connect(Ownership::Shared);
        connection.commit(&Transaction::load(&table), None).unwrap();
        nft(&[
            "add",
            "element",
            "inet",
            "fairlead",
            "affinity4/web",
            "{ 10.0.0.9 timeout 1h }",
        ]);
        assert_same(&read(&mut connection).table, &table);
        connection
            .commit(&add_keys("node_ips4", [(address("10.0.0.2"), Value::Nothing)]), None)
            .unwrap();
        assert!(nft(&["list", "set", "inet", "fairlead", "affinity4/web"]).contains("10.0.0.9 timeout 1h"));
    });
}

#[test]
fn a_stale_generation_changes_nothing() {
    in_namespace(test_name!(), || {
        let mut connection = connect_and_write(&everything());
        let generation = connection.generation().unwrap();
        nft(&["add", "table", "ip", "other"]);
        let addition = add_keys("node_ips4", [(address("10.0.0.2"), Value::Nothing)]);
        let refused = connection.commit(&addition, Some(generation)).unwrap_err();
        assert!(
            matches!(refused, NetlinkError::StaleGeneration { expected } if expected == generation),
            "{refused:?}"
        );
        assert_eq!(refused.reason(), "StaleGeneration");
        assert_same(&read(&mut connection).table, &everything());

        let current = connection.generation().unwrap();
        let committed = connection.commit(&addition, Some(current)).unwrap();
        assert_eq!(committed.generation, Some(current + 1));
    });
}

#[test]
fn a_refused_operation_is_named_and_nothing_is_carried_out() {
    in_namespace(test_name!(), || {
        let mut connection = connect_and_write(&everything());
        // The first deletion is fine, the second key does not exist.
        let transaction = change(
            "node_ips4",
            SetChange {
                delete: vec![address("10.0.0.1"), address("10.9.9.9")],
                ..SetChange::default()
            },
        );
        let refused = connection.commit(&transaction, None).unwrap_err();
        let text = refused.to_string();
        assert_eq!(
            text,
            "the kernel refused to delete elements of set `node_ips4`, namely Datum(0a090909)"
        );
        let cause = refused.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(cause.raw_os_error(), Some(2));

        let transaction = Transaction {
            rules: [(
                "refuse".into(),
                vec![Rule(vec![
                    Statement::Masquerade,
                    Statement::Verdict(Verdict::Goto("nowhere".into())),
                ])],
            )]
            .into(),
            ..add_keys("node_ips4", [(address("10.0.0.2"), Value::Nothing)])
        };
        let text = connection.commit(&transaction, None).unwrap_err().to_string();
        assert!(text.contains("add rule 1 of chain `refuse`"), "{text}");

        let transaction = Transaction {
            delete_sets: vec!["endpoints4".into()],
            ..Transaction::default()
        };
        let text = connection.commit(&transaction, None).unwrap_err().to_string();
        assert!(text.contains("delete set `endpoints4`"), "{text}");

        let transaction = change(
            "nothing",
            SetChange {
                add_ranges: vec![(address("1.0.0.0"), address("1.0.0.1"))],
                ..SetChange::default()
            },
        );
        let unknown = connection.commit(&transaction, None).unwrap_err();
        assert!(matches!(unknown, NetlinkError::UnknownSet { .. }), "{unknown:?}");

        // Replacing data takes a deletion: adding alone is refused.
        let replaced = *everything().sets["endpoints4"].elements.keys().next().unwrap();
        let data = Value::Data(Datum::builder().address([1, 1, 1, 1].into()).port(1).finish());
        let text = connection
            .commit(&add_keys("endpoints4", [(replaced, data)]), None)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("add elements to set `endpoints4`, namely Datum("),
            "{text}"
        );

        assert_same(&read(&mut connection).table, &everything());
    });
}

#[test]
fn a_hundred_thousand_elements_are_one_transaction() {
    in_namespace(test_name!(), || {
        const COUNT: u32 = 100_000;
        let table = many(COUNT);
        let mut connection = connect(Ownership::Owned);
        let transaction = Transaction::load(&table);
        let started = Instant::now();
        let committed = connection.commit(&transaction, None).unwrap();
        println!("written in {:?}: {committed:?}", started.elapsed());
        // More than a socket may send unless it asks for it.
        assert!(committed.bytes > 4_000_000);
        assert!(committed.operations < 100, "elements are packed: {committed:?}");
        let started = Instant::now();
        let loaded = read(&mut connection);
        println!("read in {:?}", started.elapsed());
        assert_eq!(
            loaded.table.sets["endpoints4"].elements.len(),
            usize::try_from(COUNT).unwrap()
        );
        assert_eq!(loaded.table, table);

        let mut shrunk = table.clone();
        shrunk.sets.get_mut("endpoints4").unwrap().elements.clear();
        connection.commit(&diff(&table, &shrunk), None).unwrap();
        assert_eq!(read(&mut connection).table, shrunk);
    });
}

#[test]
fn every_refusal_of_a_large_transaction_is_counted() {
    in_namespace(test_name!(), || {
        let mut connection = connect_and_write(&many(0));
        let keys: Vec<Datum> = many(5000).sets["endpoints4"].elements.keys().copied().collect();
        let transaction = change(
            "endpoints4",
            SetChange {
                delete: keys,
                ..SetChange::default()
            },
        );
        let refused = connection.commit(&transaction, None).unwrap_err();
        assert!(
            matches!(refused, NetlinkError::Refused { others: 1.., .. }),
            "{refused:?}"
        );
        // The answers to that do not disturb what comes after.
        assert_eq!(read(&mut connection).table, many(0));
    });
}

#[test]
fn a_table_can_be_made_without_anything_in_it() {
    in_namespace(test_name!(), || {
        let mut connection = connect_and_write(&Table::default());
        assert_eq!(read(&mut connection).table, Table::default());
    });
}
