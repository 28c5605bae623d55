//! What the tests of the codec and those with a kernel have in common.

use crate::table;

#[path = "../../tests/support/tables.rs"]
pub(super) mod tables;
