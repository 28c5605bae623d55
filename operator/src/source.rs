//! Where Services, `EndpointSlice`s, the own Node and `ServiceCIDR`s come from: an API server or a folder of manifests.
//!
//! [`start`] gives a [`Source`]: a stream of [`Change`]s, the problems that it has with its input, and the task behind both.
//! Nothing downstream knows which source it is. Start reading at [`SourceSpec`]; then [`api_server`] or [`folder`].

pub mod api_server;
pub mod folder;
pub mod manifest;
mod problems;
pub mod surroundings;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use fairlead_model::Change;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use problems::Problems;
pub use surroundings::Surroundings;

/// How many messages a source may be ahead of its reader. An API server's hold one change of two or three pointers, so this
/// is some ten kilobytes; it lets the reader take a burst in one go while it cannot grow without end.
pub const CHANGES_AHEAD: usize = 1024;

/// Which source to read, as the command line names it: `kube`, or `dir:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// The API server.
    Kube,
    /// The manifests of a folder.
    Dir(PathBuf),
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a source is `kube` or `dir:PATH`, not `{0}`")]
pub struct SourceSpecError(String);

impl FromStr for SourceSpec {
    type Err = SourceSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("dir:") {
            Some(path) if !path.is_empty() => Ok(Self::Dir(path.into())),
            None if text == "kube" => Ok(Self::Kube),
            _ => Err(SourceSpecError(text.to_owned())),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kube => f.write_str("kube"),
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// What to do about a folder that is not there at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfMissing {
    /// Wait until it is there. Until then nothing is known, which is not the same as knowing that there is nothing.
    #[default]
    Wait,
    /// Fail, for a command that answers once.
    Fail,
}

/// The flags that say where the API server is, with kube-proxy's names.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ApiServerFlags {
    /// Kubeconfig file [default: the pod's service account, else KUBECONFIG or ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// URL of the API server, in place of the configured one.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
}

/// What a source needs besides its [`SourceSpec`].
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Name of the own Node.
    pub node_name: Arc<str>,
    /// Where the API server is.
    pub api_server: ApiServerFlags,
    /// What to do about a folder that is not there.
    pub if_missing: IfMissing,
    /// Whether [`Source::surroundings`] is of interest.
    pub with_surroundings: bool,
}

impl SourceOptions {
    /// The options for a node, everything else as it is by default.
    pub fn new(node_name: impl Into<Arc<str>>) -> Self {
        Self {
            node_name: node_name.into(),
            api_server: ApiServerFlags::default(),
            if_missing: IfMissing::default(),
            with_surroundings: false,
        }
    }
}

/// A source that runs.
#[derive(Debug)]
pub struct Source {
    /// The changes. What belongs together, as the edit of a file, comes together: in between, a Service might have lost its old
    /// endpoints and not have its new ones. While the reader is slow the source waits; nothing is dropped.
    pub changes: mpsc::Receiver<Vec<Change>>,
    /// What the source cannot use at the moment. It has been logged already.
    pub problems: watch::Receiver<Problems>,
    /// What a node must know to announce addresses; nothing before all of it is known.
    pub surroundings: watch::Receiver<Option<Arc<Surroundings>>>,
    /// The task that reads. Dropping it ends the source.
    pub task: SourceTask,
}

/// The task behind a source. It runs until it is dropped.
#[derive(Debug)]
pub struct SourceTask(JoinHandle<Infallible>);

impl SourceTask {
    /// Waits until the source fails, which takes a defect: neither an API server that is away nor a broken file ends it.
    /// Cancel-safe; after it has returned once, do not call it again.
    pub async fn failed(&mut self) -> SourceError {
        match (&mut self.0).await {
            Ok(never) => match never {},
            Err(source) => SourceError::Ended { source },
        }
    }
}

impl Drop for SourceTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An error of the client library.
pub type ClientError = Box<dyn Error + Send + Sync>;

/// Why a source cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The kubeconfig file cannot be used.
    #[error("cannot use kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// Nothing says where the API server is.
    #[error("no API server is configured: not in a pod ({in_cluster}), and there is no kubeconfig")]
    NoApiServer {
        /// Why the service account cannot be used.
        in_cluster: String,
        /// Why the default kubeconfig cannot be used.
        #[source]
        source: ClientError,
    },
    /// The URL of `--master` is none.
    #[error("`{url}` is no URL of an API server")]
    Master {
        /// The text.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The configuration is there but does not make a client.
    #[error("cannot set up a client for {url}")]
    Client {
        /// The API server.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The folder cannot be read.
    #[error("cannot read folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The source's task ended.
    #[error("the source's task ended")]
    Ended {
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Starts a source.
///
/// An error means that it cannot work as it is configured. An API server that does not answer is none: the source goes on
/// trying, and says so.
pub async fn start(spec: &SourceSpec, options: SourceOptions) -> Result<Source, SourceError> {
    match spec {
        SourceSpec::Kube => api_server::start(options).await,
        SourceSpec::Dir(path) => folder::start(path.clone(), options, folder::Pace::default()),
    }
}

/// Where a source's task puts what it finds.
#[derive(Debug)]
struct Outlets {
    changes: mpsc::Sender<Vec<Change>>,
    book: problems::ProblemBook,
    surroundings: watch::Sender<Option<Arc<Surroundings>>>,
}

/// Puts a source's parts together around the task that sends.
fn source_of<F>(run: impl FnOnce(Outlets) -> F) -> Source
where
    F: Future<Output = Infallible> + Send + 'static,
{
    let (sender, changes) = mpsc::channel(CHANGES_AHEAD);
    let (book, problems) = problems::ProblemBook::new();
    let (surrounding, surroundings) = watch::channel(None);
    let outlets = Outlets {
        changes: sender,
        book,
        surroundings: surrounding,
    };
    Source {
        changes,
        problems,
        surroundings,
        task: SourceTask(tokio::spawn(run(outlets))),
    }
}

/// Sends changes that belong together. Once nobody reads any more there is nothing left to do but wait for the end.
async fn send(sender: &mpsc::Sender<Vec<Change>>, changes: Vec<Change>) {
    if sender.send(changes).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_what_it_shows() {
        for text in ["kube", "dir:/etc/fairlead", "dir:with:colon"] {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
        for text in ["", "dir:", "dir", "Kube", "file:/x"] {
            let error = text.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
