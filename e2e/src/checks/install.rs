//! An installation where nothing serves Services yet.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::checks::seconds;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::program::wait_for;
use crate::proxy;

const LIMIT: Duration = Duration::from_mins(1);

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    ensure!(!proxy::has_kube_proxy(cluster)?, "kube-proxy serves this cluster");
    proxy::load_image(cluster)?;
    let load = Load::start(cluster, "install")?;
    proxy::uninstall(cluster)?;
    let ports = load.node_ports();
    let answers = |address| TcpStream::connect_timeout(address, Duration::from_millis(500)).is_ok();
    ensure!(
        !ports.iter().any(answers),
        "node ports answer although nothing serves them"
    );

    let began = Instant::now();
    proxy::begin_install(cluster, &[])?;
    wait_for("every node port to answer", LIMIT * 2, || {
        Ok(ports.iter().all(answers).then_some(()))
    })?;
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
