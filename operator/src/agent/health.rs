//! Whether this agent programs the node's Services in time, and whether the node wants new connections.
//!
//! The rules are kube-proxy's, with one difference: kube-proxy counts as healthy for as long as its first sync has not
//! succeeded, even if that never happens. Here an update that waits too long is unhealthy whether or not one succeeded
//! before, since a node without rules must not be sent traffic.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

/// One moment, on the wall clock and on the monotonic clock.
///
/// Decisions use the monotonic part. The wall clock is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What a wall clock shows.
    pub wall: Timestamp,
    /// Time since the process began.
    pub since_start: Duration,
}

impl fmt::Display for Moment {
    /// As Go prints a `time.Time` that holds a monotonic reading, which is what kube-proxy puts into its answers:
    /// `2026-11-02 12:00:00.25 +0000 UTC m=+61.000000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.wall.strftime("%Y-%m-%d %H:%M:%S"))?;
        let nanoseconds = self.wall.subsec_nanosecond();
        if nanoseconds != 0 {
            write!(f, ".{}", format!("{nanoseconds:09}").trim_end_matches('0'))?;
        }
        let since = self.since_start;
        write!(f, " +0000 UTC m=+{}.{:09}", since.as_secs(), since.subsec_nanos())
    }
}

/// Where [`Moment`]s come from.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic part begins now.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// The present.
    pub fn now(&self) -> Moment {
        Moment {
            wall: Timestamp::now(),
            since_start: self.started.elapsed(),
        }
    }
}

/// Who asks. Both senses agree on the dataplane; they differ on what a leaving node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probe {
    /// `/healthz`, for load balancers: unhealthy too while the node is going away, so that they send no new connections.
    Healthz,
    /// `/livez`, for the kubelet: a leaving node is no reason to restart the agent.
    Livez,
}

/// What a probe is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The sense that was asked for.
    pub probe: Probe,
    /// 200 if true, else 503.
    pub is_healthy: bool,
    /// The last successful sync; the present if healthy; nothing if there never was one.
    pub last_updated: Option<Moment>,
    /// When the report was made.
    pub current_time: Moment,
    /// False while the node is going away.
    pub is_node_eligible: bool,
}

impl Report {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        if self.is_healthy { 200 } else { 503 }
    }

    /// The JSON text, to the byte as kube-proxy spaces it.
    pub fn body(&self) -> String {
        // Go's zero time, which is what kube-proxy shows for "never".
        let last = self
            .last_updated
            .map_or_else(|| "0001-01-01 00:00:00 +0000 UTC".to_owned(), |at| at.to_string());
        let now = self.current_time;
        match self.probe {
            Probe::Healthz => {
                let eligible = self.is_node_eligible;
                format!(r#"{{"lastUpdated": "{last}","currentTime": "{now}", "nodeEligible": {eligible}}}"#)
            }
            Probe::Livez => format!(r#"{{"lastUpdated": "{last}","currentTime": "{now}"}}"#),
        }
    }
}

/// The state behind the probes. It has no clock: every method takes the present.
///
/// One table carries both IP families and one transaction writes both, so there is one state and not one per family.
#[derive(Debug, Clone)]
pub struct Health {
    timeout: Duration,
    last_synced: Option<Moment>,
    oldest_pending: Option<Moment>,
    is_node_eligible: bool,
    obstacles: BTreeMap<Obstacle, String>,
}

/// Where something stands in the way of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// What Services there are is not known.
    Source,
    /// The rules cannot be made or written.
    Rules,
}

/// Why the node's rules are not to be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// How long the oldest change has waited; nothing while nothing was ever committed.
    late: Option<Duration>,
    obstacles: Vec<String>,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.late {
            None => f.write_str("no rules are committed yet")?,
            Some(late) => write!(f, "a change has waited for {} s", late.as_secs())?,
        }
        self.obstacles.iter().try_for_each(|obstacle| write!(f, ": {obstacle}"))
    }
}

impl Health {
    /// Healthy, with nothing pending. An update may wait for twice `sync_period`.
    pub fn new(sync_period: Duration) -> Self {
        Self {
            timeout: sync_period * 2,
            last_synced: None,
            oldest_pending: None,
            is_node_eligible: true,
            obstacles: BTreeMap::new(),
        }
    }

    /// A change has arrived that the kernel does not have yet. Later ones do not postpone the deadline of the first.
    pub fn queued(&mut self, now: Moment) {
        self.oldest_pending.get_or_insert(now);
    }

