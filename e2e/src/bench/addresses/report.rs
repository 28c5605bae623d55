//! The figures and their tables.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::bench::Seconds;
use crate::bench::distribution::Distribution;

/// All of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    /// `uname -r`
    pub(super) kernel: String,
    /// Whether the program was built for this, with optimisation.
    pub(super) is_release_build: bool,
    pub(super) results: Vec<Results>,
}

/// With so many nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Results {
    /// Those that may own addresses; one more has the pods.
    pub(super) nodes: u8,
    pub(super) power_offs: Vec<PowerOff>,
    pub(super) partitions: Vec<Partition>,
    pub(super) creations: Vec<Creation>,
}

/// One address whose owner lost its power.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PowerOff {
    pub(super) family: IpFamily,
    pub(super) owner: u8,
    pub(super) successor: u8,
    /// From the last connection that stood to the first of those that stay.
    pub(super) outage: Seconds,
    /// The time of the connections that were lost when the node was back.
    pub(super) lost_at_return: Seconds,
}

/// Nodes that were parted once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Partition {
    pub(super) kind: Cut,
    /// How long several nodes answered for each address while the parts did not hear each other.
    pub(super) doubled_meanwhile: Vec<Seconds>,
    /// The same since they hear each other again.
    pub(super) doubled_afterwards: Vec<Seconds>,
    /// Addresses that several nodes answered for to the end.
    pub(super) doubled_in_the_end: usize,
    /// How often agents have counted it.
    pub(super) counted_by_agents: u64,
}

/// What the smaller part of the nodes is cut off from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cut {
    /// The other nodes. The client and the API server reach both parts.
    BetweenNodes,
    /// The client and the API server, too.
    Everything,
}

/// A Service that was created. All times are from before the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Creation {
    /// Until a watch told of its addresses.
    pub(super) published: Seconds,
    /// Until the first HTTP answer from outside.
    pub(super) answered_v4: Seconds,
    pub(super) answered_v6: Seconds,
}

/// An IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum IpFamily {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

const POWER_OFFS: &str = "\
| power-off of the owner | | trials | p50 | p90 | p99 | max | lost when the node is back, p99 | max |
|---|---|--:|--:|--:|--:|--:|--:|--:|
";
const PARTITIONS: &str = "\
| nodes parted, the owner in the smaller part | it is cut off from | times | several answer meanwhile, p50 | max | several answer after it has healed | longest | for good |
|---|---|--:|--:|--:|--:|--:|--:|
";
const CREATIONS: &str = "\
| a Service is created | | Services | p50 | p90 | p99 | max |
|---|---|--:|--:|--:|--:|--:|
";

const OTHER_BUILD: &str = "\nThese figures are of a build without optimisation.\n";

impl IpFamily {
    const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |times: &[Seconds]| times.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        write!(
            f,
            "parted ({:?}): several answered for {} meanwhile, for {} afterwards; agents counted {}",
            self.kind,
            list(&self.doubled_meanwhile),
            list(&self.doubled_afterwards),
            self.counted_by_agents
        )
    }
}

impl Results {
    pub(super) fn new(nodes: u8) -> Self {
        Self {
            nodes,
            power_offs: Vec::new(),
            partitions: Vec::new(),
            creations: Vec::new(),
        }
    }

    fn of(&self, family: IpFamily) -> impl Iterator<Item = &PowerOff> {
        self.power_offs.iter().filter(move |trial| trial.family == family)
    }

    /// How many power-offs there are of the family that has fewer.
    pub(super) fn fewest_power_offs(&self) -> usize {
        self.of(self.rarer()).count()
    }

    /// The family that has fewer power-offs.
    pub(super) fn rarer(&self) -> IpFamily {
        let [v4, v6] = IpFamily::ALL.map(|family| self.of(family).count());
        if v6 < v4 { IpFamily::V6 } else { IpFamily::V4 }
    }
}

impl Report {
    /// The tables.
    pub(super) fn to_markdown(&self) -> String {
        let tables = [
            self.table(POWER_OFFS, power_offs),
            self.table(PARTITIONS, partitions),
            self.table(CREATIONS, creations),
        ];
        let tables: Vec<_> = tables.into_iter().flatten().collect();
        let mut text = tables.join("\n");
        if !self.is_release_build {
            text += OTHER_BUILD;
        }
        text
    }

    /// `None` if it has no rows.
    fn table(&self, head: &str, rows: fn(&Results) -> Vec<String>) -> Option<String> {
        let rows: Vec<_> = self.results.iter().flat_map(rows).collect();
        (!rows.is_empty()).then(|| format!("{head}{}\n", rows.join("\n")))
    }
}

fn power_offs(results: &Results) -> Vec<String> {
    let row = |family| {
        let outages = Distribution::of(results.of(family).map(|trial| trial.outage))?;
        let returns = Distribution::of(results.of(family).map(|trial| trial.lost_at_return))?;
        Some(format!(
            "| **{} nodes** | {family} | {} | **{}** | {} | **{}** | {} | {} | {} |",
            results.nodes,
            results.of(family).count(),
            outages.p50,
            outages.p90,
            outages.p99,
            outages.max,
            returns.p99,
            returns.max,
        ))
    };
    IpFamily::ALL.into_iter().filter_map(row).collect()
}

