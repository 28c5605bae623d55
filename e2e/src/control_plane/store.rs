use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use fairlead_lab::{Addresses, Family, Lab, Namespace, Process, wait_for};
use tempfile::TempDir;

use super::{Client, Tools};
use crate::program::last_lines;

/// The usual port of an API server. Each on a [`Store`] needs its own.
pub const API_PORT: u16 = 6443;

/// How long an API server may take to its start, on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_mins(2);
const ETCD: &str = "http://127.0.0.1:2379";

/// Who talks to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// May do everything.
    Admin,
    /// May do nothing by itself: a test binds the role of an agent to its name.
    Agent,
    /// The same for an operator.
    Operator,
}

impl User {
    const ALL: [Self; 3] = [Self::Admin, Self::Agent, Self::Operator];

    /// The name that the API server knows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Agent => "fairlead-agent",
            Self::Operator => "fairlead-operator",
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::Agent | Self::Operator => "",
        }
    }

    fn token(self) -> String {
        format!("token-of-{}", self.name())
    }
}

/// An etcd, and what API servers on it share.
#[derive(Debug)]
pub struct Store {
    namespace: Namespace,
    kube_apiserver: PathBuf,
    folder: TempDir,
    _etcd: Process,
}

/// A kube-apiserver that runs.
#[derive(Debug)]
pub struct ApiServer {
    process: Process,
    client: Client,
}

impl Store {
    /// Starts an empty etcd. API servers will listen on the addresses of the lab's LAN.
    pub fn start(lab: &Lab, tools: &Tools) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the control plane")?;
        let path = |name: &str| folder.path().join(name);
        let mut command = Command::new(&tools.etcd);
        command
            .arg(format!("--data-dir={}", path("etcd").display()))
            // Nothing here outlives the test, so nothing needs to reach the disk.
            .args(["--unsafe-no-fsync", "--log-level=error"])
            .args([
                format!("--listen-client-urls={ETCD}"),
                format!("--advertise-client-urls={ETCD}"),
            ])
            .arg("--listen-peer-urls=http://127.0.0.1:2380");
        let process = spawn(lab.lan(), command, &path("etcd.log"))?;

        let write = |name: &str, text: String| {
            fs::write(path(name), text).with_context(|| format!("cannot write {}", path(name).display()))
        };
        let signing = rcgen::KeyPair::generate().context("cannot make a key")?;
        write("service-account.key", signing.serialize_pem())?;
        write("service-account.pub", signing.public_key_pem())?;
        let names = router().both().map(|address| address.to_string());
        let served = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
        write("server.crt", served.cert.pem())?;
        write("server.key", served.signing_key.serialize_pem())?;
        let tokens = User::ALL.map(|user| format!("{},{1},{1},{2}\n", user.token(), user.name(), user.group()));
        write("tokens.csv", tokens.concat())?;
        Ok(Self {
            namespace: lab.lan().clone(),
            kube_apiserver: tools.kube_apiserver.clone(),
            folder,
            _etcd: process,
        })
    }

    /// Starts an API server on this port, and waits until it is ready.
    pub fn serve(&self, port: u16) -> Result<ApiServer> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log = self.folder.path().join(format!("kube-apiserver-{port}.log"));
        let mut command = Command::new(&self.kube_apiserver);
        command
            .args([format!("--etcd-servers={ETCD}"), format!("--secure-port={port}")])
            // Both families: Go binds `::` for IPv4 too.
            .args([
                "--bind-address=::".to_owned(),
                format!("--advertise-address={}", router().v4),
            ])
            .arg(format!("--tls-cert-file={}", path("server.crt")))
            .arg(format!("--tls-private-key-file={}", path("server.key")))
            .arg(format!("--cert-dir={}", path("certificates")))
            .args([
                format!("--token-auth-file={}", path("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
            ])
            .arg("--service-account-issuer=https://lab.test")
            .arg(format!("--service-account-key-file={}", path("service-account.pub")))
            .arg(format!(
                "--service-account-signing-key-file={}",
                path("service-account.key")
            ))
            .arg("--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112")
            // Without fairness and with high limits, thousands of objects are created as fast as it can.
            .args(["--enable-priority-and-fairness=false", "--max-requests-inflight=2000"])
            .arg("--max-mutating-requests-inflight=1000");
        let mut process = spawn(&self.namespace, command, &log)?;
        let client = Client::new(&self.namespace, &self.kubeconfig(User::Admin, Family::V4, port)?)?;
        let ready = wait_for(STARTS_WITHIN, "kube-apiserver to be ready", || match process.status() {
            Ok(None) => client.is_ready().then_some(Ok(())),
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("kube-apiserver ended ({status})"))),
            Err(error) => Some(Err(error.into())),
        });
        ready.map_err(anyhow::Error::from).flatten().with_context(|| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            format!("the end of {}:\n{}", log.display(), last_lines(&text))
        })?;
        Ok(ApiServer { process, client })
    }

    /// A kubeconfig for an API server on this port, whether it runs or not, over IPv4 or IPv6.
    pub fn kubeconfig(&self, user: User, family: Family, port: u16) -> Result<PathBuf> {
        let server = SocketAddr::new(router().of(family), port);
        let name = user.name();
        let file = self
            .folder
            .path()
            .join(format!("{name}@{}.kubeconfig", server.to_string().replace(':', "_")));
        let certificate = self.folder.path().join("server.crt");
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters: [{{name: lab, cluster: {{server: 'https://{server}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: {name}, user: {{token: {}}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: {name}}}}}]\n\
             current-context: lab\n",
            certificate.display(),
            user.token(),
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// A folder for logs and such.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl ApiServer {
    /// The administrator's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        Ok(())
    }
}

/// The LAN's own addresses, where API servers listen.
fn router() -> Addresses {
    Addresses {
        v4: [172, 30, 0, 1].into(),
        v6: [0xfd00, 0x172, 0x30, 0, 0, 0, 0, 1].into(),
    }
}

fn spawn(namespace: &Namespace, mut command: Command, log: &Path) -> Result<Process> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let also = file.try_clone().context("cannot share a file")?;
    command.stdin(Stdio::null()).stdout(also).stderr(file);
    Ok(namespace.spawn(command)?)
}
