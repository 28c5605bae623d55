//! The operator as it is built for the image makes load balancers at an API that speaks as AWS does.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairlead_e2e::aws::{AwsBackend, with_aws};
use fairlead_e2e::control_plane::{Etcd, User, with_api_server};
use fairlead_lab::{Family, test_name};
use serde_json::json;

use crate::aws::{Cluster, service};
use crate::world::{API_PORT, World, wait_until};

/// A load balancer that is being made is looked at every 15 seconds.
const PATIENT: Duration = Duration::from_mins(1);

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
                .env(
                    "RUST_LOG",
                    "info,fairlead=debug,fairlead_aws_account=debug,aws_config=warn",
                )
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log).unwrap());
            let _operator = node.spawn(command).unwrap();
            let before = node.run(|| aws.boto().describe().unwrap());
            cluster.apply(&service("web", &json!({}), &json!({})));
            let is_named = fairlead_lab::wait_until(PATIENT, "a host name", || cluster.hostname("web").is_some());
            assert!(is_named.is_ok(), "{}", fs::read_to_string(&log).unwrap());
            let calls = aws.faults().calls();
            let is_change = |call: &str| !call.contains(":Describe");
            let changes: u64 = calls
                .iter()
                .filter(|(call, _)| is_change(call))
                .map(|(_, count)| count)
                .sum();
            assert!(changes <= 8, "{calls:#?}");
            let made = node.run(|| aws.boto().describe().unwrap());
            let load_balancer = &made["LoadBalancers"][0];
            assert_eq!(
                load_balancer["DNSName"].as_str().map(str::to_lowercase),
                cluster.hostname("web"),
                "{made:#}"
            );
            let ports: Vec<_> = made["LoadBalancers"][0]["Listeners"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|listener| &listener["Port"])
                .collect();
            assert_eq!(ports, [80], "{made:#}");
            cluster.delete("web");
            wait_until("nothing to be left", || {
                node.run(|| aws.boto().describe().unwrap()) == before
            });
        });
    });
}
