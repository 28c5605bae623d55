use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::Faults;
use super::call::{Asked, Outcome};
use super::faults::{Reply, Ticket, Verdict};

/// Everything here fits into memory, so bodies are read whole.
type Answer = Response<Full<Bytes>>;

/// Stands in front of AWS, counts the calls, and makes faults. Ends when it is dropped, and every connection with it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    faults: Faults,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a port of loopback that the system chooses, in the network namespace of the caller.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// Listens on this address, for a caller that is not on loopback, such as a pod.
    pub fn listen(address: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr().context("cannot ask for a port")?;
        listener.set_nonblocking(true).context("cannot prepare a socket")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let faults = Faults::new();
        let (stop, stopped) = oneshot::channel();
        let seen = faults.clone();
        let serve = move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                // Both may be dropped at any time: connections end in the middle then.
                tokio::select! {
                    () = accept(listener, upstream, seen) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(serve)
            .context("cannot start a thread")?;
        Ok(Self {
            address,
            faults,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does, and what it has seen.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed, and the test has seen closed connections.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, faults: Faults) {
    let mut connections = JoinSet::new();
    loop {
        // Both branches are cancel-safe: `accept` and `join_next` lose nothing when dropped.
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, upstream, faults.clone()));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(stream: TcpStream, upstream: SocketAddr, faults: Faults) {
    let answer = service_fn(|request| answer(request, upstream, faults.clone()));
    // An error is how a connection is ended without an answer; nobody else has to know.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// An error ends the connection without an answer.
async fn answer(request: Request<Incoming>, upstream: SocketAddr, faults: Faults) -> Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.context("cannot read a request")?.to_bytes();
    let asked = Asked::from_request(&head.headers, &body);
    let request = Request::from_parts(head, Full::new(body));
    let Some(asked) = asked else {
        return forward(request, upstream).await;
    };
    // Before the judgement, so that a release that comes right after it is heard.
    let releases = faults.releases();
    let (ticket, verdict) = faults.judge(&asked, Instant::now());
    match verdict {
        Verdict::DropRequest => bail!("a fault: the request is dropped"),
        Verdict::Refuse(refusal) => {
            let (media_type, text) = refusal.body(asked.protocol, &asked.service);
            let status = StatusCode::from_u16(refusal.status).context("a fault's status is none of HTTP's")?;
            let answer = Response::builder().status(status).header(CONTENT_TYPE, media_type);
            answer.body(text.into()).context("cannot make an answer")
        }
        // On a task of its own: AWS does not stop in the middle when the caller goes away, and is asked to the end.
        Verdict::Forward(reply) => {
            let done = tokio::spawn(perform(request, upstream, faults, ticket, (reply, releases)));
            done.await.context("a call panicked")?
        }
    }
}

/// Has AWS do a call, and gives its reply when it is time.
async fn perform(
    request: Request<Full<Bytes>>,
    upstream: SocketAddr,
    faults: Faults,
    ticket: Ticket,
    (reply, mut releases): (Reply, watch::Receiver<u64>),
) -> Result<Answer> {
    let answer = forward(request, upstream)
        .await
        .inspect_err(|_| faults.note(ticket, Outcome::Failed))?;
    let status = answer.status().as_u16();
    match reply {
        Reply::Send => {}
        Reply::SendAfter(time) => tokio::time::sleep(time).await,
        Reply::Hold => {
            faults.note(ticket, Outcome::Held(status));
            // It ends only with the proxy, which ends this too.
            let _ = releases.changed().await;
        }
        Reply::Drop => {
            faults.note(ticket, Outcome::ReplyDropped(status));
            bail!("a fault: the reply is dropped");
        }
    }
    faults.note(ticket, Outcome::Answered(status));
    Ok(answer)
}

/// On a connection of its own, so that none of the caller's has to do with it.
async fn forward(mut request: Request<Full<Bytes>>, upstream: SocketAddr) -> Result<Answer> {
    let stream = TcpStream::connect(upstream).await.context("cannot reach AWS")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("cannot talk to AWS")?;
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        request.headers_mut().remove(name);
    }
    let exchange = async {
        let answer = sender.send_request(request).await.context("cannot ask AWS")?;
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await.context("cannot read an answer of AWS")?.to_bytes();
        for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
            head.headers.remove(name);
        }
        Ok(Response::from_parts(head, Full::new(body)))
    };
    tokio::pin!(exchange);
    // The connection moves the bytes of the exchange, and may end before the last of them is read.
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}
