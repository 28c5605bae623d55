//! A watcher's events to changes. Pure.

use std::collections::HashSet;

use fairlead_model::Change;
use kube::runtime::watcher::Event;

use super::watched::{Fault, Reduced, Watched};

/// What follows from an event.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// A change to send.
    Change(Change),
    /// This object cannot be used; its last good value stays in force.
    Faulty { object: String, fault: Fault },
    /// The object that could not be used is good again or gone.
    Sound { object: String },
}

/// The names of the objects of one kind that were sent, and nothing more of them.
#[derive(Debug)]
pub(super) struct Known<W: Watched> {
    /// Objects whose value was sent.
    sent: HashSet<W::Key>,
    /// Objects that cannot be used as they are now.
    faulty: HashSet<W::Key>,
    /// Objects seen since the list began, while one runs.
    listed: Option<HashSet<W::Key>>,
    is_complete: bool,
}

impl<W: Watched> Default for Known<W> {
    fn default() -> Self {
        Self {
            sent: HashSet::new(),
            faulty: HashSet::new(),
            listed: None,
            is_complete: false,
        }
    }
}

impl<W: Watched> Known<W> {
    /// Takes an event in.
    ///
    /// A list may be a repeated one after the watch lost its place, and it may break off and begin again. What is in it
    /// counts at once; what is not in it is gone once it is complete.
    pub(super) fn translate(&mut self, event: Event<Reduced<W>>) -> Vec<Step> {
        match event {
            Event::Init => {
                self.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.delete(&key_of(&object)),
            Event::InitDone => {
                let mut steps = self.finish_list();
                steps.extend(self.complete());
                steps
            }
        }
    }

    /// Declares the initial list complete, once.
    pub(super) fn complete(&mut self) -> Option<Step> {
        let is_first = !std::mem::replace(&mut self.is_complete, true);
        is_first.then_some(Step::Change(Change::InitialListComplete(W::KIND)))
    }

    fn apply(&mut self, object: Reduced<W>) -> Vec<Step> {
        let key = match &object.value {
            Ok(Some(value)) => W::key_of(value),
            Ok(None) | Err(_) => key_of(&object),
        };
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        match object.value {
            Ok(Some(value)) => {
                let mut steps = self.sound(&key);
                self.sent.insert(key.clone());
                steps.push(Step::Change(W::change(key, Some(value))));
                steps
            }
            Ok(None) => self.delete(&key),
            Err(fault) => {
                let object = shown::<W>(&key);
                self.faulty.insert(key);
                vec![Step::Faulty { object, fault }]
            }
        }
    }

    fn delete(&mut self, key: &W::Key) -> Vec<Step> {
        let mut steps = self.sound(key);
        if self.sent.remove(key) {
            steps.push(Step::Change(W::change(key.clone(), None)));
        }
        steps
    }

    fn finish_list(&mut self) -> Vec<Step> {
        let Some(listed) = self.listed.take() else {
            return Vec::new();
        };
        let gone: HashSet<_> = self
            .sent
            .union(&self.faulty)
            .filter(|key| !listed.contains(key))
            .cloned()
            .collect();
        gone.iter().flat_map(|key| self.delete(key)).collect()
    }

    fn sound(&mut self, key: &W::Key) -> Vec<Step> {
        let was_faulty = self.faulty.remove(key);
        was_faulty
            .then(|| Step::Sound {
                object: shown::<W>(key),
            })
            .into_iter()
            .collect()
    }
}

fn key_of<W: Watched>(object: &Reduced<W>) -> W::Key {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    W::key(&text(&object.meta.namespace), &text(&object.meta.name))
}

/// Kind and name, as people say them.
fn shown<W: Watched>(key: &W::Key) -> String {
    format!("{} {}", W::NAME, W::shown(key))
}

#[cfg(test)]
mod tests;
