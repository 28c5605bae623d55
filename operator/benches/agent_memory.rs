//! What an agent costs that follows a large cluster from a real API server. Prints Markdown for docs/performance.md.
//!
//! `cargo bench -p fairlead --bench agent_memory` runs `streamed` and `pages`; `-- peer` compares with
//! kube-proxy.
//! The programs that it starts come from `e2e/cluster/tools.sh`, kube-proxy from `e2e/cluster/tools.sh kube-proxy`.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/api_server/agent.rs"]
mod agent;
#[path = "../tests/api_server/client.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod client;
#[path = "agent_memory/cluster.rs"]
mod cluster;
#[path = "../tests/api_server/harness.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "agent_memory/measure.rs"]
mod measure;
#[path = "agent_memory/peer.rs"]
mod peer;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/api_server/tools.rs"]
mod tools;

use std::process::ExitCode;

use tools::{Etcd, Tools};

fn main() -> ExitCode {
    if let Err(error) = fairlead_lab::enter_user_namespace() {
        eprintln!("the benchmark needs network namespaces: {error}");
        return ExitCode::FAILURE;
    }
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_chosen = |name: &str| chosen.iter().any(|chosen| chosen == name);
    let parts = [("streamed", Etcd::Current), ("pages", Etcd::Debian)];
    let chosen_parts = parts
        .into_iter()
        .filter(|(name, _)| chosen.is_empty() || is_chosen(name));
    for (number, (name, etcd)) in chosen_parts.enumerate() {
        if number == 0 {
            println!("{}", measure::HEAD);
        }
        match Tools::find(etcd) {
            Ok(tools) => println!("{}", measure::measure(name, &tools)),
            Err(reason) => {
                eprintln!("{reason}");
                return ExitCode::FAILURE;
            }
        }
    }
    if is_chosen("peer") {
        println!("\n{}", peer::HEAD);
        match Tools::find(Etcd::Current) {
            Ok(tools) => println!("{}", peer::compare(&tools)),
            Err(reason) => {
                eprintln!("{reason}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
