//! Which endpoint has which slot depends on history; nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_dataplane::table::{Datum, FieldType, Table, Value};

/// The table with the endpoints of each frontend sorted into its slots.
pub(crate) fn normal_form(table: &Table) -> Table {
    let mut table = table.clone();
    for set in table
        .sets
        .values_mut()
        .filter(|set| set.spec.key.first() == Some(&FieldType::Slot))
    {
        let mut frontends: BTreeMap<Vec<u8>, BTreeSet<Datum>> = BTreeMap::new();
        let count = set.elements.len();
        for (key, value) in set.elements.drain() {
            let Value::Data(data) = value else {
                panic!("a map of endpoints holds data")
            };
            frontends.entry(key.as_bytes()[4..].to_vec()).or_default().insert(data);
        }
        for (frontend, endpoints) in frontends {
            for (slot, endpoint) in (0u32..).zip(endpoints) {
                let key = [&slot.to_ne_bytes()[..], &frontend[..]].concat();
                set.elements
                    .insert(Datum::from_bytes(&key).unwrap(), Value::Data(endpoint));
            }
        }
        assert_eq!(
            set.elements.len(),
            count,
            "two slots of a frontend hold the same endpoint"
        );
    }
    table
}
