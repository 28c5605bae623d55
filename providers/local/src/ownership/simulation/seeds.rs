//! Runs many seeds on all cores, and says of each failure how to see it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Failures after which a run ends.
const ENOUGH: usize = 5;

/// The seeds in `OWNERSHIP_SEEDS` (`7`, or `from-to`), or those by default.
pub(super) fn chosen(default: u64) -> (u64, u64) {
    let number = |text: &str| text.trim().parse().expect("OWNERSHIP_SEEDS is a number or from-to");
    match std::env::var("OWNERSHIP_SEEDS") {
        Err(_) => (1, default),
        Ok(text) => match text.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None => (number(&text), number(&text)),
        },
    }
}

/// Runs `check` for every seed. It panics in the end if any did.
pub(super) fn each(test: &str, (from, to): (u64, u64), check: impl Fn(u64) + Sync) {
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > to || failed.lock().expect("nobody panics with it").len() >= ENOUGH {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| check(seed))).is_err() {
                eprintln!(
                    "seed {seed} failed; again: OWNERSHIP_SEEDS={seed} cargo test -p fairlead-local --lib {test}"
                );
                failed.lock().expect("nobody panics with it").push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    let done = next.into_inner().min(to + 1) - from;
    println!("{done} seeds in {:.1} s", began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "of the seeds {from}-{to} these failed: {failed:?}");
}
