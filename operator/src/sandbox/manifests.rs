//! The folder of manifests: which one it is, and what is in it for each node.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use fairlead_model::{Cluster, ServiceName};
use futures::future::select_all;
use tokio::time::{Instant, timeout, timeout_at};

use super::notes::Notes;
use crate::source::{self, IfMissing, Problems, Source, SourceOptions, SourceSpec};

/// The examples, for a sandbox without the repository around it.
pub(super) const EXAMPLES: [(&str, &str); 7] = [
    ("00-cluster.yaml", include_str!("../../../examples/00-cluster.yaml")),
    ("10-basics.yaml", include_str!("../../../examples/10-basics.yaml")),
    (
        "20-from-outside.yaml",
        include_str!("../../../examples/20-from-outside.yaml"),
    ),
    (
        "25-from-a-pool.yaml",
        include_str!("../../../examples/25-from-a-pool.yaml"),
    ),
    ("30-choosing.yaml", include_str!("../../../examples/30-choosing.yaml")),
    (
        "40-nobody-ready.yaml",
        include_str!("../../../examples/40-nobody-ready.yaml"),
    ),
    (
        "50-none-of-our-business.yaml",
        include_str!("../../../examples/50-none-of-our-business.yaml"),
    ),
];
/// Where they are in the repository.
const EXAMPLES_FOLDER: &str = "examples";

/// How long reading the folder may take at the start.
const FIRST_READ: Duration = Duration::from_secs(20);
/// The sources of the three nodes read the same change within milliseconds of each other.
const QUIET: Duration = Duration::from_millis(60);
/// A folder that never rests is looked at all the same.
const LONGEST: Duration = Duration::from_secs(2);

/// Finds the folder of manifests: the one that is named, else `./examples`, else the built-in examples, which are written
/// to a folder in `scratch`.
pub(super) fn folder(named: Option<&Path>, scratch: &Path) -> anyhow::Result<PathBuf> {
    let folder = match named {
        Some(named) => named.to_owned(),
        None if Path::new(EXAMPLES_FOLDER).is_dir() => PathBuf::from(EXAMPLES_FOLDER),
        None => {
            let folder = scratch.join(EXAMPLES_FOLDER);
            fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            for (name, text) in EXAMPLES {
                let file = folder.join(name);
                fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            }
            folder
        }
    };
    let folder = fs::canonicalize(&folder).with_context(|| format!("cannot use the folder {}", folder.display()))?;
    if !folder.is_dir() {
        bail!("{} is not a folder", folder.display());
    }
    Ok(folder)
}

/// Follows the folder as the agents do: one source for each node.
pub(super) struct Follower {
    folder: PathBuf,
    /// The folder that people edit, which `folder` is a copy of.
    edited: PathBuf,
    sources: Vec<Source>,
    clusters: Vec<Cluster>,
    notes: Notes,
    /// What has been noticed since the last edit.
    pending: Edit,
}

/// What an edit changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Edit {
    /// When the newest file was changed, as far as the folder can be read.
    pub(super) at: Option<SystemTime>,
    /// The Services to look at again.
    pub(super) services: BTreeSet<ServiceName>,
    /// The nodes, by number, whose agents hear of it.
    pub(super) nodes: BTreeSet<u8>,
    /// Whether what is wrong with the folder has changed.
    pub(super) problems: bool,
}

impl Follower {
    /// Reads the folder for the first time. It is a copy of the one that is edited.
    pub(super) async fn start(folder: &Path, edited: &Path, nodes: &[String]) -> anyhow::Result<Self> {
        let mut sources = Vec::new();
        for node in nodes {
            let options = SourceOptions {
                if_missing: IfMissing::Fail,
                ..SourceOptions::new(node.as_str())
            };
            sources.push(source::start(&SourceSpec::Dir(folder.to_owned()), options).await?);
        }
        let clusters = vec![Cluster::default(); sources.len()];
        let mut follower = Self {
            folder: folder.to_owned(),
            edited: edited.to_owned(),
            sources,
            clusters,
            notes: Notes::default(),
            pending: Edit::default(),
        };
        timeout(FIRST_READ, follower.complete())
            .await
            .with_context(|| format!("cannot read {}", folder.display()))??;
        follower.read_notes();
        Ok(follower)
    }

    async fn complete(&mut self) -> anyhow::Result<()> {
        for (source, cluster) in self.sources.iter_mut().zip(&mut self.clusters) {
            while !cluster.is_complete() {
                match source.changes.recv().await {
                    Some(changes) => changes.into_iter().for_each(|change| drop(cluster.apply(change))),
                    None => return Err(source.task.failed().await.into()),
                }
            }
        }
        Ok(())
    }

