//! `fairlead sandbox`: Services on a virtual network of three nodes, with one real agent on each.

use clap::Args;

/// Flags of `fairlead sandbox`.
#[derive(Debug, Clone, Args)]
pub struct SandboxFlags {}

/// Runs the sandbox.
pub fn run(_flags: SandboxFlags) -> anyhow::Result<()> {
    Ok(())
}
