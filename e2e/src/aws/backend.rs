use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairlead_lab::wait_for;

use super::{Boto, FaultProxy, Faults};
use crate::program::{last_lines, repository};

/// What installs LocalStack and starts it.
pub(super) const SCRIPT: &str = "e2e/localstack/start.sh";
/// How long a start may take: for the first time, Python compiles what it imports.
const STARTS_WITHIN: Duration = Duration::from_mins(2);
/// How long it may take to remove its folder at its end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How long its page of health may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Somebody else may take the port before LocalStack does.
const ATTEMPTS: usize = 3;
const REGION: &str = "us-east-1";

/// LocalStack as its own process. It ends when this is dropped, and when this process dies.
#[derive(Debug)]
pub struct LocalStack {
    address: SocketAddr,
    child: Child,
    log: File,
    accounts: AtomicU64,
}

/// A test account behind a [`FaultProxy`] of its own.
#[derive(Debug)]
pub struct AwsBackend {
    // Dropped first: nobody calls what is gone.
    proxy: FaultProxy,
    account: String,
    localstack: Arc<LocalStack>,
}

impl LocalStack {
    /// Starts one on a port of loopback that the system chooses, in the network namespace of the caller, and waits until it
    /// is ready.
    pub fn start() -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut localstack = Self::spawn()?;
            match localstack.wait_until_ready() {
                Ok(()) => return Ok(localstack),
                Err(error) if attempt == ATTEMPTS => {
                    return Err(error.context(format!("the end of its log:\n{}", last_lines(&localstack.log()))));
                }
                Err(_) => attempt += 1,
            }
        }
    }

    fn spawn() -> Result<Self> {
        let address = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
            listener.local_addr().context("cannot ask for a port")?
        };
        let log = tempfile::tempfile().context("cannot make a log")?;
        let share = || log.try_clone().context("cannot share a log");
        let child = Command::new(repository().join(SCRIPT))
            .args(["run", &address.port().to_string()])
            // Its end is how it learns that this process is gone.
            .stdin(Stdio::piped())
            .stdout(share()?)
            .stderr(share()?)
            .spawn()
            .with_context(|| format!("cannot start {SCRIPT}"))?;
        Ok(Self {
            address,
            child,
            log,
            accounts: AtomicU64::new(1),
        })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let ready = wait_for(STARTS_WITHIN, "LocalStack to be ready", || {
            match self.child.try_wait() {
                Ok(None) => is_healthy(self.address).then_some(Ok(())),
                Ok(Some(status)) => Some(Err(anyhow::anyhow!("LocalStack ended ({status})"))),
                Err(error) => Some(Err(error.into())),
            }
        });
        ready.map_err(anyhow::Error::from).flatten()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name of its folder among the temporary files.
    pub fn folder(&self) -> Option<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.id())).ok()?;
        let environment = String::from_utf8_lossy(&environment);
        let path = environment
            .split('\0')
            .find_map(|variable| variable.strip_prefix("FILESYSTEM_ROOT="))?;
        Some(path.rsplit('/').next()?.to_owned())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        // Opened once more, because the child writes where this descriptor stands.
        let read = File::open(format!("/proc/self/fd/{}", self.log.as_raw_fd()))
            .and_then(|mut file| file.read_to_string(&mut text));
        match read {
            Ok(_) => text,
            Err(error) => format!("cannot read the log: {error}"),
        }
    }
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = wait_for(ENDS_WITHIN, "LocalStack to end", || {
            self.child.try_wait().is_ok_and(|status| status.is_some()).then_some(())
        });
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl AwsBackend {
    /// Starts LocalStack and a proxy, in the network namespace of the caller.
    pub fn start() -> Result<Self> {
        Self::on(Arc::new(LocalStack::start()?))
    }

    /// A new account of a LocalStack that may have others: what is in one of them, no other sees.
    pub fn on(localstack: Arc<LocalStack>) -> Result<Self> {
        let proxy = FaultProxy::start(localstack.address())?;
        // LocalStack takes an access key of twelve digits for the number of the account.
        let account = format!("{:012}", localstack.accounts.fetch_add(1, Ordering::Relaxed));
        Ok(Self {
            proxy,
            account,
            localstack,
        })
    }

    /// What goes wrong on the way to AWS, and what was called.
    pub fn faults(&self) -> &Faults {
        self.proxy.faults()
    }

    /// The proxy.
    pub fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    /// What is behind the proxy.
    pub fn localstack(&self) -> &LocalStack {
        &self.localstack
    }

    /// What is behind the proxy, for further accounts of it.
    pub fn shared(&self) -> Arc<LocalStack> {
        self.localstack.clone()
    }

    /// The number of the account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The variables by which any SDK of AWS finds the account, through the proxy.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment_at(self.proxy.address())
    }

    /// An independent client that the proxy does not see.
    pub fn boto(&self) -> Boto {
        Boto::new(self.environment_at(self.localstack.address()))
    }

    /// The same client through the proxy.
    pub fn boto_through_proxy(&self) -> Boto {
        Boto::new(self.environment())
    }

    fn environment_at(&self, address: SocketAddr) -> Vec<(&'static str, String)> {
        [
            ("AWS_ENDPOINT_URL", &*format!("http://{address}")),
            ("AWS_REGION", REGION),
            // boto3 knows only this one.
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", &self.account),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }
}

/// Whether LocalStack's own page says that it serves.
fn is_healthy(server: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /_localstack/health HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(" 200 ") && answer.contains("\"elbv2\""))
}

/// Whether [`LocalStack::start`] finds what it starts.
pub(super) fn is_installed() -> Result<()> {
    let output = Command::new(repository().join(SCRIPT))
        .args(["python", "-c", ""])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {SCRIPT}"))?;
    if !output.status.success() {
        bail!("{}", last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}
