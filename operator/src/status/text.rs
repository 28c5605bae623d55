//! A report for people.

use fairlead_crds::PoolUsage;

use super::report::{Report, State};
use crate::terminal::{Column, Item, Layout, Screen, Style, Table};

pub(super) fn text(report: &Report, screen: Screen) -> String {
    let leader = report
        .leader
        .as_deref()
        .map_or("nobody leads".to_owned(), |leader| format!("{leader} leads"));
    let mut text = screen.title("Pods", &leader).trim_start().to_owned();
    let mut pods = table(&["POD", "COMPONENT", "NODE", "READY", "RESTARTS"], None);
    for pod in &report.pods {
        let ready = if pod.is_ready {
            Item::new(Style::Good, "yes")
        } else {
            Item::new(Style::Bad, "no")
        };
        pods.push(vec![
            one(&pod.name),
            one(&pod.component),
            one(&pod.node),
            vec![ready],
            one(&pod.restarts.to_string()),
        ]);
    }
    text += &part(&pods, report.pods.is_empty(), screen);

    text += &screen.title("Providers", "");
    let mut providers = table(&["PROVIDER", "KIND", "CLASS", "LOAD BALANCERS", "STATE"], Some("STATE"));
    for provider in &report.providers {
        let class = provider.class.as_deref().unwrap_or("–");
        let class = if provider.is_default {
            format!("{class} (default)")
        } else {
            class.to_owned()
        };
        providers.push(vec![
            one(&provider.name),
            one(provider.kind),
            one(&class),
            one(&provider.load_balancers.to_string()),
            state(&provider.state),
        ]);
    }
    text += &part(&providers, report.providers.is_empty(), screen);

    text += &screen.title("Pools", "addresses that Services have, of those that there are");
    let mut pools = table(&["POOL", "ADDRESSES", "IPV4", "IPV6", "STATE"], Some("STATE"));
    for pool in &report.pools {
        pools.push(vec![
            one(&pool.name),
            pool.addresses.iter().map(Item::plain).collect(),
            one(&usage(pool.ipv4)),
            one(&usage(pool.ipv6)),
            state(&pool.state),
        ]);
    }
    text += &part(&pools, report.pools.is_empty(), screen);

    text += &screen.title("Load balancers", "");
    let titles = ["LOAD BALANCER", "PROVIDER", "ADDRESSES", "NODE", "STATE"];
    let mut load_balancers = table(&titles, Some("STATE"));
    for load_balancer in &report.load_balancers {
        let hostname = load_balancer.hostname.iter();
        load_balancers.push(vec![
            one(&load_balancer.name),
            one(&load_balancer.provider),
            load_balancer
                .addresses
                .iter()
                .chain(hostname)
                .map(Item::plain)
                .collect(),
            one(load_balancer.node.as_deref().unwrap_or("–")),
            state(&load_balancer.state),
        ]);
    }
    text + &part(&load_balancers, report.load_balancers.is_empty(), screen)
}

fn table(titles: &[&'static str], flexible: Option<&str>) -> Table {
    let column = |title: &&'static str| Column {
        title,
        is_flexible: Some(*title) == flexible,
        layout: Layout::Stacked,
    };
    Table::new(titles.iter().map(column).collect())
}

fn part(table: &Table, is_empty: bool, screen: Screen) -> String {
    if is_empty {
        return "none\n".to_owned();
    }
    table.render(screen.width, screen.paint)
}

fn one(text: &str) -> Vec<Item> {
    vec![Item::plain(text)]
}

fn usage(usage: Option<PoolUsage>) -> String {
    usage.map_or_else(
        || "–".to_owned(),
        |usage| match usage.assigned.checked_add(usage.available) {
            Some(all) => format!("{} of {all}", usage.assigned),
            None => format!("{} of very many", usage.assigned),
        },
    )
}

fn state(state: &State) -> Vec<Item> {
    let word = match (state.is_ready, state.is_accepted) {
        (true, true) => return vec![Item::new(Style::Good, "ready")],
        (true, false) => Item::new(Style::Bad, "ready, but"),
        (false, _) => Item::new(Style::Bad, "not ready"),
    };
    vec![word, Item::plain(&state.message)]
}

#[cfg(test)]
mod tests;
