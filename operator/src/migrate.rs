//! `fairlead migrate metallb`: `MetalLB`'s objects as ours, with what differs.
//!
//! ```text
//!   files ─┐
//!          ├─► objects ──► metallb ──► convert ──► text
//!   API  ──┘               (reads)    (decides)   (YAML, summary)
//! ```
//!
//! All but the reading of files and of the API server is pure. Start at [`convert`].

mod announcement;
mod config_map;
pub mod convert;
mod live;
pub mod metallb;
pub mod note;
pub mod services;
mod text;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::objects;
use crate::source::{ApiServerFlags, api_server};
use crate::terminal::Paint;

/// Flags of `fairlead migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateFlags {
    #[command(subcommand)]
    from: From,
}

/// Where from.
#[derive(Debug, Clone, Subcommand)]
enum From {
    /// Print MetalLB's pools and advertisements as Fairlead's objects, and say what differs.
    ///
    /// YAML goes to standard output, with comments on what differs; a summary goes to standard error. Nothing is changed in the
    /// cluster. It fails where something could not be carried over, after it has printed the rest.
    Metallb(MetallbFlags),
}

#[derive(Debug, Clone, Args)]
struct MetallbFlags {
    /// A file or folder with MetalLB's objects, and with the Services and Namespaces to check; `-` is standard input. Without it,
    /// they are read from the API server.
    #[arg(short, long = "filename", value_name = "FILE|FOLDER")]
    filenames: Vec<PathBuf>,
    /// Where the API server is.
    #[command(flatten)]
    api_server: ApiServerFlags,
}

/// Reads, decides and prints.
pub async fn run(flags: MigrateFlags) -> anyhow::Result<()> {
    let From::Metallb(flags) = flags.from;
    let objects = if flags.filenames.is_empty() {
        live::objects(&api_server::client(&flags.api_server).await?).await?
    } else {
        objects::read(&flags.filenames)?
    };
    let found = metallb::Metallb::read(&objects);
    let migration = convert::migrate(&found);
    let paint = Paint {
        has_colours: std::io::stderr().is_terminal(),
    };
    if migration.pools.is_empty() {
        if !found.notes.is_empty() || !found.pools.is_empty() {
            eprint!("{}", text::summary(&migration, paint));
        }
        bail!("there is no pool of MetalLB's to print: an IPAddressPool, or a ConfigMap with address-pools");
    }
    let yaml = text::yaml(&migration)?;
    // Who stops reading has seen enough.
    let _ = std::io::stdout().write_all(yaml.as_bytes());
    let _ = std::io::stdout().flush();
    eprint!("{}", text::summary(&migration, paint));
    match migration.losses() {
        0 => Ok(()),
        1 => bail!("1 thing could not be carried over"),
        count => bail!("{count} things could not be carried over"),
    }
}

#[cfg(test)]
mod tests;
