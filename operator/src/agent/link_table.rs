//! Writes the table at the links when it has changed, and again after a failure.

use std::time::{Duration, Instant};

use fairlead_dataplane::links::LinkTable;
use fairlead_dataplane::sync::Dataplane;
use tokio::task::block_in_place;

use crate::chain::Chain;

/// Between two tries. A link may have gone while the table was written, or an agent that ends may still own it.
const RETRY: Duration = Duration::from_millis(500);

/// The table as it shall be, and whether it is so.
#[derive(Debug, Default)]
pub struct LinkTableWriter {
    wanted: LinkTable,
    /// What is in the kernel; `None` before the first write, since the last process may have left something.
    written: Option<LinkTable>,
    /// Whether anything was wanted yet.
    is_known: bool,
    retry: Option<Instant>,
    /// Why it failed, as it was said.
    complaint: Option<String>,
}

impl LinkTableWriter {
    /// This shall be the table.
    pub fn wants(&mut self, table: LinkTable) {
        self.wanted = table;
        self.is_known = true;
    }

    /// When to call [`Self::follow`] without another reason.
    pub const fn due(&self) -> Option<Instant> {
        self.retry
    }

    /// Writes it, if that is not done yet.
    pub fn follow(&mut self, dataplane: &mut Dataplane) {
        let is_same = |written: &LinkTable| *written == self.wanted || (written.is_empty() && self.wanted.is_empty());
        if !self.is_known || self.written.as_ref().is_some_and(is_same) {
            self.retry = None;
            return;
        }
        if self.retry.is_some_and(|at| Instant::now() < at) {
            return;
        }
        match block_in_place(|| dataplane.set_links(&self.wanted)) {
            Ok(()) => {
                self.retry = None;
                self.complaint = None;
                if !self.wanted.is_empty() {
                    tracing::info!(
                        ports = self.wanted.steered.len(),
                        links = self.wanted.links.len(),
                        "wrote which ports are handed on to other nodes, and by which links answers leave"
                    );
                }
                self.written = Some(self.wanted.clone());
            }
            Err(error) => {
                let complaint = Chain(&error).to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(error = complaint, "cannot write the table at the links, trying again");
                    self.complaint = Some(complaint);
                }
                self.written = None;
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }
}
