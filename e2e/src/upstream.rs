//! Kubernetes' own end-to-end tests, run by ginkgo against a cluster.
//!
//! A [`Suite`] is a part of them. What came of a run is kept as [`Results`] in `e2e/out/upstream`, one file for each suite, IP
//! family and proxy; [`crate::conformance`] compares them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::lan::{self, Elsewhere, Takes};
use crate::program::{Program, out, tools};

const BUILD_LIMIT: Duration = Duration::from_mins(45);
const RUN_LIMIT: Duration = Duration::from_mins(75);
/// Tests that run at once. They wait for most of their time.
const PROCESSES: &str = "8";

/// A part of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// `[sig-network] Services`, without the slow and disruptive ones.
    Services,
    /// The slow ones of `Services` and of `Networking Granular Checks: Services`.
    Slow,
    /// `[sig-network] EndpointSlice`, `EndpointSliceMirroring`, `Endpoints`.
    EndpointSlice,
    /// `[sig-network] Conntrack`.
    Conntrack,
    /// `[sig-network] Traffic Distribution`.
    TrafficDistribution,
    /// `[sig-network] Networking Granular Checks: Services`.
    GranularChecks,
    /// `[sig-network] KubeProxy`, and what asks for its URLs.
    KubeProxy,
    /// `[sig-network] DNS`, which comes to its server through a Service.
    Dns,
    /// `[sig-network] LoadBalancers`, slow ones too, with a local provider. kube-proxy alone cannot pass them.
    LoadBalancers,
    /// The tests of `[Conformance]` that a proxy decides.
    Conformance,
}

/// Tests of `[Conformance]` whose result depends on the proxy.
const CONFORMANCE: [&str; 21] = [
    "should serve a basic endpoint from pods",
    "should serve multiport endpoints from pods",
    "should be able to create a functioning NodePort service",
    "should be able to change the type from ExternalName to ClusterIP",
    "should be able to change the type from ExternalName to NodePort",
    "should be able to change the type from ClusterIP to ExternalName",
    "should be able to change the type from NodePort to ExternalName",
    "should have session affinity work for service with type clusterIP",
    "should be able to switch session affinity for service with type clusterIP",
    "should have session affinity work for NodePort service",
    "should be able to switch session affinity for NodePort service",
    "should complete a service status lifecycle",
    "should serve endpoints on same port and different protocols",
    "should support a Service with multiple ports specified in multiple EndpointSlices",
    "should support a Service with multiple endpoint IPs specified in multiple EndpointSlices",
    "DNS should provide DNS for the cluster",
    "DNS should provide DNS for services",
    "DNS should resolve DNS of partial qualified names for services",
    "DNS should provide DNS for pods for Hostname",
    "DNS should provide DNS for pods for Subdomain",
    "DNS should provide DNS for ExternalName services",
];

/// The provider of load balancers while tests of them run.
const PROVIDER: &str = "upstream";

/// What needs something that a cluster of kind's does not have, or that only its nodes' owner may do.
const NEVER: &str = r"\[Disruptive\]|\[Serial\]|\[Feature:|\[FeatureGate:|\[Provider:";

impl Suite {
    /// Those that every proxy can run, but the conformance tests, which are in the others.
    pub const ALL: [Self; 8] = [
        Self::Services,
        Self::EndpointSlice,
        Self::Conntrack,
        Self::TrafficDistribution,
        Self::GranularChecks,
        Self::KubeProxy,
        Self::Dns,
        Self::Slow,
    ];

