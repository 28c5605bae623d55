use crate::{Plan, Provider, ProviderError, Retry};

/// Plans one after another at most. Each is made from a fresh observation, so more means that steps do not do what they say.
const ROUNDS: usize = 16;

/// What is given to a provider for one load balancer.
pub type Given<'a, P> = Option<&'a <P as Provider>::Desired>;

/// Where it came to rest.
#[derive(Debug)]
pub struct Converged<O> {
    /// What there is now.
    pub observed: O,
    /// How many steps were done.
    pub steps: usize,
}

/// Observes, plans and performs until nothing is left to do. `tell` hears of each step before it is done.
pub async fn converge<P: Provider>(
    provider: &P,
    key: &P::Key,
    desired: Given<'_, P>,
    tell: &mut (dyn FnMut(&P::Step) + Send),
) -> Result<Converged<P::Observed>, ProviderError> {
    let mut steps = 0;
    for _ in 0..ROUNDS {
        let observed = provider.observe(key).await?;
        let plan: Plan<P::Step> = provider.plan(desired, &observed)?;
        if plan.is_empty() {
            return Ok(Converged { observed, steps });
        }
        for step in plan.steps() {
            tell(step);
            provider.perform(step).await?;
            steps += 1;
        }
    }
    Err(ProviderError {
        reason: "DoesNotSettle",
        message: format!("{key} is not as it shall be after {ROUNDS} plans"),
        retry: Retry::Backoff,
        source: None,
    })
}
