//! The leader lease: of all operators of a cluster at most one acts.
//!
//! ```text
//!   API server ──► store ──► election ──► run ──► Claim ──► the leader's work
//!       ▲          (I/O)      (pure)     (I/O)
//!       └──────── writes ◄──────┘
//! ```
//!
//! [`election`] decides and knows no clock but the one it is told; start reading there. [`store`] is the Lease object at the
//! API server. [`run`](mod@run) carries out, and owns the leader's work.
//!
//! The rules are client-go's: nobody compares clocks. A contender counts from when *it* last saw the lease change, and takes
//! it when that is longer ago than the holder asked for. The holder counts from when it *sent* its last renewal, and stops
//! at the renew deadline, which is shorter. Writes carry the resource version that was seen, so of two only one succeeds.

pub mod election;
pub mod run;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::sync::watch;
use tokio::time::Instant;

/// The Lease object's name.
pub const NAME: &str = "fairlead-operator";

/// How often the lease has changed hands. Of two leaders the later one has the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub i32);

impl Generation {
    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The right to act, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Goes with what a leader writes, so that whoever reads it can refuse an older leader.
    pub generation: Generation,
    /// When it ends, unless the lease is renewed before. Nobody else can lead until then.
    pub valid_until: Instant,
}

impl Claim {
    /// Whether the holder may act at this moment. A process that was paused must ask again before each write.
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.valid_until
    }
}

/// The claim as it is now; `None` while this process does not lead, and as soon as its work must end.
pub type Claims = watch::Receiver<Option<Claim>>;

/// The lease's times. They fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Times that do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The Lease object counts in seconds.
    #[error("--leader-elect-lease-duration ({0:?}) must be whole seconds, and at least one")]
    NotWholeSeconds(Duration),
    /// Somebody else could lead before the holder stops.
    #[error("--leader-elect-lease-duration ({0:?}) must be longer than --leader-elect-renew-deadline ({1:?})")]
    DeadlineTooLong(Duration, Duration),
    /// One lost request would cost the lease.
    #[error("--leader-elect-renew-deadline ({0:?}) must be longer than 1.2 times --leader-elect-retry-period ({1:?})")]
    RetryTooLong(Duration, Duration),
    /// It would never rest.
    #[error("--leader-elect-retry-period must not be zero")]
    NoRetryPeriod,
}

impl Timing {
    /// Times that fit together, or why they do not.
    pub fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, TimingError> {
        let is_whole = lease_duration.subsec_nanos() == 0 && i32::try_from(lease_duration.as_secs()).is_ok();
        if lease_duration.is_zero() || !is_whole {
            return Err(TimingError::NotWholeSeconds(lease_duration));
        }
        if lease_duration <= renew_deadline {
            return Err(TimingError::DeadlineTooLong(lease_duration, renew_deadline));
        }
        if retry_period.is_zero() {
            return Err(TimingError::NoRetryPeriod);
        }
        // client-go's factor, so that the same settings are right here and there.
        if renew_deadline * 5 <= retry_period * 6 {
            return Err(TimingError::RetryTooLong(renew_deadline, retry_period));
        }
        Ok(Self {
            lease_duration,
            renew_deadline,
            retry_period,
        })
    }

    /// How long one request may take: a holder must be able to try more than once.
    pub fn request_timeout(&self) -> Duration {
        self.renew_deadline / 2
    }

    /// How long after the end of a claim its work may still be ending. The other half of what lies between the renew deadline
    /// and the lease's end is for clocks that run apart.
    pub fn ending_margin(&self) -> Duration {
        self.lease_duration.saturating_sub(self.renew_deadline) / 2
    }

    fn lease_seconds(&self) -> i32 {
        i32::try_from(self.lease_duration.as_secs()).expect("checked when it was made")
    }
}

/// The Lease object as somebody left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Who holds it, if anybody does.
    pub holder: Option<Arc<str>>,
    /// How long it must not have changed before others may take it; `None` where the holder does not say.
    pub duration: Option<Duration>,
    /// How often it has changed hands.
    pub generation: Generation,
    /// Differs after every write.
    pub version: Arc<str>,
    /// What others wrote into it stays as it is.
    object: Arc<Lease>,
}

impl From<Lease> for Record {
    fn from(object: Lease) -> Self {
        let spec = object.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        Self {
            holder: holder.filter(|holder| !holder.is_empty()).map(Into::into),
            duration: seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            generation: Generation(spec.and_then(|spec| spec.lease_transitions).unwrap_or(0)),
            version: object.metadata.resource_version.as_deref().unwrap_or_default().into(),
            object: Arc::new(object),
        }
    }
}

