use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fairlead_lab::Namespace;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// No request takes longer on a server that answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who writes, in the API server's books.
const FIELD_MANAGER: &str = "fairlead-e2e";

/// The administrator at the API server. Its connections are made inside a namespace, and clones share them.
#[derive(Clone)]
pub struct Client {
    namespace: Namespace,
    /// Of one thread, so that all of it happens on the thread that calls, which is in the namespace.
    runtime: Arc<Runtime>,
    kube: kube::Client,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(namespace: &Namespace, kubeconfig: &Path) -> Result<Self> {
        // Others in the process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        let kubeconfig = Kubeconfig::read_from(kubeconfig).context("cannot read our own kubeconfig")?;
        let kube = runtime.block_on(async {
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
            config.default_retry = false;
            anyhow::Ok(kube::Client::try_from(config)?)
        })?;
        Ok(Self {
            namespace: namespace.clone(),
            runtime: Arc::new(runtime),
            kube,
        })
    }

    /// Runs something with the client inside the namespace.
    pub fn run<T: Send, F: Future<Output = T>>(&self, body: impl FnOnce(kube::Client) -> F + Send) -> T {
        self.namespace.run(|| self.runtime.block_on(body(self.kube.clone())))
    }

    /// Whether the API server says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.run(|client| async move {
            let request = hyper::Request::get("/readyz")
                .body(Vec::new())
                .expect("a path is a request");
            let answer = tokio::time::timeout(PATIENCE, client.request_text(request)).await;
            answer.is_ok_and(|answer| answer.is_ok())
        })
    }

    /// Creates an object or makes it as given; what was set before and is not given now goes.
    pub fn apply(&self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
        self.ask("apply", &object, async |api: Api<DynamicObject>| {
            let name = name(&object);
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            api.patch(name, &parameters, &Patch::Apply(&object)).await?;
            if let Some(status) = status {
                // Applied, a Node could not have two addresses of one type.
                let status = json!({"status": status});
                api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
                    .await?;
            }
            Ok(())
        })
    }

    /// [`Self::apply`] for each.
    pub fn apply_all(&self, objects: &[Value]) -> Result<()> {
        objects.iter().try_for_each(|object| self.apply(object))
    }

    /// Writes an object that exists, whole, as controllers do.
    pub fn replace(&self, object: &Value) -> Result<()> {
        self.ask("replace", object, async |api: Api<DynamicObject>| {
            let object: DynamicObject = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
            api.replace(name_of(&object), &kube::api::PostParams::default(), &object)
                .await?;
            Ok(())
        })
    }

    /// Deletes the object.
    pub fn delete(&self, object: &Value) -> Result<()> {
        self.ask("delete", object, async |api: Api<DynamicObject>| {
            api.delete(name(object), &DeleteParams::default()).await?;
            Ok(())
        })
    }

    /// One request about an object, which ends.
    fn ask(
        &self,
        verb: &str,
        object: &Value,
        request: impl AsyncFnOnce(Api<DynamicObject>) -> kube::Result<()> + Send,
    ) -> Result<()> {
        self.run(|client| async {
            tokio::time::timeout(PATIENCE, request(api(client, object)))
                .await
                .map_err(anyhow::Error::from)
                .and_then(|answer| Ok(answer?))
        })
        .with_context(|| format!("cannot {verb} {} {}", object["kind"], name(object)))
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn name_of(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// The endpoint for objects like this one.
pub fn api(client: kube::Client, object: &Value) -> Api<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    }
}
