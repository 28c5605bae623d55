//! The local provider passes the tests that every provider must pass: the operator's own plan and its own steps, with a real API server as
//! the backend and the operator's rights. Each backend is a namespace.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use fairlead::operator::controller::perform::{PerformError, Performer, Target};
use fairlead::operator::controller::plan::{self, Complaint, FINALIZER, KEEPER, Observed, Wanted};
use fairlead_crds::{LoadBalancer, reason};
use fairlead_e2e::control_plane::{Etcd, User, api, with_api_server};
use fairlead_lab::{Family, test_name};
use fairlead_model::ServiceName;
use fairlead_provider::kit::{Bench, pass};
use fairlead_provider::{Plan, Provider, ProviderError};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::load_balancers::Cluster;
use crate::world::{API_PORT, World};

/// The operator, as far as it is about one key.
struct Local {
    client: Client,
    performer: Performer,
    namespace: String,
}

/// What there is for a key.
struct Seen {
    key: ServiceName,
    service: Option<Service>,
    load_balancer: Option<LoadBalancer>,
}

impl Seen {
    fn observed(&self) -> Observed<'_> {
        Observed {
            key: &self.key,
            service: self.service.as_ref(),
            load_balancer: self.load_balancer.as_ref(),
        }
    }
}

/// A step of the plan, and the Service that it was planned for.
struct Step {
    target: Target,
    step: plan::Step,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)
    }
}

impl Provider for Local {
    type Key = String;
    type Desired = Wanted;
    type Observed = Seen;
    type Step = Step;

    async fn observe(&self, key: &String) -> Result<Seen, ProviderError> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let load_balancers: Api<LoadBalancer> = Api::namespaced(self.client.clone(), &self.namespace);
        let failed = |error| ProviderError::failed("Read", "cannot read", error);
        Ok(Seen {
            key: ServiceName::new(&*self.namespace, &**key),
            service: services.get_opt(key).await.map_err(failed)?,
            load_balancer: load_balancers.get_opt(key).await.map_err(failed)?,
        })
    }

    fn plan(&self, desired: Option<&Wanted>, seen: &Seen) -> Result<Plan<Step>, ProviderError> {
        let observed = seen.observed();
        let now = Time(Timestamp::UNIX_EPOCH);
        let steps = plan::plan(&observed, desired.unwrap_or(&Wanted::Nothing), &now);
        let planned = steps.into_iter().map(|step| Step {
            target: Target::of(&observed),
            step,
        });
        Ok(planned.collect())
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        let done = self.performer.perform(&step.target, &step.step).await;
        done.map(drop)
            .map_err(|error: PerformError| ProviderError::failed("Step", error.to_string(), error))
    }

    fn is_gone(seen: &Seen) -> bool {
        seen.observed().is_gone()
    }
}

/// Namespaces of an API server.
struct Namespaces {
    administrator: Client,
    operator: Client,
    count: AtomicU32,
}

impl Namespaces {
    async fn create(&self, object: &Value) {
        let (name, status) = (
            object["metadata"]["name"].as_str().unwrap(),
            json!({"status": object["status"]}),
        );
        let (parameters, all) = (PatchParams::default(), api(self.administrator.clone(), object));
        let read = serde_json::from_value(object.clone()).unwrap();
        all.create(&PostParams::default(), &read).await.unwrap();
        if object["status"].is_object() {
            all.patch_status(name, &parameters, &Patch::Merge(&status))
                .await
                .unwrap();
        }
    }
}

impl Bench for Namespaces {
    type Provider = Local;
    type Backend = String;
    type Contents = BTreeMap<String, Value>;

    async fn backend(&self) -> String {
        let namespace = format!("kit-{}", self.count.fetch_add(1, Ordering::Relaxed));
        self.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}))
            .await;
        let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": false});
        let service = |name: &str, finalizer: &str, ingress: &Value| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace, "finalizers": [finalizer]},
                "spec": spec, "status": {"loadBalancer": {"ingress": ingress}},
            })
        };
        // Ours to be, with what another controller has put there; another controller's; and a record of ours that is another key's.
        self.create(&service("web", "example.com/foreign", &Value::Null)).await;
        self.create(&service("web-of-another", FINALIZER, &json!([{"ip": "203.0.113.9"}])))
            .await;
        self.create(&json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancer",
            "metadata": {"name": "web-2", "namespace": namespace, "finalizers": [KEEPER]},
            "spec": {"provider": "metal", "services": [{"namespace": namespace, "name": "web-of-another"}]},
            "status": {"addresses": ["198.51.100.9"]},
        }))
        .await;
        namespace
    }

    fn provider(&self, backend: &String) -> Local {
        Local {
            client: self.operator.clone(),
            performer: Performer::new(self.operator.clone()),
            namespace: backend.clone(),
        }
    }

    async fn contents(&self, backend: &String) -> BTreeMap<String, Value> {
        let services: Api<Service> = Api::namespaced(self.administrator.clone(), backend);
        let load_balancers: Api<LoadBalancer> = Api::namespaced(self.administrator.clone(), backend);
        let mut contents = BTreeMap::new();
        for service in services.list(&ListParams::default()).await.unwrap() {
            let shown = json!({"finalizers": service.finalizers(), "status": service.status});
            contents.insert(format!("Service {}", service.name_any()), shown);
        }
        for load_balancer in load_balancers.list(&ListParams::default()).await.unwrap() {
            let mut spec = load_balancer.spec.clone();
            spec.services.iter_mut().for_each(|service| service.namespace.clear());
            let shown = json!({"finalizers": load_balancer.finalizers(), "spec": spec, "status": load_balancer.status});
            contents.insert(format!("LoadBalancer {}", load_balancer.name_any()), shown);
        }
        contents
    }

    fn key(&self) -> String {
        "web".to_owned()
    }

    fn desires(&self) -> Vec<Wanted> {
        let with = |provider: &str, addresses: &[&str]| Wanted::LoadBalancer {
            provider: provider.into(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            pool: Some("pool".into()),
            complaint: None,
        };
        let refused = Wanted::LoadBalancer {
            provider: "other".into(),
            addresses: Vec::new(),
            pool: None,
            complaint: Some(Complaint {
                reason: reason::POOL_EXHAUSTED,
                message: "every address of pool is taken".to_owned(),
            }),
        };
        vec![
            with("metal", &["198.51.100.1"]),
            with("other", &["2001:db8::1", "198.51.100.1"]),
            refused,
        ]
    }
}

#[test]
fn the_local_provider_is_one() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let kubeconfig = world.store.kubeconfig(User::Operator, Family::V4, API_PORT).unwrap();
        cluster.server.client().run(async |administrator| {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            let namespaces = Namespaces {
                administrator,
                operator: Client::try_from(config).unwrap(),
                count: AtomicU32::new(0),
            };
            pass(&namespaces).await;
            println!("{} backends", namespaces.count.into_inner());
        });
    });
}
