//! What a process uses, with the programs that it starts: kube-proxy's work is done by `nft` to a large part.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Mebibytes, sys};

/// `USER_HZ` is 100 on every architecture that Linux has today.
const MILLISECONDS_PER_TICK: u64 = 10;
/// Fields of `/proc/PID/stat`, counted after the name: see proc(5).
const PARENT: usize = 1;
const REAPED_USER: usize = 13;
const REAPED_SYSTEM: usize = 14;

/// What a process and its descendants use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// So far, also of those that have ended. To 10 ms where there were any.
    pub(super) cpu: Duration,
    /// Of those that live.
    pub(super) resident: Mebibytes,
}

/// Looks at a process and its descendants.
pub(super) fn usage(process: u32) -> Result<Usage> {
    let own = |process| {
        Some((
            sys::cpu_time(process).ok()? + reaped(process)?,
            memory(process, "VmRSS")?,
        ))
    };
    let (mut cpu, mut resident) = own(process).with_context(|| format!("process {process} has ended"))?;
    // A child that ends at this moment is with its parent's reaped ones the next time.
    for (more_cpu, more_resident) in descendants(process).into_iter().filter_map(own) {
        cpu += more_cpu;
        resident.0 += more_resident.0;
    }
    Ok(Usage { cpu, resident })
}

/// The processes below this one that live.
pub(super) fn descendants(process: u32) -> BTreeSet<u32> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((process, fields(process)?.get(PARENT)?.parse().ok()?))
        })
        .collect();
    let mut found = BTreeSet::new();
    let mut parents = vec![process];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|&&(_, of)| of == parent).map(|&(child, _)| child);
        parents.extend(children.filter(|&child| found.insert(child)));
    }
    found
}

/// Whether this process runs still. One that ended and that nobody waits for does not.
pub(super) fn is_alive(process: u32) -> bool {
    fields(process).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// A field of a process's status, such as `VmRSS`.
pub(super) fn memory(process: u32, field: &str) -> Option<Mebibytes> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: f64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Mebibytes(kibibytes / 1024.0))
}

/// The CPU time of children that ended and were waited for.
fn reaped(process: u32) -> Option<Duration> {
    let fields = fields(process)?;
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let ticks = ticks(REAPED_USER)? + ticks(REAPED_SYSTEM)?;
    Some(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
}

/// The fields of `/proc/PID/stat` from the state on.
fn fields(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command, Stdio};

    use super::*;

    #[test]
    fn a_child_counts_while_it_lives_and_after_it_was_waited_for() {
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; read end";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        assert!(descendants(process::id()).contains(&child.id()));
        let its = sys::cpu_time(child.id()).unwrap();
        assert!(its >= Duration::from_millis(20), "the script takes longer than {its:?}");
        let with_child = usage(process::id()).unwrap().cpu;
        assert!(with_child >= its);

        let before = reaped(process::id()).unwrap();
        assert!(is_alive(child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
        let after = reaped(process::id()).unwrap().saturating_sub(before);
        assert!(after + Duration::from_millis(20) >= its, "{after:?} of {its:?}");
    }
}