fn partitions(results: &Results) -> Vec<String> {
    let kinds = [
        (Cut::BetweenNodes, "the other nodes"),
        (Cut::Everything, "everything, the client and the API server too"),
    ];
    let row = |(kind, name)| {
        let of_kind = || {
            results
                .partitions
                .iter()
                .filter(move |partition| partition.kind == kind)
        };
        let meanwhile = Distribution::of(of_kind().flat_map(|partition| partition.doubled_meanwhile.clone()))?;
        let afterwards = Distribution::of(of_kind().flat_map(|partition| partition.doubled_afterwards.clone()))?;
        let doubled = of_kind()
            .flat_map(|partition| &partition.doubled_afterwards)
            .filter(|time| time.0 > 0.0)
            .count();
        let addresses = of_kind().flat_map(|partition| &partition.doubled_afterwards).count();
        let for_good: usize = of_kind().map(|partition| partition.doubled_in_the_end).sum();
        Some(format!(
            "| **{} nodes** | {name} | {} | {} | {} | {doubled} of {addresses} addresses | **{}** | **{for_good}** |",
            results.nodes,
            of_kind().count(),
            meanwhile.p50,
            meanwhile.max,
            afterwards.max,
        ))
    };
    kinds.into_iter().filter_map(row).collect()
}

fn creations(results: &Results) -> Vec<String> {
    type Time = fn(&Creation) -> Seconds;
    let times: [(&str, Time); 3] = [
        ("its status has both addresses", |creation| creation.published),
        ("first HTTP answer from outside, IPv4", |creation| creation.answered_v4),
        ("first HTTP answer from outside, IPv6", |creation| creation.answered_v6),
    ];
    let row = |(name, time): (&str, Time)| {
        let times = Distribution::of(results.creations.iter().map(time))?;
        let mut row = format!("| **{} nodes** | {name} | {} |", results.nodes, results.creations.len());
        for time in [times.p50, times.p90] {
            write!(row, " {time} |").expect("a string takes everything");
        }
        write!(row, " **{}** | {} |", times.p99, times.max).expect("a string takes everything");
        Some(row)
    };
    times.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        let power_off = |family, outage| PowerOff {
            family,
            owner: 1,
            successor: 2,
            outage: Seconds(outage),
            lost_at_return: Seconds(0.0),
        };
        let mut results = Results::new(3);
        results.power_offs = vec![
            power_off(IpFamily::V4, 0.31),
            power_off(IpFamily::V6, 0.32),
            power_off(IpFamily::V4, 0.35),
        ];
        results.partitions = vec![Partition {
            kind: Cut::BetweenNodes,
            doubled_meanwhile: vec![Seconds(0.05), Seconds(0.0)],
            doubled_afterwards: vec![Seconds(0.0), Seconds(0.02)],
            doubled_in_the_end: 0,
            counted_by_agents: 1,
        }];
        results.creations = vec![Creation {
            published: Seconds(0.02),
            answered_v4: Seconds(0.05),
            answered_v6: Seconds(0.06),
        }];
        Report {
            kernel: "6.18".to_owned(),
            is_release_build: true,
            results: vec![results],
        }
    }

    #[test]
    fn each_table_has_its_rows() {
        let text = example().to_markdown();
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| **")).collect();
        let wanted = [
            "| **3 nodes** | IPv4 | 2 | **310 ms** | 350 ms | **350 ms** | 350 ms | 0 s | 0 s |",
            "| **3 nodes** | IPv6 | 1 | **320 ms** | 320 ms | **320 ms** | 320 ms | 0 s | 0 s |",
            "| **3 nodes** | the other nodes | 1 | 0 s | 50 ms | 1 of 2 addresses | **20 ms** | **0** |",
            "| **3 nodes** | its status has both addresses | 1 | 20 ms | 20 ms | **20 ms** | 20 ms |",
            "| **3 nodes** | first HTTP answer from outside, IPv4 | 1 | 50 ms | 50 ms | **50 ms** | 50 ms |",
            "| **3 nodes** | first HTTP answer from outside, IPv6 | 1 | 60 ms | 60 ms | **60 ms** | 60 ms |",
        ];
        assert_eq!(rows, wanted);
        assert!(!text.ends_with("\n\n") && !text.contains(OTHER_BUILD));
        let other = Report {
            is_release_build: false,
            ..example()
        };
        assert_eq!(other.to_markdown(), text + OTHER_BUILD);
    }

    #[test]
    fn trials_go_on_with_the_family_that_has_fewer() {
        let report = example();
        let results = &report.results[0];
        assert_eq!((results.rarer(), results.fewest_power_offs()), (IpFamily::V6, 1));
        assert_eq!(Results::new(3).fewest_power_offs(), 0);
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let text = serde_json::to_string(&example()).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(again.to_markdown(), example().to_markdown());
    }
}
