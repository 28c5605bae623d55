use std::env;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use fairlead_lab::in_namespace;

use super::{Etcd, Tools};

/// Runs a test that needs the programs, in a network namespace. Without them it says `SKIP`, and fails in CI.
///
/// `test` must be [`fairlead_lab::test_name!()`](fairlead_lab::test_name).
pub fn with_api_server(test: &str, etcd: Etcd, body: impl FnOnce(&Tools) + Send) {
    // An API server at its start takes a core for some seconds: two at once only make each other late.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match Tools::find(etcd) {
        Ok(tools) => in_namespace(test, || body(&tools)),
        Err(reason) => {
            // `eprintln!` would be captured, since the test passes.
            let _ = writeln!(io::stderr(), "\nSKIP {test}: {reason}");
            assert!(
                env::var_os("CI").is_none(),
                "a test of the API server must not be skipped in CI: {reason}"
            );
        }
    }
}
