//! HTTP servers, as the agent and the operator both have them: where they listen, and what becomes of an address that is taken.
//!
//! [`listen`](mod@listen) is how each of them listens and bounds its clients.

pub mod listen;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::http::header::{HeaderValue, SERVER};
use axum::middleware::map_response;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::time::sleep;

use self::listen::{listen, serve};

/// How long after a failed attempt the address is tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);

/// Where a server listens, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

/// A text that is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address to listen on: write it like 0.0.0.0:{port} or [::]:{port}, or leave it empty for no server"
)]
pub struct NoBindAddress {
    text: String,
    port: u16,
}

impl BindAddress {
    /// Reads `IP:PORT`, `IP`, `:PORT`, or nothing at all, which switches the server off.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, NoBindAddress> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(None));
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        let any = |port: &str| Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.parse().ok()?)));
        text.parse()
            .ok()
            .or_else(|| Some(SocketAddr::from((bare.parse::<IpAddr>().ok()?, default_port))))
            .or_else(|| text.strip_prefix(':').and_then(any))
            .map(|address| Self(Some(address)))
            .ok_or_else(|| NoBindAddress {
                text: text.to_owned(),
                port: default_port,
            })
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

/// What to do about an address that cannot be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBindFailure {
    /// Say so once and try until it works.
    Retry,
    /// Return the error.
    GiveUp,
}

/// A server that did not start.
#[derive(Debug, thiserror::Error)]
#[error("{server} server cannot listen on {address}")]
pub struct BindError {
    server: &'static str,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Runs a server until the future is dropped. It returns only for an address that cannot be had under
/// [`OnBindFailure::GiveUp`]; a server that is switched off waits for ever, so that its task looks like the others.
pub async fn run(
    server: &'static str,
    address: BindAddress,
    on_failure: OnBindFailure,
    router: Router,
) -> Result<Infallible, BindError> {
    let Some(address) = address.0 else {
        return Ok(std::future::pending().await);
    };
    let listener = acquire(server, address, on_failure, BIND_RETRY).await?;
    tracing::info!(server, %address, "listening");
    Ok(serve(listener, router.layer(map_response(name_server))).await)
}

/// The value of the header `Server`, which tells an agent's answers from those of a kube-proxy at the same address.
pub(crate) const SERVER_NAME: &str = "fairlead";

async fn name_server(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(SERVER, HeaderValue::from_static(SERVER_NAME));
    response
}

async fn acquire(
    server: &'static str,
    address: SocketAddr,
    on_failure: OnBindFailure,
    retry: Duration,
) -> Result<TcpListener, BindError> {
    let mut is_reported = false;
    loop {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(source) if on_failure == OnBindFailure::GiveUp => {
                return Err(BindError {
                    server,
                    address,
                    source,
                });
            }
            Err(err) => {
                if !is_reported {
                    tracing::warn!(server, %address, error = %err, "cannot listen, trying again until it works");
                    is_reported = true;
                }
                sleep(retry).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_tried_again_until_it_is_free() {
        let other = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = other.local_addr().unwrap();
        assert!(
            acquire("test", address, OnBindFailure::GiveUp, BIND_RETRY)
                .await
                .is_err()
        );

        let waiting = tokio::spawn(acquire("test", address, OnBindFailure::Retry, Duration::from_millis(5)));
        let began = Instant::now();
        drop(other);
        let listener = tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn an_empty_address_means_no_server() {
        let off = run("test", BindAddress(None), OnBindFailure::GiveUp, Router::new());
        assert!(tokio::time::timeout(Duration::ZERO, off).await.is_err());
    }

    #[test]
    fn addresses_are_read_in_every_spelling_of_kube_proxy() {
        for (text, want) in [
            ("", ""),
            ("0.0.0.0:10256", "0.0.0.0:10256"),
            ("[::]:10256", "[::]:10256"),
            ("[fd00::1]:1", "[fd00::1]:1"),
            ("10.0.0.1", "10.0.0.1:10256"),
            ("::", "[::]:10256"),
            ("[::1]", "[::1]:10256"),
            (":8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(BindAddress::parse(text, 10256).unwrap().to_string(), want, "{text}");
        }
        for text in ["node", "10.0.0.1:", "10.0.0.1:70000", "10.0.0.300:1", "a:1"] {
            assert!(BindAddress::parse(text, 10256).is_err(), "{text}");
        }
    }
}
