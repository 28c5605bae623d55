//! A report for people.

use std::collections::{BTreeMap, BTreeSet};

use super::question::{Frontend, Origin};
use super::report::{
    AnnouncedReport, EndpointReport, ExpectedReport, HealthReport, IgnoredReport, Report, ServiceReport, TrafficReport,
};
use crate::terminal::{Column, Item, Layout, Screen, Style, Table};

/// The Services, and those that are ignored.
pub(super) fn services(report: &Report, screen: Screen) -> String {
    let column = |title, is_flexible| Column {
        title,
        is_flexible,
        layout: Layout::Stacked,
    };
    let mut table = Table::new(vec![
        column("Service", false),
        column("Addresses", false),
        column("Ports", false),
        column("Rules", false),
        column("Endpoints", true),
    ]);
    for service in &report.services {
        table.push(vec![
            vec![
                Item::new(Style::Strong, short(&service.name)),
                Item::new(Style::Faint, &service.type_),
            ],
            addresses(service),
            ports(service),
            rules(service),
            endpoints(service),
        ]);
    }
    let mut text = screen.title(
        "SERVICES",
        &format!("{} of {}", report.services.len(), report.manifests),
    );
    text += &table.render(screen.width, screen.paint);
    if !report.ignored.is_empty() {
        text += &screen.title("IGNORED", "Services that are none of a proxy's business");
        let width = report
            .ignored
            .iter()
            .map(|ignored| short(&ignored.name).len())
            .max()
            .unwrap_or_default();
        let line = |ignored: &IgnoredReport| {
            let name = format!("{:width$}", short(&ignored.name));
            format!("{}  {}\n", screen.paint.paint(Style::Strong, &name), ignored.reason)
        };
        text.extend(report.ignored.iter().map(line));
    }
    text + &problems(&report.problems, screen)
}

/// The addresses of pools, and who answers for them.
pub(super) fn announced(announced: &[AnnouncedReport], screen: Screen) -> String {
    if announced.is_empty() {
        return String::new();
    }
    let column = |title, is_flexible| Column {
        title,
        is_flexible,
        layout: Layout::Stacked,
    };
    let mut table = Table::new(vec![
        column("", false),
        column("Service", false),
        column("Address", false),
        column("Pool", false),
        column("Node", false),
        column("MAC address", false),
        column("Why this node", true),
    ]);
    let mut last = None;
    for row in announced {
        let mark = match row.reason {
            Some(_) => Item::new(Style::Good, "✓"),
            None => Item::new(Style::Bad, "✗"),
        };
        let reason = row
            .reason
            .as_ref()
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        let plain = |text: &Option<String>| vec![Item::plain(text.clone().unwrap_or_default())];
        let service = if last.replace(&row.service) == Some(&row.service) {
            ""
        } else {
            short(&row.service)
        };
        table.push(vec![
            vec![mark],
            vec![Item::new(Style::Strong, service)],
            vec![Item::plain(row.address.to_string())],
            plain(&row.pool),
            plain(&row.node),
            plain(&row.mac),
            vec![Item::plain(&row.why).and(Style::Faint, reason)],
        ]);
    }
    let title = screen.title("ANNOUNCED", "where the client finds addresses of pools, by ARP and NDP");
    title + &table.render(screen.width, screen.paint)
}

/// What is wrong with the manifests.
pub(super) fn problems(problems: &[String], screen: Screen) -> String {
    let line = |problem: &String| format!("{} {problem}\n", screen.paint.paint(Style::Bad, "!"));
    let mut text = String::new();
    if !problems.is_empty() {
        text += &screen.title("PROBLEMS", "the rest stays in force");
    }
    text + &problems.iter().map(line).collect::<String>()
}

fn short(name: &str) -> &str {
    name.strip_prefix("default/").unwrap_or(name)
}

fn addresses(service: &ServiceReport) -> Vec<Item> {
    let cluster = service
        .cluster_ips
        .iter()
        .map(|address| Item::plain(address.to_string()));
    let with = |address: &std::net::IpAddr, what: &str| Item::plain(address.to_string()).and(Style::Faint, what);
    let balanced = service.load_balancer_ips.iter().map(|address| with(address, " lb"));
    let external = service.external_ips.iter().map(|address| with(address, " ext"));
    cluster.chain(balanced).chain(external).collect()
}

