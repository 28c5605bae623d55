//! Stays, follows edits of the manifests, and shows what they change.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::agents::Death;
use super::instructions::{Privilege, instructions};
use super::manifests::Edit;
use super::output::Output;
use super::report::{Report, TrafficReport};
use super::session::{Extent, Session};
use super::signals::Signals;
use super::traffic::Interrupted;

/// What ends the wait.
enum Event {
    Edit(Edit),
    ChildEnded,
    Interrupted,
}

/// Stays until it is told to end.
pub(super) fn hold(
    session: &mut Session,
    first: Report,
    privilege: Privilege,
    runtime: &Runtime,
    signals: &mut Signals,
    output: Output,
) -> anyhow::Result<()> {
    if let Output::Text(screen) = output {
        output.say(&instructions(session, &first, privilege, screen))?;
    }
    let mut rows: BTreeMap<String, TrafficReport> = first.traffic.into_iter().map(|row| (key(&row), row)).collect();
    let mut children = runtime
        .block_on(async { signal(SignalKind::child()) })
        .context("cannot listen for SIGCHLD")?;
    loop {
        let event = runtime.block_on(next(session, signals, &mut children))?;
        let result = match event {
            Event::Interrupted => return Ok(()),
            Event::ChildEnded => restart(session, output),
            Event::Edit(edit) => match follow(session, &edit, &mut rows, output) {
                // The one that takes its place follows the edit too.
                Err(error) if error.is::<Death>() => {
                    restart(session, output).and_then(|()| follow(session, &edit, &mut rows, output))
                }
                result => result,
            },
        };
        match result {
            Ok(()) => {}
            Err(error) if error.is::<Interrupted>() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn next(session: &mut Session, signals: &mut Signals, children: &mut Signal) -> anyhow::Result<Event> {
    // Cancel-safe, all of them.
    tokio::select! {
        biased;
        () = signals.interrupted() => Ok(Event::Interrupted),
        edit = session.follower().edit() => Ok(Event::Edit(edit?)),
        _ = children.recv() => Ok(Event::ChildEnded),
    }
}

fn restart(session: &mut Session, output: Output) -> anyhow::Result<()> {
    for (death, commit) in session.restart_the_dead()? {
        output.say(&format!(
            "\n{death}\nIts rules stayed in the kernel. It was started again, and compared them within {commit:.0?}.\n"
        ))?;
    }
    Ok(())
}

fn follow(
    session: &mut Session,
    edit: &Edit,
    rows: &mut BTreeMap<String, TrafficReport>,
    output: Output,
) -> anyhow::Result<()> {
    let synced = session.follow(edit)?;
    let effect = synced
        .zip(edit.at)
        .map(|(synced, at)| synced.duration_since(at).unwrap_or(Duration::ZERO));
    let mut report = session.report(Extent::Touched(edit), effect)?;
    let touched: Vec<String> = edit.services.iter().map(ToString::to_string).collect();
    let gone: Vec<TrafficReport> = {
        let is_gone = |row: &TrafficReport| {
            touched.contains(&row.service) && !report.traffic.iter().any(|new| key(new) == key(row))
        };
        rows.values().filter(|row| is_gone(row)).cloned().collect()
    };
    for row in &gone {
        rows.remove(&key(row));
    }
    let asked = report.traffic.len();
    report.traffic.retain(|row| {
        let before = rows.insert(key(row), row.clone());
        before.is_none_or(|before| is_changed(&before, row))
    });
    output.edited(&report, &gone, asked, edit.problems)
}

/// What makes two rows the same one.
fn key(row: &TrafficReport) -> String {
    format!(
        "{} {} {} {:?} {} {:?}",
        row.service, row.port, row.protocol, row.frontend, row.to, row.from
    )
}

/// Whether a row says something else than before. Chance decides how often each endpoint answers, so that does not count.
fn is_changed(before: &TrafficReport, after: &TrafficReport) -> bool {
    (&before.expected, &before.complaint, &before.through) != (&after.expected, &after.complaint, &after.through)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::question::{Frontend, Origin};
    use crate::sandbox::report::ExpectedReport;

    fn row(expected: ExpectedReport) -> TrafficReport {
        TrafficReport {
            service: "default/web".into(),
            port: "http".into(),
            protocol: "tcp".into(),
            family: "IPv4".into(),
            frontend: Frontend::ClusterIp,
            to: "10.96.0.10:80".parse().unwrap(),
            from: Origin::Pod,
            through: "node-1".into(),
            expected,
            skipped: None,
            answers: BTreeMap::from([("web-1".to_owned(), 12)]),
            clients_seen: BTreeMap::new(),
            seen_as: Vec::new(),
            refused: 0,
            unanswered: 0,
            failed: BTreeMap::new(),
            median_micros: Some(200),
            complaint: None,
        }
    }

    #[test]
    fn chance_and_time_do_not_change_a_row() {
        let before = row(ExpectedReport::Refused);
        let mut after = before.clone();
        after.answers = BTreeMap::from([("web-2".to_owned(), 12)]);
        after.median_micros = Some(999);
        assert!(!is_changed(&before, &after));
        assert!(is_changed(&before, &row(ExpectedReport::NotServed)));
        after.complaint = Some("12 refused instead of an answer".into());
        assert!(is_changed(&before, &after));
    }
}
