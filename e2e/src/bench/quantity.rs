//! Figures with their units, as people read them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mebibytes(pub f64);

impl From<Duration> for Seconds {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

impl fmt::Display for Seconds {
    /// With two digits that matter, or all before the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds >= 10.0 => write!(f, "{seconds:.0} s"),
            seconds if seconds >= 1.0 => write!(f, "{seconds:.1} s"),
            seconds if seconds >= 0.01 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds if seconds <= 0.0 => f.write_str("0 s"),
            seconds if seconds >= 0.001 => write!(f, "{:.1} ms", seconds * 1e3),
            seconds => write!(f, "{:.2} ms", seconds * 1e3),
        }
    }
}

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} MiB", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        let texts =
            [631.4, 11.52, 1.25, 0.999, 0.0123, 0.00456, 0.000_319, 0.0].map(|seconds| Seconds(seconds).to_string());
        assert_eq!(
            texts,
            ["631 s", "12 s", "1.2 s", "999 ms", "12 ms", "4.6 ms", "0.32 ms", "0 s"]
        );
    }
}
