//! How commands that answer once show what they found.

use clap::ValueEnum;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For machines.
    Json,
    /// For machines, and people.
    Yaml,
}
