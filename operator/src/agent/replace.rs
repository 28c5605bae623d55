//! `--replace-kube-proxy`: what a kube-proxy left behind goes when it has ended.
//!
//! While it runs both rule sets work side by side: of two chains that translate at the same priority, the one loaded first does. So
//! nothing is removed then, since kube-proxy would only write it again. Whether one runs is asked at its addresses: whoever takes
//! a connection there and is not an agent of ours is taken for a kube-proxy. Connections that it has translated outlive its
//! rules, for conntrack keeps the translation of each.
//!
//! Nothing is polled unless something is there to be removed.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::chain::Chain;
use crate::cleanup::{self, CleanupFlags, Outcome};
use crate::http::SERVER_NAME;

/// Between two looks at whether a kube-proxy runs.
const POLL: Duration = Duration::from_secs(1);
/// So many looks in a row must find nobody: a kube-proxy that is only started anew is back within a second or two.
const LOOKS: u32 = 2;
/// How long an answer on this host may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What we answer is shorter.
const LONGEST_ANSWER: u64 = 4096;

/// Says what kube-proxy left behind, for an agent that leaves it there: it keeps intercepting connections.
pub async fn warn() {
    if let Some(found) = detect().await {
        let found = found.join(", ");
        tracing::warn!(
            found,
            "kube-proxy's rules are in place and come first; remove them: --replace-kube-proxy, or fairlead cleanup --kube-proxy"
        );
    }
}

/// Looks for leftovers whenever `full_sync` is notified, and removes them as soon as no kube-proxy answers at `addresses`.
pub async fn run(full_sync: Arc<Notify>, addresses: Vec<SocketAddr>) -> Infallible {
    loop {
        full_sync.notified().await;
        let Some(found) = detect().await else { continue };
        until_nobody_answers(&addresses, &found).await;
        if let Err(error) = spawn_blocking(remove).await {
            tracing::warn!(error = %Chain(&error), "cannot remove what kube-proxy left");
        }
    }
}

/// What is there of kube-proxy's; none also if nobody could look, which is logged.
async fn detect() -> Option<Vec<String>> {
    // It runs programs: iptables tells of its rules itself.
    match spawn_blocking(cleanup::detect).await {
        Ok(found) => Some(found).filter(|found| !found.is_empty()),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "cannot look for kube-proxy's rules");
            None
        }
    }
}

async fn until_nobody_answers(addresses: &[SocketAddr], found: &[String]) {
    let mut looks = 0;
    let mut is_reported = false;
    while looks < LOOKS {
        let addresses = addresses.to_owned();
        match spawn_blocking(move || kube_proxy_among(&addresses)).await {
            Ok(None) => looks += 1,
            // Asking cannot fail; if it could, nothing would be removed.
            Err(_) => looks = 0,
            Ok(Some(address)) => {
                looks = 0;
                if !is_reported {
                    is_reported = true;
                    let found = found.join(", ");
                    tracing::info!(%address, found, "a kube-proxy runs beside us; its rules stay until it has ended");
                }
            }
        }
        if looks < LOOKS {
            sleep(POLL).await;
        }
    }
}

/// The first address where somebody answers who is no agent. Blocks.
fn kube_proxy_among(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().copied().find(|address| is_strangers(*address))
}

/// Whether somebody listens there who is no agent. Who takes a connection and says nothing may be a kube-proxy that is busy.
fn is_strangers(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => !healthz(stream, address).is_ok_and(|answer| is_our_answer(&answer)),
        Err(error) => !is_nobody(&error),
    }
}

fn healthz(mut stream: TcpStream, host: SocketAddr) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whether nothing listens, or the address does not exist here.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let is_family_missing = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    is_family_missing
        || matches!(
            error.kind(),
            ConnectionRefused | AddrNotAvailable | NetworkUnreachable | HostUnreachable
        )
}

fn is_our_answer(answer: &str) -> bool {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case("server") && value.trim() == SERVER_NAME)
}

/// Removes everything. Blocks.
fn remove() {
    let mut removed = 0_usize;
    let result = cleanup::cleanup(&CleanupFlags { kube_proxy: true }, &mut |outcome| match outcome {
        Outcome::Removed(_) => {
            removed += 1;
            tracing::debug!(%outcome, "cleaning up");
        }
        Outcome::Kept(_) | Outcome::NotChecked(_) => tracing::info!(%outcome, "cleaning up after kube-proxy"),
        Outcome::Failed(_) => {
            tracing::warn!(%outcome, "cleaning up after kube-proxy; trying again at the next full sync");
        }
        Outcome::Nothing => {}
    });
    if result.is_ok() {
        tracing::info!(removed, "what kube-proxy left is gone");
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;

    use super::*;
    use crate::http::listen::{listen, serve};
    use crate::http::{self, BindAddress, OnBindFailure};

    async fn kube_proxy_at(address: SocketAddr) -> Option<SocketAddr> {
        spawn_blocking(move || kube_proxy_among(&[address])).await.unwrap()
    }

    #[tokio::test]
    async fn a_stranger_is_taken_for_a_kube_proxy_and_an_agent_is_not() {
        let router = || Router::new().route("/healthz", get(|| async { "ok" }));
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stranger = tokio::spawn(serve(listener, router()));
        assert_eq!(kube_proxy_at(address).await, Some(address));
        stranger.abort();
        let _ = stranger.await;
        assert_eq!(kube_proxy_at(address).await, None);

        let bind = BindAddress(Some(address));
        let agent = tokio::spawn(http::run("healthz", bind, OnBindFailure::GiveUp, router()));
        let answers = || async { tokio::net::TcpStream::connect(address).await.is_ok() };
        while !answers().await {
            tokio::task::yield_now().await;
        }
        assert_eq!(kube_proxy_at(address).await, None);
        agent.abort();
    }

    #[tokio::test]
    async fn who_takes_a_connection_and_is_silent_counts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(kube_proxy_at(address).await, Some(address));
    }

    #[test]
    fn the_header_counts_and_not_the_body() {
        assert!(is_our_answer("HTTP/1.1 503 x\r\nServer: fairlead\r\n\r\n"));
        assert!(!is_our_answer("HTTP/1.1 200 OK\r\n\r\nserver: fairlead"));
        assert!(!is_our_answer("HTTP/1.1 200 OK\r\nserver: nginx\r\n\r\n"));
        assert!(!is_our_answer(""));
    }
}
