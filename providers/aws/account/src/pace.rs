//! How often AWS is called.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Queue, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::watch::{Operation, Service};

/// Calls that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What is asked of load balancing.
    LookAtLoadBalancers,
    /// What changes load balancers.
    ChangeLoadBalancers,
    /// Targets that come and go.
    ChangeTargets,
    /// What is asked of EC2.
    LookAtNetwork,
    /// What changes security groups.
    ChangeNetwork,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LookAtLoadBalancers,
        Self::ChangeLoadBalancers,
        Self::ChangeTargets,
        Self::LookAtNetwork,
        Self::ChangeNetwork,
    ];

    /// One word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::LookAtLoadBalancers => "elasticloadbalancing-describe",
            Self::ChangeLoadBalancers => "elasticloadbalancing-change",
            Self::ChangeTargets => "elasticloadbalancing-targets",
            Self::LookAtNetwork => "ec2-describe",
            Self::ChangeNetwork => "ec2-change",
        }
    }

    fn of(operation: Operation) -> Self {
        let looks = operation.name.starts_with("Describe");
        match operation.service {
            Service::LoadBalancing if looks => Self::LookAtLoadBalancers,
            Service::LoadBalancing if matches!(operation.name, "RegisterTargets" | "DeregisterTargets") => {
                Self::ChangeTargets
            }
            Service::LoadBalancing => Self::ChangeLoadBalancers,
            Service::Ec2 if looks => Self::LookAtNetwork,
            Service::Ec2 => Self::ChangeNetwork,
        }
    }
}

/// How many calls of a lane there may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// In a second.
    pub rate: f64,
    /// At once.
    pub burst: f64,
}

/// How a lane is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneState {
    /// Which.
    pub lane: Lane,
    /// What it may have.
    pub limit: Limit,
    /// What it has now: less than its limit's after AWS has throttled it.
    pub rate: f64,
    /// How many calls wait.
    pub waiting: usize,
}

/// The limits of an account, which all its Services share.
///
/// Those of load balancing are what other controllers of such accounts keep to, those of EC2 are within what it documents.
pub fn usual_limits() -> BTreeMap<Lane, Limit> {
    let limit = |rate, burst| Limit { rate, burst };
    [
        (Lane::LookAtLoadBalancers, limit(10.0, 40.0)),
        (Lane::ChangeLoadBalancers, limit(10.0, 40.0)),
        (Lane::ChangeTargets, limit(4.0, 20.0)),
        (Lane::LookAtNetwork, limit(20.0, 100.0)),
        (Lane::ChangeNetwork, limit(5.0, 50.0)),
    ]
    .into()
}

/// So many calls of a lane are under way at most. Each of them may be one too many when AWS has had enough.
const AT_ONCE: usize = 8;
/// What is left of a rate when AWS has had enough.
const SLOWER: f64 = 0.5;
/// The part of its limit that a rate gets back with each call that is done. More would find AWS' own limit again too often.
const FASTER: f64 = 0.002;
/// No lane stands still.
const LEAST: f64 = 0.2;
/// How long nothing is called after AWS has had enough.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Pace {
    lanes: BTreeMap<Lane, Bucket>,
}

struct Bucket {
    lane: Lane,
    limit: Limit,
    state: Mutex<State>,
    at_once: Semaphore,
    /// Who comes first is called first.
    queue: Queue<()>,
}

#[derive(Debug)]
struct State {
    rate: f64,
    tokens: f64,
    counted: Instant,
    /// AWS has had enough until then.
    resumes: Instant,
    waiting: usize,
}

impl Pace {
    pub(crate) fn new(limits: &BTreeMap<Lane, Limit>) -> Self {
        let now = Instant::now();
        let usual = usual_limits();
        let lanes = Lane::ALL.map(|lane| {
            let limit = limits.get(&lane).copied().unwrap_or(usual[&lane]);
            let state = Mutex::new(State::new(now, limit));
            let queue = Queue::new(());
            (
                lane,
                Bucket {
                    lane,
                    limit,
                    state,
                    at_once: Semaphore::new(AT_ONCE),
                    queue,
                },
            )
        });
        Self { lanes: lanes.into() }
    }

    /// Waits until an operation may be called.
    pub(crate) async fn admit(&self, operation: Operation) -> SemaphorePermit<'_> {
        self.lanes[&Lane::of(operation)].admit().await
    }

    /// AWS has had enough of it.
    pub(crate) fn throttled(&self, operation: Operation) {
        self.lanes[&Lane::of(operation)].throttled();
    }

    /// A call was done.
    pub(crate) fn done(&self, operation: Operation) {
        self.lanes[&Lane::of(operation)].done();
    }

    pub(crate) fn lanes(&self) -> Vec<LaneState> {
        self.lanes.values().map(Bucket::state).collect()
    }
}

