//! The kernel's conntrack settings, as kube-proxy's flags set them.
//!
//! A node without one of these settings, or one that may not be written (a read-only /proc/sys, a network namespace other
//! than the host's), still serves: each failure is one warning and no more.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use crate::go_duration::GoDuration;

/// kube-proxy's bound on what the number of cores asks for.
const MAX_SCALED: u64 = 1 << 20;

/// The conntrack flags, in kube-proxy's names and with its defaults. Zero leaves a setting as it is.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ConntrackFlags {
    /// Connections to track per CPU core; 0 to leave the limit as it is
    #[arg(long, value_name = "N", default_value_t = 32768)]
    pub conntrack_max_per_core: u32,
    /// Connections to track at least, whatever the number of cores
    #[arg(long, value_name = "N", default_value_t = 131_072)]
    pub conntrack_min: u32,
    /// Idle time after which an established TCP connection is forgotten; 0 to leave it as it is
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_hours(24)))]
    pub conntrack_tcp_timeout_established: GoDuration,
    /// Time for which a TCP connection that only the peer has closed is tracked; 0 to leave it as it is
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_hours(1)))]
    pub conntrack_tcp_timeout_close_wait: GoDuration,
    /// Track TCP packets outside the window too, instead of marking them invalid
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub conntrack_tcp_be_liberal: bool,
    /// Idle time after which a UDP flow with traffic one way is forgotten; 0 to leave it as it is
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::ZERO))]
    pub conntrack_udp_timeout: GoDuration,
    /// Idle time after which a UDP flow with traffic both ways is forgotten; 0 to leave it as it is
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::ZERO))]
    pub conntrack_udp_timeout_stream: GoDuration,
}

/// A setting of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Connections tracked at most.
    Max,
    /// Buckets of the connection table.
    Buckets,
    /// See [`ConntrackFlags::conntrack_tcp_timeout_established`].
    TcpTimeoutEstablished,
    /// See [`ConntrackFlags::conntrack_tcp_timeout_close_wait`].
    TcpTimeoutCloseWait,
    /// See [`ConntrackFlags::conntrack_tcp_be_liberal`].
    TcpBeLiberal,
    /// See [`ConntrackFlags::conntrack_udp_timeout`].
    UdpTimeout,
    /// See [`ConntrackFlags::conntrack_udp_timeout_stream`].
    UdpTimeoutStream,
}

impl Setting {
    /// The file that holds it, below `/proc/sys`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Max => "net/netfilter/nf_conntrack_max",
            // The same number as the parameter of the module that kube-proxy writes, which a container has read-only.
            Self::Buckets => "net/netfilter/nf_conntrack_buckets",
            Self::TcpTimeoutEstablished => "net/netfilter/nf_conntrack_tcp_timeout_established",
            Self::TcpTimeoutCloseWait => "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
            Self::TcpBeLiberal => "net/netfilter/nf_conntrack_tcp_be_liberal",
            Self::UdpTimeout => "net/netfilter/nf_conntrack_udp_timeout",
            Self::UdpTimeoutStream => "net/netfilter/nf_conntrack_udp_timeout_stream",
        }
    }
}

/// One file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub setting: Setting,
    /// What.
    pub value: u64,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.setting.path().replace('/', "."), self.value)
    }
}

