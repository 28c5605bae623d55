//! What is said of many times.

use super::Seconds;

/// Some of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distribution {
    pub(super) p50: Seconds,
    pub(super) p90: Seconds,
    pub(super) p99: Seconds,
    pub(super) max: Seconds,
}

impl Distribution {
    /// By nearest rank: with fewer than a hundred p99 is the largest. `None` of nothing.
    pub(super) fn of(times: impl Iterator<Item = Seconds>) -> Option<Self> {
        let mut times: Vec<_> = times.collect();
        times.sort_by(|one, other| one.0.total_cmp(&other.0));
        let max = *times.last()?;
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self {
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_by_nearest_rank() {
        let of = |count: u32| Distribution::of((1..=count).rev().map(|nth| Seconds(f64::from(nth))));
        assert_eq!(of(0), None);
        let hundred = of(100).unwrap();
        assert_eq!(
            (hundred.p50.0, hundred.p90.0, hundred.p99.0, hundred.max.0),
            (50.0, 90.0, 99.0, 100.0)
        );
        let one = of(1).unwrap();
        assert_eq!((one.p50.0, one.p99.0), (1.0, 1.0));
    }
}