impl Bucket {
    async fn admit(&self) -> SemaphorePermit<'_> {
        self.lock().waiting += 1;
        let waits = Waits(self);
        // First, so that nobody has a token of a time when there were more.
        let permit = self.at_once.acquire().await.expect("nobody closes it");
        let _turn = self.queue.lock().await;
        loop {
            let next = {
                let mut state = self.lock();
                let now = Instant::now();
                match state.take(now, self.limit) {
                    None => break,
                    Some(next) => next,
                }
            };
            sleep_until(next).await;
        }
        drop(waits);
        permit
    }

    fn throttled(&self) {
        self.lock().throttled(Instant::now());
    }

    fn done(&self) {
        self.lock().done(self.limit);
    }

    fn state(&self) -> LaneState {
        let state = self.lock();
        LaneState {
            lane: self.lane,
            limit: self.limit,
            rate: state.rate,
            waiting: state.waiting,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits, also when it is given up.
struct Waits<'a>(&'a Bucket);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl State {
    const fn new(now: Instant, limit: Limit) -> Self {
        Self {
            rate: limit.rate,
            tokens: limit.burst,
            counted: now,
            resumes: now,
            waiting: 0,
        }
    }

    fn throttled(&mut self, now: Instant) {
        // Calls that were under way together say the same once each.
        if now >= self.resumes {
            self.rate = (self.rate * SLOWER).max(LEAST);
            self.resumes = now + PAUSE;
        }
        self.tokens = 0.0;
        self.counted = self.resumes;
    }

    fn done(&mut self, limit: Limit) {
        self.rate = (self.rate + limit.rate * FASTER).min(limit.rate);
    }

    /// `None` if it may be called now, or when to ask again.
    fn take(&mut self, now: Instant, limit: Limit) -> Option<Instant> {
        if now < self.resumes {
            return Some(self.resumes);
        }
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        // One that was slowed down is not to come in bursts.
        let burst = if self.rate < limit.rate {
            1.0
        } else {
            limit.burst.max(1.0)
        };
        self.tokens = (self.tokens + passed * self.rate).min(burst);
        self.counted = self.counted.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(now + Duration::from_secs_f64((1.0 - self.tokens) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKE: Operation = Operation {
        service: Service::LoadBalancing,
        name: "CreateListener",
    };
    const LOOK: Operation = Operation {
        service: Service::Ec2,
        name: "DescribeSubnets",
    };

    const LIMIT: Limit = Limit { rate: 10.0, burst: 5.0 };

    /// How long so many calls take, one after another.
    fn calls(state: &mut State, start: Instant, count: usize) -> Duration {
        let mut now = start;
        for _ in 0..count {
            while let Some(next) = state.take(now, LIMIT) {
                now = next;
            }
        }
        now - start
    }

    #[test]
    fn after_a_burst_calls_come_at_the_rate() {
        let start = Instant::now();
        let mut state = State::new(start, LIMIT);
        assert_eq!(calls(&mut state, start, 5), Duration::ZERO);
        let took = calls(&mut state, start, 10);
        assert!(
            took.abs_diff(Duration::from_secs(1)) < Duration::from_millis(10),
            "{took:?}"
        );
    }

    #[test]
    fn what_is_throttled_slows_down_once_and_recovers() {
        let start = Instant::now();
        let mut state = State::new(start, LIMIT);
        calls(&mut state, start, 1);
        for _ in 0..AT_ONCE {
            state.throttled(start);
        }
        assert!((state.rate - 5.0).abs() < 1e-9, "{state:?}");
        assert!(calls(&mut state, start, 1) > PAUSE, "nothing is left of the burst");
        let later = start + Duration::from_mins(1);
        assert!(
            calls(&mut state, later, 2) > Duration::ZERO,
            "nor does it come back at once"
        );
        for _ in 0..250 {
            state.done(LIMIT);
        }
        assert!((state.rate - 10.0).abs() < 1e-9, "it does not go beyond its limit");
    }

    #[tokio::test]
    async fn who_waits_is_counted_and_no_other_lane_waits() {
        let none = Limit {
            rate: 0.001,
            burst: 1.0,
        };
        let pace = Pace::new(&[(Lane::ChangeLoadBalancers, none)].into());
        let waiting = || {
            let lanes = pace.lanes();
            lanes.iter().map(|lane| lane.waiting).sum::<usize>()
        };
        drop(pace.admit(MAKE).await);
        assert_eq!(waiting(), 0);
        {
            let mut second = std::pin::pin!(pace.admit(MAKE));
            assert!(futures::poll!(&mut second).is_pending());
            assert_eq!(waiting(), 1);
            drop(pace.admit(LOOK).await);
        }
        assert_eq!(waiting(), 0, "it was given up");
    }

    #[test]
    fn targets_have_a_lane_of_their_own() {
        let lane = |name| Lane::of(Operation { name, ..MAKE });
        assert_eq!(lane("RegisterTargets"), Lane::ChangeTargets);
        assert_eq!(lane("DeregisterTargets"), Lane::ChangeTargets);
        assert_eq!(lane("DescribeTargetHealth"), Lane::LookAtLoadBalancers);
        assert_eq!(lane("DeleteTargetGroup"), Lane::ChangeLoadBalancers);
        assert_eq!(Lane::of(LOOK), Lane::LookAtNetwork);
    }
}