    /// The kernel has everything that was known when the sync began; `pending_since` is when the oldest change that is
    /// not part of it arrived, if there is one.
    pub fn synced(&mut self, now: Moment, pending_since: Option<Moment>) {
        self.last_synced = Some(now);
        self.oldest_pending = pending_since;
        self.obstacles.remove(&Obstacle::Rules);
    }

    /// What stands in the way of the next commit, or that nothing does.
    pub fn set_obstacle(&mut self, at: Obstacle, what: Option<String>) {
        match what {
            Some(what) => drop(self.obstacles.insert(at, what)),
            None => drop(self.obstacles.remove(&at)),
        }
    }

    /// Whether the node's rules are there and up to date. Unlike the probes it does not hold before the first commit.
    /// A source that is away afterwards does not matter: the rules are what was known.
    pub fn readiness(&self, now: Moment) -> Result<(), NotReady> {
        let waited = |since: Moment| now.since_start.saturating_sub(since.since_start);
        let late = self.oldest_pending.map(waited).filter(|late| *late >= self.timeout);
        if self.last_synced.is_some() && late.is_none() {
            return Ok(());
        }
        Err(NotReady {
            late: late.filter(|_| self.last_synced.is_some()),
            obstacles: self.obstacles.values().cloned().collect(),
        })
    }

    /// The own Node was seen, with or without a sign that it is going away.
    pub fn node_seen(&mut self, is_eligible: bool) {
        self.is_node_eligible = is_eligible;
    }

    /// The answer to a probe.
    pub fn report(&self, probe: Probe, now: Moment) -> Report {
        let is_in_time = self
            .oldest_pending
            .is_none_or(|since| now.since_start.saturating_sub(since.since_start) < self.timeout);
        let is_healthy = match probe {
            Probe::Healthz => is_in_time && self.is_node_eligible,
            Probe::Livez => is_in_time,
        };
        Report {
            probe,
            is_healthy,
            last_updated: if is_healthy { Some(now) } else { self.last_synced },
            current_time: now,
            is_node_eligible: self.is_node_eligible,
        }
    }
}

/// [`Health`] shared between the sync loop, which writes it, and the servers, which read it. Clones share one state.
#[derive(Debug, Clone)]
pub struct SharedHealth {
    state: Arc<Mutex<Health>>,
    clock: Clock,
}

impl SharedHealth {
    /// Shares a state; `clock` gives the present to every call.
    pub fn new(health: Health, clock: Clock) -> Self {
        Self {
            state: Arc::new(Mutex::new(health)),
            clock,
        }
    }

    /// See [`Health::queued`].
    pub fn queued(&self) {
        let now = self.clock.now();
        self.with(|health| health.queued(now));
    }

    /// See [`Health::synced`].
    pub fn synced(&self, pending_since: Option<Moment>) {
        let now = self.clock.now();
        self.with(|health| health.synced(now, pending_since));
    }

    /// See [`Health::node_seen`].
    pub fn node_seen(&self, is_eligible: bool) {
        self.with(|health| health.node_seen(is_eligible));
    }

    /// See [`Health::set_obstacle`].
    pub fn set_obstacle(&self, at: Obstacle, what: Option<String>) {
        self.with(|health| health.set_obstacle(at, what));
    }

    /// See [`Health::readiness`].
    pub fn readiness(&self) -> Result<(), NotReady> {
        let now = self.clock.now();
        self.with(|health| health.readiness(now))
    }

    /// See [`Health::report`].
    pub fn report(&self, probe: Probe) -> Report {
        let now = self.clock.now();
        self.with(|health| health.report(probe, now))
    }

