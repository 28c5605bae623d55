//! The figures, and the table of them.

use std::fmt::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::measure::Effort;
use crate::bench::cluster::Size;
use crate::bench::{Mebibytes, Seconds};

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// As it says itself.
    pub(super) kube_proxy_version: String,
    /// `uname -r`
    pub(super) kernel: String,
    /// For the first sync, and again for the changes.
    pub(super) limit: Seconds,
    pub(super) comparisons: Vec<Comparison>,
}

/// Both programs at one size.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Comparison {
    pub(super) size: Size,
    pub(super) kube_proxy: Figures,
    pub(super) fairlead: Figures,
}

/// What one program costs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Figures {
    /// From the start of the process to its first sync.
    pub(super) start: Outcome,
    /// Until the first sync, or until the limit.
    pub(super) start_cpu: Seconds,
    /// Resident, with the programs that it starts, until the first sync or until the limit.
    pub(super) highest_memory: Mebibytes,
    /// None if the first sync was not done.
    pub(super) changes: Option<Changes>,
    /// Resident, at the end.
    pub(super) memory: Mebibytes,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Took(Seconds),
    /// It was not done when the limit was reached.
    LongerThan(Seconds),
}

/// One change after the other, each when the last one is long done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changes {
    pub(super) count: usize,
    /// From before the request to the sync.
    pub(super) p50: Seconds,
    pub(super) p99: Seconds,
    pub(super) cpu: Seconds,
}

const HEAD: &str = "\
| Services × endpoints | | start → first sync | CPU time of that | highest memory in it | change → synced, p50 | p99 | CPU time per change | memory after |
|---|---|--:|--:|--:|--:|--:|--:|--:|
";

impl Report {
    pub(super) fn new(kube_proxy: &Path, effort: Effort) -> Result<Self> {
        let output = Command::new(kube_proxy)
            .arg("--version")
            .output()
            .context("cannot ask kube-proxy for its version")?;
        let version = String::from_utf8_lossy(&output.stdout);
        let version = version.trim().trim_start_matches("Kubernetes v");
        Ok(Self {
            kube_proxy_version: version.to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            limit: effort.limit.into(),
            comparisons: Vec::new(),
        })
    }

    /// The table with the ratios.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = HEAD.to_owned();
        for comparison in &self.comparisons {
            let Comparison {
                size,
                kube_proxy,
                fairlead,
            } = comparison;
            let version = &self.kube_proxy_version;
            for (size, name, cells) in [
                (
                    format!("**{size}**"),
                    format!("kube-proxy {version}"),
                    kube_proxy.cells(),
                ),
                (String::new(), "Fairlead".to_owned(), fairlead.cells()),
                (
                    String::new(),
                    "ratio".to_owned(),
                    comparison.ratios().map(|ratio| match ratio {
                        Some(ratio) => format!("**{ratio}**"),
                        None => "–".to_owned(),
                    }),
                ),
            ] {
                writeln!(text, "| {size} | {name} | {} |", cells.join(" | ")).expect("a string takes everything");
            }
        }
        text
    }
}

impl Figures {
    /// Whether the first sync was not done within the limit.
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(self.start, Outcome::LongerThan(_))
    }

    fn cells(&self) -> [String; 7] {
        let more = if self.is_unfinished() { "> " } else { "" };
        let of_changes = |figure: fn(&Changes) -> Seconds| match &self.changes {
            Some(changes) => figure(changes).to_string(),
            None => "–".to_owned(),
        };
        [
            self.start.to_string(),
            format!("{more}{}", self.start_cpu),
            format!("{more}{}", self.highest_memory),
            of_changes(|changes| changes.p50),
            of_changes(|changes| changes.p99),
            of_changes(|changes| changes.cpu),
            format!("{more}{}", self.memory),
        ]
    }
}

