//! A report for people.

use std::fmt::Write as _;

use super::foresee::{Report, ServiceReport};
use crate::terminal::{Screen, Style};

/// What stands before a line's words.
const LABEL: usize = 11;

pub(super) fn text(report: &Report, screen: Screen) -> String {
    let mut text = String::new();
    for pool in &report.pools {
        text += &screen.title(&format!("AddressPool {}", pool.name), from_files(pool.is_given));
        let problem = format!("{}: {}", pool.complaint.reason, pool.complaint.message);
        text += &line("problem", Style::Bad, &problem, screen);
    }
    for service in &report.services {
        text += &screen.title(&format!("Service {}", service.name), from_files(service.is_given));
        text += &of_service(service, screen);
    }
    if report.services.is_empty() {
        text += "nothing to do\n";
    }
    if report.are_ip_families_assumed {
        let families = report.ip_families.join(", ");
        let _ = write!(
            text,
            "\nServices that name no IP family are taken to get {families}: nothing here says what the cluster has (--ip-families)\n"
        );
    }
    text.trim_start().to_owned()
}

fn from_files(is_given: bool) -> &'static str {
    if is_given { "" } else { "not of the files" }
}

fn of_service(service: &ServiceReport, screen: Screen) -> String {
    let provider = service.provider.as_deref().unwrap_or("none");
    let mut text = line(
        "provider",
        Style::Plain,
        &format!("{provider}: {}", service.why),
        screen,
    );
    let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
    match (&service.pool, addresses.is_empty()) {
        (_, true) if service.provider.is_some() => text += &line("addresses", Style::Bad, "none", screen),
        (_, true) => {}
        (Some(pool), false) => {
            let from = format!("{} of AddressPool {pool}", addresses.join(", "));
            text += &line("addresses", Style::Good, &from, screen);
        }
        (None, false) => text += &line("addresses", Style::Plain, &addresses.join(", "), screen),
    }
    // Where no provider takes it, the reason is there already.
    if let Some(complaint) = service
        .complaint
        .as_ref()
        .filter(|complaint| complaint.message != service.why)
    {
        let problem = format!("{}: {}", complaint.reason, complaint.message);
        text += &line("problem", Style::Bad, &problem, screen);
    }
    if service.steps.is_empty() {
        text += &line("steps", Style::Faint, "none", screen);
    }
    for (index, step) in service.steps.iter().enumerate() {
        let label = if index == 0 { "steps" } else { "" };
        text += &line(label, Style::Plain, step, screen);
    }
    text
}

/// A line as wide as it is: it may be copied.
fn line(label: &str, style: Style, words: &str, screen: Screen) -> String {
    let label = screen.paint.paint(Style::Faint, &format!("{label:LABEL$}"));
    format!("  {label}{}\n", screen.paint.paint(style, words))
}
