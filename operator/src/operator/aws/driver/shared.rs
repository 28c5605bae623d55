//! What all load balancers of a provider share.

use std::collections::BTreeSet;

use fairlead_aws::account::Account;
use fairlead_aws::plan::{Step, Wait, plan_shared};
use fairlead_model::ServiceName;
use tokio::time::Instant;

use super::super::reconcile;
use super::super::records::Records;
use super::{Done, Driver};
use crate::operator::controller::plan::Complaint;

/// What all share.
#[derive(Debug, Default)]
pub(super) struct SharedWork {
    pub(super) must_plan: bool,
    pub(super) is_under_way: bool,
    /// Whether load balancers wait for what is under way.
    pub(super) opens: bool,
    pub(super) due: Option<Instant>,
    pub(super) waits: Vec<Wait>,
    pub(super) trouble: Option<Complaint>,
    /// Keys that wait for it.
    pub(super) held: BTreeSet<ServiceName>,
}

impl<A: Account + 'static> Driver<A> {
    /// What all share comes before what needs it.
    pub(super) fn share(&mut self, now: Instant) {
        if self.shared.due.is_some_and(|due| due <= now) {
            self.shared.due = None;
            self.shared.must_plan = true;
            if !self.shared.waits.is_empty() && !self.shared.is_under_way {
                let (account, waits) = (self.hands.account.clone(), std::mem::take(&mut self.shared.waits));
                self.running
                    .spawn(async move { Done::LookedFor(Vec::new(), account.look_for(&waits).await) });
                return;
            }
        }
        let is_tried_later = self.shared.trouble.is_some() && self.shared.due.is_some();
        if !self.shared.must_plan || self.shared.is_under_way || is_tried_later {
            return;
        }
        self.shared.must_plan = false;
        let all = self
            .entries
            .values()
            .map(|entry| (entry.needs.as_ref(), entry.has_backend_group));
        let wanted = reconcile::shared(&self.defaults, all, self.is_all_asked);
        let observed = self
            .hands
            .account
            .read(|snapshot| snapshot.shared(&self.defaults.cluster));
        let outcome = plan_shared(&wanted, &observed);
        self.shared.waits.clone_from(&outcome.waits);
        self.shared.due = outcome.waits.iter().map(|wait| now + wait.next_look()).min();
        if outcome.steps.is_empty() {
            return;
        }
        let steps = outcome.steps.steps().to_vec();
        let opens = |step: &Step| matches!(step, Step::CreateSecurityGroup { .. } | Step::AuthorizeIngress { .. });
        self.shared.opens = steps.iter().any(opens);
        self.shared.is_under_way = true;
        let hands = self.hands.clone();
        self.running
            .spawn(async move { Done::Shared(hands.perform(None, &steps, &mut Records::new()).await) });
    }
}
