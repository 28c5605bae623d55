//! The operator as it is built for the image makes load balancers at an API that speaks as AWS does.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use fairlead_e2e::aws::{AwsBackend, with_aws};
use fairlead_e2e::control_plane::{Etcd, User, with_api_server};
use fairlead_lab::{Family, test_name};
use serde_json::json;

use crate::aws::{Cluster, service};
use crate::world::{API_PORT, World, wait_until};

#[test]
fn a_service_gets_a_load_balancer_of_localstack_and_leaves_nothing_behind() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        // It says SKIP where there is none.
        with_aws(test_name!(), |_| {
            let world = World::new(tools);
            let node = world.lab.node(1);
            let (aws, network) = node.run(|| {
                let aws = AwsBackend::start().unwrap();
                let network = aws.boto().make_network(crate::aws::CLUSTER, 1).unwrap();
                (aws, network)
            });
            let cluster = Cluster::with_provider(
                &world,
                &json!({
                    "clusterName": crate::aws::CLUSTER, "region": "us-east-1", "vpcId": network.vpc,
                }),
                &format!("aws:///{}/{}", network.instances[0].zone, network.instances[0].id),
            );
            let log = world.store.folder().join("operator.log");
            let kubeconfig = world.store.kubeconfig(User::Operator, Family::V4, API_PORT).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
            command
                .arg("operator")
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg("--leader-elect-resource-namespace=default")
                .envs(aws.environment())
                .env_remove("RUST_LOG")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log).unwrap());
            let _operator = node.spawn(command).unwrap();
            let before = node.run(|| aws.boto().describe().unwrap());
            cluster.apply(&service("web", &json!({}), &json!({})));
            let is_named = fairlead_lab::wait_until(std::time::Duration::from_secs(60), "a host name", || cluster.hostname("web").is_some());
            assert!(is_named.is_ok(), "{}", fs::read_to_string(&log).unwrap());
            let made = node.run(|| aws.boto().describe().unwrap());
            let load_balancer = &made["LoadBalancers"][0];
            assert_eq!(
                load_balancer["DNSName"].as_str().map(str::to_lowercase),
                cluster.hostname("web"),
                "{made:#}"
            );
            println!("{:#?}", aws.faults().calls());
            cluster.delete("web");
            wait_until("nothing to be left", || {
                node.run(|| aws.boto().describe().unwrap()) == before
            });
            println!("{}", fs::read_to_string(&log).unwrap());
        });
    });
}
