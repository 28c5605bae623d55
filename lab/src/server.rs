use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, bind, getsockname, listen, sockopt};

use crate::{Error, Namespace, Protocol};

/// Connections that may wait to be accepted: more than a burst of a load loop.
const BACKLOG: i32 = 1024;
/// A workload's thread needs little; an allocator that is linked in, as unoptimised jemalloc, takes more than 64 KiB now and then.
const STACK: usize = 512 * 1024;
/// A line of a client is shorter; one that sends more without a line end is cut off.
const LONGEST_LINE: usize = 4096;

/// A workload: one thread that answers on any number of addresses.
///
/// Every answer is one line, `NAME CLIENT_ADDRESS:PORT`: who answers, and whom it saw asking. Over TCP and SCTP the first line comes when the
/// connection is accepted, and one more for each line received. Over UDP each datagram is answered. Dropping it closes all sockets.
#[derive(Debug)]
pub struct Server {
    name: String,
    addresses: Vec<(Protocol, SocketAddr)>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a workload. A port of 0 becomes a free one; an unspecified address listens in its own family only.
    pub(crate) fn start(
        namespace: &Namespace,
        name: &str,
        addresses: &[(Protocol, SocketAddr)],
    ) -> Result<Self, Error> {
        let sockets = namespace.run(|| {
            addresses
                .iter()
                .map(|&(protocol, address)| open(namespace, protocol, address))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let start = |source| Error::Process {
            namespace: namespace.name().to_owned(),
            action: format!("start workload `{name}`"),
            source,
        };
        let addresses = sockets
            .iter()
            .map(|socket| (socket.protocol(), socket.address()))
            .collect();
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| start(errno.into()))?;
        let stopped = stop.try_clone().map_err(start)?;
        let mut workload = Workload {
            name: name.to_owned(),
            sockets,
            connections: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || workload.answer_until(&stopped))
            .map_err(start)?;
        Ok(Self {
            name: name.to_owned(),
            addresses,
            stop,
            thread: Some(thread),
        })
    }

    /// The name it answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[(Protocol, SocketAddr)] {
        &self.addresses
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Writing to an eventfd fails only when its counter would overflow.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

/// A socket that clients find.
enum Socket {
    Listener(Protocol, OwnedFd, SocketAddr),
    Datagrams(UdpSocket, SocketAddr),
}

impl Socket {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Listener(protocol, ..) => *protocol,
            Self::Datagrams(..) => Protocol::Udp,
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Listener(_, _, address) | Self::Datagrams(_, address) => *address,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(_, socket, _) => socket.as_fd(),
            Self::Datagrams(socket, _) => socket.as_fd(),
        }
    }
}

fn open(namespace: &Namespace, protocol: Protocol, address: SocketAddr) -> Result<Socket, Error> {
    if !protocol.is_supported() {
        return Err(Error::Unsupported { protocol });
    }
    let open = || -> Result<Socket, Errno> {
        let socket = protocol.socket_for(address)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        if protocol.greets() {
            // The connections of a workload that ended here are remembered for a minute.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &address)?;
        if protocol.greets() {
            listen(&socket, BACKLOG)?;
        }
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok(if protocol.greets() {
            Socket::Listener(protocol, socket, bound)
        } else {
            Socket::Datagrams(UdpSocket::from(socket), bound)
        })
    };
    open().map_err(|errno| Error::Listen {
        namespace: namespace.name().to_owned(),
        address,
        protocol,
        source: errno.into(),
    })
}

/// What the thread of a server owns.
struct Workload {
    name: String,
    sockets: Vec<Socket>,
    connections: Vec<Connection>,
}

/// An accepted connection. SCTP's one-to-one sockets are read and written as TCP's are.
struct Connection {
    stream: TcpStream,
    greeting: String,
    line: Vec<u8>,
}

impl Workload {
    fn answer_until(&mut self, stopped: &OwnedFd) {
        loop {
            let mut waiting = vec![PollFd::new(stopped, PollFlags::IN)];
            waiting.extend(self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
            waiting.extend(
                self.connections
                    .iter()
                    .map(|connection| PollFd::new(&connection.stream, PollFlags::IN)),
            );
            match poll(&mut waiting, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => panic!("workload `{}` cannot wait for its sockets: {error}", self.name),
            }
            let is_ready: Vec<bool> = waiting.iter().map(|waiting| !waiting.revents().is_empty()).collect();
            drop(waiting);
            if is_ready[0] {
                return;
            }
            let (of_sockets, of_connections) = is_ready[1..].split_at(self.sockets.len());
            let mut is_ready = of_connections.iter();
            self.connections
                .retain_mut(|connection| !is_ready.next().is_some_and(|&ready| ready) || connection.answer());
            for (socket, _) in self.sockets.iter().zip(of_sockets).filter(|&(_, &is_ready)| is_ready) {
                match socket {
                    Socket::Listener(_, listener, _) => accept_all(&self.name, listener, &mut self.connections),
                    Socket::Datagrams(socket, _) => answer_datagrams(&self.name, socket),
                }
            }
        }
    }
}

fn accept_all(name: &str, listener: &OwnedFd, connections: &mut Vec<Connection>) {
    loop {
        match acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, peer)) => {
                // A client that is gone already has no address.
                let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) else {
                    continue;
                };
                let greeting = answer_to(name, peer);
                let mut connection = Connection {
                    stream: TcpStream::from(socket),
                    greeting,
                    line: Vec::new(),
                };
                if connection.greet() {
                    connections.push(connection);
                }
            }
            Err(Errno::AGAIN) => return,
            Err(Errno::MFILE | Errno::NFILE) => {
                // The client is still in the backlog, and poll would report it at once, again and again: one connection has to go.
                assert!(
                    !connections.is_empty(),
                    "workload `{name}` has no file descriptor left for its first connection"
                );
                connections.remove(0);
            }
            // accept(2): errors of the new connection are reported here and mean only that it is gone.
            Err(_) => {}
        }
    }
}

fn answer_datagrams(name: &str, socket: &UdpSocket) {
    let mut buffer = [0; LONGEST_LINE];
    loop {
        match socket.recv_from(&mut buffer) {
            // A client that closed its socket, or a full queue: datagrams may be lost.
            Ok((_, peer)) => drop(socket.send_to(answer_to(name, peer).as_bytes(), peer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The ICMP error that an earlier answer met.
            Err(_) => {}
        }
    }
}

impl Connection {
    /// Whether the client is still there.
    fn greet(&mut self) -> bool {
        // A new line that does not fit into the send buffer has a client that does not read.
        self.stream.write_all(self.greeting.as_bytes()).is_ok()
    }

    /// Answers the lines that have come. Whether the client is still there.
    fn answer(&mut self) -> bool {
        let mut buffer = [0; 512];
        loop {
            let read = match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            for &byte in &buffer[..read] {
                self.line.push(byte);
                if byte == b'\n' {
                    self.line.clear();
                    if !self.greet() {
                        return false;
                    }
                }
            }
            if self.line.len() > LONGEST_LINE {
                return false;
            }
        }
    }
}

fn answer_to(name: impl fmt::Display, peer: SocketAddr) -> String {
    format!("{name} {peer}\n")
}
