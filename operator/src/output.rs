//! How commands that answer once show what they found.

use std::io::Write as _;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::terminal::Screen;

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

impl Output {
    /// Writes it to standard output; `table` is for people.
    pub(crate) fn show(self, report: &impl Serialize, table: impl FnOnce(Screen) -> String) -> anyhow::Result<()> {
        let shown = match self {
            Self::Table => table(Screen::of_stdout()),
            Self::Json => serde_json::to_string_pretty(report).context("cannot write JSON")? + "\n",
            Self::Yaml => serde_saphyr::to_string(report).context("cannot write YAML")?,
        };
        // Who stops reading has seen enough.
        let _ = std::io::stdout().write_all(shown.as_bytes());
        Ok(())
    }
}
