//! The client: a container of its own on the nodes' network, with its own addresses and its own neighbour table, as a router or
//! another machine on the LAN is.
//!
//! The container only holds the network namespace; the probes are sent by threads of this process that enter it.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fairlead_lab::outage::Attempt;
use rustix::fd::AsFd;
use rustix::thread::LinkNameSpaceType;
use serde_json::Value;

use crate::program::Program;

/// One probe in so long.
pub(super) const EVERY: Duration = Duration::from_millis(5);
/// How often the receiver looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
const INTERFACE: &str = "eth0";

/// A container that holds the client's network. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Client {
    container: String,
    namespace: Arc<File>,
}

/// Probes to one address over UDP, until it is dropped.
#[derive(Debug)]
pub(super) struct Prober {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    probes: Mutex<Vec<Attempt>>,
}

impl Client {
    /// Starts it from the image that a node has.
    pub(super) fn start(name: &str, node: &str) -> Result<Self> {
        let docker = |arguments: &[&str]| Program::new("docker").args(arguments).run();
        let image = docker(&["inspect", "--format={{.Image}}", node])?;
        // What an earlier run that was killed may have left.
        docker(&["rm", "--force", "--volumes", name])?;
        let mut client = Self {
            container: name.to_owned(),
            namespace: Arc::new(File::open("/proc/self/ns/net").context("there are no network namespaces")?),
        };
        docker(&[
            "run",
            "--detach",
            "--name",
            name,
            "--network=kind",
            "--entrypoint=sleep",
            image.trim(),
            "infinity",
        ])
        .context("cannot start the client")?;
        let process = docker(&["inspect", "--format={{.State.Pid}}", name])?;
        let path = format!("/proc/{}/ns/net", process.trim());
        let namespace = File::open(&path).with_context(|| format!("cannot open {path}: this needs root"))?;
        client.namespace = Arc::new(namespace);
        ensure!(
            Program::new("docker")
                .args(["exec", name, "ip", "-json", "link"])
                .succeeds(),
            "the node image lacks `ip`"
        );
        Ok(client)
    }

    /// Runs something on a thread in the client's network. Threads that it starts are there too.
    pub(super) fn run<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("cannot enter the client's network: this needs root")?;
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Begins to probe.
    pub(super) fn probe(&self, target: SocketAddr) -> Result<Prober> {
        self.run(|| Prober::start(target))
    }

    /// The MAC address that the client's packets to this address go to, if it knows one.
    pub(super) fn neighbour(&self, address: IpAddr) -> Result<Option<String>> {
        let text = Program::new("docker")
            .args(["exec", &self.container, "ip", "-json", "neighbour", "show", "to"])
            .args([&address.to_string(), "dev", INTERFACE])
            .run()?;
        let entries: Value = serde_json::from_str(&text).context("`ip` tells no JSON")?;
        Ok(entries[0]["lladdr"].as_str().map(str::to_owned))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let removed = Program::new("docker")
            .args(["rm", "--force", "--volumes", &self.container])
            .run();
        if let Err(error) = removed {
            eprintln!("the client is left: {error:#}");
        }
    }
}

impl Prober {
    fn start(target: SocketAddr) -> Result<Self> {
        let any: IpAddr = match target {
            SocketAddr::V4(_) => [0, 0, 0, 0].into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).context("cannot open a socket")?;
        socket
            .connect(target)
            .with_context(|| format!("the client has no route to {target}"))?;
        socket.set_read_timeout(Some(LOOK)).context("cannot set a time limit")?;
        let shared = Arc::new(Shared::default());
        let receiver = socket.try_clone().context("cannot share a socket")?;
        let threads = vec![
            thread::spawn({
                let shared = shared.clone();
                move || shared.send(&socket)
            }),
            thread::spawn({
                let shared = shared.clone();
                move || shared.receive(&receiver)
            }),
        ];
        Ok(Self { shared, threads })
    }

    /// All probes so far, in the order in which they were sent.
    pub(super) fn probes(&self) -> Vec<Attempt> {
        self.shared.probes().clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn probes(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Asks agnhost to say a number. What cannot be sent is a probe that is lost.
    fn send(&self, socket: &UdpSocket) {
        let mut next = Instant::now();
        while !self.is_over() {
            let number = {
                let mut probes = self.probes();
                probes.push(Attempt {
                    sent: Instant::now(),
                    answered: None,
                });
                probes.len() - 1
            };
            let _ = socket.send(format!("echo {number}").as_bytes());
            next += EVERY;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn receive(&self, socket: &UdpSocket) {
        let mut buffer = [0; 64];
        while !self.is_over() {
            // What the network says of earlier probes comes as an error.
            let Ok(length) = socket.recv(&mut buffer) else {
                continue;
            };
            let now = Instant::now();
            let number = std::str::from_utf8(&buffer[..length])
                .ok()
                .and_then(|text| text.trim().parse().ok());
            let mut probes = self.probes();
            if let Some(probe) = number.and_then(|number: usize| probes.get_mut(number)) {
                probe.answered.get_or_insert(now);
            }
        }
    }
}
