//! The one binary.

use std::process::ExitCode;

use clap::Parser;
use fairlead::chain::Chain;
use fairlead::cli::Cli;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc reads its settings here. With an arena for each of a node's cores, memory that a list needed while it was read
/// is spread over all of them, and kept for ten seconds: a fifth more than what the agent holds.
#[expect(unsafe_code, reason = "nobody else may define the name that jemalloc looks for")]
// SAFETY: jemalloc declares `const char *`, which a reference to the first byte of a C string is.
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &u8 = &b"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0\0"[0];

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
