//! The metrics that every Prometheus client library gives of its own process, read from /proc at each scrape.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks per second of the times in /proc: `USER_HZ`, which Linux has fixed at 100 on every architecture it still runs on
/// with this program.
const TICKS_PER_SECOND: f64 = 100.0;

/// Collects when asked.
#[derive(Debug)]
pub(crate) struct Process;

/// What /proc told. Whatever is not there is left out of the page.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    cpu_seconds: Option<f64>,
    start_time: Option<f64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Figures {
    fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        // One of the entries is the directory that is being read.
        let open = fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count().saturating_sub(1) as u64);
        Self {
            open_fds: open,
            ..Self::parse(&stat, &status, &limits, &machine)
        }
    }

    fn parse(stat: &str, status: &str, limits: &str, machine: &str) -> Self {
        // The second field is the command in parentheses and may hold anything; the third follows its last parenthesis.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(
                line.trim_start_matches(':')
                    .split_whitespace()
                    .next()?
                    .parse::<u64>()
                    .ok()?
                    * 1024,
            )
        };
        let boot = machine
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            start_time: boot.zip(field(22)).map(|(boot, ticks)| boot + ticks / TICKS_PER_SECOND),
            virtual_bytes: kilobytes("VmSize"),
            resident_bytes: kilobytes("VmRSS"),
            open_fds: None,
            max_fds: limits.lines().find_map(|line| {
                line.strip_prefix("Max open files")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            }),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let figures = Figures::read();
        if let Some(seconds) = figures.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let help = "User and system CPU time in seconds.";
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?)?;
        }
        let gauges = [
            (
                "process_start_time_seconds",
                "Start time in seconds since the Unix epoch.",
                figures.start_time,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory in bytes.",
                figures.resident_bytes.map(gauge_value),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory in bytes.",
                figures.virtual_bytes.map(gauge_value),
            ),
            (
                "process_open_fds",
                "Open file descriptors.",
                figures.open_fds.map(gauge_value),
            ),
            (
                "process_max_fds",
                "Limit on open file descriptors.",
                figures.max_fds.map(gauge_value),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// A gauge's value. Past 2⁵³ the last digits are lost, which no count and no process's memory reaches.
#[expect(clippy::cast_precision_loss, reason = "what is counted stays far below 2^53")]
pub(crate) fn gauge_value(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "77 (fair) lead) S 1 77 77 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 4 0 12300 9 9 0";
        let status = "Name:\tfairlead\nVmSize:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096       files\n";
        assert_eq!(
            Figures::parse(stat, status, limits, "cpu 1 2\nbtime 1700000000\n"),
            Figures {
                cpu_seconds: Some(3.0),
                start_time: Some(1_700_000_123.0),
                virtual_bytes: Some(2 << 20),
                resident_bytes: Some(1 << 20),
                open_fds: None,
                max_fds: Some(1024),
            },
        );
        assert_eq!(Figures::parse("", "", "", ""), Figures::default());
    }

    #[test]
    fn this_process_has_all_of_them() {
        let figures = Figures::read();
        assert!(
            figures.resident_bytes.is_some_and(|bytes| bytes > 100_000),
            "{figures:?}"
        );
        assert!(figures.open_fds.is_some_and(|fds| fds >= 3), "{figures:?}");
        assert!(
            figures.start_time.is_some_and(|time| time > 1_600_000_000.0),
            "{figures:?}"
        );
        assert!(
            figures.cpu_seconds.is_some() && figures.max_fds.is_some(),
            "{figures:?}"
        );
    }
}
