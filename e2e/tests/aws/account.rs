//! What is made in an account is described again, and each account is alone.

use fairlead_e2e::aws::{AwsBackend, Refused, with_aws};
use fairlead_lab::test_name;
use serde_json::json;

use crate::{listener, make_load_balancer, make_target_group};

#[test]
fn what_is_made_through_the_proxy_is_described_again_and_counted() {
    with_aws(test_name!(), |aws| {
        let network = aws.boto().make_network("cluster", 2).unwrap();
        assert!(
            aws.faults().calls().is_empty(),
            "the client beside the proxy is counted"
        );

        let boto = aws.boto_through_proxy();
        let balancer = make_load_balancer(&boto, &network, "web").unwrap();
        let group = make_target_group(&boto, &network, "web-80", "instance").unwrap();
        boto.call("elbv2", "create_listener", &listener(&balancer, &group, "TCP", 80))
            .unwrap();
        let targets: Vec<_> = network.instances.iter().map(|node| json!({ "Id": node.id })).collect();
        let registered = json!({ "TargetGroupArn": group, "Targets": targets });
        boto.call("elbv2", "register_targets", &registered).unwrap();
        boto.call("ec2", "describe_subnets", &json!({})).unwrap();

        let expected = [
            ("ec2:DescribeSubnets", 1),
            ("elasticloadbalancing:CreateListener", 1),
            ("elasticloadbalancing:CreateLoadBalancer", 1),
            ("elasticloadbalancing:CreateTargetGroup", 1),
            ("elasticloadbalancing:RegisterTargets", 1),
        ];
        assert_eq!(
            aws.faults().calls(),
            expected.map(|(action, count)| (action.to_owned(), count)).into()
        );
        let call = &aws.faults().history()[0];
        assert_eq!(call.parameters["Subnets.member.3"], network.zones[2].public);

        let seen = aws.boto().describe().unwrap();
        let described = &seen["LoadBalancers"][0];
        assert_eq!(described["LoadBalancerName"], "web");
        assert_eq!(described["VpcId"], json!(network.vpc));
        assert_eq!(described["Tags"], json!({ "owner": "test" }));
        assert_eq!(described["Attributes"]["deletion_protection.enabled"], "false");
        assert_eq!(described["AvailabilityZones"].as_array().unwrap().len(), 3);
        assert_eq!(described["Listeners"][0]["Port"], 80);
        let forwarded = &described["Listeners"][0]["DefaultActions"][0]["TargetGroupArn"];
        assert_eq!(*forwarded, seen["TargetGroups"][0]["TargetGroupArn"]);
        let mut ids: Vec<_> = network.instances.iter().map(|node| node.id.as_str()).collect();
        ids.sort_unstable();
        let targets = seen["TargetGroups"][0]["Targets"].as_array().unwrap();
        assert!(
            targets.iter().map(|target| &target["Target"]["Id"]).eq(&ids),
            "{targets:?}"
        );
        assert_eq!(seen["SecurityGroups"][0]["GroupId"], json!(network.node_security_group));

        aws.faults().reset();
        assert!(aws.faults().calls().is_empty());
    });
}

#[test]
fn a_network_has_subnets_of_both_families_in_three_zones_and_goes_again() {
    with_aws(test_name!(), |aws| {
        let boto = aws.boto();
        let network = boto.make_network("cluster", 3).unwrap();
        assert_eq!(network.zones.len(), 3);
        for zone in &network.zones {
            for (subnet, role) in [(&zone.public, "elb"), (&zone.private, "internal-elb")] {
                let filters = json!([
                    { "Name": "tag:kubernetes.io/cluster/cluster", "Values": ["shared"] },
                    { "Name": format!("tag:kubernetes.io/role/{role}"), "Values": ["1"] },
                    { "Name": "availability-zone", "Values": [zone.name] },
                ]);
                let found = boto
                    .call("ec2", "describe_subnets", &json!({ "Filters": filters }))
                    .unwrap();
                assert_eq!(found["Subnets"][0]["SubnetId"], json!(subnet));
                assert!(found["Subnets"][0]["CidrBlock"].as_str().unwrap().ends_with("/20"));
                let ipv6 = &found["Subnets"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"];
                assert!(ipv6.as_str().unwrap().ends_with("/64"), "{found}");
            }
        }
        let in_vpc = json!({ "Filters": [{ "Name": "vpc-id", "Values": [network.vpc] }] });
        let subnets = || boto.call("ec2", "describe_subnets", &in_vpc).unwrap()["Subnets"].clone();
        assert_eq!(subnets().as_array().unwrap().len(), 6);
        boto.remove_network(&network.vpc).unwrap();
        assert_eq!(subnets(), json!([]));
        assert_eq!(boto.describe().unwrap()["SecurityGroups"], json!([]));
    });
}

#[test]
fn accounts_do_not_see_each_other() {
    with_aws(test_name!(), |aws| {
        let network = aws.boto().make_network("cluster", 0).unwrap();
        make_target_group(&aws.boto(), &network, "mine", "ip").unwrap();
        with_aws(test_name!(), |other| {
            assert_ne!(aws.account(), other.account());
            assert_eq!(other.boto().describe().unwrap()["TargetGroups"], json!([]));
        });
        assert_eq!(
            aws.boto().describe().unwrap()["TargetGroups"][0]["TargetGroupName"],
            "mine"
        );
    });
}

#[test]
fn a_backend_that_is_dropped_leaves_no_process_and_no_folder() {
    with_aws(test_name!(), |_| {
        let folders = || {
            let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let ours = names.filter(|name| name.starts_with("fairlead-localstack."));
            ours.collect::<std::collections::BTreeSet<_>>()
        };
        let backend = AwsBackend::start().unwrap();
        let address = backend.localstack().address();
        let process = std::path::PathBuf::from(format!("/proc/{}", backend.localstack().id()));
        let folder = backend.localstack().folder().unwrap();
        assert!(process.exists() && folders().contains(&folder));
        drop(backend);
        assert!(!process.exists() && !folders().contains(&folder));
        assert!(std::net::TcpStream::connect(address).is_err());
    });
}

#[test]
fn what_is_made_once_more_in_the_same_words_is_the_same_and_else_is_refused() {
    with_aws(test_name!(), |aws| {
        let boto = aws.boto();
        let network = boto.make_network("cluster", 0).unwrap();
        let balancer = make_load_balancer(&boto, &network, "web").unwrap();
        assert!(balancer.contains(":loadbalancer/net/web/"), "{balancer}");
        assert_eq!(make_load_balancer(&boto, &network, "web").unwrap(), balancer);
        let group = make_target_group(&boto, &network, "web-80", "ip").unwrap();
        assert_eq!(make_target_group(&boto, &network, "web-80", "ip").unwrap(), group);
        let listen = |protocol| boto.call("elbv2", "create_listener", &listener(&balancer, &group, protocol, 80));
        let first = listen("TCP").unwrap();
        assert_eq!(listen("TCP").unwrap(), first);

        let code = |error: anyhow::Error| error.downcast_ref::<Refused>().unwrap().code.clone();
        let other = make_target_group(&boto, &network, "web-80", "instance");
        assert_eq!(code(other.unwrap_err()), "DuplicateTargetGroupName");
        assert_eq!(code(listen("UDP").unwrap_err()), "DuplicateListener");
        let seen = boto.describe().unwrap();
        assert_eq!(seen["LoadBalancers"].as_array().unwrap().len(), 1);
        assert_eq!(seen["LoadBalancers"][0]["Listeners"].as_array().unwrap().len(), 1);
    });
}