    /// The clock behind this state.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    fn with<T>(&self, act: impl FnOnce(&mut Health) -> T) -> T {
        // No method of `Health` can leave it half written, so a panic elsewhere does not spoil it.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Moment {
        let wall: Timestamp = "2026-11-02T12:00:00Z".parse().unwrap();
        Moment {
            wall: wall + Duration::from_secs(seconds),
            since_start: Duration::from_secs(seconds),
        }
    }

    fn healthy(health: &Health, now: u64) -> (bool, bool) {
        (
            health.report(Probe::Healthz, at(now)).is_healthy,
            health.report(Probe::Livez, at(now)).is_healthy,
        )
    }

    #[test]
    fn it_is_healthy_while_starting_and_while_nothing_changes() {
        let mut health = Health::new(PERIOD);
        assert_eq!(healthy(&health, 10_000), (true, true));
        health.queued(at(1));
        health.synced(at(2), None);
        assert_eq!(healthy(&health, 10_000), (true, true));
    }

    #[test]
    fn an_update_that_waits_for_two_periods_is_unhealthy_until_a_sync() {
        let mut health = Health::new(PERIOD);
        health.synced(at(1), None);
        health.queued(at(100));
        health.queued(at(150));
        assert_eq!(healthy(&health, 159), (true, true));
        assert_eq!(healthy(&health, 160), (false, false));
        assert_eq!(health.report(Probe::Livez, at(160)).last_updated, Some(at(1)));
        health.synced(at(161), Some(at(150)));
        assert_eq!(healthy(&health, 209), (true, true));
        assert_eq!(
            healthy(&health, 210),
            (false, false),
            "a change that came during the sync keeps its own deadline"
        );
    }

    #[test]
    fn a_first_sync_that_never_comes_is_unhealthy() {
        let mut health = Health::new(PERIOD);
        health.queued(at(0));
        assert_eq!(healthy(&health, 60), (false, false));
        let body = health.report(Probe::Livez, at(60)).body();
        assert!(
            body.starts_with(r#"{"lastUpdated": "0001-01-01 00:00:00 +0000 UTC","#),
            "{body}"
        );
    }

    #[test]
    fn it_is_ready_from_the_first_commit_on_unless_a_change_is_late() {
        let mut health = Health::new(PERIOD);
        let not_ready = |health: &Health, now| health.readiness(at(now)).unwrap_err().to_string();
        assert_eq!(not_ready(&health, 1), "no rules are committed yet");
        health.set_obstacle(Obstacle::Rules, Some("waiting for lists".to_owned()));
        health.set_obstacle(
            Obstacle::Source,
            Some("https://[::1]:1/: connection refused".to_owned()),
        );
        assert_eq!(
            not_ready(&health, 100),
            "no rules are committed yet: https://[::1]:1/: connection refused: waiting for lists"
        );
        health.set_obstacle(Obstacle::Source, None);
        health.synced(at(101), None);
        assert_eq!(health.readiness(at(1000)), Ok(()));
        health.queued(at(1000));
        health.set_obstacle(Obstacle::Rules, Some("no memory".to_owned()));
        assert_eq!(health.readiness(at(1059)), Ok(()));
        assert_eq!(not_ready(&health, 1060), "a change has waited for 60 s: no memory");
        health.node_seen(false);
        health.synced(at(1061), None);
        assert_eq!(health.readiness(at(1061)), Ok(()), "a leaving node still serves");
    }

    #[test]
    fn a_leaving_node_fails_healthz_only() {
        let mut health = Health::new(PERIOD);
        health.node_seen(false);
        assert_eq!(healthy(&health, 1), (false, true));
        health.node_seen(true);
        assert_eq!(healthy(&health, 1), (true, true));
    }

    #[test]
    fn the_bodies_are_kube_proxys() {
        let mut health = Health::new(PERIOD);
        health.synced(at(1), None);
        assert_eq!(
            health.report(Probe::Healthz, at(61)).body(),
            r#"{"lastUpdated": "2026-11-02 12:01:01 +0000 UTC m=+61.000000000","currentTime": "2026-11-02 12:01:01 +0000 UTC m=+61.000000000", "nodeEligible": true}"#,
        );
        health.node_seen(false);
        assert_eq!(
            health.report(Probe::Healthz, at(61)).body(),
            r#"{"lastUpdated": "2026-11-02 12:00:01 +0000 UTC m=+1.000000000","currentTime": "2026-11-02 12:01:01 +0000 UTC m=+61.000000000", "nodeEligible": false}"#,
        );
        assert_eq!(
            health.report(Probe::Livez, at(61)).body(),
            r#"{"lastUpdated": "2026-11-02 12:01:01 +0000 UTC m=+61.000000000","currentTime": "2026-11-02 12:01:01 +0000 UTC m=+61.000000000"}"#,
        );
    }

    #[test]
    fn a_moment_prints_as_go_prints_it() {
        let moment = Moment {
            wall: "2026-01-02T03:04:05.0250Z".parse().unwrap(),
            since_start: Duration::new(12, 345),
        };
        assert_eq!(moment.to_string(), "2026-01-02 03:04:05.025 +0000 UTC m=+12.000000345");
    }
}
