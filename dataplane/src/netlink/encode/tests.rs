//! What is encoded is decoded again, without a kernel between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use fairlead_model::{Family, Protocol};

use super::*;
use crate::netlink::attribute::Attribute;
use crate::netlink::decode::{Contents, Elements};
use crate::netlink::expression::raise;
use crate::netlink::message::Messages;
use crate::netlink::tests::tables::{everything, many};
use crate::table::{Field, InterfacePattern, Rule, Statement, Table};

fn encoded(transaction: &Transaction) -> Encoded {
    let opening = Opening::Recreate { flags: 6 };
    encode(transaction, opening, &HashMap::new(), Batch::begin(1, Some(7))).unwrap()
}

/// Reads a batch as if each of its messages were part of a dump.
fn decoded(encoded: &Encoded) -> Contents {
    let mut contents = Contents::default();
    for message in Messages(&encoded.bytes) {
        contents.set(&message);
        contents.chain(&message);
        contents.rule(&message);
    }
    for (name, set) in &mut contents.table.sets {
        let mut elements = Elements::new(set.spec);
        for message in Messages(&encoded.bytes) {
            let (_, attributes) = message.nfnetlink().unwrap();
            let is_of_set = attributes.find(uapi::elements::SET).and_then(Attribute::str) == Some(name);
            if message.kind == nft::NEW_ELEMENTS && is_of_set {
                elements.message(&message, &mut contents.names);
            }
        }
        *set = elements.finish().unwrap();
    }
    contents
}

#[test]
fn a_table_is_decoded_as_it_was_encoded() {
    let contents = decoded(&encoded(&Transaction::load(&everything())));
    assert_eq!(contents.table, everything());
    assert!(contents.unreadable.is_empty());
}

#[test]
fn elements_fill_their_messages_and_never_overflow_them() {
    let table = many(100_000);
    let encoded = encoded(&Transaction::load(&table));
    assert_eq!(decoded(&encoded).table, table);
    let lists: Vec<usize> = Messages(&encoded.bytes)
        .filter(|message| message.kind == nft::NEW_ELEMENTS)
        .map(|message| {
            message
                .nfnetlink()
                .unwrap()
                .1
                .find(uapi::elements::LIST)
                .unwrap()
                .value
                .len()
        })
        .collect();
    let (last, full) = lists.split_last().unwrap();
    assert!(
        full.iter().all(|len| (63_000..0xffff).contains(len)) && *last < 0xffff,
        "{lists:?}"
    );
}

#[test]
fn only_the_last_operation_asks_for_an_answer() {
    let encoded = encoded(&Transaction::load(&everything()));
    let messages: Vec<_> = Messages(&encoded.bytes).collect();
    let (_end, operations) = messages.split_last().unwrap();
    let asking = operations.iter().filter(|message| message.flags & netlink::ACK != 0);
    assert_eq!(
        asking.map(|message| message.sequence).collect::<Vec<_>>(),
        [operations.last().unwrap().sequence]
    );
    assert_eq!(messages.len(), encoded.operations.len() + 2);
    assert_eq!(encoded.sequence_count() as usize, messages.len());
}

#[test]
fn what_goes_is_deleted_rules_first_and_chains_last() {
    let transaction = Transaction {
        delete_chains: vec!["a".into(), "b".into()],
        delete_sets: vec!["s".into()],
        ..Transaction::default()
    };
    let encoded = encode(&transaction, Opening::Nothing, &HashMap::new(), Batch::begin(1, None)).unwrap();
    let steps: Vec<String> = encoded
        .operations
        .iter()
        .map(|(operation, _)| operation.to_string())
        .collect();
    let expected = [
        "create table `inet fairlead`",
        "flush chain `a`",
        "flush chain `b`",
        "delete set `s`",
        "delete chain `a`",
        "delete chain `b`",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn the_last_key_has_no_successor() {
    let datum = |bytes: &[u8]| Datum::from_bytes(bytes).unwrap();
    assert_eq!(successor(&datum(&[10, 0, 255, 255])), Some(datum(&[10, 1, 0, 0])));
    assert_eq!(successor(&datum(&[255; 4])), None);
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        family().prop_map(Field::Saddr),
        family().prop_map(Field::Daddr),
        family().prop_map(Field::OriginalDaddr),
        Just(Field::L4Proto),
        Just(Field::Dport),
        Just(Field::OriginalDport),
        (1_u32..9).prop_map(Field::RandomSlot),
    ]
}

fn key() -> impl Strategy<Value = Vec<Field>> {
    prop::collection::vec(field(), 1..4)
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z][a-z0-9_/.]{0,60}".prop_map(Name::from)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Drop),
        Just(Verdict::Return),
        name().prop_map(Verdict::Jump),
        name().prop_map(Verdict::Goto),
    ]
}

fn statement() -> impl Strategy<Value = Statement> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| IpAddr::from(Ipv4Addr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::from(Ipv6Addr::from(octets))),
    ];
    prop_oneof![
        prop::sample::select(&Protocol::ALL[..]).prop_map(Statement::L4Proto),
        "[a-z0-9._-]{1,15}".prop_map(|name| Statement::IifName(InterfacePattern::Exact(name))),
        "[a-z0-9._-]{1,14}".prop_map(|name| Statement::IifName(InterfacePattern::Prefix(name))),
        Just(Statement::SaddrIsLocal),
        Just(Statement::CtStateNew),
        Just(Statement::CtStatusDnat),
        (2_u32..9).prop_map(Statement::OneIn),
        (key(), name(), any::<bool>()).prop_map(|(key, set, is_negated)| Statement::Lookup { key, set, is_negated }),
        (key(), name()).prop_map(|(key, map)| Statement::VerdictMap { key, map }),
        (field(), name(), 1_u64..100_000).prop_map(|(key, set, seconds)| Statement::Update {
            key,
            set,
            timeout: Duration::from_secs(seconds)
        }),
        (family(), key(), name()).prop_map(|(family, key, map)| Statement::DnatMap { family, key, map }),
        (address, any::<u16>()).prop_map(|(address, port)| Statement::Dnat(SocketAddr::new(address, port))),
        Just(Statement::Masquerade),
        Just(Statement::Reject),
        Just(Statement::Reset),
        verdict().prop_map(Statement::Verdict),
    ]
}

proptest! {
    #[test]
    fn a_rule_is_raised_as_it_was_lowered(statements in prop::collection::vec(statement(), 0..6)) {
        let rule = Rule(statements);
        prop_assert_eq!(raise(&lower(&rule)), Some(rule));
    }

    #[test]
    fn any_rule_is_decoded_as_it_was_encoded(statements in prop::collection::vec(statement(), 0..6)) {
        let mut table = Table::default();
        table.chains.entry("chain".into()).or_default().rules.push(Rule(statements));
        prop_assert_eq!(decoded(&encoded(&Transaction::load(&table))).table, table);
    }
}
