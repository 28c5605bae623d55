//! `cargo e2e`: the harness for a real cluster.

use std::process::ExitCode;

use clap::Parser;
use fairlead_e2e::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}
