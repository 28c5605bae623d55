use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;

use super::call::{Asked, Call, Outcome};
use super::{Refusal, TokenBucket};

/// Which calls go wrong in which way, and which calls there were. Clones are the same.
///
/// A call is given to the first fault, in the order in which they were made, that is for its action and is not used up.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    /// How often what is held was let go.
    releases: watch::Sender<u64>,
}

/// The actions that a fault is for.
#[must_use = "nothing goes wrong until it is said how"]
#[derive(Debug)]
pub struct On<'a> {
    faults: &'a Faults,
    pattern: String,
    skip: u64,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    history: Vec<Call>,
}

#[derive(Debug)]
struct Rule {
    pattern: String,
    /// Calls that are let through first.
    skip: u64,
    /// Calls that are still to go wrong.
    left: u64,
    effect: Effect,
}

#[derive(Debug)]
enum Effect {
    DropRequest,
    DropReply,
    Hold,
    Delay(Duration),
    Throttle,
    ThrottleAbove(TokenBucket),
    Unavailable(u16),
    Refuse(Refusal),
}

/// What the proxy does with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// AWS does it, and this becomes of the reply.
    Forward(Reply),
    /// AWS does not see it.
    Refuse(Refusal),
    /// AWS does not see it, and the connection ends.
    DropRequest,
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Send,
    SendAfter(Duration),
    /// Only when somebody releases it.
    Hold,
    Drop,
}

/// A call in the history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    place: usize,
    at: Instant,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::default(),
            releases: watch::Sender::new(0),
        }
    }

    /// The calls of an action (`CreateListener`), of one of a certain service (`ec2:DescribeSubnets`), or of all that begin
    /// so (`Describe*`, `ec2:*`, `*`).
    pub fn on(&self, pattern: &str) -> On<'_> {
        On {
            faults: self,
            pattern: pattern.to_owned(),
            skip: 0,
        }
    }

    /// How often each action was called since the start or the last reset, whatever became of it.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.count(|_| true)
    }

    /// How often each action was turned down by a fault.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        self.count(|outcome| matches!(outcome, Outcome::Refused(_)))
    }

    /// Every call since the start or the last reset, in the order in which they came in.
    pub fn history(&self) -> Vec<Call> {
        self.lock().history.clone()
    }

    /// Lets every reply go that is held.
    pub fn release(&self) {
        self.releases.send_modify(|count| *count += 1);
    }

    /// Forgets all faults and all calls, and lets go what is held.
    pub fn reset(&self) {
        *self.lock() = State::default();
        self.release();
    }

    /// Forgets all calls; the faults stay.
    pub fn forget_calls(&self) {
        self.lock().history.clear();
    }

    /// Waits until the calls are as this wants them.
    pub fn wait_until(&self, limit: Duration, what: &str, is_so: impl Fn(&[Call]) -> bool) -> Result<()> {
        fairlead_lab::wait_until(limit, what, || is_so(&self.lock().history))?;
        Ok(())
    }

    fn count(&self, counts: impl Fn(Outcome) -> bool) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for call in self.lock().history.iter().filter(|call| counts(call.outcome)) {
            *counted.entry(call.action.clone()).or_default() += 1;
        }
        counted
    }

    /// Writes a call down and says what to do with it.
    pub(super) fn judge(&self, asked: &Asked, now: Instant) -> (Ticket, Verdict) {
        let mut state = self.lock();
        let verdict = state.verdict(asked, now);
        state.history.push(Call {
            action: asked.name(),
            parameters: asked.parameters.clone(),
            outcome: match &verdict {
                Verdict::Forward(_) => Outcome::Pending,
                Verdict::Refuse(refusal) => Outcome::Refused(refusal.status),
                Verdict::DropRequest => Outcome::RequestDropped,
            },
            at: now,
        });
        let place = state.history.len() - 1;
        (Ticket { place, at: now }, verdict)
    }

    /// Writes down what became of a call, unless it is forgotten.
    pub(super) fn note(&self, ticket: Ticket, outcome: Outcome) {
        let mut state = self.lock();
        if let Some(call) = state.history.get_mut(ticket.place).filter(|call| call.at == ticket.at) {
            call.outcome = outcome;
        }
    }

    /// Hears of every release from now on.
    pub(super) fn releases(&self) -> watch::Receiver<u64> {
        self.releases.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: a panic elsewhere left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl On<'_> {
    /// Lets so many calls through first.
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// AWS does the call, and the connection ends without a reply.
    pub fn drop_reply(self, times: u64) {
        self.add(times, Effect::DropReply);
    }

    /// The connection ends before AWS has seen the call.
    pub fn drop_request(self, times: u64) {
        self.add(times, Effect::DropRequest);
    }

    /// AWS does the call, and there is no reply until [`Faults::release`] or [`Faults::reset`].
    pub fn hold_reply(self, times: u64) {
        self.add(times, Effect::Hold);
    }

    /// AWS does the call, and the reply comes so much later.
    pub fn delay_reply(self, by: Duration, times: u64) {
        self.add(times, Effect::Delay(by));
    }

    /// There were too many calls, in the words of the service.
    pub fn throttle(self, times: u64) {
        self.add(times, Effect::Throttle);
    }

    /// The same for what is more than this bucket grants, until the reset. All actions of this fault share it.
    pub fn throttle_above(self, bucket: TokenBucket) {
        self.add(u64::MAX, Effect::ThrottleAbove(bucket));
    }

    /// The service has a fault of its own, with this HTTP status, such as 500 or 503.
    pub fn fail(self, status: u16, times: u64) {
        self.add(times, Effect::Unavailable(status));
    }

    /// Any error of the API.
    pub fn refuse(self, refusal: Refusal, times: u64) {
        self.add(times, Effect::Refuse(refusal));
    }

    fn add(self, times: u64, effect: Effect) {
        self.faults.lock().rules.push(Rule {
            pattern: self.pattern,
            skip: self.skip,
            left: times,
            effect,
        });
    }
}

