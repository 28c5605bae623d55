//! From the text of `iptables-save` to the input of `iptables-restore --noflush`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The tables that kube-proxy has chains in.
pub(super) const TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// Chains of kube-proxy by table, of its iptables and its ipvs mode: what its own clean-up removes. Not among them,
/// because they are the kubelet's: `KUBE-FIREWALL` of table filter, `KUBE-MARK-DROP`, `KUBE-KUBELET-CANARY` and
/// `KUBE-IPTABLES-HINT`. In table nat `KUBE-FIREWALL` was a chain of older ipvs modes.
const CHAINS: [(&str, &[&str]); 3] = [
    (
        "nat",
        &[
            "KUBE-SERVICES",
            "KUBE-NODEPORTS",
            POSTROUTING,
            MARK_MASQ,
            "KUBE-PROXY-CANARY",
            "KUBE-NODE-PORT",
            "KUBE-LOAD-BALANCER",
            "KUBE-FIREWALL",
        ],
    ),
    (
        "filter",
        &[
            "KUBE-SERVICES",
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-FORWARD",
            "KUBE-NODEPORTS",
            "KUBE-PROXY-FIREWALL",
            "KUBE-PROXY-CANARY",
            "KUBE-NODE-PORT",
            "KUBE-SOURCE-RANGES-FIREWALL",
            "KUBE-IPVS-FILTER",
            "KUBE-IPVS-OUT-FILTER",
        ],
    ),
    ("mangle", &["KUBE-PROXY-CANARY"]),
];

/// Beginnings of the names of chains for one Service or endpoint, in table nat.
const NAT_PREFIXES: [&str; 6] = [
    "KUBE-SVC-",
    "KUBE-SVL-",
    "KUBE-SEP-",
    "KUBE-FW-",
    "KUBE-XLB-",
    "KUBE-EXT-",
];

/// Marks a packet for masquerading. CNI's portmap can be told to use it (`externalSetMarkChain`).
const MARK_MASQ: &str = "KUBE-MARK-MASQ";
/// Masquerades the marked packets.
const POSTROUTING: &str = "KUBE-POSTROUTING";

fn is_kube_proxys(table: &str, chain: &str) -> bool {
    CHAINS.iter().any(|(of, names)| *of == table && names.contains(&chain))
        || table == "nat" && NAT_PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

/// True for the chains of kube-proxy that do something to connections of Services.
pub(super) fn intercepts(table: &str, chain: &str) -> bool {
    is_kube_proxys(table, chain) && chain != MARK_MASQ && chain != POSTROUTING
}

/// What to do in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plan {
    /// The table.
    pub(super) table: String,
    /// Chains to remove, with their rules.
    pub(super) removed: BTreeSet<String>,
    /// Chains to empty only, since a chain of others leads to them.
    pub(super) emptied: BTreeSet<String>,
    /// Rules of built-in chains to remove: chain and rule, as they were saved.
    pub(super) rules: Vec<(String, String)>,
    /// Chains that stay, and a chain of others that leads to each.
    pub(super) kept: BTreeMap<String, String>,
}

impl Plan {
    /// The input that does it in one transaction; `None` if there is nothing to do.
    pub(super) fn restore_input(&self) -> Option<String> {
        if self.removed.is_empty() && self.emptied.is_empty() && self.rules.is_empty() {
            return None;
        }
        let mut text = format!("*{}\n", self.table);
        // Naming a chain empties it. All are emptied before one goes, because they lead to each other.
        for chain in self.removed.iter().chain(&self.emptied) {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        for (chain, rule) in &self.rules {
            let _ = writeln!(text, "-D {chain} {rule}");
        }
        for chain in &self.removed {
            let _ = writeln!(text, "-X {chain}");
        }
        text += "COMMIT\n";
        Some(text)
    }

    /// One line for each thing that goes.
    pub(super) fn removals(&self) -> impl Iterator<Item = String> {
        let rules = self
            .rules
            .iter()
            .map(|(chain, rule)| format!("rule of {chain}: {rule}"));
        let chains = self.removed.iter().map(|chain| format!("chain {chain}"));
        let emptied = self.emptied.iter().map(|chain| format!("rules of chain {chain}"));
        rules.chain(chains).chain(emptied)
    }
}

/// What a save says of one table.
#[derive(Debug, Default)]
struct Table<'a> {
    name: &'a str,
    /// Chains, and whether each is built in.
    chains: BTreeMap<&'a str, Origin>,
    /// Chain and rule, in order.
    rules: Vec<(&'a str, &'a str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    BuiltIn,
    User,
}

/// The plans for the tables of a save, those with nothing to do or to say left out.
pub(super) fn plan(saved: &str) -> Vec<Plan> {
    let plans = parse(saved).into_iter().map(|table| plan_table(&table));
    plans
        .filter(|plan| plan.restore_input().is_some() || !plan.kept.is_empty())
        .collect()
}

fn parse(saved: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in saved.lines() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('*') {
            tables.push(Table {
                name,
                ..Table::default()
            });
            continue;
        }
        let Some(table) = tables.last_mut() else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let name = words.next().unwrap_or_default();
            // A chain that is not built in has no policy.
            let origin = if words.next() == Some("-") {
                Origin::User
            } else {
                Origin::BuiltIn
            };
            table.chains.insert(name, origin);
        } else if let Some((chain, rule)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' ')) {
            table.rules.push((chain, rule));
        }
    }
    tables
}

