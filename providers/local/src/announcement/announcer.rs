//! A thread that listens and speaks for the addresses of this node.
//!
//! It makes no choices: what it hears goes to the [`Responder`], and what that says is done. A thread of its own, so that a busy runtime delays no
//! answer.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::counters::DropReason;
use super::link_monitor::LinkMonitor;
use super::membership::Memberships;
use super::packet_socket::{self, Arrival, PacketSocket};
use super::responder::{Channel, Event, Outgoing, Responder, Verdict};

/// More than the longest frame that is answered.
const LONGEST_FRAME: usize = 64 * 1024 + 64;
/// Frames that are read from one socket before the others have their turn.
const AT_A_TURN: usize = 64;
/// A socket or a group that could not be had is tried again so often.
const RETRY: Duration = Duration::from_secs(1);

/// Why an [`Announcer`] cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel does not tell of the node's links.
    #[error("cannot listen to changes of the node's links")]
    Links(#[source] io::Error),
    /// No frames can be sent: the process lacks `CAP_NET_RAW`.
    #[error("cannot open a packet socket")]
    Packets(#[source] io::Error),
    /// There are too many threads or descriptors.
    #[error("cannot start the announcer's thread")]
    Thread(#[source] io::Error),
}

/// Answers for addresses until it is dropped.
#[derive(Debug)]
pub struct Announcer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    responder: Mutex<Responder>,
    /// Wakes the thread.
    wake: OwnedFd,
    /// The sockets and groups may be others than the responder needs now.
    is_outdated: AtomicBool,
    is_stopped: AtomicBool,
}

impl Announcer {
    /// Starts to listen in the network namespace of the calling thread. `tell` is called on the announcer's thread and must not wait.
    pub fn start(responder: Responder, mut tell: impl FnMut(Event) + Send + 'static) -> Result<Self, StartError> {
        let monitor = LinkMonitor::open().map_err(StartError::Links)?;
        packet_socket::check_permission().map_err(StartError::Packets)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| StartError::Thread(errno.into()))?;
        let shared = Arc::new(Shared {
            responder: Mutex::new(responder),
            wake,
            is_outdated: AtomicBool::new(true),
            is_stopped: AtomicBool::new(false),
        });
        // Known when this returns: what is held next is announced at once.
        shared.responder().set_links(monitor.links(), Instant::now());
        let mut station = Station {
            shared: Arc::clone(&shared),
            monitor,
            sockets: BTreeMap::new(),
            memberships: Memberships::default(),
            retry: None,
            failures: BTreeMap::new(),
            buffer: vec![0; LONGEST_FRAME],
        };
        let thread = std::thread::Builder::new()
            .name("announcer".to_owned())
            .spawn(move || station.run(&mut tell))
            .map_err(StartError::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Gives `change` the responder, and does what follows from it.
    ///
    /// An address that is no longer held when this returns is answered for and announced no more.
    pub fn with<T>(&self, change: impl FnOnce(&mut Responder) -> T) -> T {
        let result = {
            let mut responder = self.shared.responder();
            // Before the thread can see the change.
            self.shared.is_outdated.store(true, Ordering::Release);
            change(&mut responder)
        };
        self.shared.wake();
        result
    }

    /// Looks at the responder: its links and its numbers.
    pub fn look<T>(&self, look: impl FnOnce(&Responder) -> T) -> T {
        look(&self.shared.responder())
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn responder(&self) -> MutexGuard<'_, Responder> {
        self.responder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Full means that it is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// What the thread has open.
struct Station {
    shared: Arc<Shared>,
    monitor: LinkMonitor,
    sockets: BTreeMap<(u32, Channel), PacketSocket>,
    memberships: Memberships,
    /// When to try again what failed.
    retry: Option<Instant>,
    /// What failed, to be told once.
    failures: BTreeMap<(u32, &'static str), io::ErrorKind>,
    buffer: Vec<u8>,
}

impl Station {
    fn run(&mut self, tell: &mut dyn FnMut(Event)) {
        let shared = Arc::clone(&self.shared);
        while !shared.is_stopped.load(Ordering::Acquire) {
            let events: Vec<_> = {
                let mut responder = shared.responder();
                let must_retry = self.retry.is_some_and(|retry| retry <= Instant::now());
                if shared.is_outdated.swap(false, Ordering::AcqRel) || must_retry {
                    self.sync(&responder);
                }
                self.speak(&mut responder);
                responder.events().collect()
            };
            events.into_iter().for_each(&mut *tell);
            let ready = self.wait();
            // Links first: what is answered next is answered with the MAC address of now.
            if ready.links {
                self.read_links(&shared);
            }
            if ready.woken {
                let mut count = [0; 8];
                let _ = rustix::io::read(&shared.wake, &mut count);
            }
            for key in ready.sockets {
                self.listen(key);
            }
        }
    }

    /// Waits for something to do.
    fn wait(&self) -> Ready {
        let deadline = self
            .shared
            .responder()
            .next_deadline()
            .into_iter()
            .chain(self.retry)
            .min();
        let timeout = deadline.map(|deadline| {
            // Rounded up, so as not to be early and look again in vain.
            deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(50)
        });
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let wake = self.shared.wake.as_fd();
        let mut descriptors = vec![
            PollFd::from_borrowed_fd(wake, PollFlags::IN),
            PollFd::from_borrowed_fd(self.monitor.as_fd(), PollFlags::IN),
        ];
        descriptors.extend(self.sockets.values().map(|socket| PollFd::new(socket, PollFlags::IN)));
        if let Err(errno) = poll(&mut descriptors, timeout.as_ref())
            && errno != Errno::INTR
        {
            tracing::error!(%errno, "cannot wait for frames");
        }
        let mut is_ready = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
        Ready {
            woken: is_ready.next().unwrap_or(false),
            links: is_ready.next().unwrap_or(false),
            sockets: self
                .sockets
                .keys()
                .zip(is_ready)
                .filter_map(|(&key, is_ready)| is_ready.then_some(key))
                .collect(),
        }
    }

    fn read_links(&mut self, shared: &Shared) {
        // The monitor is lent to its own reading.
        let mut shown = Vec::new();
        if let Err(error) = self.monitor.read(|links| shown.push(links)) {
            tracing::warn!(%error, "cannot read the changes of the node's links");
        }
        for links in shown {
            let mut responder = shared.responder();
            responder.set_links(links, Instant::now());
            self.sync(&responder);
        }
    }

    /// Opens and closes sockets, and joins and leaves groups, until they are those that the responder needs.
    fn sync(&mut self, responder: &Responder) {
        let (channels, groups) = (responder.channels(), responder.groups());
        self.retry = None;
        let mut failures = BTreeMap::new();
        self.sockets.retain(|key, _| channels.contains(key));
        for (link, channel) in channels {
            if self.sockets.contains_key(&(link, channel)) {
                continue;
            }
            match PacketSocket::open(link, channel) {
                Ok(socket) => {
                    self.sockets.insert((link, channel), socket);
                }
                Err(error) => {
                    failures.insert((link, "open a packet socket"), error);
                }
            }
        }
        for (link, error) in self.memberships.sync(&groups) {
            failures.insert((link, "join a multicast group"), error);
        }
        if !failures.is_empty() {
            self.retry = Some(Instant::now() + RETRY);
        }
        for ((link, action), error) in &failures {
            if self.failures.get(&(*link, *action)) != Some(&error.kind()) {
                tracing::warn!(link, %error, "cannot {action}; trying again every second");
            }
        }
        self.failures = failures.into_iter().map(|(key, error)| (key, error.kind())).collect();
    }

    /// Reads what one socket has, and answers it.
    fn listen(&mut self, key: (u32, Channel)) {
        let (link, channel) = key;
        // Gone since: the link went down.
        let Some(socket) = self.sockets.get(&key) else {
            return;
        };
        for _ in 0..AT_A_TURN {
            let arrival = socket.receive(&mut self.buffer);
            let mut responder = self.shared.responder();
            match arrival {
                Ok(Arrival::Nothing) => return,
                Ok(Arrival::ForOthers) => responder.count_drop(link, DropReason::OtherDestination),
                Ok(Arrival::Frame(frame)) => {
                    if let Verdict::Reply(reply) = responder.frame(link, frame, Instant::now())
                        && socket.send(&reply).is_err()
                    {
                        responder.count_send_failure(link);
                    }
                }
                Err(error) => {
                    tracing::warn!(link, ?channel, %error, "cannot receive frames; opening the socket anew");
                    drop(responder);
                    self.sockets.remove(&key);
                    self.retry = Some(Instant::now() + RETRY);
                    return;
                }
            }
        }
    }

    /// Sends what is due. The responder stays locked, so that nothing is sent for an address that was given up meanwhile.
    fn speak(&self, responder: &mut Responder) {
        for Outgoing { link, frame } in responder.due(Instant::now()) {
            let channels = [Channel::Arp, Channel::Icmpv6];
            let socket = channels
                .into_iter()
                .find_map(|channel| self.sockets.get(&(link, channel)));
            if socket.is_none_or(|socket| socket.send(&frame).is_err()) {
                responder.count_send_failure(link);
            }
        }
    }
}

/// What there is to do.
struct Ready {
    woken: bool,
    links: bool,
    sockets: Vec<(u32, Channel)>,
}
