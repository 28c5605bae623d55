//! What an agent costs that follows a large cluster from a real API server. Prints Markdown for docs/performance.md.
//!
//! `cargo bench -p fairlead --bench agent_memory` runs everything; names behind `--` run a part: `streamed`, `pages`. The
//! programs that it starts come from `.ci/api-server-tools.sh`.

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
    println!("{}", measure::HEAD);
    for (name, etcd) in [("streamed", Etcd::Current), ("pages", Etcd::Debian)] {
        if !chosen.is_empty() && chosen.iter().all(|chosen| chosen != name) {
            continue;
        }
        match Tools::find(etcd) {
            Ok(tools) => println!("{}", measure::measure(name, &tools)),
            Err(reason) => {
                eprintln!("{reason}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