/// What the flags ask for on a machine with so many cores: each setting they name, and whether more is fine too.
fn wanted(flags: &ConntrackFlags, cores: NonZero<usize>) -> Vec<(Setting, u64, Fit)> {
    let mut wanted = Vec::new();
    if flags.conntrack_max_per_core > 0 {
        let cores = u64::try_from(cores.get()).unwrap_or(u64::MAX);
        let scaled = u64::from(flags.conntrack_max_per_core)
            .saturating_mul(cores)
            .min(MAX_SCALED);
        let max = scaled.max(u64::from(flags.conntrack_min));
        wanted.push((Setting::Max, max, Fit::AtLeast));
        wanted.push((Setting::Buckets, max / 4, Fit::AtLeast));
    }
    if flags.conntrack_tcp_be_liberal {
        wanted.push((Setting::TcpBeLiberal, 1, Fit::Exactly));
    }
    for (setting, GoDuration(duration)) in [
        (Setting::TcpTimeoutEstablished, flags.conntrack_tcp_timeout_established),
        (Setting::TcpTimeoutCloseWait, flags.conntrack_tcp_timeout_close_wait),
        (Setting::UdpTimeout, flags.conntrack_udp_timeout),
        (Setting::UdpTimeoutStream, flags.conntrack_udp_timeout_stream),
    ] {
        if !duration.is_zero() {
            // The kernel counts whole seconds, and 0 would mean that nothing is tracked.
            wanted.push((setting, duration.as_secs().max(1), Fit::Exactly));
        }
    }
    wanted
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Exactly,
    AtLeast,
}

/// What to write where the settings are `current`. A setting that could not be read is written: the error of the write
/// says more.
pub fn plan(flags: &ConntrackFlags, cores: NonZero<usize>, current: &BTreeMap<Setting, u64>) -> Vec<Write> {
    wanted(flags, cores)
        .into_iter()
        .filter(|(setting, value, fit)| match (current.get(setting), fit) {
            (None, _) => true,
            (Some(now), Fit::Exactly) => now != value,
            (Some(now), Fit::AtLeast) => now < value,
        })
        .map(|(setting, value, _)| Write { setting, value })
        .collect()
}

/// A setting that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot set {write} in {}", folder.display())]
pub struct SysctlError {
    /// What was tried.
    pub write: Write,
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// The settings of a machine, or a folder that looks like them.
#[derive(Debug, Clone)]
pub struct Sysctls {
    proc_sys: PathBuf,
    online_cpus: PathBuf,
}

impl Sysctls {
    /// The settings in `/proc/sys` or where it is mounted.
    pub fn new(proc_sys: impl Into<PathBuf>) -> Self {
        Self {
            proc_sys: proc_sys.into(),
            online_cpus: "/sys/devices/system/cpu/online".into(),
        }
    }

    /// Brings the settings in line with the flags, and returns what could not be written. Does nothing else about it: the
    /// agent works without.
    pub fn apply(&self, flags: &ConntrackFlags) -> Vec<SysctlError> {
        let cores = self.cores();
        let read = |setting: Setting| Some((setting, self.read(setting)?));
        let current = wanted(flags, cores)
            .into_iter()
            .filter_map(|(setting, ..)| read(setting))
            .collect();
        let mut failures = Vec::new();
        for write in plan(flags, cores, &current) {
            match fs::write(self.proc_sys.join(write.setting.path()), write.value.to_string()) {
                Ok(()) => tracing::info!(step = %write, "performed"),
                Err(source) => failures.push(SysctlError {
                    write,
                    folder: self.proc_sys.clone(),
                    source,
                }),
            }
        }
        failures
    }

    /// As [`apply`](Self::apply), with one warning per failure.
    pub fn apply_or_warn(&self, flags: &ConntrackFlags) {
        for failure in self.apply(flags) {
            tracing::warn!(error = %crate::chain::Chain(&failure), "a conntrack setting stays as it is");
        }
    }

    fn read(&self, setting: Setting) -> Option<u64> {
        fs::read_to_string(self.proc_sys.join(setting.path()))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// The machine's online cores, not those that a cgroup grants this process: the connection table is the machine's.
    fn cores(&self) -> NonZero<usize> {
        let online = fs::read_to_string(&self.online_cpus)
            .ok()
            .and_then(|text| count_cpus(&text));
        online
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZero::<usize>::MIN)
    }
}

/// Counts a kernel's list of CPUs: `0-3,8`.
fn count_cpus(ranges: &str) -> Option<NonZero<usize>> {
    let mut count = 0_usize;
    for range in ranges.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    NonZero::new(count)
}

#[cfg(test)]
mod tests;
