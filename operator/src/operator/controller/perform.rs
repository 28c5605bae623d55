//! Does steps at the API server, and decides nothing.

use std::sync::Arc;

use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::plan::{FINALIZER, KEEPER, Observed, Step};
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

impl Target {
    /// The Service as it is when its steps are planned.
    pub fn of(observed: &Observed<'_>) -> Self {
        let metadata = observed.service.map(|service| &service.metadata);
        Self {
            key: observed.key.clone(),
            uid: metadata.and_then(|metadata| metadata.uid.clone()),
            version: metadata.and_then(finalizers_of),
        }
    }
}

/// The resource version and the finalizers.
fn finalizers_of(metadata: &ObjectMeta) -> Option<(String, Vec<String>)> {
    let version = metadata.resource_version.clone()?;
    Some((version, metadata.finalizers.clone().unwrap_or_default()))
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
                let has_ids = report.ids.values().any(Option::is_some);
                let status = json!({
                    "addresses": report.addresses,
                    "pool": report.pool.as_deref(),
                    "hostname": report.hostname,
                    "ids": has_ids.then_some(&report.ids),
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
                let ingress = addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"}));
                self.publish(target, ingress.collect()).await
            }
            Step::PublishHostname(hostname) => self.publish(target, vec![json!({"hostname": hostname})]).await,
        };
        done.map_err(|error| match error {
            kube::Error::Api(status) if status.is_conflict() => PerformError::Conflict,
            error => PerformError::Request {
                step: step.to_string(),
                source: Box::new(error),
            },
        })
    }

    async fn publish(&self, target: &Target, ingress: Vec<Value>) -> kube::Result<Option<Told>> {
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

    /// The list is written whole, so it must be the one that was seen. It is looked at anew once if the Service has changed, as it has by an
    /// earlier step.
    async fn set_finalizer(&self, target: &Target, is_wanted: bool) -> kube::Result<Option<Told>> {
        let Some(seen) = &target.version else {
            return Ok(None);
        };
        match self.write_finalizers(target, seen, is_wanted).await {
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                let services: Api<Service> = Api::namespaced(self.client.clone(), &target.key.namespace);
                let now = services.get_opt(&target.key.name).await?;
                let Some(now) = now.filter(|now| now.metadata.uid == target.uid) else {
                    return Ok(None);
                };
                match finalizers_of(&now.metadata) {
                    Some(seen) if seen.1.iter().any(|name| name == FINALIZER) != is_wanted => {
                        self.write_finalizers(target, &seen, is_wanted).await
                    }
                    _ => Ok(Some(service_is(now))),
                }
            }
            written => written,
        }
    }

    async fn write_finalizers(
        &self,
        target: &Target,
        (version, finalizers): &(String, Vec<String>),
        is_wanted: bool,
    ) -> kube::Result<Option<Told>> {
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
