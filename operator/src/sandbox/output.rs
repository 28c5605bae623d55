//! What goes to standard output: text for people, or JSON, one document on each line.

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use super::report::{Report, TrafficReport};
use super::text;
use crate::terminal::{Screen, Style};

const LEGEND: &str =
    "✓ as the manifests say. Node: the one that is asked, or that the network brings the client to. Seen as: whom the
workload saw as its client, the one who asks by itself or a node in its place.
";

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Output {
    /// For people.
    Text(Screen),
    /// For machines.
    Json,
}

impl Output {
    /// Text for people; machines do not see it.
    pub(super) fn say(self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Text(_) => print(text),
            Self::Json => Ok(()),
        }
    }

    /// A part of what a scenario shows to people.
    pub(super) fn scenario(self, text: impl FnOnce(Screen) -> String) -> anyhow::Result<()> {
        match self {
            Self::Text(screen) => print(&text(screen)),
            Self::Json => Ok(()),
        }
    }

    /// All of a scenario, for machines.
    pub(super) fn scenario_json(self, report: &impl Serialize) -> anyhow::Result<()> {
        match self {
            Self::Text(_) => Ok(()),
            Self::Json => print_json(report),
        }
    }

    /// The first look at everything.
    pub(super) fn first(self, report: &Report, requests: u16) -> anyhow::Result<()> {
        match self {
            Self::Json => print_json(report),
            Self::Text(screen) => {
                let title = format!("{requests} requests to each address, IPv4 and IPv6, from each place");
                print(&screen.title("TRAFFIC", &title))?;
                print(&screen.paint.paint(Style::Faint, LEGEND))?;
                print(&text::traffic(&report.traffic, screen))?;
                print(&text::health(&report.health_checks, screen))?;
                print(&text::complaints(report, screen))?;
                print(&summary(report, screen))
            }
        }
    }

    /// What an edit changed: `report` holds the rows that say something else than before.
    pub(super) fn edited(
        self,
        report: &Report,
        gone: &[TrafficReport],
        asked: usize,
        problems: bool,
    ) -> anyhow::Result<()> {
        let Self::Text(screen) = self else {
            return print_json(report);
        };
        let mut text = String::new();
        if let Some(edit) = report
            .edit
            .as_ref()
            .filter(|edit| !edit.services.is_empty() || edit.effect_millis.is_some())
        {
            let services: Vec<_> = edit
                .services
                .iter()
                .map(|name| name.trim_start_matches("default/"))
                .collect();
            let effect = edit
                .effect_millis
                .map(|millis| format!("in the kernel {millis:.0} ms after the edit"));
            text += &screen.title(&format!("EDIT {}", services.join(" ")), &effect.unwrap_or_default());
            if !report.traffic.is_empty() {
                text += &text::traffic(&report.traffic, screen);
            }
            text.extend(gone.iter().map(|row| {
                let at = format!(
                    "{} {}/{} from {}",
                    row.frontend.label(),
                    row.to,
                    row.protocol,
                    row.from.label()
                );
                screen.paint.paint(Style::Faint, &format!("- {} {at}", row.service))
                    + "
"
            }));
            let same = asked - report.traffic.len();
            if same > 0 {
                text += &screen
                    .paint
                    .paint(Style::Faint, &format!("{same} other answers are as before\n"));
            }
            text += &text::complaints(report, screen);
        }
        if problems || !report.problems.is_empty() {
            let told = text::problems(&report.problems, screen);
            text += if told.is_empty() {
                "\nEverything in the folder can be used again.\n"
            } else {
                &told
            };
        }
        print(&text)
    }
}

fn summary(report: &Report, screen: Screen) -> String {
    let sent = report.traffic.iter().filter(|row| row.skipped.is_none());
    let wrong = report.traffic.iter().filter(|row| row.complaint.is_some()).count();
    let skipped = report.traffic.len() - sent.clone().count();
    let requests: usize = sent
        .map(|row| {
            row.answers.values().sum::<usize>() + row.refused + row.unanswered + row.failed.values().sum::<usize>()
        })
        .sum();
    let verdict = if report.passed {
        screen.paint.paint(Style::Good, "All as the manifests say.")
    } else {
        screen.paint.paint(
            Style::Bad,
            &format!("{wrong} of {} are not as the manifests say.", report.traffic.len()),
        )
    };
    let note = if skipped > 0 {
        format!(" ({skipped} not asked)")
    } else {
        String::new()
    };
    format!(
        "\n{verdict} {requests} requests to {} addresses and places{note}.\n",
        report.traffic.len() - skipped
    )
}

fn print_json(report: &impl Serialize) -> anyhow::Result<()> {
    let document = serde_json::to_string(report).expect("every key of the report is a text");
    print(&format!("{document}\n"))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}
