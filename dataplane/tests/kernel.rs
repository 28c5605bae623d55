//! The kernel holds what the value says: random sequences of changes, each committed and read back.

mod world;

use std::sync::Arc;

use fairlead_dataplane::netlink::{Connection, Ownership};
use fairlead_dataplane::sync::Dataplane;
use fairlead_dataplane::table::Table;
use fairlead_dataplane::transaction::{Transaction, diff};
use fairlead_lab::{Namespace, in_namespace, test_name};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use world::World;
use world::generate::{change, world};
use world::normal_form::normal_form;

/// Random worlds; each has up to eight changes. The kernel is quick, but everything is read back after each.
const CASES: u32 = 40;

fn load(connection: &mut Connection) -> Table {
    let loaded = connection.load().unwrap().expect("the table is there");
    assert!(loaded.unreadable.is_empty(), "unreadable: {:?}", loaded.unreadable);
    loaded.table
}

fn assert_same(loaded: &Table, wanted: &Table) {
    let difference = diff(loaded, wanted);
    assert!(difference.is_empty(), "the kernel holds something else:\n{difference}");
}

/// What the kernel holds after the whole world was loaded at once into a namespace of its own.
fn loaded_afresh(world: &World) -> Table {
    Namespace::new("afresh").unwrap().run(|| {
        let mut connection = Connection::open(Ownership::Owned).unwrap();
        connection
            .commit(&Transaction::load(world.compile(None).table()), None)
            .unwrap();
        load(&mut connection)
    })
}

#[test]
fn what_is_committed_step_by_step_is_what_is_loaded_afresh() {
    in_namespace(test_name!(), || {
        let mut runner = TestRunner::new(Config {
            cases: CASES,
            failure_persistence: None,
            ..Config::default()
        });
        let worlds = (world(), prop::collection::vec(change(), 0..8));
        runner
            .run(&worlds, |(mut world, changes)| {
                let mut dataplane = Dataplane::open(Ownership::Owned).unwrap();
                let mut reader = Connection::open(Ownership::Shared).unwrap();
                let mut compiler = world.compile(None);
                dataplane.reconcile(&mut compiler).unwrap();
                assert_same(&load(&mut reader), compiler.table());
                for change in changes {
                    let name = world.apply(change);
                    world.refresh(&mut compiler, &name);
                    let report = dataplane.commit(&mut compiler).unwrap();
                    assert!(!report.is_full, "the kernel refused a transaction");
                    let loaded = load(&mut reader);
                    assert_same(&loaded, compiler.table());
                    assert_same(&normal_form(&loaded), &normal_form(&loaded_afresh(&world)));
                }
                // A restart writes nothing: what is loaded is taken over, slots and all.
                drop(dataplane);
                let mut dataplane = Dataplane::open(Ownership::Owned).unwrap();
                let seed = dataplane.load().unwrap();
                let mut compiler = world.compile(seed);
                let report = dataplane.reconcile(&mut compiler).unwrap();
                assert_eq!((report.added, report.deleted, report.bytes), (0, 0, 0));
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn what_others_change_is_mended_and_nothing_else_is_written() {
    in_namespace(test_name!(), || {
        let mut runner = TestRunner::new(Config {
            cases: 20,
            failure_persistence: None,
            ..Config::default()
        });
        runner
            .run(&(world(), change()), |(mut world, damage)| {
                let mut dataplane = Dataplane::open(Ownership::Shared).unwrap();
                let mut compiler = world.compile(None);
                dataplane.reconcile(&mut compiler).unwrap();
                // Somebody writes the rules of another world over ours.
                let mut other = Connection::open(Ownership::Shared).unwrap();
                let ours = Arc::new(load(&mut other));
                let mut damaged = world.clone();
                damaged.apply(damage);
                let transaction = diff(&ours, damaged.compile(Some(Arc::clone(&ours))).table());
                other.commit(&transaction, None).unwrap();
                dataplane.reconcile(&mut compiler).unwrap();
                assert_same(&load(&mut other), compiler.table());
                // And deletes the table.
                other
                    .delete_table(fairlead_dataplane::netlink::NfFamily::Inet, "fairlead")
                    .unwrap();
                dataplane.reconcile(&mut compiler).unwrap();
                assert_same(&load(&mut other), compiler.table());
                // A commit that meets a foreign change does not fail, it mends.
                other
                    .delete_table(fairlead_dataplane::netlink::NfFamily::Inet, "fairlead")
                    .unwrap();
                let names: Vec<_> = world.services.keys().cloned().collect();
                world.services.clear();
                for name in names {
                    world.refresh(&mut compiler, &name);
                }
                let report = dataplane.commit(&mut compiler).unwrap();
                if report.bytes > 0 {
                    assert_same(&load(&mut other), compiler.table());
                }
                Ok(())
            })
            .unwrap();
    });
}
