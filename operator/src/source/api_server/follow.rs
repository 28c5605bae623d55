//! One watch, followed for ever.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::{self, Display};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::iter;
use std::mem;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fairlead_model::Change;
use futures::StreamExt;
use kube::core::Status;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::connect::CONNECT_TIMEOUT;
use super::known::{Known, Step};
use super::watched::{Reduced, Watched};
use crate::chain::Chain;
use crate::source::problems::ProblemBook;
use crate::source::send;

/// How long a streamed list may be silent before lists in pages are tried: an API server that does not know of streamed
/// lists ignores the wish, and then never says that the list is complete.
const SILENT_LIST: Duration = Duration::from_secs(30);

/// A request that has not failed after this long has been taken. A watch that goes on where it was is silent when all
/// is well, so nothing else would tell.
const TAKEN: Duration = Duration::from_secs(10);

/// The first tries follow one another fast. Their failures are not worth more than a line in this time.
const LINES_APART: Duration = Duration::from_secs(1);

/// The API server, as all watches see it.
pub(super) struct Server {
    client: Client,
    url: String,
    outage: Mutex<Option<Outage>>,
    /// What it refuses with, and when that is worth a line again. A reason that holds for all watches is said by one of them.
    refusals: Mutex<BTreeMap<String, Instant>>,
}

/// The API server does not answer.
struct Outage {
    since: Instant,
    /// All watches fail together. One of them says so per round.
    next_line: Instant,
}

impl Server {
    pub(super) fn new(client: Client, url: String) -> Self {
        Self {
            client,
            url,
            outage: Mutex::new(None),
            refusals: Mutex::default(),
        }
    }

    fn refuses(&self, kind: &'static str, error: &str, retry_in: Duration) {
        // A panic elsewhere leaves this plain data whole.
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        refusals.retain(|_, next_line| *next_line > now);
        if refusals.contains_key(error) {
            tracing::debug!(kind, error, ?retry_in, "the watch was refused");
            return;
        }
        refusals.insert(error.to_owned(), now + retry_in.max(LINES_APART));
        tracing::warn!(
            url = self.url,
            kind,
            error,
            ?retry_in,
            "the API server refuses the watch; everything stays as it is"
        );
    }

    fn is_away(&self, kind: &'static str, what: &str, error: &str, retry_in: Duration) {
        // A panic elsewhere leaves this plain data whole.
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let outage = outage.get_or_insert(Outage {
            since: now,
            next_line: now,
        });
        if now >= outage.next_line {
            outage.next_line = now + retry_in.max(LINES_APART);
            let away_for = in_milliseconds(now - outage.since);
            tracing::warn!(
                url = self.url,
                kind,
                error,
                ?retry_in,
                ?away_for,
                "the API server {what}; everything stays as it is"
            );
        } else {
            tracing::debug!(kind, error, ?retry_in, "the watch failed");
        }
    }

    /// A watch goes well.
    fn takes<W: Watched>(&self, retry: &mut Retry, is_refused: &mut bool, book: &ProblemBook) {
        retry.reset();
        self.answers();
        book.delivered(W::NAME);
        if mem::take(is_refused) {
            tracing::info!(url = self.url, kind = W::NAME, "the API server takes the watch again");
        }
    }

    fn answers(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outage) = outage.take() {
            tracing::info!(url = self.url, away_for = ?in_milliseconds(outage.since.elapsed()), "the API server answers again");
        }
    }
}

/// Follows one kind.
pub(super) async fn follow<W: Watched>(
    server: &Server,
    config: Config,
    changes: &mpsc::Sender<Vec<Change>>,
    book: &ProblemBook,
) -> Infallible {
    let mut known = Known::<W>::default();
    let reason = drive(server, config.clone().streaming_lists(), &mut known, changes, book).await;
    tracing::info!(kind = W::NAME, reason = %reason, "the API server does not stream lists; they come in pages instead");
    loop {
        // Lists in pages cannot be refused, so this does not come back.
        drive(server, config.clone(), &mut known, changes, book).await;
    }
}

