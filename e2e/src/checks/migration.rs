//! From kube-proxy to Fairlead on a live cluster.

use std::time::{Duration, Instant};

use crate::checks::{expect_no_failure, seconds};
use crate::cluster::Cluster;
use crate::load::Load;
use crate::proxy;

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    if !proxy::has_kube_proxy(cluster)? {
        return Ok(vec![
            "skipped: this cluster has no kube-proxy; `cargo e2e up --kube-proxy nftables`".to_owned(),
        ]);
    }
    proxy::load_image(cluster)?;
    let load = Load::start(cluster, "migration")?;
    let mut took = [Duration::ZERO; 2];
    let beside = load.during(|| {
        let began = Instant::now();
        proxy::install(cluster, &[])?;
        took[0] = began.elapsed();
        Ok(())
    })?;
    let after = load.during(|| {
        let began = Instant::now();
        proxy::remove_kube_proxy(cluster)?;
        proxy::wait_until_kube_proxy_is_gone(cluster, Duration::from_mins(3))?;
        took[1] = began.elapsed();
        Ok(())
    })?;
    load.end()?;
    let lines = vec![
        format!("Fairlead installed beside kube-proxy in {}: {beside}", seconds(took[0])),
        format!("kube-proxy and its rules gone in {}: {after}", seconds(took[1])),
    ];
    expect_no_failure(&beside)?;
    expect_no_failure(&after)?;
    Ok(lines)
}
