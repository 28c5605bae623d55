//! `fairlead status`: what there is, in one screen.

mod report;
mod text;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::listing;
use crate::operator::lease;
use crate::output::Output;
use crate::source::{ApiServerFlags, api_server};
use report::{Objects, Report};

/// What marks the pods of agents and operators.
const PODS: &str = "app.kubernetes.io/name=fairlead";
/// How long one answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Flags of `fairlead status`.
#[derive(Debug, Clone, Args)]
pub struct StatusFlags {
    /// How to show it.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Where Fairlead is installed.
    #[arg(short, long, default_value = "fairlead-system", value_name = "NAMESPACE")]
    namespace: String,
    /// Where the API server is.
    #[command(flatten)]
    api_server: ApiServerFlags,
}

/// Asks the API server and shows the answer. It fails where something is not as it shall be, after it has shown it.
pub async fn run(flags: StatusFlags) -> anyhow::Result<()> {
    let client = api_server::client(&flags.api_server).await?;
    let report = Report::of(&gather(&client, &flags.namespace).await?);
    flags.output.show(&report, |screen| text::text(&report, screen))?;
    match report.complaints() {
        0 => Ok(()),
        1 => bail!("1 thing is not as it shall be"),
        count => bail!("{count} things are not as they shall be"),
    }
}

async fn gather(client: &Client, namespace: &str) -> anyhow::Result<Objects> {
    let all = ListParams::default();
    let ours = ListParams::default().labels(PODS);
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = timeout(ANSWERS_WITHIN, leases.get_opt(lease::NAME));
    Ok(Objects {
        providers: list::<LoadBalancerProvider>(Api::all(client.clone()), &all).await?,
        pools: list::<AddressPool>(Api::all(client.clone()), &all).await?,
        load_balancers: list::<LoadBalancer>(Api::all(client.clone()), &all).await?,
        pods: list::<Pod>(Api::namespaced(client.clone(), namespace), &ours).await?,
        lease: lease
            .await
            .context("the API server does not answer")?
            .context("cannot read the lease")?,
    })
}

async fn list<K>(api: Api<K>, parameters: &ListParams) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let list = listing::list_all(&api, parameters).await?;
    list.with_context(|| listing::unknown_kind(&K::plural(&())))
}
