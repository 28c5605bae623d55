//! No bytes make the decoder panic.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::netlink::encode::{Batch, Opening, encode};
use crate::netlink::tests::tables::everything;
use crate::transaction::Transaction;

/// Messages with every attribute that we read.
static REAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let transaction = Transaction::load(&everything());
    let opening = Opening::Create { flags: 6 };
    encode(&transaction, opening, &HashMap::new(), Batch::begin(1, None))
        .unwrap()
        .bytes
});

proptest! {
    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        decode_message(&bytes);
    }

    #[test]
    fn a_truncated_batch_is_survived(len in 0..REAL.len()) {
        decode_message(&REAL[..len]);
    }

    #[test]
    fn a_mutated_batch_is_survived(changes in prop::collection::vec((0..REAL.len(), any::<u8>()), 1..40)) {
        let mut bytes = REAL.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        decode_message(&bytes);
    }

    #[test]
    fn any_attributes_of_any_message_are_survived(
        kind in prop_oneof![Just(nft::NEW_RULE), Just(nft::NEW_SET), Just(nft::NEW_CHAIN), Just(nft::NEW_ELEMENTS), Just(0x100_u16), Just(20)],
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let len = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        decode_message(&bytes);
    }
}

#[test]
fn every_operation_on_the_table_is_an_event_of_ours() {
    let mut kinds: Vec<Option<Change>> = Messages(&REAL).map(|message| change(&message)).collect();
    // Begin and end tell of no table.
    assert_eq!((kinds.remove(0), kinds.pop()), (None, Some(None)));
    assert!(kinds.iter().all(|kind| *kind == Some(Change::Content)));
}
