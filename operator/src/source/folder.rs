//! The source `dir:PATH`: a folder of manifests, followed as it changes.
//!
//! One level of files, `*.yaml`, `*.yml` and `*.json`, not hidden ones. inotify says when to look; a slow look at
//! everything catches what inotify cannot see (a symbolic link's target elsewhere, the folder itself exchanged).
//! `files` keeps the last good state of each file, `merge` makes one state of them all, and the differences between two
//! such states are the changes that are sent. Nothing is written into the folder.

mod files;
mod merge;
mod pending;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairlead_model::{Change, Kind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{IfMissing, Outlets, Source, SourceError, SourceOptions, send, source_of};
pub(crate) use files::is_manifest;
use files::{Files, Scope};
use merge::State;
use pending::Pending;

/// How fast a folder is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long it must have been quiet before the files are read: an editor's save is several events.
    pub quiet: Duration,
    /// How long to wait for a writer to close its file, since the last event.
    pub unclosed: Duration,
    /// How long to wait in all, however much goes on.
    pub longest: Duration,
    /// How often to look at everything.
    pub poll: Duration,
    /// How often to look for a folder that is not there.
    pub absent: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(15),
            unclosed: Duration::from_millis(500),
            longest: Duration::from_secs(1),
            poll: Duration::from_secs(5),
            absent: Duration::from_millis(250),
        }
    }
}

/// Starts to follow a folder. Must be called within a tokio runtime.
pub fn start(folder: PathBuf, options: SourceOptions, pace: Pace) -> Result<Source, SourceError> {
    if options.if_missing == IfMissing::Fail
        && let Err(source) = fs::read_dir(&folder)
    {
        return Err(SourceError::Folder { path: folder, source });
    }
    Ok(source_of(|outlets| follow(folder, options.node_name, pace, outlets)))
}

async fn follow(folder: PathBuf, node_name: Arc<str>, pace: Pace, outlets: Outlets) -> Infallible {
    let bell = Arc::new(Bell::default());
    let mut reader = Reader {
        files: Files::new(folder.clone()),
        watch: Watch::new(folder, Arc::clone(&bell)),
        node_name,
    };
    let mut known = State::default();
    let mut is_complete = false;
    let mut scope = Scope {
        all: true,
        ..Scope::default()
    };
    loop {
        // Reading may block for long, on a network file system for ever; the runtime's own threads must not.
        let look = spawn_blocking(move || {
            let look = reader.look(&scope);
            (reader, look)
        });
        let look = match look.await {
            Ok((returned, look)) => {
                reader = returned;
                look
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime shuts down, and this task with it.
            Err(_) => return std::future::pending().await,
        };
        let mut changes = Vec::new();
        if let Some((state, problems)) = look.news {
            outlets.book.replace(&problems);
            changes = state.changes_since(&known);
            known = state;
        }
        if look.is_readable {
            outlets.surroundings.send_if_modified(|shown| {
                let is_new = shown.as_deref() != Some(known.surroundings());
                if is_new {
                    *shown = Some(Arc::new(known.surroundings().clone()));
                }
                is_new
            });
        }
        if look.is_readable && !is_complete {
            is_complete = true;
            let kinds = [Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::ServiceCidr];
            changes.extend(kinds.map(Change::InitialListComplete));
        }
        if !changes.is_empty() {
            send(&outlets.changes, changes).await;
        }
        scope = bell
            .next(pace, if look.is_readable { pace.poll } else { pace.absent })
            .await;
    }
}

/// Tells somebody who reads a folder in another way when to look at it.
pub(crate) struct Looks {
    watch: Watch,
    bell: Arc<Bell>,
}

impl Looks {
    /// Notices from now on what happens in the folder. What is there already is to be read after this.
    pub(crate) fn start(folder: PathBuf) -> Self {
        let bell = Arc::new(Bell::default());
        let mut watch = Watch::new(folder, Arc::clone(&bell));
        watch.follow();
        Self { watch, bell }
    }

    /// Waits until there is something to read, or until the next look at everything.
    pub(crate) async fn next(&mut self) {
        let pace = Pace::default();
        self.bell.next(pace, pace.poll).await;
        self.watch.follow();
    }
}

/// What a look at the folder found.
struct Look {
    /// The state and what is wrong by place, if anything is different from the last look.
    news: Option<(State, BTreeMap<String, String>)>,
    is_readable: bool,
}

/// Everything that blocks.
struct Reader {
    files: Files,
    watch: Watch,
    node_name: Arc<str>,
}

impl Reader {
    fn look(&mut self, scope: &Scope) -> Look {
        // The watch comes first, so that what changes while the files are read is seen.
        let all = Scope {
            all: true,
            names: scope.names.clone(),
        };
        let scope = if self.watch.follow() { &all } else { scope };
        let is_readable = self.files.read(scope).is_ok();
        let news = self.files.news(&self.node_name);
        Look { news, is_readable }
    }
}

/// Rings when something happened in the folder.
#[derive(Default)]
struct Bell {
    pending: Mutex<Pending>,
    rung: Notify,
}

impl Bell {
    fn ring(&self, event: &notify::Result<notify::Event>, folder: &Path) {
        // A panic elsewhere leaves this plain data whole.
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.note(event, folder, Instant::now()) {
            self.rung.notify_one();
        }
    }

    /// Waits until there is something to read and writers are done with it, or until the next look at everything.
    async fn next(&self, pace: Pace, poll: Duration) -> Scope {
        let poll = Instant::now() + poll;
        loop {
            let due = self.pending.lock().unwrap_or_else(PoisonError::into_inner).due(pace);
            let until = due.unwrap_or(poll);
            tokio::select! {
                () = tokio::time::sleep_until(until) => {
                    let mut scope = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
                    scope.all |= due.is_none();
                    return scope;
                }
                // Cancel-safe: a ring that nobody waits for is kept for the next to wait.
                () = self.rung.notified() => {}
            }
        }
    }
}

/// The inotify watch on the folder.
struct Watch {
    folder: PathBuf,
    bell: Arc<Bell>,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of the folder that is watched.
    watched: Option<(u64, u64)>,
    is_failing: bool,
}

impl Watch {
    fn new(folder: PathBuf, bell: Arc<Bell>) -> Self {
        Self {
            folder,
            bell,
            watcher: None,
            watched: None,
            is_failing: false,
        }
    }

    /// Makes sure that what is at the path now is watched. Says whether that is another folder than before.
    fn follow(&mut self) -> bool {
        let present = fs::metadata(&self.folder)
            .ok()
            .map(|metadata| (metadata.dev(), metadata.ino()));
        if present == self.watched && (present.is_none() || self.watcher.is_some()) {
            return false;
        }
        // The old watcher goes as a whole: it may still be bound to a folder that was moved away.
        self.watcher = None;
        self.watched = present;
        if present.is_none() {
            return false;
        }
        let (bell, folder) = (Arc::clone(&self.bell), self.folder.clone());
        let watcher = notify::recommended_watcher(move |event| bell.ring(&event, &folder)).and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.is_failing = false;
            }
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(
                    folder = %self.folder.display(),
                    %error,
                    "cannot watch the folder for changes; it is looked at every few seconds instead"
                );
            }
            Err(_) => {}
        }
        true
    }
}
