//! Contenders with clocks that run apart, a server whose answers get lost, and processes that stop for a while: at no moment
//! two of them hold a valid claim, and soon after the last fault one leads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::super::{Generation, Record, Timing, Write};
use super::{Election, Step, Written};

const SEEDS: u64 = 400;
const STEP: Duration = Duration::from_millis(50);
const FAULTY: u32 = 20 * 60 * 4;
/// A lease that nobody renews any more, on the slowest clock, and some tries.
const RECOVERS_WITHIN: u32 = 20 * 30;

/// xorshift64*: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound)).expect("below a u32")
    }

    fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }
}

struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn record(&self) -> Option<Record> {
        self.lease.clone().map(Record::from)
    }

    fn write(&mut self, write: &Write, identity: &str, timing: &Timing) -> Written {
        let expected = write.over().map(|record| record.version.clone());
        let current = self.record().map(|record| record.version);
        if expected != current {
            return Written::Conflict;
        }
        let mut lease = write.to_object(identity, timing, &MicroTime(Timestamp::UNIX_EPOCH));
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease);
        Written::Done(self.record().expect("just written"))
    }
}

enum Request {
    Look,
    Write(Write),
}

enum Answer {
    Looked(Option<Record>),
    Wrote(Written),
    Failed,
}

struct Process {
    election: Election,
    /// Its clock, in thousandths of the true one.
    rate: u32,
    paused_until: u32,
    /// Arrives at the server at that step, if it arrives.
    request: Option<(u32, Request)>,
    answer: Option<(u32, Answer)>,
    /// When it gives its request up, on its own clock.
    gives_up: Option<Instant>,
    work_ends: Option<u32>,
    starts: u32,
}

struct World {
    random: Random,
    server: Server,
    processes: Vec<Process>,
    origin: Instant,
    step: u32,
    /// Who led last, and its claim's number.
    leaders: VecDeque<(String, Generation)>,
}

fn timing() -> Timing {
    let seconds = Duration::from_secs;
    Timing::new(seconds(15), seconds(10), seconds(2)).expect("client-go's defaults")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let count = 2 + random.below(3);
        let processes = (0..count)
            .map(|number| Process {
                election: Election::new(format!("p{number}-0").into(), timing()),
                // Together far less than what lies between the renew deadline and the end of the lease.
                rate: 950 + random.below(101),
                paused_until: 0,
                request: None,
                answer: None,
                gives_up: None,
                work_ends: None,
                starts: 0,
            })
            .collect();
        Self {
            random,
            server: Server {
                lease: None,
                version: 0,
            },
            processes,
            origin: Instant::now(),
            step: 0,
            leaders: VecDeque::new(),
        }
    }

    fn local(&self, process: &Process) -> Instant {
        self.origin + STEP * self.step * process.rate / 1000
    }

    fn is_leading(&self, process: &Process) -> Option<Generation> {
        let claim = process.election.claim()?;
        claim.is_valid(self.local(process)).then_some(claim.generation)
    }

    fn turn(&mut self, is_faulty: bool) {
        self.step += 1;
        for index in 0..self.processes.len() {
            self.deliver(index, is_faulty);
            if is_faulty {
                self.harm(index);
            }
            if self.step >= self.processes[index].paused_until {
                self.act(index, is_faulty);
            }
        }
        self.check();
    }

    /// What is on its way arrives at the server whether its sender still cares or not.
    fn deliver(&mut self, index: usize, is_faulty: bool) {
        let Some((_, request)) = self.processes[index].request.take_if(|(at, _)| *at <= self.step) else {
            return;
        };
        let identity = self.processes[index].election.identity().clone();
        let answer = match request {
            Request::Look => Answer::Looked(self.server.record()),
            Request::Write(write) => Answer::Wrote(self.server.write(&write, &identity, &timing())),
        };
        if !is_faulty || !self.random.once_in(8) {
            let delay = self.delay(is_faulty);
            self.processes[index].answer = Some((self.step + delay, answer));
        }
    }

    fn delay(&mut self, is_faulty: bool) -> u32 {
        let is_late = is_faulty && self.random.once_in(10);
        self.random.below(if is_late { 240 } else { 3 })
    }

    fn harm(&mut self, index: usize) {
        if self.random.once_in(2000) {
            self.processes[index].paused_until = self.step + self.random.below(600);
        }
        if self.random.once_in(4000) {
            // It dies, and another is started. What it has sent is still under way.
            let process = &mut self.processes[index];
            process.starts += 1;
            let identity: Arc<str> = format!("p{index}-{}", process.starts).into();
            process.election = Election::new(identity, timing());
            (process.answer, process.gives_up, process.work_ends) = (None, None, None);
            // Its sender's name goes with a write that has not arrived, and that name is another now.
            process.request = None;
        }
    }

    fn act(&mut self, index: usize, is_faulty: bool) {
        let now = self.local(&self.processes[index]);
        let step = self.step;
        let process = &mut self.processes[index];
        if let Some((_, answer)) = process.answer.take_if(|(at, _)| *at <= step) {
            process.gives_up = None;
            match answer {
                Answer::Looked(record) => process.election.looked(record, now),
                Answer::Wrote(written) => process.election.wrote(written, now),
                Answer::Failed => process.election.failed(now),
            }
        }
        if process.gives_up.take_if(|at| *at <= now).is_some() {
            process.answer = None;
            process.election.failed(now);
        }
        if process.work_ends.take_if(|at| *at <= step).is_some() {
            process.election.work_ended();
        }
        let next = process.election.next(now);
        if process.election.take_loss().is_some() {
            process.work_ends = Some(step + 10);
        }
        let request = match next {
            Step::Look => Request::Look,
            Step::Write(write) => Request::Write(write),
            Step::Wait(_) | Step::WaitForEvent | Step::Done => return,
        };
        process.gives_up = Some(now + timing().request_timeout());
        process.answer = None;
        if is_faulty && self.random.once_in(8) {
            if self.random.once_in(2) {
                self.processes[index].answer = Some((step + 1, Answer::Failed));
            }
            return;
        }
        let delay = self.delay(is_faulty);
        self.processes[index].request = Some((step + delay, request));
    }

    fn check(&mut self) {
        let leading: Vec<_> = self
            .processes
            .iter()
            .filter_map(|process| Some((process.election.identity().to_string(), self.is_leading(process)?)))
            .collect();
        assert!(leading.len() <= 1, "two lead at step {}: {leading:?}", self.step);
        let Some(now) = leading.into_iter().next() else { return };
        match self.leaders.back() {
            Some(last) if *last == now => {}
            last => {
                assert!(
                    last.is_none_or(|last| last.1 < now.1),
                    "{now:?} leads after {last:?} at step {}",
                    self.step
                );
                self.leaders.push_back(now);
            }
        }
    }
}

#[test]
fn at_most_one_leads_and_soon_after_the_last_fault_one_does() {
    let mut changes = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..FAULTY {
            world.turn(true);
        }
        for process in &mut world.processes {
            process.paused_until = 0;
        }
        for _ in 0..RECOVERS_WITHIN {
            world.turn(false);
        }
        let leading = world
            .processes
            .iter()
            .filter(|process| world.is_leading(process).is_some());
        assert_eq!(leading.count(), 1, "seed {seed}");
        changes += world.leaders.len();
    }
    assert!(changes > usize::try_from(SEEDS).unwrap(), "the faults did nothing");
}
