//! `docs/conformance.md`: upstream's tests one by one, with kube-proxy's result and ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use anyhow::Context;

use crate::program::repository;
use crate::upstream::{Outcome, Results, Suite};

const FAMILIES: [&str; 3] = ["dual", "ipv4", "ipv6"];
const PROXIES: [&str; 2] = ["kube-proxy", "fairlead"];

/// Writes the page from the results that are kept in `e2e/out/upstream`.
pub fn write() -> anyhow::Result<()> {
    let path = repository().join("docs/conformance.md");
    fs::write(&path, page(&Results::load()?)).with_context(|| format!("cannot write {}", path.display()))
}

fn page(results: &[Results]) -> String {
    let mut page = format!(
        "# Conformance\n\n\
         Kubernetes' own end-to-end tests ({}) on a kind cluster of three nodes, with the real kube-proxy (nftables mode) and\n\
         with Fairlead as the only proxy. `cargo e2e up --kube-proxy nftables`, then `cargo e2e deploy --proxy kube-proxy` or\n\
         `cargo e2e deploy`, and `cargo e2e upstream --write` runs the tests and makes this page. Left out are tests marked\n\
         Disruptive, Serial, Feature, `FeatureGate` or Provider. Three tests of Traffic Distribution want two nodes in each of three\n\
         zones, and skip themselves on fewer; those of family dual ran with `--workers 5`. The tests of load balancers\n\
         (`cargo e2e upstream load-balancers`) ran with Fairlead's local provider, and not with kube-proxy, which has none.\n\n\
         ✓ passed, ✗ failed, – skipped itself, empty: not run. Each cell is `kube-proxy / Fairlead`.\n\n",
        kubernetes_version()
    );
    page.push_str(&summary(results));
    for suite in Suite::shown() {
        let of_suite: Vec<_> = results.iter().filter(|results| results.suite == suite).collect();
        if !of_suite.is_empty() {
            page.push_str(&section(suite, &of_suite));
        }
    }
    page
}

fn kubernetes_version() -> String {
    let pins = fs::read_to_string(repository().join("e2e/cluster/versions.env")).unwrap_or_default();
    let version = pins.lines().find_map(|line| line.strip_prefix("KUBERNETES_VERSION="));
    version.unwrap_or("of the pinned version").to_owned()
}

/// How many passed.
fn summary(results: &[Results]) -> String {
    let mut text = "| tests | family | kube-proxy | Fairlead |\n|---|---|---|---|\n".to_owned();
    for suite in Suite::shown() {
        for family in FAMILIES {
            let cells = PROXIES.map(|proxy| {
                let of = find(results, suite, family, proxy)?;
                let passed = of.tests.values().filter(|outcome| **outcome == Outcome::Passed).count();
                let asked = of
                    .tests
                    .values()
                    .filter(|outcome| **outcome != Outcome::Skipped)
                    .count();
                Some(format!("{passed} of {asked}"))
            });
            if cells.iter().any(Option::is_some) {
                let [peer, ours] = cells.map(Option::unwrap_or_default);
                let _ = writeln!(text, "| {} | {family} | {peer} | {ours} |", suite.name());
            }
        }
    }
    text.push('\n');
    text
}

fn find<'a>(results: &'a [Results], suite: Suite, family: &str, proxy: &str) -> Option<&'a Results> {
    results
        .iter()
        .find(|results| results.suite == suite && results.family == family && results.proxy == proxy)
}

fn section(suite: Suite, results: &[&Results]) -> String {
    let mut outcomes: BTreeMap<(&str, &str, &str), Outcome> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for of in results {
        for (name, outcome) in &of.tests {
            names.insert(name.as_str());
            outcomes.insert((name, &of.family, &of.proxy), *outcome);
        }
    }
    let mut text = format!(
        "## {}\n\n| test | {} |\n|---|---|---|---|\n",
        suite.name(),
        FAMILIES.join(" | ")
    );
    for name in names {
        let _ = write!(
            text,
            "| {} |",
            name.trim_start_matches("[sig-network] ").replace('|', "\\|")
        );
        for family in FAMILIES {
            let cell = PROXIES.map(|proxy| match outcomes.get(&(name, family, proxy)) {
                Some(Outcome::Passed) => "✓",
                Some(Outcome::Failed) => "✗",
                Some(Outcome::Skipped) => "–",
                None => "",
            });
            let cell = if cell == [""; 2] {
                String::new()
            } else {
                format!("{} / {}", cell[0], cell[1])
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_has_both_results_of_each_family() {
        let of = |proxy: &str, outcome| Results {
            suite: Suite::Conntrack,
            family: "ipv6".to_owned(),
            proxy: proxy.to_owned(),
            tests: [("[sig-network] Conntrack does".to_owned(), outcome)].into(),
        };
        let page = page(&[of("kube-proxy", Outcome::Passed), of("fairlead", Outcome::Failed)]);
        assert!(page.contains("| conntrack | ipv6 | 1 of 1 | 0 of 1 |\n"), "{page}");
        assert!(page.contains("| Conntrack does |  |  | ✓ / ✗ |\n"), "{page}");
    }
}
