//! Does steps at the API server, and decides nothing.

use std::sync::Arc;

use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::plan::{FINALIZER, KEEPER, Step};
use super::watch::{Change, Told};

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// Somebody else has written the object meanwhile. What is to be done is to be planned again.
    #[error("the object has changed meanwhile")]
    Conflict,
    /// The API server refused or did not answer.
    #[error("cannot {step}")]
    Request {
        /// The step.
        step: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Where the steps of a key are done.
#[derive(Clone)]
pub struct Performer {
    client: Client,
}

/// The Service as it was when the steps were planned: one that has another UID meanwhile is another Service.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whose steps.
    pub key: ServiceName,
    /// Its UID, if it exists.
    pub uid: Option<String>,
    /// Its resource version and finalizers.
    pub version: Option<(String, Vec<String>)>,
}

impl Performer {
    /// Does steps through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Does one step, and gives the object as it is then. Done already is done.
    pub async fn perform(&self, target: &Target, step: &Step) -> Result<Option<Told>, PerformError> {
        let done = match step {
            Step::Create(spec) => {
                let mut object = LoadBalancer::new(&target.key.name, spec.clone());
                object.metadata.finalizers = Some(vec![KEEPER.to_owned()]);
                match self
                    .load_balancers(target)
                    .create(&PostParams::default(), &object)
                    .await
                {
                    Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
                    created => created.map(|object| Some(load_balancer_is(object))),
                }
            }
            Step::Update(spec) => {
                let patch = json!({"metadata": {"finalizers": [KEEPER]}, "spec": spec});
                self.patch_load_balancer(target, &patch, false).await
            }
            Step::Report(report) => {
                let status = json!({
                    "addresses": report.addresses,
                    "pool": report.pool.as_deref(),
                    "conditions": report.conditions,
                    "observedGeneration": report.observed_generation,
                });
                self.patch_load_balancer(target, &json!({"status": status}), true).await
            }
            Step::Delete => {
                let api = self.load_balancers(target);
                let deleted = api.delete(&target.key.name, &DeleteParams::default()).await;
                match gone_is_done(deleted.map(drop)) {
                    // The watch tells when it is gone.
                    Ok(Some(())) => {
                        let patch = json!({"metadata": {"finalizers": null}});
                        self.patch_load_balancer(target, &patch, false).await.map(|_| None)
                    }
                    other => other.map(|_| None),
                }
            }
            Step::AddFinalizer => self.set_finalizer(target, true).await,
            Step::RemoveFinalizer => self.set_finalizer(target, false).await,
            Step::Publish(addresses) => {
                let ingress: Vec<_> = addresses
                    .iter()
                    .map(|address| json!({"ip": address, "ipMode": "VIP"}))
                    .collect();
                let ingress = (!ingress.is_empty()).then_some(ingress);
                let patch = json!({
                    "metadata": {"uid": target.uid},
                    "status": {"loadBalancer": {"ingress": ingress}},
                });
                let services: Api<Service> = Api::namespaced(self.client.clone(), &target.key.namespace);
                let patched = services
                    .patch_status(&target.key.name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await;
                gone_is_done(patched.map(service_is))
            }
        };
        done.map_err(|error| match error {
            kube::Error::Api(status) if status.is_conflict() => PerformError::Conflict,
            error => PerformError::Request {
                step: step.to_string(),
                source: Box::new(error),
            },
        })
    }

    fn load_balancers(&self, target: &Target) -> Api<LoadBalancer> {
        Api::namespaced(self.client.clone(), &target.key.namespace)
    }

    async fn patch_load_balancer(&self, target: &Target, patch: &Value, is_status: bool) -> kube::Result<Option<Told>> {
        let api = self.load_balancers(target);
        let parameters = PatchParams::default();
        let patch = Patch::Merge(patch);
        let patched = if is_status {
            api.patch_status(&target.key.name, &parameters, &patch).await
        } else {
            api.patch(&target.key.name, &parameters, &patch).await
        };
        gone_is_done(patched.map(load_balancer_is))
    }

    /// The list is written whole, so it must be the one that was seen.
    async fn set_finalizer(&self, target: &Target, is_wanted: bool) -> kube::Result<Option<Told>> {
        let Some((version, finalizers)) = &target.version else {
            return Ok(None);
        };
        let mut finalizers: Vec<_> = finalizers.iter().filter(|name| *name != FINALIZER).collect();
        let ours = FINALIZER.to_owned();
        if is_wanted {
            finalizers.push(&ours);
        }
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let services: Api<Service> = Api::namespaced(self.client.clone(), &target.key.namespace);
        let patched = services
            .patch(&target.key.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        gone_is_done(patched.map(service_is))
    }
}

fn load_balancer_is(object: LoadBalancer) -> Told {
    Told::LoadBalancer(Change::Is(Arc::new(object)))
}

fn service_is(object: Service) -> Told {
    Told::Service(Change::Is(Arc::new(object)))
}

/// What is no longer there needs nothing more; the watch tells of it.
fn gone_is_done<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        result => result.map(Some),
    }
}
