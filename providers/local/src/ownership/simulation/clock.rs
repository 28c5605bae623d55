//! A node's monotonic clock: it runs at its own rate, stands still with its machine, and may jump forward.

/// Reads in its own microseconds, by the world's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    at: u64,
    reads: u64,
    ppm: i64,
}

impl Clock {
    pub(super) fn read(&self, now: u64) -> u64 {
        let passed = i128::from(now - self.at);
        let own = passed * i128::from(1_000_000 + self.ppm) / 1_000_000;
        self.reads + u64::try_from(own).expect("a clock does not run backwards")
    }

    /// When it reads this much.
    pub(super) fn reaches(&self, reading: u64) -> u64 {
        let left = i128::from(reading.saturating_sub(self.reads));
        let rate = i128::from(1_000_000 + self.ppm);
        self.at + u64::try_from((left * 1_000_000 + rate - 1) / rate).expect("a short run")
    }

    pub(super) fn set_rate(&mut self, ppm: i64, now: u64) {
        *self = Self {
            at: now,
            reads: self.read(now),
            ppm,
        };
    }

    pub(super) fn jump(&mut self, by: u64, now: u64) {
        self.set_rate(self.ppm, now);
        self.reads += by;
    }

    /// It has stood still since it read this much.
    pub(super) fn go_on_from(&mut self, reading: u64, now: u64) {
        self.at = now;
        self.reads = reading;
    }
}

#[test]
fn a_clock_reads_what_it_was_said_to_reach() {
    let mut clock = Clock::default();
    for (ppm, now) in [(10_000, 5), (-10_000, 1_000_003), (200, 7_777_777)] {
        clock.set_rate(ppm, now);
        for wait in [0, 1, 99, 100_001] {
            let reading = clock.read(now) + wait;
            let then = clock.reaches(reading);
            assert!(clock.read(then) >= reading && (then == now || clock.read(then - 1) < reading));
        }
    }
    let before = clock.read(8_000_000);
    clock.jump(5, 8_000_000);
    assert_eq!(clock.read(8_000_000), before + 5);
    clock.go_on_from(before, 9_000_000);
    assert_eq!(clock.read(9_000_000), before);
}
