//! The figures, their table, and the picture of their distribution.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::product::Product;
use crate::bench::Seconds;
use crate::bench::distribution::Distribution;

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// Nodes that may own an address; the control plane, which may not, is one more.
    pub(super) workers: usize,
    /// `uname -r`
    pub(super) kernel: String,
    pub(super) results: Vec<Results>,
}

/// Of one product.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) product: Product,
    pub(super) version: String,
    pub(super) power_offs: Vec<PowerOff>,
    pub(super) drains: Vec<Drain>,
}

/// One address whose owner lost its power.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PowerOff {
    /// Of the trial. An IPv4 and an IPv6 address of a Service may have had the same owner.
    pub(super) trial: u32,
    pub(super) family: Family,
    pub(super) owner: String,
    pub(super) successor: String,
    /// From the last answer to the first of those that stay.
    pub(super) outage: Seconds,
    /// The time of the probes that were lost when the node was back.
    pub(super) lost_at_return: Seconds,
    /// Whether the node owned the address again in the end.
    pub(super) is_returned: bool,
}

/// `kubectl drain` of an owner, and then its shutdown in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Drain {
    pub(super) owner: String,
    /// Whether all of its addresses were another node's before the shutdown.
    pub(super) is_moved: bool,
    /// Connections that were there before.
    pub(super) established: u64,
    /// Until the cluster had settled after the drain.
    pub(super) before_shutdown: Counts,
    /// From then until it had settled after the shutdown.
    pub(super) in_shutdown: Counts,
    /// The longest of its addresses, from the shutdown on.
    pub(super) outage: Seconds,
}

/// What clients counted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// New connections.
    pub(super) connections: u64,
    pub(super) failed_connections: u64,
    /// Established connections that broke. Another one takes the place of each.
    pub(super) broken: u64,
}

/// An IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Family {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

const HEAD: &str = "\
| power-off of the owner | | trials | p50 | p90 | p99 | max | lost when the node is back, p50 | max |
|---|---|--:|--:|--:|--:|--:|--:|--:|
";
const DRAIN_HEAD: &str = "\
| `kubectl drain` of the owner, then its shutdown | times | address moved by the drain | drain: new connections failed | established ones broken | shutdown: new connections failed | established ones broken | no answer in the shutdown, p50 | max |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
";
/// The widest bar of the plot.
const WIDEST: usize = 40;