    fn read_notes(&mut self) {
        // A folder that is away for the moment says nothing new.
        if let Err(error) = self.notes.read(&self.folder) {
            tracing::debug!(%error, "cannot read the folder");
        }
    }

    /// The cluster as each node sees it.
    pub(super) fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Notes on the manifests.
    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What is wrong with the folder, one line each.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems: &Problems = &self.sources[0].problems.borrow();
        let line = |(place, problem): (&Arc<str>, &Arc<str>)| {
            // The problem of a file names the file itself.
            if problem.starts_with(&**place) {
                problem.to_string()
            } else {
                format!("{place}: {problem}")
            }
        };
        problems.current.iter().map(line).collect()
    }

    /// Waits for an edit of the folder that means something. Cancel-safe: what was noticed before is part of the next edit.
    pub(super) async fn edit(&mut self) -> anyhow::Result<Edit> {
        while self.pending == Edit::default() {
            self.take().await?;
        }
        let latest = Instant::now() + LONGEST;
        while let Ok(result) = timeout_at(latest.min(Instant::now() + QUIET), self.take()).await {
            result?;
        }
        self.read_notes();
        let edit = std::mem::take(&mut self.pending);
        Ok(Edit {
            at: last_change(&self.edited),
            ..edit
        })
    }

    /// Waits for one thing that a source tells.
    async fn take(&mut self) -> anyhow::Result<()> {
        let (first, others) = self.sources.split_first_mut().expect("there are nodes");
        let readers = std::iter::once(&mut first.changes).chain(others.iter_mut().map(|source| &mut source.changes));
        // Cancel-safe, both: what is not returned is not taken.
        let (changes, node) = tokio::select! {
            (changes, node, _) = select_all(readers.map(|reader| Box::pin(reader.recv()))) => (changes, node),
            changed = first.problems.changed() => {
                changed.context("the source ended")?;
                self.pending.problems = true;
                return Ok(());
            }
        };
        let changes = changes.context("the source ended")?;
        self.pending
            .nodes
            .insert(u8::try_from(node + 1).expect("the lab has few nodes"));
        for change in changes {
            self.pending.services.extend(self.clusters[node].apply(change).services);
        }
        Ok(())
    }
}

/// When something in the folder was changed last: a file, or the list of them.
fn last_change(folder: &Path) -> Option<SystemTime> {
    let changed = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).ok()?);
        Some(UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).ok()?))
    };
    let files = fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| changed(&entry.path()));
    files.chain(changed(folder)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_examples_are_those_of_the_repository() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, EXAMPLES.map(|(name, _)| name));
    }

    #[test]
    fn the_built_in_examples_are_written_where_there_is_no_folder() {
        let scratch = tempfile::tempdir().unwrap();
        // Tests run in the folder of the package, which has no examples.
        let folder = folder(None, scratch.path()).unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), EXAMPLES.len());
        assert!(super::folder(Some(Path::new("/nowhere/at/all")), scratch.path()).is_err());
    }

    #[tokio::test]
    async fn an_edit_names_its_services_and_the_nodes_that_hear_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let service = |port: u16| {
            format!(
                "{{ apiVersion: v1, kind: Service, metadata: {{ name: web }}, \
                 spec: {{ clusterIP: 10.96.0.1, ports: [{{ port: {port} }}] }} }}"
            )
        };
        fs::write(folder.path().join("web.yaml"), service(80)).unwrap();
        let nodes = ["node-1".to_owned(), "node-2".to_owned()];
        let mut follower = Follower::start(folder.path(), folder.path(), &nodes).await.unwrap();
        assert_eq!(follower.clusters()[1].services().count(), 1);

        let before = SystemTime::now() - Duration::from_secs(1);
        fs::write(folder.path().join("web.yaml"), service(81)).unwrap();
        let edit = timeout(FIRST_READ, follower.edit()).await.unwrap().unwrap();
        assert_eq!(edit.services, BTreeSet::from([ServiceName::new("default", "web")]));
        assert_eq!(edit.nodes, BTreeSet::from([1, 2]));
        assert!(edit.at.unwrap() > before);

        fs::write(folder.path().join("web.yaml"), "kind: [").unwrap();
        let edit = timeout(FIRST_READ, follower.edit()).await.unwrap().unwrap();
        assert!(edit.problems && edit.services.is_empty());
        assert!(
            follower.problems()[0].starts_with("web.yaml:"),
            "{:?}",
            follower.problems()
        );
    }
}
