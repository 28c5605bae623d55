//! Clients on this machine, which is outside of the cluster and on the nodes' network.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Count;

/// A client gives up after as long.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Two clients for each address.
pub(crate) struct Outside {
    is_over: Arc<AtomicBool>,
    clients: Vec<Client>,
}

struct Client {
    is_new: bool,
    counter: Arc<Counter>,
    /// None once it has ended.
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counter {
    requests: AtomicU64,
    failed: AtomicU64,
}

impl Counter {
    fn add(&self, is_answered: bool) {
        self.failed.fetch_add(u64::from(!is_answered), Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

impl Outside {
    pub(crate) fn start(addresses: &[SocketAddr]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let kinds = addresses
            .iter()
            .flat_map(|address| [(*address, true), (*address, false)]);
        let clients = kinds.map(|(address, is_new)| {
            let counter = Arc::new(Counter::default());
            let (is_over, counting) = (is_over.clone(), counter.clone());
            let thread = thread::spawn(move || {
                let mut connection = None;
                while !is_over.load(Ordering::Relaxed) {
                    counting.add(ask(&mut connection, address));
                    if is_new {
                        connection = None;
                    }
                    thread::sleep(PAUSE);
                }
            });
            Client {
                is_new,
                counter,
                thread: Some(thread),
            }
        });
        Self {
            clients: clients.collect(),
            is_over,
        }
    }

    /// Requests of the client that has made the fewest.
    pub(crate) fn slowest(&self) -> u64 {
        let requests = self
            .clients
            .iter()
            .map(|client| client.counter.requests.load(Ordering::Relaxed));
        requests.min().unwrap_or(u64::MAX)
    }

    /// What was counted so far over new connections, and over established ones.
    pub(crate) fn counts(&self) -> [Count; 2] {
        let mut counts = [Count::default(); 2];
        for client in &self.clients {
            counts[usize::from(!client.is_new)] += Count {
                requests: client.counter.requests.load(Ordering::Relaxed),
                failed: client.counter.failed.load(Ordering::Relaxed),
            };
        }
        counts
    }

    /// Ends all clients: what they counted.
    pub(crate) fn stop(mut self) -> [Count; 2] {
        self.is_over.store(true, Ordering::Relaxed);
        for client in &mut self.clients {
            if let Some(thread) = client.thread.take() {
                // A client that panicked has counted until then.
                let _ = thread.join();
            }
        }
        self.counts()
    }
}

/// One request, on the connection if there is one. After a failure there is none.
fn ask(connection: &mut Option<BufReader<TcpStream>>, address: SocketAddr) -> bool {
    let asked = connection
        .take()
        .map_or_else(|| connect(address), Ok)
        .and_then(|mut stream| {
            request(&mut stream)?;
            Ok(stream)
        });
    let is_answered = asked.is_ok();
    *connection = asked.ok();
    is_answered
}

fn connect(address: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// Asks for the server's name and reads the whole answer.
fn request(stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
    stream
        .get_mut()
        .write_all(b"GET /hostname HTTP/1.1\r\nHost: server\r\n\r\n")?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| std::io::ErrorKind::InvalidData)?;
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length])
}
