use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, bind, connect, getsockname, recv, send, sockopt};

use crate::{Answer, Outcome, Probe, Protocol};

/// What a client sends to be answered.
const QUESTION: &[u8] = b"?\n";
/// A name and an address are much shorter.
const LONGEST_ANSWER: usize = 1024;

/// A connection that stays open, to see what becomes of established connections.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    probe: Probe,
}

impl Connection {
    pub(crate) fn open(probe: Probe) -> Result<Self, Answer> {
        let deadline = Instant::now() + probe.timeout;
        let mut socket = Socket::open(&probe, deadline)?;
        if probe.protocol.greets() {
            socket.ask(deadline)?;
        }
        Ok(Self { socket, probe })
    }

    /// Asks who is at the other end. It waits as long as the probe it was opened with.
    pub fn ask(&mut self) -> Outcome {
        let started = Instant::now();
        let answer = self.socket.ask(started + self.probe.timeout);
        Outcome {
            answer: answer.unwrap_or_else(|failure| failure),
            took: started.elapsed(),
        }
    }

    /// The client's own address and port.
    pub fn local_address(&self) -> Result<SocketAddr, io::Error> {
        Ok(getsockname(&self.socket.fd).and_then(SocketAddr::try_from)?)
    }
}

/// A connected, non-blocking client socket.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    protocol: Protocol,
    /// Whether the greeting has been read.
    is_greeted: bool,
    unread: Vec<u8>,
}

impl Socket {
    /// Opens and connects a socket in the calling thread's namespace.
    pub(crate) fn open(probe: &Probe, deadline: Instant) -> Result<Self, Answer> {
        let protocol = probe.protocol;
        let fd = Self::bound(probe).map_err(|errno| Answer::Unreachable(kind(errno)))?;
        let socket = Self {
            fd,
            protocol,
            is_greeted: !protocol.greets(),
            unread: Vec::new(),
        };
        match connect(&socket.fd, &probe.target) {
            Ok(()) => Ok(socket),
            Err(Errno::INPROGRESS) => {
                // Between namespaces an ICMP error can come back before `connect` has let go of the socket. The kernel then only notes it
                // and sends again after a second, which no network would cause. Reading SO_ERROR gives the note.
                socket.connect_error()?;
                socket.wait(PollFlags::OUT, deadline)?;
                socket.connect_error()?;
                Ok(socket)
            }
            Err(errno) => Err(before_connected(errno)),
        }
    }

    fn connect_error(&self) -> Result<(), Answer> {
        sockopt::socket_error(&self.fd)
            .and_then(|error| error)
            .map_err(before_connected)
    }

    fn bound(probe: &Probe) -> Result<OwnedFd, Errno> {
        let fd = probe.protocol.socket_for(probe.target)?;
        let source = match probe.source {
            // SCTP offers the peer every address of an unbound client (RFC 9260 §3.3.2), which address translation does not see.
            None if probe.protocol == Protocol::Sctp => Some(SocketAddr::new(route_source(probe.target)?.ip(), 0)),
            source => source,
        };
        if let Some(source) = source {
            if source.port() != 0 {
                // The next probe may come from the same port at once. An orderly close would keep the port for as long as the kernel
                // likes, so these connections end with a reset.
                sockopt::set_socket_reuseaddr(&fd, true)?;
                sockopt::set_socket_linger(&fd, Some(Duration::ZERO))?;
            }
            bind(&fd, &source)?;
        }
        Ok(fd)
    }

    /// Sends a question unless a greeting is on its way, and waits for the answer.
    pub(crate) fn ask(&mut self, deadline: Instant) -> Result<Answer, Answer> {
        if self.is_greeted {
            self.discard_old_answers();
            match send(&self.fd, QUESTION, SendFlags::NOSIGNAL) {
                // EPERM: this host's own packet filter dropped the datagram. That is no answer; a rejection's ICMP error may follow.
                Ok(_) => {}
                Err(Errno::PERM) if self.protocol == Protocol::Udp => {}
                Err(errno) => return Err(self.after_connected(errno)),
            }
        }
        let line = self.read_line(deadline)?;
        self.is_greeted = true;
        parse(&line).ok_or(Answer::Lost(io::ErrorKind::InvalidData))
    }

    /// Answers that came after their question had timed out.
    fn discard_old_answers(&mut self) {
        if self.protocol == Protocol::Udp {
            let mut buffer = [0; LONGEST_ANSWER];
            while recv(&self.fd, &mut buffer, RecvFlags::empty()).is_ok() {}
        }
    }

    fn read_line(&mut self, deadline: Instant) -> Result<String, Answer> {
        let mut buffer = [0; LONGEST_ANSWER];
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match recv(&self.fd, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Answer::Lost(io::ErrorKind::UnexpectedEof)),
                Ok((length, _)) => self.unread.extend_from_slice(&buffer[..length]),
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.after_connected(errno)),
            }
        }
    }

    fn after_connected(&self, errno: Errno) -> Answer {
        // A connected UDP socket has met nobody yet: its errors are those of the first packet.
        if self.protocol == Protocol::Udp {
            before_connected(errno)
        } else {
            Answer::Lost(kind(errno))
        }
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<(), Answer> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut waiting = [PollFd::new(&self.fd, flags)];
            match poll(&mut waiting, Some(&timespec(left))) {
                Ok(0) if left == Duration::ZERO => return Err(Answer::TimedOut),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Answer::Lost(kind(errno))),
            }
        }
    }
}

/// The address that the kernel would send from to reach `target`.
fn route_source(target: SocketAddr) -> Result<SocketAddr, Errno> {
    let socket = Protocol::Udp.socket_for(target)?;
    connect(&socket, &target)?;
    SocketAddr::try_from(getsockname(&socket)?)
}

fn before_connected(errno: Errno) -> Answer {
    match errno {
        Errno::CONNREFUSED => Answer::Refused,
        // The kernel's own timeout.
        Errno::TIMEDOUT => Answer::TimedOut,
        errno => Answer::Unreachable(kind(errno)),
    }
}

fn kind(errno: Errno) -> io::ErrorKind {
    io::Error::from(errno).kind()
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).expect("a timeout is shorter than the age of the universe")
}

/// Reads `NAME CLIENT_ADDRESS:PORT`.
fn parse(line: &str) -> Option<Answer> {
    let (server, client) = line.rsplit_once(' ')?;
    Some(Answer::Reply {
        server: server.to_owned(),
        client: client.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_the_server_and_the_client_of_either_family() {
        let reply = |server: &str, client: &str| Answer::Reply {
            server: server.to_owned(),
            client: client.parse().unwrap(),
        };
        assert_eq!(parse("web-1 10.244.1.2:4711"), Some(reply("web-1", "10.244.1.2:4711")));
        assert_eq!(parse("a name [fd00::2]:1"), Some(reply("a name", "[fd00::2]:1")));
        assert_eq!(parse("HTTP/1.1 200"), None);
        assert_eq!(parse(""), None);
    }
}
