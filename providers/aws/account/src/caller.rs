//! One call, made until it is done or cannot be.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep};

use crate::error::{Class, Failure};
use crate::pace::Pace;
use crate::watch::{Call, Operation, Outcome, Service, Watch};

/// How often a call is made that AWS throttles. It has done nothing then, and the pace slows down with each.
const ATTEMPTS_WHEN_THROTTLED: u32 = 10;
/// How often a call is made that gets no answer.
const ATTEMPTS_WHEN_LOST: u32 = 4;
/// The first pause before a call is made again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The clients of both services, with everything that is common to all calls.
pub(crate) struct Caller {
    pub(crate) load_balancing: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) pace: Pace,
    watch: Arc<dyn Watch>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

impl Caller {
    pub(crate) fn new(
        load_balancing: aws_sdk_elasticloadbalancingv2::Client,
        ec2: aws_sdk_ec2::Client,
        pace: Pace,
        watch: Arc<dyn Watch>,
    ) -> Self {
        Self {
            load_balancing,
            ec2,
            pace,
            watch,
        }
    }

    /// A call of load balancing.
    pub(crate) async fn elb<T, E, F>(
        &self,
        name: &'static str,
        send: impl Fn(aws_sdk_elasticloadbalancingv2::Client) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let operation = Operation {
            service: Service::LoadBalancing,
            name,
        };
        self.call(operation, move || send(self.load_balancing.clone())).await
    }

    /// A call of EC2.
    pub(crate) async fn ec2<T, E, F>(
        &self,
        name: &'static str,
        send: impl Fn(aws_sdk_ec2::Client) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let operation = Operation {
            service: Service::Ec2,
            name,
        };
        self.call(operation, move || send(self.ec2.clone())).await
    }

    /// Each call does no harm when it is made again, so that one without an answer is.
    async fn call<T, E, F>(&self, operation: Operation, send: impl Fn() -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut attempt = 1;
        loop {
            let asked = Instant::now();
            let permit = self.pace.admit(operation).await;
            let began = Instant::now();
            // The SDK's futures are large.
            let result = Box::pin(send()).await.map_err(|error| Failure::of(operation, error));
            let outcome = result.as_ref().map_or_else(Failure::outcome, |_| Outcome::Done);
            self.watch.called(Call {
                operation,
                outcome,
                held: began - asked,
                took: began.elapsed(),
            });
            let failure = match result {
                Ok(answer) => {
                    self.pace.done(operation);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let attempts = match failure.class {
                Class::Throttled => {
                    self.pace.throttled(operation);
                    ATTEMPTS_WHEN_THROTTLED
                }
                Class::Transient => ATTEMPTS_WHEN_LOST,
                _ => 1,
            };
            drop(permit);
            if attempt >= attempts {
                return Err(failure);
            }
            tracing::debug!(%operation, attempt, %failure, "called again");
            sleep(pause(attempt, RandomState::new().hash_one(attempt))).await;
            attempt += 1;
        }
    }
}

/// Between half and the whole of what the attempt comes to, so that those who failed together do not come again together.
fn pause(attempt: u32, random: u64) -> Duration {
    let whole = PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
    whole / 2 + whole.mul_f64(0.5 * f64::from((random % 1000) as u16) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_become_longer_but_not_endless() {
        assert_eq!(pause(1, 0), PAUSE / 2);
        assert_eq!(pause(4, 0), PAUSE * 4);
        assert_eq!(pause(40, 0), LONGEST_PAUSE / 2);
        assert!((1..50).all(|attempt| pause(attempt, u64::MAX) <= LONGEST_PAUSE));
        assert!(pause(1, 999) > pause(1, 0));
    }
}
