use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::program;

/// Which etcd is behind the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Etcd {
    /// One of today, which can report progress: the API server streams lists.
    Current,
    /// Debian's 3.4.23, which cannot: lists come in pages.
    Debian,
}

/// The programs of a control plane.
#[derive(Debug, Clone)]
pub struct Tools {
    pub(super) kube_apiserver: PathBuf,
    pub(super) etcd: PathBuf,
    folder: PathBuf,
}

impl Tools {
    /// Looks where `e2e/cluster/tools.sh` puts them: in `FAIRLEAD_TOOLS`, or else in the user's cache.
    pub fn find(etcd: Etcd) -> Result<Self> {
        let etcd = match etcd {
            Etcd::Current => "etcd",
            Etcd::Debian => "etcd-debian",
        };
        let mut tools = Self {
            kube_apiserver: PathBuf::new(),
            etcd: PathBuf::new(),
            folder: program::tools(),
        };
        tools.kube_apiserver = tools.program("kube-apiserver", "e2e/cluster/tools.sh")?;
        tools.etcd = tools.program(etcd, "e2e/cluster/tools.sh")?;
        Ok(tools)
    }

    /// The real kube-proxy, which is not built unless it is asked for.
    pub fn kube_proxy(&self) -> Result<PathBuf> {
        self.program("kube-proxy", "e2e/cluster/tools.sh api-server kube-proxy")
    }

    fn program(&self, name: &str, script: &str) -> Result<PathBuf> {
        let program = self.folder.join(name);
        ensure!(
            program.is_file(),
            "{} is missing; `{script}` puts it there",
            program.display()
        );
        Ok(program)
    }
}
