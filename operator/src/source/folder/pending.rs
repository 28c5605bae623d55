//! What happened in the folder and was not read yet, and when to read it. Pure: the time is an argument.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use tokio::time::Instant;

use super::Pace;
use super::files::{Scope, is_manifest};

/// What was not read yet. Its size is bounded by the number of names in the folder.
#[derive(Debug, Default)]
pub(super) struct Pending {
    scope: Scope,
    /// Files that were written to and not closed yet: reading them now might give half of what is meant.
    unclosed: BTreeSet<OsString>,
    first_and_last: Option<(Instant, Instant)>,
}

impl Pending {
    /// Takes an event in. Says whether it means anything.
    pub(super) fn note(&mut self, event: &notify::Result<notify::Event>, folder: &Path, now: Instant) -> bool {
        let is_relevant = match event {
            Ok(event) if event.need_rescan() => {
                self.scope.all = true;
                true
            }
            // Our own reading, among others.
            Ok(event) if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) => {
                false
            }
            Ok(event) => {
                let mut is_relevant = false;
                for path in &event.paths {
                    is_relevant |= self.note_path(event.kind, path, folder);
                }
                is_relevant
            }
            Err(_) => {
                self.scope.all = true;
                true
            }
        };
        if is_relevant {
            let first = self.first_and_last.map_or(now, |(first, _)| first);
            self.first_and_last = Some((first, now));
        }
        is_relevant
    }

    fn note_path(&mut self, kind: EventKind, path: &Path, folder: &Path) -> bool {
        let Some(name) = path.file_name().filter(|name| path != folder && is_manifest(name)) else {
            // The folder itself, or a name that a manifest may be reached through: `..data` in a mounted ConfigMap.
            let is_entry = matches!(
                kind,
                EventKind::Any
                    | EventKind::Create(_)
                    | EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Any)
            );
            self.scope.all |= is_entry;
            return is_entry;
        };
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                self.unclosed.insert(name.to_owned());
            }
            EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                self.unclosed.remove(name);
            }
            _ => {}
        }
        self.scope.names.insert(name.to_owned());
        true
    }

    /// When to read; `None` if nothing happened.
    pub(super) fn due(&self, pace: Pace) -> Option<Instant> {
        let (first, last) = self.first_and_last?;
        let calm = if self.unclosed.is_empty() {
            pace.quiet
        } else {
            pace.unclosed
        };
        Some((last + calm).min(first + pace.longest))
    }

    /// What to read. A file that is still being written to is in it again once it is closed.
    pub(super) fn take(&mut self) -> Scope {
        let Self { scope, .. } = std::mem::take(self);
        scope
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use notify::Event;
    use notify::event::{CreateKind, DataChange, RenameMode};

    use super::*;

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const RENAMED: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));

    fn note(pending: &mut Pending, kind: EventKind, name: &str, now: Instant) -> bool {
        let folder = PathBuf::from("/folder");
        pending.note(&Ok(Event::new(kind).add_path(folder.join(name))), &folder, now)
    }

    #[test]
    fn a_file_is_read_soon_after_it_is_closed_and_not_before() {
        let (pace, start) = (Pace::default(), Instant::now());
        let mut pending = Pending::default();
        assert!(note(&mut pending, WRITTEN, "web.yaml", start));
        assert_eq!(pending.due(pace), Some(start + pace.unclosed));
        let closed = start + Duration::from_millis(40);
        assert!(note(&mut pending, CLOSED, "web.yaml", closed));
        assert_eq!(pending.due(pace), Some(closed + pace.quiet));
        assert_eq!(
            pending.take(),
            Scope {
                all: false,
                names: ["web.yaml".into()].into()
            }
        );
        assert_eq!(pending.due(pace), None);
    }

    #[test]
    fn a_writer_that_never_rests_does_not_put_reading_off_for_ever() {
        let (pace, start) = (Pace::default(), Instant::now());
        let mut pending = Pending::default();
        for step in 0..100 {
            note(
                &mut pending,
                WRITTEN,
                "web.yaml",
                start + Duration::from_millis(50 * step),
            );
        }
        assert_eq!(pending.due(pace), Some(start + pace.longest));
    }

    #[test]
    fn reading_and_other_files_mean_nothing() {
        let now = Instant::now();
        let mut pending = Pending::default();
        assert!(!note(&mut pending, OPENED, "web.yaml", now));
        assert!(!note(&mut pending, WRITTEN, ".web.yaml.swp", now));
        assert!(!note(&mut pending, WRITTEN, "notes.txt", now));
        assert_eq!(pending.due(Pace::default()), None);
    }

    #[test]
    fn a_link_that_is_exchanged_means_everything() {
        let mut pending = Pending::default();
        assert!(note(&mut pending, RENAMED, "..data", Instant::now()));
        assert!(pending.take().all);
        assert!(note(
            &mut pending,
            EventKind::Create(CreateKind::Any),
            "current",
            Instant::now()
        ));
        assert!(pending.take().all);
    }
}