impl Family {
    pub(super) fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv6() { Self::V6 } else { Self::V4 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl Results {
    fn name(&self) -> String {
        format!("{} {}", self.product, self.version)
    }

    fn outages(&self, family: Family) -> impl Iterator<Item = &PowerOff> {
        self.power_offs.iter().filter(move |trial| trial.family == family)
    }
}

impl Report {
    /// The tables.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = HEAD.to_owned();
        for results in &self.results {
            for family in [Family::V4, Family::V6] {
                let outages = Distribution::of(results.outages(family).map(|trial| trial.outage));
                let returns = Distribution::of(results.outages(family).map(|trial| trial.lost_at_return));
                let Some((outages, returns)) = outages.zip(returns) else {
                    continue;
                };
                let count = results.outages(family).count();
                writeln!(
                    text,
                    "| **{}** | {} | {count} | **{}** | {} | {} | {} | {} | {} |",
                    results.name(),
                    family.name(),
                    outages.p50,
                    outages.p90,
                    outages.p99,
                    outages.max,
                    returns.p50,
                    returns.max,
                )
                .expect("a string takes everything");
            }
        }
        if self.results.iter().any(|results| !results.drains.is_empty()) {
            text.push('\n');
            text.push_str(DRAIN_HEAD);
        }
        for results in &self.results {
            let Some(outages) = Distribution::of(results.drains.iter().map(|drain| drain.outage)) else {
                continue;
            };
            let share = |counts: fn(&Drain) -> (u64, u64)| {
                let (failed, of) = results
                    .drains
                    .iter()
                    .map(counts)
                    .fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
                format!("**{failed}** of {of}")
            };
            writeln!(
                text,
                "| **{}** | {} | {} | {} | {} | {} | {} | {} | {} |",
                results.name(),
                results.drains.len(),
                results.drains.iter().filter(|drain| drain.is_moved).count(),
                share(|drain| (
                    drain.before_shutdown.failed_connections,
                    drain.before_shutdown.connections
                )),
                share(|drain| (drain.before_shutdown.broken, drain.established)),
                share(|drain| (drain.in_shutdown.failed_connections, drain.in_shutdown.connections)),
                share(|drain| (drain.in_shutdown.broken, drain.established)),
                outages.p50,
                outages.max,
            )
            .expect("a string takes everything");
        }
        text
    }

    /// How many power-offs took how long, a line for each half second.
    pub(super) fn to_plot(&self) -> String {
        const STEP: f64 = 0.5;
        const BINS: u32 = 1000;
        let bin = |time: Seconds| (0..BINS).find(|nth| time.0 < f64::from(nth + 1) * STEP).unwrap_or(BINS);
        let mut text = String::new();
        for results in &self.results {
            let mut bins: Vec<_> = results.power_offs.iter().map(|trial| bin(trial.outage)).collect();
            bins.sort_unstable();
            let Some(last) = bins.last() else {
                continue;
            };
            writeln!(text, "{}", results.name()).expect("a string takes everything");
            let count = |nth: u32| bins.iter().filter(|bin| **bin == nth).count();
            let most = (0..=*last).map(count).max().unwrap_or(1);
            for nth in 0..=*last {
                let bar = "█".repeat((count(nth) * WIDEST).div_ceil(most));
                let from = f64::from(nth) * STEP;
                writeln!(text, "  {from:4.1} – {:4.1} s {bar} {}", from + STEP, count(nth))
                    .expect("a string takes everything");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        let trial = |trial: u32, family, outage: f64| PowerOff {
            trial,
            family,
            owner: "worker".to_owned(),
            successor: "worker2".to_owned(),
            outage: Seconds(outage),
            lost_at_return: Seconds(0.0),
            is_returned: true,
        };
        Report {
            workers: 3,
            kernel: "6.18".to_owned(),
            results: vec![Results {
                product: Product::Metallb,
                version: "0.15.2".to_owned(),
                power_offs: [5.6, 4.6, 7.0, 4.7]
                    .iter()
                    .zip(1..)
                    .map(|(outage, nth)| trial(nth, Family::V4, *outage))
                    .collect(),
                drains: vec![Drain {
                    owner: "worker".to_owned(),
                    is_moved: false,
                    established: 2,
                    before_shutdown: Counts {
                        connections: 100,
                        ..Counts::default()
                    },
                    in_shutdown: Counts {
                        connections: 300,
                        failed_connections: 3,
                        broken: 2,
                    },
                    outage: Seconds(1.25),
                }],
            }],
        }
    }

    #[test]
    fn the_tables_have_a_line_for_each_product_and_family() {
        let text = example().to_markdown();
        let rows: Vec<_> = text.lines().collect();
        assert_eq!(
            rows[2],
            "| **MetalLB 0.15.2** | IPv4 | 4 | **4.7 s** | 7.0 s | 7.0 s | 7.0 s | 0 s | 0 s |"
        );
        assert_eq!(
            rows[6],
            "| **MetalLB 0.15.2** | 1 | 0 | **0** of 100 | **0** of 2 | **3** of 300 | **2** of 2 | 1.2 s | 1.2 s |"
        );
        assert_eq!(rows.len(), 7);
    }

    #[test]
    fn the_plot_counts_every_power_off_once() {
        let plot = example().to_plot();
        let lines: Vec<_> = plot.lines().collect();
        assert_eq!(lines[0], "MetalLB 0.15.2");
        assert_eq!(lines[1], "   0.0 –  0.5 s  0");
        assert!(
            lines[10].starts_with("   4.5 –  5.0 s ████") && lines[10].ends_with(" 2"),
            "{plot}"
        );
        assert_eq!(lines.len(), 16);
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&example()).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(again.to_markdown(), example().to_markdown());
    }
}