impl State {
    fn verdict(&mut self, asked: &Asked, now: Instant) -> Verdict {
        let verdict = self.rules.iter_mut().find_map(|rule| rule.verdict(asked, now));
        verdict.unwrap_or(Verdict::Forward(Reply::Send))
    }
}

impl Rule {
    /// `None` if this call does not go wrong by it.
    fn verdict(&mut self, asked: &Asked, now: Instant) -> Option<Verdict> {
        if self.left == 0 || !matches(&self.pattern, asked) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let verdict = match &mut self.effect {
            Effect::ThrottleAbove(bucket) => {
                if bucket.take(now) {
                    return None;
                }
                Verdict::Refuse(Refusal::throttled(asked.protocol))
            }
            Effect::Throttle => Verdict::Refuse(Refusal::throttled(asked.protocol)),
            Effect::Unavailable(status) => Verdict::Refuse(Refusal::unavailable(asked.protocol, *status)),
            Effect::Refuse(refusal) => Verdict::Refuse(refusal.clone()),
            Effect::DropRequest => Verdict::DropRequest,
            Effect::DropReply => Verdict::Forward(Reply::Drop),
            Effect::Hold => Verdict::Forward(Reply::Hold),
            Effect::Delay(by) => Verdict::Forward(Reply::SendAfter(*by)),
        };
        self.left -= 1;
        Some(verdict)
    }
}

