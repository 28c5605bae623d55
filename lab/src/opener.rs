use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{connect, sockopt};

use crate::outage::{ANSWERED_WITHIN, Attempt};
use crate::{Namespace, Protocol};

/// Connections opened in the background at a steady pace, whether the earlier ones are answered or not: what a client has of a node that
/// fails. Each is reset as soon as it stands.
#[derive(Debug)]
pub struct Opener {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    attempts: Mutex<Vec<Attempt>>,
}

/// A connection that does not stand yet.
struct Pending {
    number: usize,
    socket: OwnedFd,
    until: Instant,
}

impl Opener {
    pub(crate) fn start(namespace: &Namespace, every: Duration, target: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let (namespace, of_thread) = (namespace.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name(format!("opener in {}", namespace.name()))
            .spawn(move || {
                namespace.enter();
                of_thread.run(every, target);
            })
            .expect("the machine can start one more thread");
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// All connections so far, in the order in which they were opened.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.attempts().clone()
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, every: Duration, target: SocketAddr) {
        let mut pending = VecDeque::new();
        let mut next = Instant::now();
        while !self.is_over.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                pending.extend(self.open(target, now));
                // What was missed while this thread did not run is not caught up with.
                next = (next + every).max(now);
            }
            self.look(&mut pending, next.saturating_duration_since(Instant::now()));
        }
    }

    /// What cannot be sent is an attempt without an answer.
    fn open(&self, target: SocketAddr, now: Instant) -> Option<Pending> {
        let number = {
            let mut attempts = self.attempts();
            attempts.push(Attempt {
                sent: now,
                answered: None,
            });
            attempts.len() - 1
        };
        let socket = Protocol::Tcp.socket_for(target).ok()?;
        // The connection shall leave no port behind.
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).ok()?;
        match connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => Some(Pending {
                number,
                socket,
                until: now + ANSWERED_WITHIN,
            }),
            Err(_) => None,
        }
    }

    /// Notes which connections stand, for at most so long.
    fn look(&self, pending: &mut VecDeque<Pending>, limit: Duration) {
        let mut fds: Vec<_> = pending
            .iter()
            .map(|pending| PollFd::new(&pending.socket, PollFlags::OUT))
            .collect();
        let limit = Timespec::try_from(limit).expect("a pause is short");
        // Interrupted or out of memory: the next look is soon.
        let _ = poll(&mut fds, Some(&limit));
        let now = Instant::now();
        let are_ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut are_ready = are_ready.into_iter();
        pending.retain(|pending| {
            if !are_ready.next().unwrap_or(false) {
                return now < pending.until;
            }
            if sockopt::socket_error(&pending.socket) == Ok(Ok(())) {
                self.attempts()[pending.number].answered = Some(now);
            }
            false
        });
    }
}
