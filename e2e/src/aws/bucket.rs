use std::time::{Duration, Instant};

/// So many calls at once, and one more after each pause, as AWS limits an account.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    burst: u32,
    pause: Duration,
    /// Calls that may be made at `counted`.
    tokens: u32,
    counted: Option<Instant>,
}

impl TokenBucket {
    /// A full one. One that never fills again has a pause of [`Duration::MAX`].
    pub fn new(burst: u32, pause: Duration) -> Self {
        Self {
            burst,
            pause,
            tokens: burst,
            counted: None,
        }
    }

    /// Whether one more call is within the limit; if so, it is counted.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let mut counted = self.counted.unwrap_or(now);
        while self.tokens < self.burst && now.saturating_duration_since(counted) >= self.pause {
            self.tokens += 1;
            counted += self.pause;
        }
        // A full bucket does not save up the time.
        self.counted = Some(if self.tokens == self.burst { now } else { counted });
        let granted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_there_is_one_call_in_each_pause() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut bucket = TokenBucket::new(2, Duration::from_millis(100));
        let granted = [0, 10, 20, 99, 100, 150, 199, 200, 1000, 1001, 1002];
        let granted = granted.map(|millis| (millis, bucket.take(at(millis))));
        let expected = [
            (0, true),
            (10, true),
            (20, false),
            (99, false),
            (100, true),
            (150, false),
            (199, false),
            (200, true),
            (1000, true),
            (1001, true),
            (1002, false),
        ];
        assert_eq!(granted, expected);
    }

    #[test]
    fn one_that_does_not_fill_again_grants_its_burst_and_no_more() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1, Duration::MAX);
        assert!(bucket.take(start));
        assert!(!bucket.take(start + Duration::from_hours(1)));
    }
}
