//! etcd and kube-apiserver, started inside a namespace of the lab and killed when they are dropped.
//!
//! A [`Store`] is an etcd with the keys and tokens of a cluster; [`Store::serve`] starts an [`ApiServer`] on it, more than one
//! if need be. Nothing of either is outside of a temporary folder and the namespace, so ports are free and tests do not
//! meet.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairlead_lab::{Addresses, Namespace, Process, wait_for};
use tempfile::TempDir;

use crate::client::Client;
use crate::tools::Tools;

/// How long an API server may take to its start, on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_mins(2);
const ETCD: &str = "http://127.0.0.1:2379";

/// Who talks to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// May do everything.
    Admin,
    /// May do what [`crate::objects::agent_role`] says.
    Agent,
}

impl User {
    const ALL: [Self; 2] = [Self::Admin, Self::Agent];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Agent => "fairlead-agent",
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::Admin => "system:masters",
            Self::Agent => "",
        }
    }

    fn token(self) -> String {
        format!("token-of-{}", self.name())
    }
}

/// An etcd, and what API servers on it share.
pub(crate) struct Store {
    namespace: Namespace,
    addresses: Addresses,
    kube_apiserver: PathBuf,
    folder: TempDir,
    _etcd: Process,
}

/// A kube-apiserver that runs.
pub(crate) struct ApiServer {
    process: Process,
    client: Client,
}

impl Store {
    /// Starts an empty etcd. API servers will listen on `addresses` of `namespace`.
    pub(crate) fn start(namespace: &Namespace, addresses: Addresses, tools: &Tools) -> Self {
        let folder = tempfile::tempdir().unwrap();
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
        let process = spawn(namespace, command, &path("etcd.log"));

        let signing = rcgen::KeyPair::generate().unwrap();
        fs::write(path("service-account.key"), signing.serialize_pem()).unwrap();
        fs::write(path("service-account.pub"), signing.public_key_pem()).unwrap();
        let names = addresses.both().map(|address| address.to_string());
        let served = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(path("server.crt"), served.cert.pem()).unwrap();
        fs::write(path("server.key"), served.signing_key.serialize_pem()).unwrap();
        let tokens = User::ALL.map(|user| format!("{},{1},{1},{2}\n", user.token(), user.name(), user.group()));
        fs::write(path("tokens.csv"), tokens.concat()).unwrap();
        Self {
            namespace: namespace.clone(),
            addresses,
            kube_apiserver: tools.kube_apiserver.clone(),
            folder,
            _etcd: process,
        }
    }

    /// Starts an API server on this port, and waits until it is ready.
    pub(crate) fn serve(&self, port: u16) -> ApiServer {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let log = self.folder.path().join(format!("kube-apiserver-{port}.log"));
        let mut command = Command::new(&self.kube_apiserver);
        command
            .args([format!("--etcd-servers={ETCD}"), format!("--secure-port={port}")])
            // Both families: Go binds `::` for IPv4 too.
            .args([
                "--bind-address=::".to_owned(),
                format!("--advertise-address={}", self.addresses.v4),
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
        let mut process = spawn(&self.namespace, command, &log);
        let client = Client::new(
            &self.namespace,
            &self.kubeconfig(User::Admin, self.addresses.v4.into(), port),
        );
        let ready = wait_for(STARTS_WITHIN, "kube-apiserver to be ready", || {
            if let Some(status) = process.status().unwrap() {
                panic!("kube-apiserver ended ({status}): {}", last_lines(&log));
            }
            client.is_ready().then_some(())
        });
        if let Err(error) = ready {
            panic!("{error}: {}", last_lines(&log));
        }
        ApiServer { process, client }
    }

    /// A kubeconfig for an API server on this address and port, whether it runs or not.
    pub(crate) fn kubeconfig(&self, user: User, address: IpAddr, port: u16) -> PathBuf {
        let server = SocketAddr::new(address, port);
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
        fs::write(&file, text).unwrap();
        file
    }

    /// A folder for logs and such.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl ApiServer {
    /// The administrator's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
    }
}

fn spawn(namespace: &Namespace, mut command: Command, log: &Path) -> Process {
    let file = File::create(log).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    namespace.spawn(command).unwrap()
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    format!(
        "the end of {}:\n{}",
        log.display(),
        lines[lines.len().saturating_sub(15)..].join("\n")
    )
}