    /// Those whose results are in docs/conformance.md.
    pub fn shown() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain([Self::LoadBalancers])
    }

    /// Its name on the command line and in file names.
    pub fn name(self) -> String {
        self.to_possible_value()
            .expect("no suite is hidden")
            .get_name()
            .to_owned()
    }

    /// Which tests are in it, and which of those are left out, as regular expressions.
    fn expressions(self) -> (String, String) {
        let quick = format!(r"{NEVER}|\[Slow\]");
        let (focus, skip) = match self {
            Self::Services => (r"\[sig-network\] Services".to_owned(), quick),
            Self::Slow => (
                r"\[sig-network\] (Services|Networking Granular Checks: Services).*\[Slow\]".to_owned(),
                NEVER.to_owned(),
            ),
            Self::EndpointSlice => (r"\[sig-network\] (EndpointSlice|Endpoints)".to_owned(), quick),
            Self::Conntrack => (r"\[sig-network\] Conntrack".to_owned(), quick),
            Self::TrafficDistribution => (r"\[sig-network\] Traffic Distribution".to_owned(), quick),
            Self::GranularChecks => (
                r"\[sig-network\] Networking Granular Checks: Services".to_owned(),
                quick,
            ),
            Self::KubeProxy => (
                r"\[sig-network\] (KubeProxy|Networking should check kube-proxy urls)".to_owned(),
                quick,
            ),
            Self::Dns => (r"\[sig-network\] DNS".to_owned(), quick),
            Self::LoadBalancers => (
                r"\[sig-network\] LoadBalancers".to_owned(),
                r"\[Disruptive\]|\[Serial\]|\[FeatureGate:|\[Provider:".to_owned(),
            ),
            Self::Conformance => {
                let names = CONFORMANCE.map(|name| name.replace('.', r"\."));
                (
                    format!(r"\[sig-network\].*({}).*\[Conformance\]", names.join("|")),
                    NEVER.to_owned(),
                )
            }
        };
        (focus, skip)
    }
}

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It did not pass.
    Failed,
    /// It found out by itself that it does not apply here.
    Skipped,
}

/// What came of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// Which tests.
    pub suite: Suite,
    /// The cluster's IP family: `dual`, `ipv4` or `ipv6`.
    pub family: String,
    /// Who served the Services: `fairlead` or `kube-proxy`.
    pub proxy: String,
    /// Each test with its full name.
    pub tests: BTreeMap<String, Outcome>,
}

impl Results {
    /// Those that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        let failed = self.tests.iter().filter(|(_, outcome)| **outcome == Outcome::Failed);
        failed.map(|(name, _)| name.as_str())
    }

    /// Where results are kept.
    pub fn folder() -> PathBuf {
        out().join("upstream")
    }

    fn stem(&self) -> String {
        format!("{}-{}-{}", self.suite.name(), self.family, self.proxy)
    }

    /// All that are kept.
    pub fn load() -> anyhow::Result<Vec<Self>> {
        let mut found = Vec::new();
        let folder = match fs::read_dir(Self::folder()) {
            Ok(folder) => folder,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error).context("cannot list the results"),
        };
        for entry in folder {
            let path = entry.context("cannot list the results")?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                found.push(serde_json::from_str(&text).with_context(|| format!("{} is broken", path.display()))?);
            }
        }
        Ok(found)
    }
}

/// Runs a suite, or of it only what `filter` matches; a filtered run is not kept.
pub fn run(cluster: &Cluster, suite: Suite, filter: Option<&str>) -> anyhow::Result<Results> {
    Program::script("e2e/cluster/tools.sh")
        .args(["upstream"])
        .within(BUILD_LIMIT)
        .run()
        .context("cannot build upstream's tests")?;
    let mut results = Results {
        suite,
        family: family_of(cluster)?,
        proxy: proxy_of(cluster)?,
        tests: BTreeMap::new(),
    };
    let (suite_focus, skip) = suite.expressions();
    let focus = filter.map_or(suite_focus, str::to_owned);
    let folder = Results::folder().join(results.stem());
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove the traces of an earlier run")?;
    }
    fs::create_dir_all(&folder).context("cannot make a folder for the results")?;
    let log = fs::File::create(folder.join("log")).context("cannot write ginkgo's log")?;
    // They leave folders of kubectl's behind.
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let tool = |name: &str| tools().join(name).display().to_string();
    let ginkgo = Program::tool("ginkgo")
        .args(["--no-color", "--silence-skips", "--procs", PROCESSES, "--timeout=70m"])
        .args(["--focus", &focus, "--skip", &skip])
        .args([
            "--json-report=report.json",
            &format!("--output-dir={}", folder.display()),
        ])
        .args([&tool("e2e.test"), "--"])
        .args([
            format!("--kubeconfig={}", cluster.kubeconfig().display()),
            format!("--kubectl-path={}", tool("kubectl")),
        ])
        .args(["--provider=skeleton", "--num-nodes=3", "--dump-logs-on-failure=false"])
        .env("TMPDIR", temporary.path().to_string_lossy())
        .log_to(log)
        .within(RUN_LIMIT);
    let needs_provider = suite == Suite::LoadBalancers;
    let mut elsewhere = None;
    if needs_provider {
        lan::provide(cluster, PROVIDER, Takes::Unclassed)?;
        // The client's address must not be taken for a node's.
        elsewhere = Some(Elsewhere::begin(cluster)?);
        // These tests count on every node that takes pods.
        lan::exclude_control_plane(cluster, false)?;
    }
    let status = ginkgo.output()?.status;
    drop(elsewhere);
    if needs_provider {
        lan::exclude_control_plane(cluster, true)?;
        lan::withdraw(cluster, PROVIDER)?;
    }
    let report = folder.join("report.json");
    ensure!(
        report.is_file(),
        "ginkgo ended without a report ({status}); its log is {}",
        folder.join("log").display()
    );
    results.tests = tests_of(&report)?;
    ensure!(!results.tests.is_empty(), "no test matches {focus}");
    if filter.is_none() {
        let text = serde_json::to_string_pretty(&results).context("results have no JSON")?;
        fs::write(Results::folder().join(format!("{}.json", results.stem())), text)
            .context("cannot keep the results")?;
    }
    Ok(results)
}