/// Follows a watch until the API server refuses to stream lists.
async fn drive<W: Watched>(
    server: &Server,
    config: Config,
    known: &mut Known<W>,
    changes: &mpsc::Sender<Vec<Change>>,
    book: &ProblemBook,
) -> NotStreamed {
    let is_streamed = config.initial_list_strategy == Config::default().streaming_lists().initial_list_strategy;
    let mut events = pin!(watcher(Api::<Reduced<W>>::all(server.client.clone()), config));
    let mut retry = Retry::default();
    let mut phase = Phase::Asking;
    let mut is_refused = false;
    loop {
        let patience = match (retry.is_retrying(), is_streamed && phase == Phase::Listing) {
            (true, _) => Some(TAKEN),
            (false, true) => Some(SILENT_LIST),
            (false, false) => None,
        };
        // Cancel-safe: the stream keeps the request that it waits for.
        let event = match patience {
            Some(patience) => tokio::time::timeout(patience, events.next()).await.ok(),
            None => Some(events.next().await),
        };
        let Some(event) = event else {
            if retry.is_retrying() {
                server.takes::<W>(&mut retry, &mut is_refused, book);
                continue;
            }
            return NotStreamed::Silent;
        };
        match event.expect("a watcher's stream has no end") {
            Ok(event) => {
                match event {
                    // Nothing was received yet that a server could not take back with its next line.
                    Event::Init => phase = Phase::Listing,
                    Event::InitDone => phase = Phase::Listed,
                    Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
                }
                if !matches!(event, Event::Init) {
                    server.takes::<W>(&mut retry, &mut is_refused, book);
                }
                for step in known.translate(event) {
                    perform(step, changes, book).await;
                }
            }
            Err(error) => {
                let trouble = Trouble::of(&error);
                if is_streamed
                    && phase != Phase::Listed
                    && let Some(reason) = NotStreamed::from_trouble(&trouble)
                {
                    server.answers();
                    return reason;
                }
                let retry_in = retry.next();
                match trouble {
                    Trouble::Desynced => {
                        phase = Phase::Asking;
                        tracing::debug!(kind = W::NAME, "the watch lost its place; listing again");
                    }
                    Trouble::Refused(status) if W::IS_OPTIONAL && matches!(status.code, 403 | 404) => {
                        server.answers();
                        book.delivered(W::NAME);
                        if let Some(step) = known.complete() {
                            tracing::warn!(
                                url = server.url, kind = W::NAME, error = %Said(status),
                                "the API server does not give objects of this kind; going on without them"
                            );
                            perform(step, changes, book).await;
                        }
                    }
                    Trouble::Refused(status) => {
                        server.answers();
                        is_refused = true;
                        let said = Said(status).to_string();
                        book.withheld(W::NAME, &format!("{} refuses: {said}", server.url));
                        server.refuses(W::NAME, &said, retry_in);
                    }
                    Trouble::Away => {
                        let what = if is_about_the_certificate(&error) {
                            "has a certificate that is not trusted"
                        } else {
                            "does not answer"
                        };
                        let error = if has_no_connection_in_time(&error) {
                            format!("no connection within {CONNECT_TIMEOUT:?}, the look-up of a host name included")
                        } else {
                            Chain(&error).to_string()
                        };
                        book.withheld(W::NAME, &format!("{} {what}: {error}", server.url));
                        server.is_away(W::NAME, what, &error, retry_in);
                    }
                }
                tokio::time::sleep(retry_in).await;
            }
        }
    }
}

async fn perform(step: Step, changes: &mpsc::Sender<Vec<Change>>, book: &ProblemBook) {
    match step {
        Step::Change(change) => send(changes, vec![change]).await,
        Step::Faulty { object, fault } => book.report(&object, &format!("{}: {}", fault.field, fault.problem)),
        Step::Sound { object } => book.clear(&object),
    }
}

/// How far a watch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The list was asked for.
    Asking,
    /// The list comes in.
    Listing,
    /// The list is complete, and changes follow.
    Listed,
}

/// How lists turned out not to be streamed.
#[derive(Debug, PartialEq, Eq)]
enum NotStreamed {
    /// It says so.
    Refused(String),
    /// It does not finish one.
    Silent,
}

impl NotStreamed {
    /// Whether trouble before a list is complete means that lists cannot be streamed.
    ///
    /// An API server says that in more than one way: 422 where feature `WatchList` is off, 500 within the stream where etcd
    /// cannot report progress (before 3.4.31 and 3.5.13). So it is assumed of every answer that lists in pages would
    /// not get as well, or that goes by itself.
    fn from_trouble(trouble: &Trouble<'_>) -> Option<Self> {
        match trouble {
            Trouble::Refused(status) if !matches!(status.code, 401 | 403 | 404 | 429 | 503) => {
                Some(Self::Refused(Said(status).to_string()))
            }
            Trouble::Refused(_) | Trouble::Desynced | Trouble::Away => None,
        }
    }
}

impl Display for NotStreamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(what) => f.write_str(what),
            Self::Silent => write!(f, "a streamed list was silent for {SILENT_LIST:?}"),
        }
    }
}

/// What kind of trouble an error is.
enum Trouble<'a> {
    /// The watch's place in history is gone; a new list follows.
    Desynced,
    /// The server answers, but not with what was asked for.
    Refused(&'a Status),
    /// The server does not answer, or nobody knows who does.
    Away,
}

impl<'a> Trouble<'a> {
    fn of(error: &'a Error) -> Self {
        let (Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status)) = error
        else {
            return Self::Away;
        };
        if status.code == 410 {
            Self::Desynced
        } else {
            Self::Refused(status)
        }
    }
}

/// Whether an error comes of the server's certificate.
fn is_about_the_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// Whether an error is that the time for a connection was over, whose own text does not say for what.
fn has_no_connection_in_time(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<Elapsed>)
}

/// An error and all that it comes of.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    iter::successors(Some(error), |error| {
        // An I/O error's source is that of the error within.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        }
    })
}

/// What a server said, in one line.
struct Said<'a>(&'a Status);

impl Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.0.code, self.0.reason, self.0.message.trim())
    }
}

/// Without what nobody wants to read.
fn in_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Growing pauses between tries: from a fifth of a second to 15 seconds, each up to a half shorter by chance, so that the
/// nodes of a cluster do not come back all at once.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(15);

    fn next(&mut self) -> Duration {
        let full = Self::FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(Self::LONGEST);
        self.failures += 1;
        let chance = u32::from(RandomState::new().build_hasher().finish().to_le_bytes()[0]);
        in_milliseconds(full.saturating_sub(full * chance / (2 * 255)))
    }

    fn is_retrying(&self) -> bool {
        self.failures > 0
    }

    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests;
