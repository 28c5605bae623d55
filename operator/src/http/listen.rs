//! How every HTTP server listens, and what it grants a client.
//!
//! The clients are load balancers and probes on the node's network, so anyone may be one: connections are counted, and
//! each phase of one ends by itself.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen as listen_on, socket_with, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections that the kernel may hold for us between two calls of `accept`.
const BACKLOG: i32 = 128;
/// Connections of one server at a time. A probe takes milliseconds; more than this is no probing, and later clients wait
/// in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to send a request's head, and may keep a connection open without a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection lives. A request under way then may finish within [`REQUEST_TIMEOUT`].
const CONNECTION_LIFETIME: Duration = Duration::from_mins(1);
/// How long a request under way may last after the connection's lifetime.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after `accept` failed for want of file descriptors or memory, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address. A wildcard of either family means every address of both families, as it does for kube-proxy;
/// where the kernel has no IPv6 it means IPv4 alone, and the reverse.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return listen_one(address, Ipv6Only::Yes);
    }
    let port = address.port();
    match listen_one((Ipv6Addr::UNSPECIFIED, port).into(), Ipv6Only::No) {
        Err(err) if is_family_missing(&err) => listen_one((Ipv4Addr::UNSPECIFIED, port).into(), Ipv6Only::Yes),
        result => result,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ipv6Only {
    Yes,
    No,
}

fn listen_one(address: SocketAddr, ipv6_only: Ipv6Only) -> io::Result<TcpListener> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        // Said explicitly because the default is a sysctl (net.ipv6.bindv6only).
        sockopt::set_ipv6_v6only(&socket, ipv6_only == Ipv6Only::Yes)?;
    }
    bind(&socket, &address)?;
    listen_on(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_family_missing(err: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(err);
    matches!(
        errno,
        Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::PROTONOSUPPORT)
    )
}

/// Answers on a listener until the future is dropped, which closes every connection too.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        // Both branches are cancel-safe: `accept` and `join_next` lose nothing when dropped.
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, router.clone()));
                }
                Err(err) => {
                    tracing::debug!(error = %err, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // What a client does wrong, or that it leaves, is no event of ours: the results are dropped.
    if timeout(CONNECTION_LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(REQUEST_TIMEOUT, connection).await;
    }
}

#[cfg(test)]
pub(crate) mod client {
    //! An HTTP client of one request, for the tests of the servers.

    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    /// One answer.
    #[derive(Debug)]
    pub(crate) struct Answer {
        pub(crate) status: u16,
        pub(crate) head: String,
        pub(crate) body: String,
    }

    impl Answer {
        pub(crate) fn header(&self, name: &str) -> Option<&str> {
            self.head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        }
    }

    /// Sends one request and reads to the end of the connection.
    pub(crate) async fn request(address: SocketAddr, method: &'static str, path: &str) -> std::io::Result<Answer> {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        tokio::task::spawn_blocking(move || {
            let limit = Duration::from_secs(10);
            let mut stream = TcpStream::connect_timeout(&address, limit)?;
            stream.set_read_timeout(Some(limit))?;
            stream.write_all(request.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
            let status = head
                .split(' ')
                .nth(1)
                .expect("a status line")
                .parse()
                .expect("a status");
            Ok(Answer {
                status,
                head: head.to_owned(),
                body: body.to_owned(),
            })
        })
        .await
        .expect("the client does not panic")
    }

    pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
        request(address, "GET", path).await.expect("the server answers")
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    fn reachable(listener: &TcpListener, ip: IpAddr) -> bool {
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect_timeout(&(ip, port).into(), Duration::from_secs(5)).is_ok()
    }

    #[tokio::test]
    async fn a_wildcard_of_either_family_listens_on_both() {
        for wildcard in ["0.0.0.0:0", "[::]:0"] {
            let listener = listen(wildcard.parse().unwrap()).unwrap();
            assert!(reachable(&listener, Ipv4Addr::LOCALHOST.into()), "{wildcard}");
            assert!(reachable(&listener, Ipv6Addr::LOCALHOST.into()), "{wildcard}");
        }
    }

    #[tokio::test]
    async fn one_address_listens_on_itself_only() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(reachable(&listener, Ipv4Addr::LOCALHOST.into()));
        assert!(!reachable(&listener, Ipv6Addr::LOCALHOST.into()));
        let listener = listen("[::1]:0".parse().unwrap()).unwrap();
        assert!(reachable(&listener, Ipv6Addr::LOCALHOST.into()));
        assert!(!reachable(&listener, Ipv4Addr::LOCALHOST.into()));
    }

    #[tokio::test]
    async fn dropping_the_server_closes_the_socket() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Router::new().route("/", get(|| async { "here" }))));
        assert_eq!(client::get(address, "/").await.body, "here");
        server.abort();
        let _ = server.await;
        assert!(client::request(address, "GET", "/").await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_does_not_hold_others_up() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Router::new().route("/", get(|| async { "here" }))));
        let silent = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(client::get(address, "/").await.status, 200);
        drop(silent);
        server.abort();
    }
}
