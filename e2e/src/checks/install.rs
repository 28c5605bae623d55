//! An installation where nothing serves Services yet.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::checks::seconds;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::proxy;

const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    ensure!(!proxy::has_kube_proxy(cluster)?, "kube-proxy serves this cluster");
    proxy::load_image(cluster)?;
    let load = Load::start(cluster, "install")?;
    proxy::uninstall(cluster)?;
    ensure!(
        !load.has_open_node_port(),
        "node ports answer although nothing serves them"
    );

    let began = Instant::now();
    proxy::begin_install(cluster, &[])?;
    load.wait_for_node_ports(LIMIT * 2)?;
    let answering = began.elapsed();
    proxy::wait_until_ready(cluster)?;
    let ready = began.elapsed();
    load.end()?;
    ensure!(ready < LIMIT, "it took {} until every pod was ready", seconds(ready));
    Ok(vec![format!(
        "helm install → node ports answer: {}; → every pod ready: {}",
        seconds(answering),
        seconds(ready)
    )])
}