fn ports(service: &ServiceReport) -> Vec<Item> {
    let item = |port: &super::report::PortReport| {
        let name = if port.name.is_empty() {
            String::new()
        } else {
            format!("{} ", port.name)
        };
        // As kubectl writes it.
        let node_port = port.node_port.map(|number| format!(":{number}")).unwrap_or_default();
        let protocol = if port.protocol == "tcp" {
            String::new()
        } else {
            format!("/{}", port.protocol)
        };
        Item::plain(format!("{name}{}{node_port}{protocol}", port.port))
    };
    service.ports.iter().map(item).collect()
}

/// A port number, with its protocol if that is not the usual one.
fn number_with(number: u16, protocol: &str) -> String {
    if protocol == "tcp" {
        number.to_string()
    } else {
        format!("{number}/{protocol}")
    }
}

fn rules(service: &ServiceReport) -> Vec<Item> {
    let mut rules = Vec::new();
    if service.internal_traffic_policy != "Cluster" {
        rules.push(format!("internal {}", service.internal_traffic_policy));
    }
    if service.external_traffic_policy != "Cluster" {
        rules.push(format!("external {}", service.external_traffic_policy));
    }
    rules.extend(
        service
            .health_check_node_port
            .map(|port| format!("health check {port}")),
    );
    rules.extend(
        service
            .session_affinity_seconds
            .map(|seconds| format!("affinity {seconds} s")),
    );
    if !service.source_ranges.is_empty() {
        rules.push("lb only from".to_owned());
        rules.extend(service.source_ranges.iter().cloned());
    }
    if service.endpoints.iter().any(|endpoint| endpoint.left_out.is_some()) {
        rules.push("hints".to_owned());
    }
    rules.into_iter().map(Item::plain).collect()
}

/// Endpoints by name: those of both families are one pod.
fn endpoints(service: &ServiceReport) -> Vec<Item> {
    let mut seen = BTreeSet::new();
    let distinct: Vec<&EndpointReport> = service
        .endpoints
        .iter()
        .filter(|endpoint| seen.insert((&endpoint.name, endpoint.state)))
        .collect();
    if distinct.is_empty() {
        return vec![Item::new(Style::Faint, "none")];
    }
    let item = |endpoint: &EndpointReport| {
        let node = endpoint.node.iter().map(|node| format!(" {node}"));
        let state = Some(endpoint.state).filter(|state| *state != "ready");
        let marks = state
            .into_iter()
            .chain(endpoint.left_out)
            .map(|mark| format!(", {mark}"));
        let more: String = node.chain(marks).collect();
        Item::plain(&endpoint.name).and(Style::Faint, more)
    };
    distinct.into_iter().map(item).collect()
}

/// Rows of the table are questions that must get the same answers and got them.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey<'a> {
    service: &'a str,
    port: &'a str,
    protocol: &'a str,
    frontend: Frontend,
    number: u16,
    /// Where a client stays with its endpoint, it has two: one in each family.
    family: Option<&'a str>,
    from: Origin,
    expected: ExpectedReport,
    complaint: Option<&'a str>,
}

