use std::time::{Duration, Instant};

use crate::Error;

/// How soon a condition is looked at again: first, and after it stayed false for a while.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` holds, looking at it every few milliseconds, at most for `limit`.
///
/// `what` completes the sentence "waited in vain for: …".
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), Error> {
    wait_for(limit, what, || condition().then_some(()))
}

/// Waits until `look` finds something, and returns that. See [`wait_until`].
pub fn wait_for<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> Result<T, Error> {
    poll(limit, what, FIRST_PAUSE, LONGEST_PAUSE, look)
}

/// [`wait_for`] with this pause between two looks, for one that is not cheap.
pub fn wait_for_every<T>(
    pause: Duration,
    limit: Duration,
    what: &str,
    look: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    poll(limit, what, pause, pause, look)
}

fn poll<T>(
    limit: Duration,
    what: &str,
    first_pause: Duration,
    longest_pause: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let started = Instant::now();
    let mut pause = first_pause;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        let waited = started.elapsed();
        if waited >= limit {
            return Err(Error::Deadline {
                what: what.to_owned(),
                waited,
            });
        }
        std::thread::sleep(pause.min(limit.saturating_sub(waited)));
        pause = (pause * 2).min(longest_pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let found = wait_for(Duration::from_secs(5), "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_condition_that_stays_false_ends_at_the_deadline_and_is_looked_at_once_more() {
        let mut looks = 0;
        let error = wait_until(Duration::from_millis(5), "the impossible", || {
            looks += 1;
            false
        })
        .unwrap_err();
        assert!(looks >= 2);
        assert!(error.to_string().ends_with("in vain for: the impossible"), "{error}");
    }
}
