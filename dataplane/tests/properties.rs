//! Random sequences of changes: what is written step by step equals what is compiled afresh, and every packet goes where
//! kube-proxy would send it.

#[path = "world/reference.rs"]
mod reference;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use fairlead_dataplane::evaluate::{Packet, evaluate};
use fairlead_dataplane::table::Table;
use fairlead_dataplane::transaction::{Transaction, diff};
use reference::{attempts, expected, host_addresses};
use world::generate::{change, world};
use world::normal_form::normal_form;

proptest! {
    #[test]
    fn changes_one_by_one_lead_to_what_is_compiled_afresh(
        mut world in world(),
        changes in prop::collection::vec(change(), 0..12),
    ) {
        let mut compiler = world.compile(None);
        let mut loaded = Table::default();
        let first = compiler.reconcile(None);
        prop_assert_eq!(&first, &Transaction::load(compiler.table()));
        loaded.apply(&first);
        for change in changes {
            let name = world.apply(change);
            world.refresh(&mut compiler, &name);
            let transaction = compiler.take_transaction();
            loaded.apply(&transaction);
            let difference = diff(&loaded, compiler.table());
            prop_assert!(difference.is_empty(), "{}", difference);
            let afresh = normal_form(world.compile(None).table());
            let difference = diff(&normal_form(&loaded), &afresh);
            prop_assert!(difference.is_empty(), "{}", difference);
            prop_assert!(compiler.take_transaction().is_empty());
            prop_assert_eq!(loaded.check(), Vec::<String>::new());
            // After a restart nothing is left to write: slots are taken over.
            let adopted = world.compile(Some(Arc::new(loaded.clone())));
            let difference = diff(&loaded, adopted.table());
            prop_assert!(difference.is_empty(), "{}", difference);
        }
    }

    #[test]
    fn a_packet_goes_where_kube_proxy_sends_it(world in world()) {
        let compiler = world.compile(None);
        let host: BTreeSet<_> = host_addresses().into_iter().collect();
        for attempt in attempts() {
            let (source, destination, protocol) = (attempt.source, attempt.destination, attempt.protocol);
            let packet = Packet { source, destination, protocol, interface: None };
            let evaluation = evaluate(compiler.table(), |address| host.contains(&address), &packet);
            prop_assert_eq!(&evaluation.outcome, &expected(&world, &attempt), "{:?}\n{:#?}", attempt, evaluation.steps);
        }
    }
}