/// What came of the questions.
pub(super) fn traffic(rows: &[TrafficReport], screen: Screen) -> String {
    let column = |title, is_flexible, layout| Column {
        title,
        is_flexible,
        layout,
    };
    let mut table = Table::new(vec![
        column("", false, Layout::Stacked),
        column("Service", false, Layout::Stacked),
        column("Asked at", false, Layout::Stacked),
        column("Node", false, Layout::Stacked),
        column("From", false, Layout::Stacked),
        column("Answers", true, Layout::Flowing),
        column("Seen as", false, Layout::Stacked),
        column("Median", false, Layout::Right),
    ]);
    let mut groups: Vec<(RowKey<'_>, Vec<&TrafficReport>)> = Vec::new();
    for row in rows {
        let key = key_of(row);
        if let Some((_, group)) = groups.iter_mut().find(|(known, _)| *known == key) {
            group.push(row);
        } else {
            groups.push((key, vec![row]));
        }
    }
    let mut last = None;
    for (_, group) in groups {
        let service = service_port(group[0], rows);
        let shown = if last.as_ref() == Some(&service) {
            String::new()
        } else {
            service.clone()
        };
        last = Some(service);
        let mark = match (&group[0].skipped, &group[0].complaint) {
            (Some(_), _) => Item::new(Style::Faint, "-"),
            (None, None) => Item::new(Style::Good, "✓"),
            (None, Some(_)) => Item::new(Style::Bad, "✗"),
        };
        table.push(vec![
            vec![mark],
            vec![Item::new(Style::Strong, shown)],
            vec![asked_at(&group)],
            vec![Item::plain(nodes(&group))],
            vec![Item::plain(group[0].from.label())],
            answers(&group),
            vec![Item::plain(seen(&group))],
            median(&group).into_iter().map(Item::plain).collect(),
        ]);
    }
    table.render(screen.width, screen.paint)
}

fn key_of(row: &TrafficReport) -> RowKey<'_> {
    let mut expected = row.expected.clone();
    // "Sees the node that was asked" is the same on each node.
    if let ExpectedReport::Answer { from, .. } = &mut expected {
        for seen in from.values_mut().filter(|seen| **seen == row.through) {
            "the node".clone_into(seen);
        }
    }
    RowKey {
        service: &row.service,
        port: &row.port,
        protocol: &row.protocol,
        frontend: row.frontend,
        number: row.to.port(),
        family: matches!(expected, ExpectedReport::Answer { one: true, .. }).then_some(row.family.as_str()),
        from: row.from,
        expected,
        complaint: row.complaint.as_deref(),
    }
}

/// The Service; with the port's name if it has several.
fn service_port(row: &TrafficReport, rows: &[TrafficReport]) -> String {
    let name = short(&row.service);
    let is_only = rows
        .iter()
        .all(|other| other.service != row.service || other.port == row.port);
    if is_only || row.port.is_empty() {
        name.to_owned()
    } else {
        format!("{name}:{}", row.port)
    }
}

fn asked_at(group: &[&TrafficReport]) -> Item {
    let row = group[0];
    let item = Item::plain(format!(
        "{} {}",
        row.frontend.label(),
        number_with(row.to.port(), &row.protocol)
    ));
    let families: BTreeSet<&str> = group.iter().map(|row| row.family.as_str()).collect();
    // Both families go without saying.
    if families.len() == 1 {
        item.and(Style::Faint, format!(" {}", row.family))
    } else {
        item
    }
}

/// The nodes that were asked, where that is not the one that asks or that the pod is on.
fn nodes(group: &[&TrafficReport]) -> String {
    let row = group[0];
    if row.frontend != Frontend::NodePort && row.from != Origin::Outside {
        return String::new();
    }
    let nodes: BTreeSet<&str> = group.iter().map(|row| row.through.as_str()).collect();
    let numbers: Vec<_> = nodes.iter().map(|node| node.trim_start_matches("node-")).collect();
    format!("node-{}", numbers.join(","))
}

fn answers(group: &[&TrafficReport]) -> Vec<Item> {
    if let Some(reason) = &group[0].skipped {
        return vec![Item::new(Style::Faint, reason.clone())];
    }
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
    for row in group {
        row.answers
            .iter()
            .for_each(|(name, count)| *answers.entry(name).or_default() += count);
        row.failed
            .iter()
            .for_each(|(error, count)| *failed.entry(error).or_default() += count);
    }
    let mut items: Vec<_> = answers
        .iter()
        .map(|(name, count)| Item::plain(format!("{name} {count}")))
        .collect();
    let refused: usize = group.iter().map(|row| row.refused).sum();
    let unanswered: usize = group.iter().map(|row| row.unanswered).sum();
    if refused > 0 {
        items.push(Item::plain(format!("refused {refused}")));
    }
    if unanswered > 0 {
        items.push(Item::plain(format!("no answer {unanswered}")));
    }
    items.extend(
        failed
            .iter()
            .map(|(error, count)| Item::plain(format!("{error} {count}"))),
    );
    if let ExpectedReport::Dropped { why } = group[0].expected {
        items.push(Item::new(Style::Faint, format!("({})", why.replace("endpoint", "pod"))));
    }
    items
}

