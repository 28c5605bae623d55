//! What attempts of a client, one after the other, say about the time in which it was not answered.

use std::time::{Duration, Instant};

/// An answer that comes later than this is none: a client has given up or asked again by then.
pub const ANSWERED_WITHIN: Duration = Duration::from_millis(500);
/// A client is served again for good after so long without a lost probe.
pub const FOR_GOOD: Duration = Duration::from_secs(1);

/// A probe or a connection, and when its answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When it was sent.
    pub sent: Instant,
    /// When the answer came.
    pub answered: Option<Instant>,
}

/// What became of an event for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// No probe that was sent since then has been lost, and [`FOR_GOOD`] has passed.
    None,
    /// From the last answer before the first lost probe to the first answer after the last lost one.
    Took(Duration),
    /// It goes on, or too little time has passed to say.
    Unknown,
}

impl Attempt {
    /// Whether nobody answered in time; `None` while that is not known.
    pub fn is_lost(&self, now: Instant) -> Option<bool> {
        match self.answered {
            Some(at) => Some(at.saturating_duration_since(self.sent) > ANSWERED_WITHIN),
            None if now.saturating_duration_since(self.sent) > ANSWERED_WITHIN => Some(true),
            None => None,
        }
    }
}

/// The first outage of probes that were sent at or after `since`. `probes` are in the order in which they were sent, and `now` is
/// when they were read.
pub fn outage(probes: &[Attempt], since: Instant, now: Instant) -> Outage {
    let first = probes.partition_point(|probe| probe.sent < since);
    // A probe that was under way at that moment belongs to it as well.
    let first = probes[..first]
        .iter()
        .rposition(|probe| probe.sent + ANSWERED_WITHIN < since)
        .map_or(0, |before| before + 1);
    let decided = probes[first..]
        .iter()
        .take_while(|probe| probe.is_lost(now).is_some())
        .count();
    let decided = &probes[..first + decided];
    let is_lost = |probe: &Attempt| probe.is_lost(now) == Some(true);

    let Some(lost) = decided[first..].iter().position(is_lost).map(|nth| first + nth) else {
        let last = decided.last().map_or(since, |probe| probe.sent);
        return if last.saturating_duration_since(since) > FOR_GOOD {
            Outage::None
        } else {
            Outage::Unknown
        };
    };
    let mut last_lost = lost;
    for (nth, probe) in decided.iter().enumerate().skip(lost + 1) {
        if is_lost(probe) {
            last_lost = nth;
        } else if probe.sent.saturating_duration_since(decided[last_lost].sent) > FOR_GOOD {
            break;
        }
    }
    let good = &decided[last_lost + 1..];
    let lasts = good
        .last()
        .is_some_and(|probe| probe.sent.saturating_duration_since(decided[last_lost].sent) > FOR_GOOD);
    if !lasts {
        return Outage::Unknown;
    }
    let answers = |probes: &[Attempt]| probes.iter().filter_map(|probe| probe.answered).collect::<Vec<_>>();
    let before = answers(&decided[..lost])
        .into_iter()
        .max()
        .unwrap_or(decided[lost].sent);
    let after = answers(good)
        .into_iter()
        .min()
        .expect("the probes after the last lost one are answered");
    Outage::Took(after.saturating_duration_since(before))
}

/// How many probes were lost that were sent at or after `since`.
pub fn lost(probes: &[Attempt], since: Instant, now: Instant) -> usize {
    let sent = probes.iter().filter(|probe| probe.sent >= since);
    sent.filter(|probe| probe.is_lost(now) == Some(true)).count()
}

