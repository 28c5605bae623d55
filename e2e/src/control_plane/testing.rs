use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use fairlead_lab::in_namespace;

use super::{Etcd, Tools};

/// Runs a test that needs the programs, in a network namespace. Without them it says `SKIP`, and fails in CI.
///
/// `test` must be [`fairlead_lab::test_name!()`](fairlead_lab::test_name).
pub fn with_api_server(test: &str, etcd: Etcd, body: impl FnOnce(&Tools) + Send) {
    with_programs(test, Tools::find(etcd), |tools| body(&tools));
}

/// [`with_api_server`] for a test that starts the real kube-proxy, too.
pub fn with_kube_proxy(test: &str, body: impl FnOnce(&Tools, &Path) + Send) {
    let found = Tools::find(Etcd::Current).and_then(|tools| {
        let kube_proxy = tools.kube_proxy()?;
        Ok((tools, kube_proxy))
    });
    with_programs(test, found, |(tools, kube_proxy)| body(&tools, &kube_proxy));
}

fn with_programs<T: Send>(test: &str, found: Result<T>, body: impl FnOnce(T) + Send) {
    // An API server at its start takes a core for some seconds: two at once only make each other late.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match found {
        Ok(programs) => in_namespace(test, || body(programs)),
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
