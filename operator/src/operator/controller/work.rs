//! The steps of one key on their way, beside those of others.

use std::sync::Arc;
use std::time::Duration;

use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::events::Recorder;
use tokio::time::timeout;

use super::notes::{self, Note};
use super::perform::{PerformError, Performer, Target};
use super::plan::Step;
use super::queue::Outcome;
use super::watch::Told;
use crate::chain::Chain;

/// How long to wait for the watch to tell what somebody else has written.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);
/// How long one step may take.
const STEPS_WITHIN: Duration = Duration::from_secs(30);

/// What came of the steps of a key.
pub(super) struct Done {
    /// Whose.
    pub(super) key: ServiceName,
    /// When to look at it again.
    pub(super) outcome: Outcome,
    /// The objects as they are now.
    pub(super) written: Vec<Told>,
}

/// The steps of a key, to be carried out.
pub(super) struct Work {
    /// Where.
    pub(super) target: Target,
    /// The Service that events are about.
    pub(super) service: Option<Arc<Service>>,
    /// What to do, in order.
    pub(super) steps: Vec<Step>,
    /// What to tell when it is done.
    pub(super) notes: Vec<Note>,
    /// Who does it.
    pub(super) performer: Performer,
    /// Who tells.
    pub(super) recorder: Arc<Recorder>,
}

impl Work {
    /// Does the steps until one fails.
    pub(super) async fn carry_out(self) -> Done {
        let key = self.target.key.clone();
        let mut written = Vec::new();
        let mut outcome = Outcome::Done;
        for step in &self.steps {
            tracing::info!(service = %key, "{step}");
            match timeout(STEPS_WITHIN, self.performer.perform(&self.target, step)).await {
                Ok(Ok(told)) => written.extend(told),
                // The watch tells what it is now.
                Ok(Err(PerformError::Conflict)) => outcome = Outcome::After(CONFLICT_PAUSE),
                Ok(Err(error)) => {
                    tracing::warn!(service = %key, error = %Chain(&error), "trying again later");
                    outcome = Outcome::Failed;
                }
                Err(_) => {
                    tracing::warn!(service = %key, "cannot {step}: no answer within {STEPS_WITHIN:?}");
                    outcome = Outcome::Failed;
                }
            }
            if outcome != Outcome::Done {
                return Done { key, outcome, written };
            }
        }
        if let Some(service) = self.service {
            // Nobody waits for what is only told.
            tokio::spawn(async move { notes::publish(&self.recorder, &service, &self.notes).await });
        }
        Done { key, outcome, written }
    }
}
