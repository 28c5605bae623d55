//! Takes part in the election, and runs the leader's work while it leads.

use std::pin::pin;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::election::{Election, Loss, Step, Written};
use super::store::{Store, StoreError};
use super::{Claim, Claims, Record};
use crate::chain::Chain;

/// How long the lease may take to be given back at the end. Whoever waits for it finds out without that, later.
const RESIGN_WITHIN: Duration = Duration::from_secs(3);

/// What is to be seen of the election from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The claim, while this process leads.
    pub claim: Option<Claim>,
    /// Whether the lease has been looked at.
    pub has_looked: bool,
    /// Who holds the lease, as far as is known.
    pub holder: Option<String>,
    /// How often this process has become the leader.
    pub terms: u64,
    /// How often it has lost the lease without giving it back.
    pub losses: u64,
    /// Why the last request about the lease failed, if it did.
    pub trouble: Option<String>,
}

/// Why the election ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// The leader's work is not to end by itself.
    #[error("the leader's work failed")]
    Work(#[source] anyhow::Error),
    /// It did not end when the claim was lost. Only the end of the process ends it for sure.
    #[error("the lease is lost and the leader's work did not end within {0:?}")]
    StillAtWork(Duration),
}

/// What a request came to.
enum Answer {
    Looked(Result<Option<Record>, StoreError>),
    Wrote(Result<Written, StoreError>),
}

/// Competes for the lease until `stop` is there, and does `work` whenever it leads. `work` is dropped at an await when the claim
/// is lost; it may compete again later. At the end the lease is given back, so that another need not wait for it.
pub async fn run<W, F>(
    store: Store,
    mut election: Election,
    standing: &watch::Sender<Standing>,
    stop: impl Future<Output = ()>,
    mut work: W,
) -> Result<(), LeadError>
where
    W: FnMut(Claims) -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut stop = pin!(stop.fuse());
    let mut changes: BoxStream<'_, Option<Record>> = store.changes().boxed();
    let mut request: Option<BoxFuture<'_, Answer>> = None;
    let mut term: Option<Term> = None;
    let mut give_up_at = None;
    let mut result = Ok(());
    loop {
        let now = Instant::now();
        let mut wake_at: Option<Instant> = None;
        match election.next(now) {
            Step::Look => request = Some(store.look().map(Answer::Looked).boxed()),
            Step::Write(write) => {
                let store = &store;
                request = Some(async move { Answer::Wrote(store.write(&write).await) }.boxed());
            }
            Step::Wait(until) => wake_at = Some(until),
            Step::WaitForEvent => {}
            Step::Done => return result,
        }
        // A claim that came, went or was renewed.
        match (election.claim(), &term) {
            (Some(claim), Some(term)) => term.claim.send_if_modified(|held| held.replace(claim) != Some(claim)),
            (Some(claim), None) => {
                tracing::info!(
                    identity = &**election.identity(),
                    generation = claim.generation.0,
                    "leads"
                );
                standing.send_modify(|standing| standing.terms += 1);
                term = Some(Term::begin(claim, &mut work));
                true
            }
            (None, _) => false,
        };
        if election.claim().is_none()
            && let Some(ended) = term.take()
        {
            let loss = election.take_loss();
            report_loss(loss.as_ref(), standing);
            ended.end(election.timing().ending_margin()).await?;
            election.work_ended();
            show(&election, standing);
            continue;
        }
        show(&election, standing);
        wake_at = [wake_at, give_up_at].into_iter().flatten().min();
        tokio::select! {
            answer = answered(&mut request) => take(&mut election, answer, standing),
            Some(record) = changes.next() => election.changed(record, Instant::now()),
            () = sleep(wake_at) => {
                if give_up_at.is_some_and(|at| Instant::now() >= at) {
                    tracing::warn!("the lease could not be given back in time");
                    return result;
                }
            }
            ended = finished(&mut term) => {
                result = Err(LeadError::Work(ended));
                term = None;
                election.resign();
                give_up_at = Some(Instant::now() + RESIGN_WITHIN);
            }
            () = &mut stop => {
                if let Some(term) = term.take() {
                    term.end(election.timing().ending_margin()).await?;
                }
                election.resign();
                give_up_at = Some(Instant::now() + RESIGN_WITHIN);
            }
        }
    }
}

/// The leader's work, and what it is told of its claim.
struct Term {
    claim: watch::Sender<Option<Claim>>,
    work: JoinHandle<anyhow::Result<()>>,
}

impl Term {
    fn begin<F>(claim: Claim, work: &mut impl FnMut(Claims) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (sender, claims) = watch::channel(Some(claim));
        Self {
            claim: sender,
            work: tokio::spawn(work(claims)),
        }
    }

    /// Waits until nothing of it acts any more.
    async fn end(mut self, limit: Duration) -> Result<(), LeadError> {
        self.claim.send_replace(None);
        self.work.abort();
        match timeout(limit, &mut self.work).await {
            Ok(_) => Ok(()),
            Err(_) => Err(LeadError::StillAtWork(limit)),
        }
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn answered(request: &mut Option<BoxFuture<'_, Answer>>) -> Answer {
    let Some(pending) = request else {
        return std::future::pending().await;
    };
    let answer = pending.await;
    *request = None;
    answer
}

async fn finished(term: &mut Option<Term>) -> anyhow::Error {
    let Some(term) = term else {
        return std::future::pending().await;
    };
    match (&mut term.work).await {
        Ok(Ok(())) => anyhow::anyhow!("it ended"),
        Ok(Err(error)) => error,
        Err(error) => anyhow::Error::new(error),
    }
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn take(election: &mut Election, answer: Answer, standing: &watch::Sender<Standing>) {
    let now = Instant::now();
    let error = match answer {
        Answer::Looked(Ok(record)) => {
            election.looked(record, now);
            None
        }
        Answer::Wrote(Ok(written)) => {
            election.wrote(written, now);
            None
        }
        Answer::Looked(Err(error)) | Answer::Wrote(Err(error)) => {
            election.failed(now);
            Some(Chain(&error).to_string())
        }
    };
    standing.send_if_modified(|standing| {
        if standing.has_looked && standing.trouble == error {
            return false;
        }
        standing.has_looked |= error.is_none();
        if standing.trouble == error {
            return true;
        }
        if let Some(error) = &error {
            tracing::warn!(error, "cannot take part in the election, trying again");
        } else {
            tracing::info!("takes part in the election again");
        }
        standing.trouble = error;
        true
    });
}

fn report_loss(loss: Option<&Loss>, standing: &watch::Sender<Standing>) {
    match loss {
        None => return,
        Some(Loss::Overdue) => tracing::warn!("no longer leads: the lease could not be renewed in time"),
        Some(Loss::Superseded(holder)) => {
            tracing::warn!(
                holder = holder.as_deref(),
                "no longer leads: somebody else wrote the lease"
            );
        }
    }
    standing.send_modify(|standing| standing.losses += 1);
}

fn show(election: &Election, standing: &watch::Sender<Standing>) {
    let claim = election.claim();
    let holder = election.holder().map(ToString::to_string);
    standing.send_if_modified(|standing| {
        if standing.claim == claim && standing.holder == holder {
            return false;
        }
        standing.claim = claim;
        standing.holder = holder;
        true
    });
}
