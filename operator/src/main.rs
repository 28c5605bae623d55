//! The one binary.

use std::process::ExitCode;

use clap::Parser;
use fairlead::chain::Chain;
use fairlead::cli::Cli;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Of two TLS providers in one process neither is chosen by itself.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairlead: {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