/// A write of the lease. It is refused if the lease is no longer what it was.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Become its holder. Without an object to replace, one is made.
    Take {
        /// What it was.
        over: Option<Record>,
        /// The number of the new claim.
        generation: Generation,
    },
    /// Stay its holder. Without an object to replace, since somebody deleted it, one is made.
    Renew {
        /// What it was.
        over: Option<Record>,
        /// The number of the claim.
        generation: Generation,
    },
    /// Leave it to others.
    Release {
        /// What it was.
        over: Record,
    },
}

impl Write {
    /// What is replaced; `None` if the object is made.
    fn over(&self) -> Option<&Record> {
        match self {
            Self::Take { over, .. } | Self::Renew { over, .. } => over.as_ref(),
            Self::Release { over } => Some(over),
        }
    }

    /// The object to be written. `now` is for people to read.
    fn to_object(&self, identity: &str, timing: &Timing, now: &MicroTime) -> Lease {
        let mut object = match self.over() {
            Some(record) => Lease::clone(&record.object),
            None => Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: None,
            },
        };
        let spec = object.spec.get_or_insert_with(LeaseSpec::default);
        spec.renew_time = Some(now.clone());
        match self {
            Self::Take { generation, .. } => {
                spec.acquire_time = Some(now.clone());
                spec.holder_identity = Some(identity.to_owned());
                spec.lease_duration_seconds = Some(timing.lease_seconds());
                spec.lease_transitions = Some(generation.0);
            }
            Self::Renew { generation, .. } => {
                spec.acquire_time.get_or_insert_with(|| now.clone());
                spec.holder_identity = Some(identity.to_owned());
                spec.lease_duration_seconds = Some(timing.lease_seconds());
                spec.lease_transitions = Some(generation.0);
            }
            Self::Release { .. } => {
                spec.acquire_time = Some(now.clone());
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn times_that_do_not_fit_together_are_refused_by_the_names_of_their_flags() {
        let error = |lease, deadline, retry| Timing::new(lease, deadline, retry).unwrap_err().to_string();
        assert_eq!(
            error(seconds(10), seconds(10), seconds(2)),
            "--leader-elect-lease-duration (10s) must be longer than --leader-elect-renew-deadline (10s)"
        );
        assert_eq!(
            error(seconds(15), seconds(6), seconds(5)),
            "--leader-elect-renew-deadline (6s) must be longer than 1.2 times --leader-elect-retry-period (5s)"
        );
        for lease in [Duration::ZERO, Duration::from_millis(2_500), seconds(1 << 40)] {
            assert_eq!(
                Timing::new(lease, seconds(2), seconds(1)),
                Err(TimingError::NotWholeSeconds(lease))
            );
        }
        assert_eq!(
            Timing::new(seconds(15), seconds(10), Duration::ZERO),
            Err(TimingError::NoRetryPeriod)
        );
        assert!(Timing::new(seconds(15), Duration::from_millis(6_001), seconds(5)).is_ok());
    }

    #[test]
    fn what_others_wrote_into_the_object_stays() {
        let timing = Timing::new(seconds(15), seconds(10), seconds(2)).unwrap();
        let [first, second] = [1, 2].map(|second| {
            MicroTime(k8s_openapi::jiff::Timestamp::from_second(second).expect("a second after the epoch"))
        });
        let made = Write::Take {
            over: None,
            generation: Generation(0),
        };
        let mut object = made.to_object("me", &timing, &first);
        object.metadata.resource_version = Some("7".to_owned());
        object.metadata.labels = Some([("team".to_owned(), "network".to_owned())].into());
        let record = Record::from(object.clone());
        assert_eq!(record.holder.as_deref(), Some("me"));
        assert_eq!(record.duration, Some(seconds(15)));

        let renewed = Write::Renew {
            over: Some(record.clone()),
            generation: Generation(0),
        };
        let renewed = renewed.to_object("me", &timing, &second);
        assert_eq!(renewed.metadata, object.metadata);
        let spec = renewed.spec.unwrap();
        assert_eq!(
            (spec.acquire_time, spec.renew_time),
            (Some(first), Some(second.clone()))
        );

        let released = Write::Release { over: record }.to_object("me", &timing, &second);
        assert_eq!(released.metadata, object.metadata);
        let record = Record::from(released);
        assert_eq!(record.holder, None);
        assert_eq!(record.duration, Some(seconds(1)));
        assert_eq!(record.generation, Generation(0));
    }
}
