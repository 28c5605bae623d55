//! The tests that every provider must pass: among them a crash after every single step, and every step done twice.

use std::sync::Arc;

use aws_sdk_ec2::types as ec2;
use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_e2e::aws::{AwsBackend, LocalStack, Network, with_aws};
use fairlead_lab::test_name;
use fairlead_provider::kit::{Bench, pass};
use serde_json::Value;

use crate::cluster::{CLUSTER, OneService, Operator, Wish, config, port, wish};
use crate::contents::contents;
use crate::runtime;

/// Addresses of the private subnet of the first zone, each with an interface.
const PODS: [&str; 3] = ["10.0.16.10", "10.0.16.11", "10.0.16.12"];
const IP: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");
const FACING: (&str, &str) = ("aws-load-balancer-scheme", "internet-facing");

/// A Service that changes, in an account where others have things that look like ours.
struct Changes {
    localstack: Arc<LocalStack>,
    desires: Vec<Wish>,
}

struct Backend {
    aws: AwsBackend,
    network: Network,
}

impl Bench for Changes {
    type Provider = OneService;
    type Backend = Backend;
    type Contents = Value;

    async fn backend(&self) -> Backend {
        let aws = AwsBackend::on(self.localstack.clone()).unwrap();
        let network = aws.boto().make_network(CLUSTER, 0).unwrap();
        furnish(&aws, &network).await;
        Backend { aws, network }
    }

    fn provider(&self, backend: &Backend) -> OneService {
        let start = Operator::start(&backend.aws, &backend.network);
        let runtime = tokio::runtime::Handle::current();
        let operator = tokio::task::block_in_place(|| runtime.block_on(start));
        let pods = PODS.map(str::to_owned).into();
        OneService { operator, pods }
    }

    async fn contents(&self, backend: &Backend) -> Value {
        contents(&backend.aws, &backend.network)
    }

    fn key(&self) -> String {
        "web".to_owned()
    }

    fn desires(&self) -> Vec<Wish> {
        self.desires.clone()
    }
}

/// The same Service of another cluster, with everything that it needs, a rule of somebody in the security group of the nodes, and
/// interfaces of the pods. It is made in this process: each case of the kit has its own.
async fn furnish(aws: &AwsBackend, network: &Network) {
    let config = config(aws).await;
    let client = aws_sdk_ec2::Client::new(&config);
    for address in PODS {
        let interface = client
            .create_network_interface()
            .subnet_id(&network.zones[0].private)
            .private_ip_address(address)
            .groups(&network.node_security_group);
        interface.send().await.unwrap();
    }
    let tags = [
        ("fairlead.io/cluster", "staging"),
        ("fairlead.io/service", "shop/web"),
        ("fairlead.io/resource", "LoadBalancer"),
        ("elbv2.k8s.aws/cluster", CLUSTER),
        ("service.k8s.aws/stack", "shop/web"),
    ];
    let of_ec2 = tags.map(|(key, value)| ec2::Tag::builder().key(key).value(value).build());
    let tags = tags.map(|(key, value)| elb::Tag::builder().key(key).value(value).build());
    let specification = ec2::TagSpecification::builder()
        .resource_type(ec2::ResourceType::SecurityGroup)
        .set_tags(Some(of_ec2.into()));
    let group = client
        .create_security_group()
        .group_name("k8s-shop-web-of-others")
        .description("somebody's")
        .vpc_id(&network.vpc)
        .tag_specifications(specification.build());
    let group = group.send().await.unwrap().group_id.unwrap();
    let source = ec2::UserIdGroupPair::builder()
        .group_id(&group)
        .description("fairlead.io/cluster=staging");
    let rule = ec2::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(8080)
        .to_port(8080)
        .user_id_group_pairs(source.build());
    let rule = client
        .authorize_security_group_ingress()
        .group_id(&network.node_security_group)
        .ip_permissions(rule.build());
    rule.send().await.unwrap();

    let client = aws_sdk_elasticloadbalancingv2::Client::new(&config);
    let subnets = network.zones.iter().map(|zone| zone.private.clone());
    let balancer = client
        .create_load_balancer()
        .name("k8s-shop-web-others")
        .r#type(elb::LoadBalancerTypeEnum::Network)
        .scheme(elb::LoadBalancerSchemeEnum::Internal)
        .set_subnets(Some(subnets.collect()))
        .security_groups(group)
        .set_tags(Some(tags.clone().into()));
    let balancer = balancer.send().await.unwrap().load_balancers.unwrap().remove(0);
    let targets = client
        .create_target_group()
        .name("k8s-shop-web-others")
        .protocol(elb::ProtocolEnum::Tcp)
        .port(80)
        .vpc_id(&network.vpc)
        .target_type(elb::TargetTypeEnum::Ip)
        .set_tags(Some(tags.clone().into()));
    let targets = targets.send().await.unwrap().target_groups.unwrap().remove(0);
    let action = elb::Action::builder()
        .r#type(elb::ActionTypeEnum::Forward)
        .set_target_group_arn(targets.target_group_arn);
    let listener = client
        .create_listener()
        .set_load_balancer_arn(balancer.load_balancer_arn)
        .protocol(elb::ProtocolEnum::Tcp)
        .port(80)
        .default_actions(action.build())
        .set_tags(Some(tags.into()));
    listener.send().await.unwrap();
}

fn passes(test: &str, desires: Vec<Wish>) {
    with_aws(test, |aws| {
        let localstack = aws.shared();
        runtime().block_on(pass(&Changes { localstack, desires }));
    });
}

fn ports(mut wish: Wish, numbers: &[u16]) -> Wish {
    wish.service.ports = numbers.iter().map(|number| port(*number)).collect();
    wish
}

#[test]
fn changes_of_targets_and_ports_pass_the_kit() {
    passes(
        test_name!(),
        vec![
            wish("web", &[IP], &PODS[..2]),
            ports(wish("web", &[IP], &PODS[1..]), &[80, 443]),
        ],
    );
}

#[test]
fn another_scheme_passes_the_kit() {
    passes(
        test_name!(),
        vec![wish("web", &[IP], &PODS[..1]), wish("web", &[IP, FACING], &PODS[..1])],
    );
}

#[test]
fn attributes_and_tags_pass_the_kit() {
    let more = [
        IP,
        ("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true"),
        (
            "aws-load-balancer-target-group-attributes",
            "deregistration_delay.timeout_seconds=30",
        ),
        ("aws-load-balancer-additional-resource-tags", "team=shop"),
        ("aws-load-balancer-healthcheck-interval", "20"),
    ];
    passes(
        test_name!(),
        vec![wish("web", &more, &PODS[..1]), wish("web", &[IP], &PODS[..1])],
    );
}