/// Tests that were chosen, out of ginkgo's report of all.
fn tests_of(report: &Path) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let text = fs::read_to_string(report).context("cannot read ginkgo's report")?;
    let suites: Value = serde_json::from_str(&text).context("ginkgo's report is no JSON")?;
    let specs = suites.as_array().into_iter().flatten();
    let specs = specs.flat_map(|suite| suite["SpecReports"].as_array().into_iter().flatten());
    Ok(specs.filter_map(test_of).collect())
}

fn test_of(spec: &Value) -> Option<(String, Outcome)> {
    if spec["LeafNodeType"] != "It" {
        return None;
    }
    let outcome = match spec["State"].as_str()? {
        "passed" => Outcome::Passed,
        // A test that skips itself has started; one that was not chosen has not.
        "skipped"
            if spec["Failure"]["Message"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()) =>
        {
            Outcome::Skipped
        }
        "skipped" | "pending" => return None,
        _ => Outcome::Failed,
    };
    let containers = spec["ContainerHierarchyTexts"].as_array().into_iter().flatten();
    let names = containers.chain([&spec["LeafNodeText"]]).filter_map(Value::as_str);
    Some((names.collect::<Vec<_>>().join(" "), outcome))
}

/// Which families the API server's own Service has.
fn family_of(cluster: &Cluster) -> anyhow::Result<String> {
    let ranges = cluster.read(["servicecidrs"])?;
    let cidrs =
        crate::cluster::items(&ranges).flat_map(|range| range["spec"]["cidrs"].as_array().into_iter().flatten());
    let mut is_there = [false; 2];
    for cidr in cidrs.filter_map(Value::as_str) {
        is_there[usize::from(cidr.contains(':'))] = true;
    }
    Ok(match is_there {
        [true, true] => "dual",
        [false, true] => "ipv6",
        _ => "ipv4",
    }
    .to_owned())
}

/// Who has a running pod on the nodes.
fn proxy_of(cluster: &Cluster) -> anyhow::Result<String> {
    let sets = cluster.read(["daemonsets", "--all-namespaces"])?;
    let is_running = |name: &str| {
        crate::cluster::items(&sets).any(|set| {
            set["metadata"]["name"].as_str().is_some_and(|of| of.contains(name))
                && set["status"]["numberReady"].as_u64().unwrap_or(0) > 0
        })
    };
    match [is_running("kube-proxy"), is_running("fairlead")] {
        [true, false] => Ok("kube-proxy".to_owned()),
        [false, true] => Ok("fairlead".to_owned()),
        [true, true] => anyhow::bail!("kube-proxy and fairlead both run; a result would say nothing of either"),
        [false, false] => anyhow::bail!("no proxy runs: `cargo e2e deploy` installs one"),
    }
}
