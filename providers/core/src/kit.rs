//! The tests that every provider must pass, whatever its backend.
//!
//! A provider's tests implement [`Bench`] and call [`pass`]. Each check starts from a backend of its own.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Plan, Provider, ProviderError, Retry, converge};

/// Makes backends with something foreign in them, and looks into them.
pub trait Bench {
    /// The provider. Two of one backend know nothing of each other, as before and after a crash.
    type Provider: Provider;
    /// A backend.
    type Backend;
    /// All that is in it, ours and not.
    type Contents: PartialEq + Debug;

    /// A backend with nothing of ours, and with objects of others that look like ours as much as they can.
    fn backend(&self) -> impl Future<Output = Self::Backend>;
    /// A provider on a backend.
    fn provider(&self, backend: &Self::Backend) -> Self::Provider;
    /// What is in a backend. Names that are given at random are left out.
    fn contents(&self, backend: &Self::Backend) -> impl Future<Output = Self::Contents>;
    /// A load balancer.
    fn key(&self) -> <Self::Provider as Provider>::Key;
    /// What it shall be, one after another: each is a change of the one before. At least two.
    fn desires(&self) -> Vec<<Self::Provider as Provider>::Desired>;
}

/// Runs every check. It panics with what is wrong.
pub async fn pass<B: Bench>(bench: &B) {
    nothing_is_done_where_nothing_is_wanted(bench).await;
    what_is_made_stays_as_it_is(bench).await;
    what_is_deleted_leaves_what_was_there_before(bench).await;
    a_step_done_twice_does_no_harm(bench).await;
    a_crash_after_any_step_changes_nothing_of_the_end(bench).await;
}

async fn settle<B: Bench>(
    bench: &B,
    backend: &B::Backend,
    desired: Option<&<B::Provider as Provider>::Desired>,
) -> usize {
    let provider = bench.provider(backend);
    match converge(&provider, &bench.key(), desired, &mut |_| {}).await {
        Ok(converged) => {
            assert_eq!(
                <B::Provider as Provider>::is_gone(&converged.observed),
                desired.is_none(),
                "gone is what is not wanted"
            );
            converged.steps
        }
        Err(error) => panic!("it does not settle: {error}"),
    }
}

async fn nothing_is_done_where_nothing_is_wanted<B: Bench>(bench: &B) {
    let backend = bench.backend().await;
    assert_eq!(settle(bench, &backend, None).await, 0, "there was nothing to delete");
}

async fn what_is_made_stays_as_it_is<B: Bench>(bench: &B) {
    let backend = bench.backend().await;
    for desired in bench.desires() {
        assert!(settle(bench, &backend, Some(&desired)).await > 0, "each is a change");
        assert_eq!(
            settle(bench, &backend, Some(&desired)).await,
            0,
            "a second look finds nothing to do"
        );
    }
}

async fn what_is_deleted_leaves_what_was_there_before<B: Bench>(bench: &B) {
    for desired in bench.desires() {
        let backend = bench.backend().await;
        let before = bench.contents(&backend).await;
        settle(bench, &backend, Some(&desired)).await;
        settle(bench, &backend, None).await;
        assert_eq!(
            bench.contents(&backend).await,
            before,
            "others' objects are untouched and ours are gone"
        );
    }
}

async fn a_step_done_twice_does_no_harm<B: Bench>(bench: &B) {
    let (once, twice) = (bench.backend().await, bench.backend().await);
    for desired in bench.desires().iter().map(Some).chain([None]) {
        settle(bench, &once, desired).await;
        let provider = Repeating(bench.provider(&twice));
        if let Err(error) = converge(&provider, &bench.key(), desired, &mut |_| {}).await {
            panic!("a step that is done twice fails: {error}");
        }
        assert_eq!(bench.contents(&twice).await, bench.contents(&once).await);
    }
}