/// The tables that a save of the nft back end says it cannot read.
pub(super) fn unreadable_tables(saved: &str) -> Vec<&str> {
    let names = saved.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("# Table `")?.split_once('\'')?;
        rest.contains("incompatible").then_some(name)
    });
    names.filter(|name| TABLES.contains(name)).collect()
}

fn plan_table(table: &Table<'_>) -> Plan {
    let mut plan = Plan {
        table: table.name.to_owned(),
        ..Plan::default()
    };
    let ours: BTreeSet<&str> = table
        .chains
        .keys()
        .copied()
        .filter(|chain| is_kube_proxys(table.name, chain))
        .collect();
    let mut jumps_of_others = BTreeMap::new();
    let mut rules = Vec::new();
    for &(chain, rule) in &table.rules {
        let Some(target) = target(rule).filter(|target| ours.contains(target)) else {
            continue;
        };
        match table.chains.get(chain) {
            _ if ours.contains(chain) => {}
            Some(Origin::BuiltIn) => rules.push((chain, rule, target)),
            _ => {
                jumps_of_others.entry(target).or_insert(chain);
            }
        }
    }
    // Someone else masquerades by kube-proxy's mark: the mark keeps its effect, which only theirs have then.
    let is_mark_used = jumps_of_others.contains_key(MARK_MASQ) && table.name == "nat";
    for &chain in &ours {
        let user = jumps_of_others.get(chain).copied();
        let stays = is_mark_used && (chain == MARK_MASQ || chain == POSTROUTING);
        match user.or_else(|| stays.then_some(MARK_MASQ)) {
            Some(user) if stays => {
                plan.kept.insert(chain.to_owned(), user.to_owned());
            }
            Some(user) => {
                plan.kept.insert(chain.to_owned(), user.to_owned());
                if table.rules.iter().any(|&(of, _)| of == chain) {
                    plan.emptied.insert(chain.to_owned());
                }
            }
            None => {
                plan.removed.insert(chain.to_owned());
            }
        }
    }
    plan.rules = rules
        .into_iter()
        .filter(|(_, _, target)| !(is_mark_used && (*target == POSTROUTING || *target == MARK_MASQ)))
        .map(|(chain, rule, _)| (chain.to_owned(), rule.to_owned()))
        .collect();
    plan
}

/// The chain or verdict that a rule leads to.
fn target(rule: &str) -> Option<&str> {
    let mut words = words(rule);
    while let Some(word) = words.next() {
        match word {
            "-j" | "-g" | "--jump" | "--goto" => return words.next(),
            // A comment of one word is saved without quotes and may look like an option.
            "--comment" => {
                words.next();
            }
            _ => {}
        }
    }
    None
}

/// The words of a rule. A quoted text is one word, quotes and all, so that no word in a comment is taken for an option.
fn words(rule: &str) -> impl Iterator<Item = &str> {
    let mut rest = rule;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        let mut in_quotes = false;
        let mut is_escaped = false;
        let end = rest.find(|c: char| {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => in_quotes = !in_quotes,
                ' ' => return !in_quotes,
                _ => {}
            }
            false
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests;
