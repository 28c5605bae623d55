//! What the dataplane costs on a real kernel, in network namespaces of its own. Prints Markdown for docs/performance.md.
//!
//! `cargo bench -p fairlead-dataplane` runs everything; names behind `--` run a part: `load`, `change`, `burst`, `restart`,
//! `packet`.

#[path = "dataplane/cost.rs"]
mod cost;
#[path = "dataplane/fixture.rs"]
mod fixture;
#[path = "dataplane/machine.rs"]
mod machine;
#[path = "dataplane/packet.rs"]
mod packet;
#[path = "dataplane/rules.rs"]
mod rules;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = fairlead_lab::enter_user_namespace() {
        eprintln!("the benchmarks need network namespaces: {error}");
        return ExitCode::FAILURE;
    }
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    println!("{}\n", machine::describe());
    let parts: [(&str, fn()); 5] = [
        ("load", rules::load),
        ("change", rules::change),
        ("burst", rules::burst),
        ("restart", rules::restart),
        ("packet", packet::first_packet),
    ];
    for (_, run) in parts.iter().filter(|(name, _)| runs(name)) {
        run();
        println!();
    }
    ExitCode::SUCCESS
}
