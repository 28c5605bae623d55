//! What drivers have done beside them: steps, and words to the API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairlead_aws::account::{Account, NOT_FOUND};
use fairlead_aws::plan::{Ref, Step};
use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use fairlead_provider::{ProviderError, Retry};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::figures::Counters;
use super::gates::Condition;
use super::records::{self, Records};
use crate::chain::Chain;
use crate::operator::lease::Claims;

/// Keys whose steps are done at a time, and gates that are opened.
const AT_A_TIME: usize = 16;
/// How long the API server may take.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Who has lost the lease does nothing more. Whether it comes back shows soon.
const WITHOUT_LEASE: Duration = Duration::from_secs(1);

/// Who does steps.
pub(super) struct Hands<A> {
    pub(super) account: Arc<A>,
    pub(super) client: Client,
    pub(super) claims: Claims,
    pub(super) counters: Counters,
    places: Arc<Semaphore>,
}

impl<A> Clone for Hands<A> {
    fn clone(&self) -> Self {
        Self {
            account: self.account.clone(),
            client: self.client.clone(),
            claims: self.claims.clone(),
            counters: self.counters.clone(),
            places: self.places.clone(),
        }
    }
}

impl<A: Account> Hands<A> {
    pub(super) fn new(account: A, client: Client, claims: Claims, counters: Counters) -> Self {
        Self {
            account: Arc::new(account),
            client,
            claims,
            counters,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Does steps in their order until one fails. `key` is nobody's where the steps are for all.
    pub(super) async fn perform(
        &self,
        key: Option<&ServiceName>,
        steps: &[Step],
        records: &mut Records,
    ) -> Result<(), ProviderError> {
        let _place = self.places.acquire().await.expect("it is never closed");
        for step in steps {
            let is_valid = self.claims.borrow().is_some_and(|claim| claim.is_valid(Instant::now()));
            if !is_valid {
                let message = "another operator leads, or may do so";
                return Err(ProviderError::refused("NotLeading", message).after(WITHOUT_LEASE));
            }
            tracing::info!(service = key.map(tracing::field::display), "{step}");
            let done = match (step, key) {
                (Step::RecordTargets { group, targets }, Some(key)) => {
                    let arn = self.arn_of(group)?;
                    records.insert(arn, targets.clone());
                    self.write_records(key, records).await
                }
                _ => self.account.perform(step).await,
            };
            match done {
                Ok(()) => self.counters.done(step),
                Err(error) => {
                    self.counters.failed(error.reason);
                    tracing::warn!(service = key.map(tracing::field::display), error = %Chain(&error), "cannot {step}");
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn arn_of(&self, group: &Ref) -> Result<String, ProviderError> {
        let arn = self
            .account
            .read(|snapshot| snapshot.target_group(group).map(str::to_owned));
        arn.ok_or_else(|| ProviderError {
            reason: NOT_FOUND,
            message: format!("there is no target group {group}"),
            retry: Retry::Backoff,
            source: None,
        })
    }

    async fn write_records(&self, key: &ServiceName, records: &Records) -> Result<(), ProviderError> {
        let api: Api<LoadBalancer> = Api::namespaced(self.client.clone(), &key.namespace);
        let annotations: BTreeMap<_, _> = [(records::ANNOTATION, records::write(records))].into();
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let parameters = PatchParams::default();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            ProviderError::failed(
                "RecordFailed",
                format!("cannot write down the targets of {key}"),
                source,
            )
        };
        match timeout(WRITE_WITHIN, api.patch(&key.name, &parameters, &patch)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }

    /// Writes the condition of a pod. True if it is written.
    pub(super) async fn write_gate(
        &self,
        pod: &ServiceName,
        uid: Option<&str>,
        gate: &str,
        condition: &Condition,
    ) -> bool {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let now = Time(Timestamp::now());
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": uid },
            "status": { "conditions": [{
                "type": gate,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": now,
            }] },
        }));
        match timeout(
            WRITE_WITHIN,
            api.patch_status(&pod.name, &PatchParams::default(), &patch),
        )
        .await
        {
            Ok(Ok(_)) => {
                tracing::info!(%pod, gate, "readiness gate is {} ({})", condition.status, condition.reason);
                true
            }
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => false,
            Ok(Err(error)) => {
                tracing::warn!(%pod, gate, error = %Chain(&error), "cannot write a pod's condition");
                false
            }
            Err(_) => {
                tracing::warn!(%pod, gate, "no answer to a pod's condition within {WRITE_WITHIN:?}");
                false
            }
        }
    }
}