/// Every beginning of every change is done by a provider that then dies. Another goes on, or deletes what is there, since nobody
/// wants it any more.
async fn a_crash_after_any_step_changes_nothing_of_the_end<B: Bench>(bench: &B) {
    let desires = bench.desires();
    let changes: Vec<_> = desires.iter().map(Some).chain([None]).collect();
    let nothing = bench.contents(&bench.backend().await).await;
    for index in 0..changes.len() {
        let whole = bench.backend().await;
        let mut steps = 0;
        for &desired in &changes[..=index] {
            steps = settle(bench, &whole, desired).await;
        }
        let whole = bench.contents(&whole).await;
        for lived in 0..steps {
            let broken = broken(bench, &changes[..=index], lived).await;
            settle(bench, &broken, changes[index]).await;
            assert_eq!(
                bench.contents(&broken).await,
                whole,
                "change {index}, after a crash behind step {lived}"
            );
            let unwanted = self::broken(bench, &changes[..=index], lived).await;
            settle(bench, &unwanted, None).await;
            assert_eq!(
                bench.contents(&unwanted).await,
                nothing,
                "something is orphaned by change {index} after a crash behind step {lived}"
            );
        }
    }
}

/// A backend as a provider leaves it that dies in the last of the changes.
async fn broken<B: Bench>(
    bench: &B,
    changes: &[Option<&<B::Provider as Provider>::Desired>],
    lived: usize,
) -> B::Backend {
    let backend = bench.backend().await;
    let (last, earlier) = changes.split_last().expect("there is a change");
    for desired in earlier {
        settle(bench, &backend, *desired).await;
    }
    let dying = Dying {
        provider: bench.provider(&backend),
        left: AtomicUsize::new(lived),
    };
    let died = converge(&dying, &bench.key(), *last, &mut |_| {}).await;
    assert!(
        died.is_err_and(|error| error.reason == DIED),
        "it dies after {lived} steps"
    );
    backend
}

const DIED: &str = "Died";

/// Does every step twice.
struct Repeating<P>(P);

impl<P: Provider> Provider for Repeating<P> {
    type Key = P::Key;
    type Desired = P::Desired;
    type Observed = P::Observed;
    type Step = P::Step;

    fn observe(&self, key: &P::Key) -> impl Future<Output = Result<P::Observed, ProviderError>> + Send {
        self.0.observe(key)
    }

    fn plan(&self, desired: Option<&P::Desired>, observed: &P::Observed) -> Result<Plan<P::Step>, ProviderError> {
        self.0.plan(desired, observed)
    }

    async fn perform(&self, step: &P::Step) -> Result<(), ProviderError> {
        self.0.perform(step).await?;
        self.0.perform(step).await
    }

    fn is_gone(observed: &P::Observed) -> bool {
        P::is_gone(observed)
    }
}

/// Does so many steps and then fails for good, as a process that is killed does nothing any more.
struct Dying<P> {
    provider: P,
    left: AtomicUsize,
}

impl<P: Provider> Provider for Dying<P> {
    type Key = P::Key;
    type Desired = P::Desired;
    type Observed = P::Observed;
    type Step = P::Step;

    fn observe(&self, key: &P::Key) -> impl Future<Output = Result<P::Observed, ProviderError>> + Send {
        self.provider.observe(key)
    }

    fn plan(&self, desired: Option<&P::Desired>, observed: &P::Observed) -> Result<Plan<P::Step>, ProviderError> {
        self.provider.plan(desired, observed)
    }

    async fn perform(&self, step: &P::Step) -> Result<(), ProviderError> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(ProviderError {
                reason: DIED,
                message: "killed".to_owned(),
                retry: Retry::Backoff,
                source: None,
            });
        }
        self.left.store(left - 1, Ordering::Relaxed);
        self.provider.perform(step).await
    }

    fn is_gone(observed: &P::Observed) -> bool {
        P::is_gone(observed)
    }
}

#[cfg(test)]
mod tests;
