use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::thread::LinkNameSpaceType;

use crate::link::{LOOPBACK, carries_packets, index_of, is_local};
use crate::netlink::{Batch, Netlink};
use crate::sysctl::{self, Role};
use crate::{Error, Opener, Process, Protocol, Server, process, sys, wait};

/// The kernel finishes new links and addresses in the background, within a millisecond when the machine is idle.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// A network namespace, held by a file descriptor.
///
/// Clones are the same namespace. It ends with the last clone, the last process and the last socket in it.
#[derive(Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    handle: OwnedFd,
    netlink: Netlink,
}

/// Whether an interface is administratively up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Up.
    Up,
    /// Down: as if the cable were pulled.
    Down,
}

impl Namespace {
    /// Makes a namespace with nothing in it but `lo`, up.
    pub fn new(name: &str) -> Result<Self, Error> {
        Self::with_role(name, Role::Host)
    }

    pub(crate) fn with_role(name: &str, role: Role) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Make {
            namespace: name.to_owned(),
            source,
        };
        let build = || -> Result<Self, Error> {
            sys::unshare_network().map_err(|errno| failed(errno.into()))?;
            let handle = File::open("/proc/thread-self/ns/net").map_err(failed)?.into();
            let netlink = Netlink::open().map_err(|errno| failed(errno.into()))?;
            sysctl::prepare(name, role)?;
            Ok(Self {
                inner: Arc::new(Inner {
                    name: name.to_owned(),
                    handle,
                    netlink,
                }),
            })
        };
        let made = thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name(name.to_owned())
                .spawn_scoped(scope, build)
                .map_err(failed)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let mut batch = Batch::default();
        batch.set_link(LOOPBACK, true);
        made.configure(batch)?;
        Ok(made)
    }

    /// The name it was made with. It is only for people: the kernel does not know it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A path for other programs to enter it by, as long as this process lives: `nsenter --net=PATH`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.inner.handle.as_raw_fd()
        ))
    }

    /// Runs `body` on a thread of its own inside the namespace, and returns what it returns. A panic in it goes on in the caller.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name(self.name().to_owned())
                .spawn_scoped(scope, || {
                    self.enter();
                    body()
                })
                .expect("the machine can start one more thread");
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a process inside the namespace. It is killed when the returned value is dropped, or when this process dies.
    pub fn spawn(&self, command: Command) -> Result<Process, Error> {
        process::start(self, command)
    }

    /// Starts a workload called `name` that listens on every given address and answers as [`Server`] says.
    pub fn serve(&self, name: &str, listen: &[(Protocol, SocketAddr)]) -> Result<Server, Error> {
        Server::start(self, name, listen)
    }

    /// Opens a TCP connection to `target` in the background, one in so long, until the returned value is dropped.
    pub fn open_every(&self, every: Duration, target: SocketAddr) -> Opener {
        Opener::start(self, every, target)
    }

    /// Writes `value` to `/proc/sys/net/KEY` of the namespace, for example `ipv4/conf/all/route_localnet`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), Error> {
        self.run(|| sysctl::write(self.name(), key, value))
    }

    /// Gives an interface one more address, usable when this returns.
    pub fn add_address(&self, interface: &str, address: IpNet) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.add_address(index, address);
        self.configure(batch)?;
        self.settle(&[], &[address.addr()])
    }

    /// Gives an interface an IPv6 address as a host does that detects duplicates, where `accept_dad` says so. Does not wait for what comes of it.
    pub fn try_address(&self, interface: &str, address: IpNet) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.add_address_after_detection(index, address);
        self.configure(batch)
    }

    /// Takes an address from an interface.
    pub fn delete_address(&self, interface: &str, address: IpNet) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.delete_address(index, address);
        self.configure(batch)
    }

    /// Routes `destination` through an interface, by way of `gateway`; an earlier route to it is replaced.
    pub fn add_route(&self, destination: IpNet, gateway: Option<IpAddr>, interface: &str) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.add_route(destination.trunc(), gateway, index);
        self.configure(batch)
    }

    /// Removes the route to exactly `destination`.
    pub fn delete_route(&self, destination: IpNet) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.delete_route(destination.trunc());
        self.configure(batch)
    }

    /// Brings an interface up or down.
    pub fn set_link(&self, interface: &str, state: LinkState) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.set_link(index, state == LinkState::Up);
        self.configure(batch)
    }

    /// Gives an interface another MAC address, as when the active port of a bond changes.
    pub fn set_mac(&self, interface: &str, mac: [u8; 6]) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.set_mac(index, mac);
        self.configure(batch)
    }

    /// Moves the calling thread into the namespace.
    pub(crate) fn enter(&self) {
        rustix::thread::move_into_link_name_space(self.handle(), Some(LinkNameSpaceType::Network))
            .expect("a process that could make a network namespace may enter it");
    }

    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.inner.handle.as_fd()
    }

    pub(crate) fn configure(&self, batch: Batch) -> Result<(), Error> {
        self.ask(batch).map(drop)
    }

    /// Waits until these interfaces carry packets and these addresses are local.
    ///
    /// The kernel detects the carrier of a new link, and makes a new IPv6 address local, in a work queue: packets that come before are lost.
    pub(crate) fn settle(&self, links: &[u32], addresses: &[IpAddr]) -> Result<(), Error> {
        let what = format!("links and addresses of `{}` to be ready", self.name());
        let mut failure = None;
        wait::wait_until(SETTLES_WITHIN, &what, || {
            self.is_settled(links, addresses).unwrap_or_else(|error| {
                failure = Some(error);
                true
            })
        })?;
        failure.map_or(Ok(()), Err)
    }

    fn is_settled(&self, links: &[u32], addresses: &[IpAddr]) -> Result<bool, Error> {
        let mut batch = Batch::default();
        for &index in links {
            batch.look_at_link(index);
        }
        let links_are_ready = self.ask(batch)?.iter().all(|link| carries_packets(link));

        let mut batch = Batch::default();
        for &address in addresses {
            batch.look_up_route(address);
        }
        match self.ask(batch) {
            Ok(routes) => Ok(links_are_ready && routes.iter().all(|route| is_local(route))),
            // No route at all: the address is not local yet.
            Err(Error::Netlink { source, .. }) if source.kind() == io::ErrorKind::NetworkUnreachable => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The index of an interface.
    pub fn index_of(&self, interface: &str) -> Result<u32, Error> {
        let mut batch = Batch::default();
        batch.find_link(interface);
        let found = self.ask(batch)?.first().and_then(|link| index_of(link));
        Ok(found.expect("the kernel describes the interface it found"))
    }

    pub(crate) fn ask(&self, batch: Batch) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.netlink.send(batch).map_err(|failed| Error::Netlink {
            namespace: self.name().to_owned(),
            action: failed.action,
            source: failed.source,
        })
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name())
            .field("path", &self.path())
            .finish()
    }
}