/// True if the probes of the last `window` were all answered, and there were any.
pub fn is_quiet(probes: &[Attempt], window: Duration, now: Instant) -> bool {
    let Some(since) = now.checked_sub(window) else {
        return false;
    };
    let recent = &probes[probes.partition_point(|probe| probe.sent < since)..];
    let has_all = probes.first().is_some_and(|probe| probe.sent <= since);
    has_all
        && recent.iter().any(|probe| probe.answered.is_some())
        && recent.iter().all(|probe| probe.is_lost(now) != Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(5);
    const DELAY: Duration = Duration::from_millis(1);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Probes of four seconds, of which those are lost that are sent in one of the intervals.
    fn probes(start: Instant, lost: &[(u64, u64)]) -> Vec<Attempt> {
        (0..800)
            .map(|nth| {
                let after = EVERY * nth;
                let is_lost = lost.iter().any(|(from, to)| (ms(*from)..ms(*to)).contains(&after));
                Attempt {
                    sent: start + after,
                    answered: (!is_lost).then_some(start + after + DELAY),
                }
            })
            .collect()
    }

    #[test]
    fn an_outage_is_from_the_last_answer_to_the_first_that_stays() {
        let start = Instant::now();
        let end = start + ms(4000);
        let since = start + ms(1000);
        // Probes at 995 and 1,500 are answered.
        assert_eq!(
            outage(&probes(start, &[(1000, 1500)]), since, end),
            Outage::Took(ms(505))
        );
        // Answers in between do not count as long as they do not last.
        let flaps = [(1000, 1200), (1300, 1800), (2700, 2705)];
        assert_eq!(outage(&probes(start, &flaps), since, end), Outage::Took(ms(1710)));
        // What was lost before has nothing to do with it.
        let earlier = [(100, 200), (1000, 1500)];
        assert_eq!(outage(&probes(start, &earlier), since, end), Outage::Took(ms(505)));
        // A later outage is another one.
        let later = [(1000, 1200), (2600, 2700)];
        assert_eq!(outage(&probes(start, &later), since, end), Outage::Took(ms(205)));
    }

    #[test]
    fn probes_under_way_at_the_event_belong_to_it() {
        let start = Instant::now();
        let probes = probes(start, &[(980, 1500)]);
        assert_eq!(
            outage(&probes, start + ms(1000), start + ms(4000)),
            Outage::Took(ms(525))
        );
    }

    #[test]
    fn it_is_not_said_too_early() {
        let start = Instant::now();
        let since = start + ms(1000);
        assert_eq!(outage(&probes(start, &[]), since, start + ms(4000)), Outage::None);
        assert_eq!(
            outage(&probes(start, &[])[..300], since, start + ms(1500)),
            Outage::Unknown
        );
        assert_eq!(
            outage(&probes(start, &[(1000, 9000)]), since, start + ms(9000)),
            Outage::Unknown
        );
        let back = probes(start, &[(1000, 3500)]);
        assert_eq!(outage(&back, since, start + ms(4000)), Outage::Unknown);
        assert_eq!(outage(&[], since, start + ms(4000)), Outage::Unknown);
    }

    #[test]
    fn a_late_answer_is_none() {
        let start = Instant::now();
        let mut probes = probes(start, &[]);
        for probe in &mut probes[200..210] {
            probe.answered = Some(probe.sent + ANSWERED_WITHIN + EVERY);
        }
        let now = start + ms(4000);
        // The last answer in time came at 996 ms, the next at 1,051 ms.
        assert_eq!(outage(&probes, start + ms(1000), now), Outage::Took(ms(55)));
        assert_eq!(lost(&probes, start + ms(1000), now), 10);
        assert_eq!(lost(&probes, start + ms(1025), now), 5);
    }

    #[test]
    fn quiet_is_a_time_without_loss() {
        let start = Instant::now();
        let now = start + ms(4000);
        let window = ms(1500);
        assert!(is_quiet(&probes(start, &[]), window, now));
        assert!(is_quiet(&probes(start, &[(1000, 2000)]), window, now));
        assert!(!is_quiet(&probes(start, &[(3000, 3005)]), window, now));
        assert!(!is_quiet(&probes(start, &[(2000, 9000)]), window, now));
        assert!(!is_quiet(&[], window, now));
        // Whoever has just begun to ask does not know.
        assert!(!is_quiet(&probes(start, &[]), ms(5000), now));
    }
}
