//! What the public interface does not reach.

use fairlead_lab::{in_namespace, test_name};

use super::*;
use crate::netlink::tests::tables::everything;

/// What a kernel without `persist` says, said by any kernel about flags that a table cannot change to.
#[test]
fn a_kernel_that_refuses_the_flags_gets_a_table_without_them() {
    in_namespace(test_name!(), || {
        let transaction = Transaction::load(&everything());
        let mut shared = Connection::open(Ownership::Shared).unwrap();
        shared.commit(&transaction, None).unwrap();

        let mut connection = Connection::open(Ownership::Owned).unwrap();
        let flags = connection.flags();
        let refused = connection
            .write(&Transaction::default(), Opening::Create { flags }, None)
            .unwrap_err();
        assert!(matches!(refused, NetlinkError::FlagsRefused { .. }), "{refused:?}");
        assert!(connection.can_mend(&refused) && !connection.can_mend(&refused));
        connection.commit(&transaction, None).unwrap();
        let loaded = connection.load().unwrap().unwrap();
        assert_eq!((loaded.table, loaded.is_owned), (everything(), false));
    });
}
