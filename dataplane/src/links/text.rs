//! The table in the words of `nft list ruleset`.

use std::collections::BTreeMap;
use std::fmt;

use fairlead_model::Family;

use super::{BUCKETS, Detour, LinkTable, SEED, Spread, digit};
use crate::table::TABLE;

impl fmt::Display for LinkTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spreads = self.spreads();
        let mut blocks: Vec<_> = (1..)
            .zip(&spreads)
            .map(|(number, spread)| bucket_map(number, spread))
            .collect();
        if !spreads.is_empty() {
            blocks.extend(Family::ALL.map(|family| self.port_map(family, &spreads)));
        }
        blocks.extend(self.detour_sets());
        blocks.extend((1..).zip(&spreads).map(|(number, spread)| steer_chain(number, spread)));
        if !spreads.is_empty() {
            blocks.push(self.arrive_chain());
        }
        let leaving = self.detours();
        blocks.extend(leaving.map(|(name, link, detours)| leave_chain(name, link.index, &detours)));
        writeln!(f, "table netdev {TABLE} {{\n{}}}", blocks.join("\n"))
    }
}

impl LinkTable {
    fn port_map(&self, family: Family, spreads: &[Spread<'_>]) -> String {
        let ports = self
            .steered
            .iter()
            .filter(|(port, _)| Family::of(port.address) == family);
        let ports = ports.map(|(port, steering)| {
            let number = Self::number_of(spreads, *port, steering);
            format!(
                "{} . {} . {} : goto steer_{number}",
                port.address, port.protocol, port.number
            )
        });
        let kind = format!("type {} . inet_proto . inet_service : verdict", kind(family));
        block(&format!("map steer{}", digit(family)), kind, elements(ports))
    }

    fn detour_sets(&self) -> impl Iterator<Item = String> {
        let mut sets = BTreeMap::new();
        for detour in self.detours().flat_map(|(_, _, detours)| detours) {
            let addresses = detour.addresses().map(|address| address.to_string());
            sets.entry(detour.set())
                .or_insert_with(|| (Family::of(detour.router), elements(addresses)));
        }
        let sets = sets.into_iter();
        sets.map(|(name, (family, elements))| block(&format!("set {name}"), format!("type {}", kind(family)), elements))
    }

    fn arrive_chain(&self) -> String {
        let links: Vec<_> = self.links.keys().map(String::as_str).collect();
        let devices = match &links[..] {
            [one] => format!("device \"{one}\""),
            several => format!("devices = {{ {} }}", several.join(", ")),
        };
        let hook = format!("type filter hook ingress {devices} priority filter; policy accept;");
        let look_up = |family| {
            let (ip, digit) = (ip(family), digit(family));
            format!("{ip} daddr . meta l4proto . th dport vmap @steer{digit}")
        };
        block("chain arrive", hook, Family::ALL.map(look_up))
    }
}

fn bucket_map(number: usize, spread: &Spread<'_>) -> String {
    let buckets = spread.steering.buckets.iter();
    let buckets = buckets.map(|(bucket, node)| format!("{bucket} : {node}"));
    let kind = format!("typeof numgen random mod 1 : {} daddr", ip(spread.family));
    block(&format!("map to_{number}"), kind, elements(buckets))
}

fn steer_chain(number: usize, spread: &Spread<'_>) -> String {
    let ip = ip(spread.family);
    let sport = if spread.steering.is_by_client {
        ""
    } else {
        " . th sport"
    };
    let hash = format!("jhash {ip} saddr{sport} mod {BUCKETS} seed {SEED:#x}");
    let hand_on = format!(
        "fwd {ip} to {hash} map @to_{number} device \"{}\"",
        spread.steering.by.0
    );
    block(&format!("chain steer_{number}"), hand_on, [])
}

fn leave_chain(name: &str, index: u32, detours: &[Detour<'_>]) -> String {
    let hook = format!("type filter hook egress device \"{name}\" priority filter; policy accept;");
    let leave_by = detours.iter().map(|detour| {
        let (ip, set, router, device) = (ip(Family::of(detour.router)), detour.set(), detour.router, detour.by.0);
        format!("{ip} saddr @{set} fwd {ip} to {router} device \"{device}\"")
    });
    block(&format!("chain leave_{index}"), hook, leave_by)
}

fn block(head: &str, first: String, more: impl IntoIterator<Item = String>) -> String {
    let lines = std::iter::once(first).chain(more);
    let lines: Vec<_> = lines.map(|line| format!("\t\t{line}")).collect();
    format!("\t{head} {{\n{}\n\t}}\n", lines.join("\n"))
}

/// No line if there are none.
fn elements(elements: impl Iterator<Item = String>) -> Option<String> {
    let elements: Vec<_> = elements.collect();
    (!elements.is_empty()).then(|| format!("elements = {{ {} }}", elements.join(",\n\t\t\t     ")))
}

const fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

const fn kind(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}