fn seen(group: &[&TrafficReport]) -> String {
    let of_row = |row: &&TrafficReport| {
        let is_the_node = row.seen_as.len() == 1 && row.seen_as[0] == row.through;
        (is_the_node, row.seen_as.clone())
    };
    let all: BTreeSet<_> = group.iter().map(of_row).collect();
    if all.len() > 1 && all.iter().all(|(is_the_node, _)| *is_the_node) {
        return "that node".to_owned();
    }
    let names: BTreeSet<&str> = all.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn median(group: &[&TrafficReport]) -> Option<String> {
    let mut medians: Vec<u128> = group.iter().filter_map(|row| row.median_micros).collect();
    medians.sort_unstable();
    medians.get(medians.len() / 2).map(|micros| duration(*micros))
}

/// A time in milliseconds, with as many digits as mean something.
#[expect(clippy::cast_precision_loss, reason = "a time that is shown has three digits")]
fn duration(micros: u128) -> String {
    let millis = micros as f64 / 1000.0;
    match micros {
        0..10_000 => format!("{millis:.2} ms"),
        10_000..100_000 => format!("{millis:.1} ms"),
        _ => format!("{millis:.0} ms"),
    }
}

/// What the health check node ports said.
pub(super) fn health(checks: &[HealthReport], screen: Screen) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let mut text = screen.title("HEALTH CHECKS", "what a load balancer asks each node");
    let mut groups: BTreeMap<(&str, u16), BTreeMap<&str, Vec<&HealthReport>>> = BTreeMap::new();
    for check in checks {
        let nodes = groups.entry((&check.service, check.to.port())).or_default();
        nodes.entry(&check.node).or_default().push(check);
    }
    for ((service, port), nodes) in groups {
        let answers = nodes.into_iter().map(|(node, checks)| {
            let is_right = checks.iter().all(|check| check.complaint.is_none());
            let mark = if is_right {
                (Style::Good, "✓")
            } else {
                (Style::Bad, "✗")
            };
            let answer = |check: &&HealthReport| match (check.status, check.local_endpoints) {
                (Some(status), Some(count)) => format!("{status} ({count} local)"),
                _ => check.complaint.clone().unwrap_or_default(),
            };
            let told: BTreeSet<String> = checks.iter().map(answer).collect();
            let told = told.into_iter().collect::<Vec<_>>().join(", ");
            format!("{} {node} {told}", screen.paint.paint(mark.0, mark.1))
        });
        let name = format!("{} {port}", short(service));
        text += &screen.paint.paint(Style::Strong, &name);
        text.extend(answers.map(|answer| format!("   {answer}")));
        text.push('\n');
    }
    text
}

/// Everything that is not as the manifests say.
pub(super) fn complaints(report: &Report, screen: Screen) -> String {
    let wrong = report.traffic.iter().filter_map(|row| {
        let complaint = row.complaint.as_ref()?;
        let at = format!(
            "{} {}/{} from {}",
            row.frontend.label(),
            row.to,
            row.protocol,
            row.from.label()
        );
        Some(format!(
            "{} {}: {at}: {complaint}\n",
            screen.paint.paint(Style::Bad, "✗"),
            service_port(row, &report.traffic)
        ))
    });
    let unhealthy = report.health_checks.iter().filter_map(|check| {
        let complaint = check.complaint.as_ref()?;
        let name = short(&check.service);
        Some(format!(
            "{} {name}: health check {}: {complaint}\n",
            screen.paint.paint(Style::Bad, "✗"),
            check.to
        ))
    });
    let lines: String = wrong.chain(unhealthy).collect();
    if lines.is_empty() {
        lines
    } else {
        screen.title("NOT AS THE MANIFESTS SAY", "") + &lines
    }
}

#[cfg(test)]
mod tests;
