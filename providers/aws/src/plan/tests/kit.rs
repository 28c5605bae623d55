//! The tests that every provider must pass, with the account as its backend.

use std::sync::{Arc, Mutex};

use fairlead_provider::Provider;
use fairlead_provider::kit::{Bench, pass};

use super::*;
use crate::desired::tests::endpoints;

struct Aws(Arc<Mutex<Contents>>);

impl Provider for Aws {
    type Key = String;
    type Desired = LoadBalancer;
    type Observed = Observed;
    type Step = Step;

    async fn observe(&self, _key: &String) -> Result<Observed, ProviderError> {
        Ok(self.0.lock().unwrap().observe())
    }

    fn plan(&self, desired: Option<&LoadBalancer>, observed: &Observed) -> Result<Plan<Step>, ProviderError> {
        let owner = owner();
        let mut account = self.0.lock().unwrap();
        let mut observed = observed.clone();
        loop {
            let outcome = plan(&owner, desired, &observed)?;
            let name = desired.and_then(|desired| hostname(&owner, desired, &observed));
            account.publish(name.as_deref());
            if outcome.waits.is_empty() || !outcome.steps.is_empty() {
                return Ok(outcome.steps);
            }
            // What it waits for comes by looking again.
            observed = account.observe();
        }
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        let done = self.0.lock().unwrap().perform(step);
        done.map_err(|refused| ProviderError::refused("Refused", refused.to_string()))
    }

    fn is_gone(observed: &Observed) -> bool {
        let owner = owner();
        let has = |tags: &Tags| owner.has(tags);
        let mut listeners = observed.load_balancers.iter().flat_map(|found| &found.listeners);
        !observed.load_balancers.iter().any(|found| has(&found.tags))
            && !observed
                .target_groups
                .iter()
                .any(|found| has(&found.tags) || !found.recorded.is_empty())
            && !observed.security_groups.iter().any(|found| has(&found.tags))
            && !listeners.any(|found| has(&found.tags))
    }
}

struct Changes(Vec<LoadBalancer>);

impl Bench for Changes {
    type Provider = Aws;
    type Backend = Arc<Mutex<Contents>>;
    type Contents = BTreeSet<String>;

    async fn backend(&self) -> Arc<Mutex<Contents>> {
        Arc::new(Mutex::new(account()))
    }

    fn provider(&self, backend: &Arc<Mutex<Contents>>) -> Aws {
        Aws(backend.clone())
    }

    async fn contents(&self, backend: &Arc<Mutex<Contents>>) -> BTreeSet<String> {
        backend.lock().unwrap().shown()
    }

    fn key(&self) -> String {
        "shop/web".to_owned()
    }

    fn desires(&self) -> Vec<LoadBalancer> {
        self.0.clone()
    }
}

const FACING: (&str, &str) = ("aws-load-balancer-scheme", "internet-facing");
const ONE: (&str, &str) = ("aws-load-balancer-subnets", "subnet-1");
const PODS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");

#[tokio::test]
async fn changes_in_place_pass_the_kit() {
    let mut more = world(3);
    more.cluster.nodes.remove(0);
    let attributes = wanted(
        &more,
        &[
            ("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true"),
            (
                "aws-load-balancer-target-group-attributes",
                "deregistration_delay.timeout_seconds=5",
            ),
            ("aws-load-balancer-ssl-cert", "arn:a,arn:b"),
            ("aws-load-balancer-healthcheck-protocol", "http"),
            ("aws-load-balancer-additional-resource-tags", "team=shop"),
            ("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "off"),
            ONE,
        ],
    );
    let ports = more.desired(&with_ports(service(&[]), &[80, 443]));
    let own = wanted(&more, &[("aws-load-balancer-security-groups", "own")]);
    pass(&Changes(vec![wanted(&world(2), &[]), attributes, ports, own])).await;
}

#[tokio::test]
async fn replacements_pass_the_kit() {
    let mut world = world(2);
    world.cluster.endpoints = endpoints(&["10.0.1.5", "10.0.1.6"]);
    let name = ("aws-load-balancer-name", "fixed");
    pass(&Changes(vec![
        wanted(&world, &[]),
        wanted(&world, &[FACING, ONE]),
        wanted(&world, &[FACING, ONE, PODS]),
        wanted(&world, &[PODS, name]),
        wanted(&world, &[PODS, FACING, ONE, name]),
    ]))
    .await;
}

#[tokio::test]
async fn adoption_passes_the_kit() {
    let mut world = world(2);
    world.cluster.endpoints = endpoints(&["10.0.1.5", "10.0.1.6"]);
    let lb = ("fairlead.io/aws-load-balancer-arn", FOREIGN_LB);
    let tg = ("fairlead.io/aws-target-group-arn.80", FOREIGN_TG);
    pass(&Changes(vec![
        wanted(&world, &[PODS]),
        wanted(&world, &[PODS, lb]),
        wanted(&world, &[PODS, lb, tg]),
        wanted(&world, &[PODS, tg]),
        wanted(&world, &[]),
    ]))
    .await;
}