fn matches(pattern: &str, asked: &Asked) -> bool {
    let name = if pattern.contains(':') {
        asked.name()
    } else {
        asked.action.clone()
    };
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::Protocol;
    use super::*;

    fn asked(name: &str) -> Asked {
        let (service, action) = name.split_once(':').unwrap();
        Asked {
            service: service.to_owned(),
            action: action.to_owned(),
            parameters: BTreeMap::new(),
            protocol: if service == "ec2" {
                Protocol::Ec2
            } else {
                Protocol::Query
            },
        }
    }

    /// The verdicts over calls of these names, all at one time.
    fn verdicts<const N: usize>(faults: &Faults, names: [&str; N]) -> [Verdict; N] {
        let now = Instant::now();
        names.map(|name| faults.judge(&asked(name), now).1)
    }

    const SEND: Verdict = Verdict::Forward(Reply::Send);
    const DROP: Verdict = Verdict::Forward(Reply::Drop);

    #[test]
    fn a_fault_is_for_its_action_and_is_used_up() {
        let faults = Faults::new();
        faults.on("CreateListener").drop_reply(1);
        let names = ["elb:CreateLoadBalancer", "elb:CreateListener", "elb:CreateListener"];
        assert_eq!(verdicts(&faults, names), [SEND, DROP, SEND]);
    }

    #[test]
    fn a_pattern_names_a_service_or_a_beginning() {
        for (pattern, hit) in [
            ("ec2:*", [false, true, true]),
            ("Describe*", [true, true, false]),
            ("ec2:Describe*", [false, true, false]),
            ("ec2:CreateTags", [false, false, true]),
            ("elb:CreateTags", [false, false, false]),
            ("*", [true, true, true]),
        ] {
            let faults = Faults::new();
            faults.on(pattern).drop_reply(u64::MAX);
            let seen = verdicts(&faults, ["elb:DescribeTags", "ec2:DescribeTags", "ec2:CreateTags"]);
            assert_eq!(seen, hit.map(|is_hit| if is_hit { DROP } else { SEND }), "{pattern}");
        }
    }

    #[test]
    fn a_fault_lets_through_what_comes_before_it() {
        let faults = Faults::new();
        faults.on("*").after(2).drop_request(1);
        let seen = verdicts(&faults, ["ec2:A", "ec2:A", "ec2:A", "ec2:A"]);
        assert_eq!(seen, [SEND, SEND, Verdict::DropRequest, SEND]);
    }

    #[test]
    fn the_first_fault_gets_the_call_and_the_next_one_what_is_left() {
        let faults = Faults::new();
        faults.on("A").throttle(1);
        faults.on("*").fail(500, 1);
        let throttled = Verdict::Refuse(Refusal::throttled(Protocol::Ec2));
        let failed = Verdict::Refuse(Refusal::unavailable(Protocol::Ec2, 500));
        assert_eq!(
            verdicts(&faults, ["ec2:A", "ec2:A", "ec2:A"]),
            [throttled, failed, SEND]
        );
        assert_eq!(faults.refused(), BTreeMap::from([("ec2:A".to_owned(), 2)]));
        assert_eq!(faults.calls(), BTreeMap::from([("ec2:A".to_owned(), 3)]));
    }

    #[test]
    fn a_bucket_throttles_what_is_too_much() {
        let faults = Faults::new();
        faults.on("*").throttle_above(TokenBucket::new(2, Duration::MAX));
        let throttled = Verdict::Refuse(Refusal::throttled(Protocol::Query));
        let seen = verdicts(&faults, ["elb:A", "elb:B", "elb:A"]);
        assert_eq!(seen, [SEND, SEND, throttled]);
    }

    #[test]
    fn after_a_reset_nothing_goes_wrong_and_nothing_was_called() {
        let faults = Faults::new();
        faults.on("*").drop_reply(u64::MAX);
        let (ticket, _) = faults.judge(&asked("ec2:A"), Instant::now());
        faults.reset();
        faults.note(ticket, Outcome::Answered(200));
        assert_eq!(faults.calls(), BTreeMap::new());
        assert_eq!(verdicts(&faults, ["ec2:A"]), [SEND]);
        faults.note(ticket, Outcome::Answered(200));
        assert_eq!(
            faults.history()[0].outcome,
            Outcome::Pending,
            "a call of before the reset"
        );
    }
}
