//! `fairlead plan`: what the operator would do, without doing it.
//!
//! ```text
//!   API server ─► cluster ─┐
//!                          ├─► foresee ──► report ──► text, JSON, YAML
//!   files ──────► input ───┘   (the operator's own decisions)
//! ```
//!
//! `foresee` tells the operator's code of the cluster first, and then of the files as if they were applied to it.

mod cluster;
mod foresee;
mod input;
mod text;
mod why;
mod written;

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::bail;
use clap::Args;
use fairlead_model::Family;

use crate::objects;
use crate::output::Output;
use crate::source::{ApiServerFlags, api_server};
use input::Input;
pub(crate) use written::{Written, written};

/// Flags of `fairlead plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanFlags {
    /// A file or folder with Services, and whatever else shall be as if it was applied: providers, pools, namespaces; `-` is
    /// standard input. Without it, what the operator would do now.
    #[arg(short, long = "filename", value_name = "FILE|FOLDER")]
    filenames: Vec<PathBuf>,
    /// Ask no API server: the files are all that there is.
    #[arg(long, requires = "filenames")]
    offline: bool,
    /// The namespace of what says none in the files.
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// The cluster's IP families, the primary one first, for Services that name none [default: those of its ServiceCIDRs, else
    /// IPv4].
    #[arg(long, value_name = "FAMILIES", value_delimiter = ',', value_parser = family)]
    ip_families: Vec<Family>,
    /// How to show it.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Where the API server is.
    #[command(flatten)]
    api_server: ApiServerFlags,
}

/// `IPv4` or `IPv6`, as in Services.
fn family(text: &str) -> Result<Family, String> {
    match text {
        "IPv4" => Ok(Family::V4),
        "IPv6" => Ok(Family::V6),
        _ => Err("an IP family is IPv4 or IPv6".to_owned()),
    }
}

/// Reads, decides and shows. It fails where a Service of the files would not get what it asks for, after it has shown it.
pub async fn run(flags: PlanFlags) -> anyhow::Result<()> {
    let input = Input::read(&objects::read(&flags.filenames)?, &flags.namespace)?;
    let cluster = if flags.offline {
        None
    } else {
        Some(cluster::gather(&api_server::client(&flags.api_server).await?).await?)
    };
    let report = foresee::foresee(cluster, input, &flags.ip_families, SystemTime::now());
    flags.output.show(&report, |screen| text::text(&report, screen))?;
    match report.complaints() {
        0 => Ok(()),
        1 => bail!("1 object does not get what it asks for"),
        count => bail!("{count} objects do not get what they ask for"),
    }
}

#[cfg(test)]
mod tests;
