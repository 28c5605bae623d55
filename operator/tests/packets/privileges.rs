//! The agent with no more rights than its container has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use fairlead_lab::{Namespace, in_namespace, test_name, wait_until};
use tempfile::TempDir;

use crate::http::get;
use crate::world::PATIENT;

const PROBES: &str = "127.0.0.1:9000";
/// `CAP_NET_ADMIN` and `CAP_NET_RAW`, and nothing that could be had besides.
const FEW: &str = "-all,+net_admin,+net_raw";
/// The settings of a network namespace that the flags below ask for. `nf_conntrack_max` and `nf_conntrack_buckets` are the
/// machine's, and read-only elsewhere than in its own namespace.
const WANTED: [(&str, &str); 5] = [
    ("nf_conntrack_tcp_timeout_established", "86400"),
    ("nf_conntrack_tcp_timeout_close_wait", "3600"),
    ("nf_conntrack_tcp_be_liberal", "1"),
    ("nf_conntrack_udp_timeout", "17"),
    ("nf_conntrack_udp_timeout_stream", "170"),
];

fn settings(namespace: &Namespace) -> BTreeMap<&'static str, String> {
    namespace.run(|| {
        let read = |name| fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).unwrap_or_default();
        WANTED.map(|(name, _)| (name, read(name).trim().to_owned())).into()
    })
}

/// Whether there are other users than root in this user namespace, to run a program as.
fn has_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let count = map
        .split_whitespace()
        .nth(2)
        .and_then(|count| count.parse::<u32>().ok());
    count.is_some_and(|count| count > 65_532)
}

fn runs_with(user: &[&str]) {
    let namespace = Namespace::new("node").unwrap();
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Another user cannot read the folder that the program was built in.
    let program = folder.path().join("fairlead");
    fs::copy(env!("CARGO_BIN_EXE_fairlead"), &program).unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    let log = folder.path().join("log");
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--bounding-set={FEW}"), "--no-new-privs"])
        .args(user)
        .arg(&program)
        .args([
            "agent",
            "--node-name=node",
            &format!("--source=dir:{}/manifests", folder.path().display()),
        ])
        .args([&format!("--probe-bind-address={PROBES}"), "--proc-sys=/proc/sys"])
        .args([
            "--conntrack-tcp-be-liberal",
            "--conntrack-udp-timeout=17s",
            "--conntrack-udp-timeout-stream=170s",
        ])
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let _agent = namespace.spawn(command).unwrap();
    let probes: SocketAddr = PROBES.parse().unwrap();
    let ready = wait_until(PATIENT, "the agent to be ready", || {
        get(&namespace, probes, "/readyz").is_some_and(|answer| answer.status == 200)
    });
    let text = || fs::read_to_string(&log).unwrap();
    ready.unwrap_or_else(|error| panic!("{error}: {}", text()));
    let live = get(&namespace, probes, "/livez").unwrap();
    assert_eq!((live.status, live.header("server")), (200, Some("fairlead")));

    let wanted: BTreeMap<_, _> = WANTED.map(|(name, value)| (name, value.to_owned())).into();
    wait_until(PATIENT, "the settings", || settings(&namespace) == wanted)
        .unwrap_or_else(|error| panic!("{error}: {:?}: {}", settings(&namespace), text()));
    let warnings: Vec<_> = text()
        .lines()
        .filter(|line| line.contains("WARN"))
        .map(str::to_owned)
        .collect();
    for warning in warnings {
        assert!(
            warning.contains("nf_conntrack_max") || warning.contains("nf_conntrack_buckets"),
            "{warning}"
        );
    }
}

#[test]
fn net_admin_and_net_raw_are_enough() {
    in_namespace(test_name!(), || {
        runs_with(&[]);
        if has_users() {
            runs_with(&[
                "--reuid=65532",
                "--regid=65532",
                "--clear-groups",
                "--inh-caps=-all,+net_admin,+net_raw",
                "--ambient-caps=-all,+net_admin,+net_raw",
            ]);
        }
    });
}
