//! Who may change the table, and what becomes of it.

use fairlead_dataplane::netlink::{NetlinkError, NfFamily, Ownership};
use fairlead_dataplane::table::{Name, Value};
use fairlead_dataplane::transaction::{SetChange, Transaction};
use fairlead_lab::{in_namespace, test_name};

use super::nft::{nft, nft_refusal};
use super::tables::everything;
use super::{assert_same, connect, connect_and_write, read};

fn add_node_ip(last: u8) -> Transaction {
    let key = fairlead_dataplane::table::Datum::address([10, 0, 0, last].into());
    let change = SetChange {
        add: vec![(key, Value::Nothing)],
        ..SetChange::default()
    };
    Transaction {
        elements: [(Name::from("node_ips4"), change)].into(),
        ..Transaction::default()
    }
}

#[test]
fn nobody_else_changes_an_owned_table() {
    in_namespace(test_name!(), || {
        let mut owner = connect_and_write(&everything());
        assert!(owner.is_owned());
        let refusal = nft_refusal(&["flush", "chain", "inet", "fairlead", "services"]);
        assert!(refusal.contains("Operation not permitted"), "{refusal}");
        nft(&["flush", "ruleset"]);

        let mut other = connect(Ownership::Owned);
        for transaction in [add_node_ip(2), Transaction::load(&everything())] {
            let refused = other.commit(&transaction, None).unwrap_err();
            assert!(matches!(refused, NetlinkError::OwnedByAnother { .. }), "{refused:?}");
        }
        let refused = other.adopt().unwrap_err();
        let port_id = owner.port_id();
        assert!(
            matches!(refused, NetlinkError::OwnedByAnother { port_id: Some(id), .. } if id == port_id),
            "{refused:?}"
        );
        let refused = other.delete_table(NfFamily::Inet, "fairlead").unwrap_err();
        assert!(matches!(refused, NetlinkError::OwnedByAnother { .. }), "{refused:?}");
        assert!(!read(&mut other).is_owned);
        assert_same(&read(&mut owner).table, &everything());
    });
}

#[test]
fn a_table_outlives_its_owner_and_is_adopted() {
    in_namespace(test_name!(), || {
        drop(connect_and_write(&everything()));

        let mut heir = connect(Ownership::Owned);
        let loaded = read(&mut heir);
        assert_same(&loaded.table, &everything());
        assert!(!loaded.is_owned);
        // The first transaction takes it over, in the same step as what it changes.
        heir.commit(&add_node_ip(2), Some(loaded.generation)).unwrap();
        assert!(heir.is_owned() && read(&mut heir).is_owned);
        nft_refusal(&["delete", "table", "inet", "fairlead"]);
        drop(heir);

        let mut second = connect(Ownership::Owned);
        assert!(second.adopt().unwrap() && read(&mut second).is_owned);
        assert!(second.adopt().unwrap());
        nft_refusal(&["delete", "table", "inet", "fairlead"]);
        drop(second);

        let mut third = connect(Ownership::Owned);
        third.commit(&Transaction::load(&everything()), None).unwrap();
        assert!(read(&mut third).is_owned);
    });
}

#[test]
fn a_table_without_an_owner_stays_so_until_it_is_started_over() {
    in_namespace(test_name!(), || {
        let mut first = connect(Ownership::Shared);
        first.commit(&Transaction::load(&everything()), None).unwrap();
        assert!(!read(&mut first).is_owned);
        nft(&["add", "element", "inet", "fairlead", "node_ips4", "{ 10.0.0.7 }"]);

        let mut second = connect(Ownership::Owned);
        assert!(!second.adopt().unwrap());
        second.commit(&add_node_ip(8), None).unwrap();
        assert!(!second.is_owned() && !read(&mut second).is_owned);
        second.commit(&Transaction::load(&everything()), None).unwrap();
        assert!(second.is_owned() && read(&mut second).is_owned);
        assert_same(&read(&mut second).table, &everything());
    });
}

#[test]
fn adopting_makes_no_table() {
    in_namespace(test_name!(), || {
        let mut connection = connect(Ownership::Owned);
        assert!(!connection.adopt().unwrap());
        assert_eq!(connection.list_tables().unwrap(), []);
    });
}

#[test]
fn tables_are_listed_and_deleted() {
    in_namespace(test_name!(), || {
        for family in ["ip", "ip6"] {
            nft(&["add", "table", family, "kube-proxy"]);
            nft(&["add", "chain", family, "kube-proxy", "services"]);
        }
        let mut connection = connect_and_write(&everything());
        let mut tables = connection.list_tables().unwrap();
        tables.sort();
        let expected = [
            (NfFamily::Inet, "fairlead"),
            (NfFamily::Ip, "kube-proxy"),
            (NfFamily::Ip6, "kube-proxy"),
        ];
        assert_eq!(tables, expected.map(|(family, name)| (family, name.to_owned())));

        assert!(connection.delete_table(NfFamily::Ip, "kube-proxy").unwrap());
        assert!(!connection.delete_table(NfFamily::Ip, "kube-proxy").unwrap());
        assert!(connection.delete_table(NfFamily::Ip6, "kube-proxy").unwrap());
        assert!(connection.delete_table(NfFamily::Inet, "fairlead").unwrap());
        assert!(!connection.is_owned());
        assert_eq!(nft(&["list", "ruleset"]), "");

        // One that its owner left is anybody's to delete.
        drop(connect_and_write(&everything()));
        assert!(
            connect(Ownership::Shared)
                .delete_table(NfFamily::Inet, "fairlead")
                .unwrap()
        );
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}
