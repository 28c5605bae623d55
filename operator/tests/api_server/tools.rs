//! The programs that the tests start.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
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

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    folder: PathBuf,
}

/// Why they are not there.
type Missing = String;

impl Tools {
    /// Where `.ci/api-server-tools.sh` puts them.
    pub(crate) fn find() -> Result<Self, Missing> {
        let cache = || {
            let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        };
        let folder = env::var_os("FAIRLEAD_TOOLS").map(PathBuf::from);
        let folder = folder
            .or_else(|| Some(cache()?.join("fairlead/tools")))
            .ok_or("HOME is not set")?;
        let tools = Self { folder };
        for program in [
            tools.kube_apiserver(),
            tools.etcd(Etcd::Current),
            tools.etcd(Etcd::Debian),
        ] {
            if !program.is_file() {
                return Err(format!(
                    "{} is missing; .ci/api-server-tools.sh installs it",
                    program.display()
                ));
            }
        }
        Ok(tools)
    }

    pub(crate) fn kube_apiserver(&self) -> PathBuf {
        self.folder.join("kube-apiserver")
    }

    pub(crate) fn etcd(&self, etcd: Etcd) -> PathBuf {
        match etcd {
            Etcd::Current => self.folder.join("etcd"),
            Etcd::Debian => Path::new("/usr/bin/etcd").to_owned(),
        }
    }
}

/// Runs a test that needs the programs, in a network namespace. Without them it says `SKIP`, and fails in CI.
pub(crate) fn with_api_server(test: &str, body: impl FnOnce(&Tools) + Send) {
    // An API server at its start takes a core for some seconds: two at once only make each other late.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match Tools::find() {
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
