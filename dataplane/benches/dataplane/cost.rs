//! Times, and processor time, of repeated work.

use std::fs;
use std::time::{Duration, Instant};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Processor time of this thread, the kernel's work for it included.
    pub(crate) cpu: Duration,
}

/// Runs it once and measures.
pub(crate) fn measure<T>(run: impl FnOnce() -> T) -> (T, Cost) {
    let (cpu, wall) = (cpu_time(), Instant::now());
    let value = run();
    (
        value,
        Cost {
            wall: wall.elapsed(),
            cpu: cpu_time().saturating_sub(cpu),
        },
    )
}

fn cpu_time() -> Duration {
    // Nanoseconds on a processor, nanoseconds waiting for one, time slices.
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        text.split_whitespace()
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or(0),
    )
}

/// The value below which `percent` per cent of the values lie.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let last = values.len() - 1;
    values[(values.len() * percent / 100).min(last)]
}

/// In milliseconds with as many digits as mean something.
pub(crate) fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.3} ms")
    }
}
