//! The account, against a test account of AWS behind a proxy that counts every call.

mod calls;
mod cluster;
mod contents;
mod environment;
mod faults;
mod kit;

use fairlead_e2e::aws::{AwsBackend, Network, with_aws};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a test in an account with a network and so many nodes.
fn with_network(test: &str, nodes: u16, body: impl AsyncFnOnce(&AwsBackend, Network)) {
    with_aws(test, |aws| {
        let network = aws.boto().make_network(cluster::CLUSTER, nodes).unwrap();
        runtime().block_on(body(aws, network));
    });
}
