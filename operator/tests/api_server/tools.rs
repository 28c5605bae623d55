//! The programs that the tests start.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use fairlead_lab::in_namespace;

/// Which etcd is behind the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Etcd {
    /// One of today, which can report progress: the API server streams lists.
    Current,
    /// Debian's 3.4.23, which cannot: lists come in pages.
    Debian,
}

/// The programs.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) kube_apiserver: PathBuf,
    pub(crate) etcd: PathBuf,
}

/// Why they are not there.
type Missing = String;

impl Tools {
    /// Looks where `e2e/cluster/tools.sh` puts them.
    pub(crate) fn find(etcd: Etcd) -> Result<Self, Missing> {
        let cache = || {
            let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        };
        let folder = env::var_os("FAIRLEAD_TOOLS").map(PathBuf::from);
        let folder = folder
            .or_else(|| Some(cache()?.join("fairlead/tools")))
            .ok_or("HOME is not set")?;
        let etcd = match etcd {
            Etcd::Current => "etcd",
            Etcd::Debian => "etcd-debian",
        };
        let tools = Self {
            kube_apiserver: folder.join("kube-apiserver"),
            etcd: folder.join(etcd),
        };
        for program in [&tools.kube_apiserver, &tools.etcd] {
            if !program.is_file() {
                return Err(format!(
                    "{} is missing; e2e/cluster/tools.sh puts it there",
                    program.display()
                ));
            }
        }
        Ok(tools)
    }
}

/// Runs a test that needs the programs, in a network namespace. Without them it says `SKIP`, and fails in CI.
pub(crate) fn with_api_server(test: &str, etcd: Etcd, body: impl FnOnce(&Tools) + Send) {
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
