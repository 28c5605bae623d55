//! Where credentials, region and endpoint come from.

use std::process::Command;
use std::sync::Arc;

use fairlead_aws::account::{Account as _, Named};
use fairlead_aws_account::{AwsAccount, NO_REGION, Settings};
use fairlead_lab::test_name;

use crate::cluster::CLUSTER;
use crate::{runtime, with_network};

/// Says to the test below that it runs in a process of its own.
const VPC: &str = "FAIRLEAD_TEST_VPC";

fn settings(vpc: String) -> Settings {
    Settings {
        vpc: Some(vpc),
        ..Settings::of_cluster(CLUSTER)
    }
}

/// The environment of a process cannot be changed safely while others read it, so that this one is started with another.
#[test]
fn in_an_environment() {
    let Ok(vpc) = std::env::var(VPC) else {
        return;
    };
    runtime().block_on(async {
        let account = match AwsAccount::connect(settings(vpc), Arc::new(())).await {
            Ok(account) => account,
            Err(error) => {
                assert_eq!(error.reason, NO_REGION);
                assert!(std::env::var("AWS_REGION").is_err());
                return;
            }
        };
        assert!(std::env::var("AWS_REGION").is_ok());
        account.look(&Named::default()).await.unwrap();
        let vpc = account.vpc().await.unwrap();
        assert_eq!(vpc.subnets.len(), 6);
        assert_eq!(vpc.subnets.iter().filter(|subnet| subnet.is_public).count(), 3);
        assert_eq!(vpc.ranges.len(), 2);
        assert!(vpc.security_groups.len() >= 2);
    });
}

fn run(vpc: &str, environment: &[(&str, String)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "environment::in_an_environment", "--nocapture"])
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(VPC, vpc)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn they_come_from_the_environment() {
    with_network(test_name!(), 0, async |aws, network| {
        run(&network.vpc, &aws.environment());
        assert_eq!(aws.faults().calls()["ec2:DescribeVpcs"], 1, "it was this endpoint");
        aws.faults().forget_calls();
        let mut variables = aws.environment();
        variables.retain(|(name, _)| !name.contains("REGION"));
        run(&network.vpc, &variables);
        assert_eq!(aws.faults().calls().len(), 0, "without a region nothing is called");
    });
}
