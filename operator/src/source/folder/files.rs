//! The files of a folder and the last good state of each.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::merge::{self, State};
use crate::source::manifest::{self, Object};

/// What to look at again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// All files, as far as their metadata changed.
    pub(super) all: bool,
    /// These files, whatever their metadata say: two writes within one tick of the clock look the same.
    pub(super) names: BTreeSet<OsString>,
}

/// The files of a folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    by_name: BTreeMap<OsString, File>,
    /// Why the folder itself cannot be read.
    folder_problem: Option<String>,
    /// Whether anything is different from when [`Files::news`] was asked last.
    is_changed: bool,
}

#[derive(Debug)]
struct File {
    /// The name as it is shown.
    shown: Arc<str>,
    /// How the file looked when it was read last; `None` if it could not be read.
    stamp: Option<Stamp>,
    /// The last good state.
    objects: Vec<Object>,
    problem: Option<String>,
}

/// Changes whenever a file's content does, or nearly so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether a file of this name is a manifest: `*.yaml`, `*.yml` or `*.json`, and not hidden.
pub(crate) fn is_manifest(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    matches!(extension, Some("yaml" | "yml" | "json")) && !name.as_encoded_bytes().starts_with(b".")
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            by_name: BTreeMap::new(),
            folder_problem: None,
            is_changed: true,
        }
    }

    /// Reads what changed. Where something cannot be read, its last good state stays.
    ///
    /// An error is one of the folder itself. A folder that is not there says nothing about the files that were in it, so
    /// it removes none.
    pub(super) fn read(&mut self, scope: &Scope) -> io::Result<()> {
        let present = self.list();
        let folder_problem = present.as_ref().err().map(ToString::to_string);
        self.is_changed |= folder_problem != self.folder_problem;
        self.folder_problem = folder_problem;
        let present = present?;
        let before = self.by_name.len();
        self.by_name.retain(|name, _| present.contains(name));
        self.is_changed |= self.by_name.len() != before;
        for name in present {
            let is_named = scope.names.contains(&name);
            if is_named || scope.all || !self.by_name.contains_key(&name) {
                self.read_file(&name, is_named);
            }
        }
        Ok(())
    }

    fn list(&self) -> io::Result<BTreeSet<OsString>> {
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if is_manifest(&name) {
                present.insert(name);
            }
        }
        Ok(present)
    }

    fn read_file(&mut self, name: &OsStr, is_named: bool) {
        let path = self.folder.join(name);
        let metadata = match fs::metadata(&path) {
            // Reading a pipe or a device might never end.
            Ok(metadata) if metadata.is_file() => Ok(metadata),
            Ok(_) => return self.forget(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.forget(name),
            Err(error) => Err(error),
        };
        let file = self.by_name.entry(name.to_owned()).or_insert_with(|| File {
            shown: name.to_string_lossy().into(),
            stamp: None,
            objects: Vec::new(),
            problem: None,
        });
        // The stamp is older than the text, so a write in between is noticed at the next look.
        let stamp = metadata.as_ref().ok().map(Stamp::of);
        if !is_named && stamp.is_some() && stamp == file.stamp {
            return;
        }
        file.stamp = stamp;
        let text = metadata.and_then(|_| fs::read(&path)).map_err(|error| {
            file.stamp = None;
            format!("{}: cannot be read: {error}", file.shown)
        });
        let text = text.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| format!("{}: is not UTF-8: {error}", file.shown))
        });
        let objects = text.and_then(|text| manifest::parse(&file.shown, &text).map_err(|error| error.to_string()));
        let problem = match objects {
            Ok(objects) => {
                // Equal objects keep their memory, so that comparing them later is cheap.
                if file.objects != objects {
                    file.objects = objects;
                    self.is_changed = true;
                }
                None
            }
            Err(problem) => Some(problem),
        };
        self.is_changed |= problem != file.problem;
        file.problem = problem;
    }

    fn forget(&mut self, name: &OsStr) {
        self.is_changed |= self.by_name.remove(name).is_some();
    }

    /// What the files say together, and everything that is wrong with them by place; `None` if that is what it was.
    pub(super) fn news(&mut self, node_name: &str) -> Option<(State, BTreeMap<String, String>)> {
        std::mem::take(&mut self.is_changed).then(|| self.state(node_name))
    }

    fn state(&self, node_name: &str) -> (State, BTreeMap<String, String>) {
        let files = self.by_name.values().map(|file| (&file.shown, file.objects.as_slice()));
        let (state, remarks) = merge::merge(files, node_name);
        let mut problems: BTreeMap<_, _> = remarks.iter().map(merge::Remark::text).collect();
        for file in self.by_name.values() {
            if let Some(problem) = &file.problem {
                problems.insert(file.shown.to_string(), problem.clone());
            }
        }
        if let Some(problem) = &self.folder_problem {
            problems.insert(
                self.folder.display().to_string(),
                format!("the folder cannot be read: {problem}"),
            );
        }
        (state, problems)
    }
}