impl Comparison {
    /// How many times more kube-proxy needs, at least where it was not done.
    fn ratios(&self) -> [Option<Ratio>; 7] {
        let (theirs, ours) = (&self.kube_proxy, &self.fairlead);
        let at_least = theirs.is_unfinished();
        let ratio = |theirs: f64, ours: f64| {
            Some(Ratio {
                times: theirs / ours,
                at_least,
            })
        };
        let of_changes = |figure: fn(&Changes) -> Seconds| {
            let (theirs, ours) = (theirs.changes.as_ref()?, ours.changes.as_ref()?);
            ratio(figure(theirs).0, figure(ours).0)
        };
        if ours.is_unfinished() {
            return [None; 7];
        }
        [
            ratio(theirs.start.so_far().0, ours.start.so_far().0),
            ratio(theirs.start_cpu.0, ours.start_cpu.0),
            ratio(theirs.highest_memory.0, ours.highest_memory.0),
            of_changes(|changes| changes.p50),
            of_changes(|changes| changes.p99),
            of_changes(|changes| changes.cpu),
            ratio(theirs.memory.0, ours.memory.0),
        ]
    }
}

impl Outcome {
    pub(super) fn so_far(self) -> Seconds {
        match self {
            Self::Took(seconds) | Self::LongerThan(seconds) => seconds,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Took(seconds) => seconds.fmt(f),
            Self::LongerThan(limit) => write!(f, "> {:.0} min", limit.0 / 60.0),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cells().join(", "))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    times: f64,
    at_least: bool,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at_least {
            f.write_str("> ")?;
        }
        match self.times {
            times if times >= 10.0 => write!(f, "{times:.0}×"),
            times => write!(f, "{times:.1}×"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn figures(start: Outcome, changes: Option<[f64; 3]>) -> Figures {
        Figures {
            start,
            start_cpu: Seconds(start.so_far().0 / 2.0),
            highest_memory: Mebibytes(start.so_far().0 * 10.0 + 50.0),
            changes: changes.map(|[p50, p99, cpu]| Changes {
                count: 99,
                p50: Seconds(p50),
                p99: Seconds(p99),
                cpu: Seconds(cpu),
            }),
            memory: Mebibytes(start.so_far().0 + 50.0),
        }
    }

    /// A report with figures of every kind.
    pub(in super::super) fn example() -> Report {
        let done = |size: &str, theirs: f64, ours: f64| Comparison {
            size: size.parse().unwrap(),
            kube_proxy: figures(
                Outcome::Took(Seconds(theirs)),
                Some([theirs / 40.0, theirs / 30.0, theirs / 50.0]),
            ),
            fairlead: figures(Outcome::Took(Seconds(ours)), Some([0.003, 0.006, 0.0004])),
        };
        Report {
            kube_proxy_version: "1.37.2".to_owned(),
            kernel: "6.18".to_owned(),
            limit: Seconds(600.0),
            comparisons: vec![
                done("100x2", 0.6, 0.1),
                done("1000x2", 1.4, 0.16),
                done("10000x2", 12.0, 0.8),
                Comparison {
                    size: "5000x50".parse().unwrap(),
                    kube_proxy: figures(Outcome::LongerThan(Seconds(600.0)), None),
                    fairlead: figures(Outcome::Took(Seconds(2.0)), Some([0.004, 0.007, 0.0005])),
                },
            ],
        }
    }

    #[test]
    fn what_is_not_done_is_told_as_such() {
        let text = example().to_markdown();
        let rows: Vec<_> = text.lines().collect();
        assert_eq!(
            rows[2],
            "| **100 × 2** | kube-proxy 1.37.2 | 600 ms | 300 ms | 56 MiB | 15 ms | 20 ms | 12 ms | 51 MiB |"
        );
        assert_eq!(
            rows[4],
            "|  | ratio | **6.0×** | **6.0×** | **1.1×** | **5.0×** | **3.3×** | **30×** | **1.0×** |"
        );
        assert_eq!(
            rows[11],
            "| **5,000 × 50** | kube-proxy 1.37.2 | > 10 min | > 300 s | > 6050 MiB | – | – | – | > 650 MiB |"
        );
        assert_eq!(
            rows[13],
            "|  | ratio | **> 300×** | **> 300×** | **> 86×** | – | – | – | **> 12×** |"
        );
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&example()).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(again.to_markdown(), example().to_markdown());
    }
}
