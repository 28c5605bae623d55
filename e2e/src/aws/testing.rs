use std::env;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::backend::is_installed;
use super::{AwsBackend, LocalStack};

/// Runs a test with an account of its own. Where LocalStack is not installed it says `SKIP`, and fails in CI.
///
/// Tests that run at the same time share one LocalStack. Those in a network namespace need their own:
/// [`AwsBackend::start`].
pub fn with_aws(test: &str, body: impl FnOnce(&AwsBackend)) {
    if let Err(reason) = is_installed() {
        // `eprintln!` would be captured, since the test passes.
        let _ = writeln!(io::stderr(), "\nSKIP {test}: {reason:#}");
        assert!(
            env::var_os("CI").is_none(),
            "a test of AWS must not be skipped in CI: {reason:#}"
        );
        return;
    }
    let backend = shared().and_then(AwsBackend::on).expect("LocalStack starts");
    body(&backend);
}

fn shared() -> anyhow::Result<Arc<LocalStack>> {
    static SHARED: Mutex<Weak<LocalStack>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(localstack) = shared.upgrade() {
        return Ok(localstack);
    }
    let localstack = Arc::new(LocalStack::start()?);
    *shared = Arc::downgrade(&localstack);
    Ok(localstack)
}
