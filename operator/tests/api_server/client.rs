//! The administrator at the API server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairlead_lab::Namespace;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// No request takes longer on a server that answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client whose connections are made inside a namespace. Clones share them.
#[derive(Clone)]
pub(crate) struct Client {
    namespace: Namespace,
    /// Of one thread, so that all of it happens on the thread that calls, which is in the namespace.
    runtime: Arc<Runtime>,
    kube: kube::Client,
}

impl Client {
    pub(crate) fn new(namespace: &Namespace, kubeconfig: &Path) -> Self {
        // Others in the process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let kube = runtime.block_on(async {
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .unwrap();
            config.default_retry = false;
            kube::Client::try_from(config).unwrap()
        });
        Self {
            namespace: namespace.clone(),
            runtime: Arc::new(runtime),
            kube,
        }
    }

    /// Runs something with the client inside the namespace.
    pub(crate) fn run<T: Send, F: Future<Output = T>>(&self, body: impl FnOnce(kube::Client) -> F + Send) -> T {
        self.namespace.run(|| self.runtime.block_on(body(self.kube.clone())))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.run(|client| async move {
            let request = hyper::Request::get("/readyz").body(Vec::new()).unwrap();
            let answer = tokio::time::timeout(PATIENCE, client.request_text(request)).await;
            answer.is_ok_and(|answer| answer.is_ok())
        })
    }

    /// Creates an object or makes it as given; what was set before and is not given now goes.
    pub(crate) fn apply(&self, object: &Value) {
        self.try_apply(object)
            .unwrap_or_else(|error| panic!("cannot apply {object}: {error}"));
    }

    /// [`Self::apply`] for each.
    pub(crate) fn apply_all(&self, objects: &[Value]) {
        for object in objects {
            self.apply(object);
        }
    }

    /// [`Self::apply`] on an API server that may be away.
    pub(crate) fn try_apply(&self, object: &Value) -> Result<(), kube::Error> {
        let name = name(object);
        let mut object = object.clone();
        let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
        self.run(|client| async {
            let api = api(client, &object);
            let write = async {
                api.patch(
                    name,
                    &PatchParams::apply("api-server-test").force(),
                    &Patch::Apply(&object),
                )
                .await?;
                if let Some(status) = status {
                    // Applied, a Node could not have two addresses of one type.
                    let status = json!({"status": status});
                    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                        .await?;
                }
                Ok(())
            };
            tokio::time::timeout(PATIENCE, write).await.expect("an answer in time")
        })
    }

    /// Deletes the object.
    pub(crate) fn delete(&self, object: &Value) {
        self.run(|client| async {
            let deletion = api(client, object).delete(name(object), &DeleteParams::default()).await;
            deletion.unwrap_or_else(|error| panic!("cannot delete {object}: {error}"));
        });
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("an object has a name")
}

/// The endpoint for objects like this one.
pub(crate) fn api(client: kube::Client, object: &Value) -> Api<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}
