//! `cargo e2e`: the harness for a real cluster.

use clap::Parser;

/// A real cluster from nothing, and what is asked of Fairlead on it.
#[derive(Debug, Parser)]
#[command(name = "cargo e2e")]
struct Cli {}

fn main() {
    Cli::parse();
}
