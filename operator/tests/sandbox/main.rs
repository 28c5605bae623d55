//! `fairlead sandbox` as a person runs it: the real program, real agents, real connections.
//!
//! What each example must do is written out here, and not taken from the sandbox's own expectation.

mod examples;
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use examples::Examples;
use program::{Program, User};
use serde_json::Value;

/// Long enough for a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

fn every_example_behaves(user: User) {
    let Some(mut program) = Program::start(user, &["--json", "--requests", "8"]) else {
        return;
    };
    let report = program.next_document(PATIENCE);
    program.assert_ends(PATIENCE);
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    Examples(&report).assert_all();
}

#[test]
fn every_example_behaves_for_whoever_runs_this() {
    every_example_behaves(User::Same);
}

#[test]
fn every_example_behaves_without_root() {
    every_example_behaves(User::Nobody);
}

/// The workloads that answered for a Service.
fn answerers(report: &Value, service: &str) -> BTreeSet<String> {
    let rows = report["traffic"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["service"] == service);
    rows.flat_map(|row| row["answers"].as_object().unwrap().keys().cloned())
        .collect()
}

fn edit(folder: &Path, file: &str, change: impl Fn(&str) -> String) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed, "the edit of {file} changes something");
    fs::write(path, changed).unwrap();
}

fn problems(report: &Value) -> Vec<&str> {
    report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem.as_str().unwrap())
        .collect()
}

#[test]
fn with_hold_it_follows_edits_until_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let manifests = folder.path().to_str().unwrap();
    let arguments = ["--hold", "--json", "--requests", "6", "--manifests", manifests];
    let Some(mut program) = Program::start(User::Same, &arguments) else {
        return;
    };
    let first = program.next_document(PATIENCE);
    assert_eq!(first["passed"], true, "{first:#}");

    // An endpoint goes, in both families.
    edit(folder.path(), "10-basics.yaml", |text| {
        let kept: Vec<_> = text.lines().filter(|line| !line.contains("name: web-3")).collect();
        kept.join("\n")
    });
    let report = program.next_document(PATIENCE);
    assert_eq!(report["edit"]["services"], serde_json::json!(["default/web"]));
    assert!(
        report["edit"]["effectMillis"].as_f64().unwrap() < 5000.0,
        "{}",
        report["edit"]
    );
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(
        answerers(&report, "default/web"),
        BTreeSet::from(["web-1".to_owned(), "web-2".to_owned()])
    );

    // An agent dies; another takes its place and follows the next edit, which brings a new Service with a new pod.
    let agent = u32::try_from(first["nodes"][0]["agentPid"].as_u64().unwrap()).unwrap();
    program::kill(agent);
    let file = folder.path().join("60-new.yaml");
    fs::write(&file, NEW).unwrap();
    let report = program.next_document(PATIENCE);
    assert_eq!(report["edit"]["services"], serde_json::json!(["default/new"]));
    assert_eq!(report["passed"], true, "{report:#}");
    assert_eq!(
        answerers(&report, "default/new"),
        BTreeSet::from(["new-2-99".to_owned()])
    );
    assert_ne!(report["nodes"][0]["agentPid"], first["nodes"][0]["agentPid"]);

    // A broken file changes nothing but what is said about it.
    fs::write(&file, "kind: [").unwrap();
    let report = program.next_document(PATIENCE);
    assert_eq!(report["traffic"], Value::Array(Vec::new()));
    assert!(problems(&report)[0].starts_with("60-new.yaml:"), "{report:#}");

    // The Service goes with its file.
    fs::remove_file(&file).unwrap();
    let report = program.next_document(PATIENCE);
    assert_eq!(report["edit"]["services"], serde_json::json!(["default/new"]));
    assert_eq!(problems(&report), [""; 0]);

    // One more Service gets an address of the pool, and the others keep theirs.
    fs::write(&file, FROM_A_POOL).unwrap();
    let report = program.next_document(PATIENCE);
    assert_eq!(report["edit"]["services"], serde_json::json!(["default/another"]));
    assert_eq!(
        (&report["passed"], problems(&report)),
        (&true.into(), vec![""; 0]),
        "{report:#}"
    );
    let announced = report["announced"].as_array().unwrap().iter();
    let announced: BTreeSet<_> = announced
        .map(|one| (one["service"].as_str().unwrap(), one["address"].as_str().unwrap()))
        .collect();
    assert_eq!(
        announced,
        BTreeSet::from([
            ("default/another", "172.30.0.231"),
            ("default/tickets", "172.30.0.230"),
            ("default/tickets", "fd00:172:30::230"),
        ])
    );
    assert_eq!(
        answerers(&report, "default/another"),
        BTreeSet::from(["another-1-98".to_owned()])
    );

    program.interrupt();
    program.assert_ends(PATIENCE);
}

const FROM_A_POOL: &str = "
apiVersion: v1
kind: Service
metadata: { name: another }
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/local
  clusterIP: 10.96.0.98
  ports: [{ port: 80 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: another-1, labels: { kubernetes.io/service-name: another } }
addressType: IPv4
ports: [{ port: 8080 }]
endpoints: [{ addresses: [10.244.1.98], nodeName: node-1 }]
";

const NEW: &str = "
apiVersion: v1
kind: Service
metadata: { name: new }
spec: { type: NodePort, clusterIP: 10.96.0.99, ports: [{ port: 80, nodePort: 30099 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: new-1, labels: { kubernetes.io/service-name: new } }
addressType: IPv4
ports: [{ port: 8080 }]
endpoints: [{ addresses: [10.244.2.99], nodeName: node-2 }]
";

#[test]
fn a_node_that_loses_its_power_costs_a_client_little() {
    let Some(mut program) = Program::start(User::Same, &["--scenario", "power-off", "--json"]) else {
        return;
    };
    let report = program.next_document(PATIENCE);
    program.assert_ends(PATIENCE);
    assert_eq!(
        (&report["passed"], &report["service"]),
        (&true.into(), &"default/tickets".into())
    );
    let mut moved = BTreeSet::new();
    for cut in report["cuts"].as_array().unwrap() {
        for address in cut["addresses"].as_array().unwrap() {
            if address["before"] != cut["node"] {
                continue;
            }
            moved.insert(address["address"].as_str().unwrap());
            assert_ne!(address["after"], cut["node"], "{report:#}");
            assert_eq!(address["reason"], "OwnerDead", "{report:#}");
            // A node is not believed dead before it was silent for 300 ms. How much longer it takes is the machine's matter.
            let lost = address["lostMillis"].as_f64().unwrap();
            assert!((150.0..5000.0).contains(&lost), "{report:#}");
            let connections = address["lostConnections"].as_f64().unwrap();
            assert!(connections > 20.0 && connections < lost / 4.0, "{report:#}");
        }
    }
    assert_eq!(moved, BTreeSet::from(["172.30.0.230", "fd00:172:30::230"]));
}

#[test]
fn a_scenario_says_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("new.yaml"), NEW).unwrap();
    let arguments = [
        "--scenario",
        "power-off",
        "--manifests",
        folder.path().to_str().unwrap(),
    ];
    let Some(mut program) = Program::start(User::Same, &arguments) else {
        return;
    };
    let errors = program.assert_fails(PATIENCE);
    assert!(errors.contains("an address of a pool"), "{errors}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let Some(mut program) = Program::start(User::Same, &["--manifests", "/nowhere/at/all"]) else {
        return;
    };
    let errors = program.assert_fails(PATIENCE);
    assert!(errors.contains("/nowhere/at/all"), "{errors}");
}
