//! A cluster with one Service after another, and what an operator does for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::Credentials;
use fairlead_aws::account::{Account as _, Known, Named};
use fairlead_aws::contract::{Defaults, Exposure, PREFIX, Port, Service, Settings as ServiceSettings, TargetPort};
use fairlead_aws::desired::{
    BackendNeed, Cluster as Seen, Endpoint, LoadBalancer, Node, PortKey, Surroundings, Vpc, backend_group_name,
    backend_group_tags, backend_needs, backend_rules, desired,
};
use fairlead_aws::plan::{
    DNS_MEMORY, Observed, ObservedShared, Outcome, Owner, Published, Shared, Step, Wait, existing, hostname, plan,
    plan_shared,
};
use fairlead_aws_account::{AwsAccount, Lane, Limit, Settings, Watch};
use fairlead_e2e::aws::{AwsBackend, Network};
use fairlead_model::{Family, Protocol, ServiceName, TrafficPolicy};
use fairlead_provider::{Plan, Provider, ProviderError};

pub(crate) const CLUSTER: &str = "production";

/// So fast that no test waits.
pub(crate) fn no_limits() -> BTreeMap<Lane, Limit> {
    let limit = Limit { rate: 1e6, burst: 1e6 };
    Lane::ALL.map(|lane| (lane, limit)).into()
}

/// What leads any client of the SDK to the account, through the proxy.
pub(crate) async fn config(aws: &AwsBackend) -> SdkConfig {
    let credentials = Credentials::new(aws.account(), "test", None, None, "test");
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(format!("http://{}", aws.proxy().address()))
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials);
    config.load().await
}

/// An account as a program finds it that was just started.
pub(crate) async fn connect(
    aws: &AwsBackend,
    network: &Network,
    limits: BTreeMap<Lane, Limit>,
    watch: Arc<dyn Watch>,
) -> AwsAccount {
    let settings = Settings {
        vpc: Some(network.vpc.clone()),
        limits,
        ..Settings::of_cluster(CLUSTER)
    };
    AwsAccount::with_config(settings, config(aws).await, watch)
        .await
        .unwrap()
}

/// A Service that is to have a load balancer, with its pods.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) service: Service,
    pub(crate) pods: Vec<String>,
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner {
        cluster: CLUSTER.to_owned(),
        service: ServiceName::new("shop", name),
    }
}

/// A Service with one TCP port.
pub(crate) fn wish(name: &str, annotations: &[(&str, &str)], pods: &[&str]) -> Wish {
    let annotations = annotations
        .iter()
        .map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()));
    Wish {
        service: Service {
            name: ServiceName::new("shop", name),
            uid: format!("uid-of-{name}"),
            annotations: annotations.collect(),
            exposure: Exposure::LoadBalancer,
            ports: vec![port(80)],
            families: vec![Family::V4],
            source_ranges: Vec::new(),
            external_policy: TrafficPolicy::Cluster,
            health_check_node_port: None,
            allocates_node_ports: true,
        },
        pods: pods.iter().map(|pod| (*pod).to_owned()).collect(),
    }
}

pub(crate) fn port(number: u16) -> Port {
    Port {
        name: format!("p{number}"),
        protocol: Protocol::Tcp,
        port: number,
        target: TargetPort::Number(8000 + number),
        node_port: Some(30000 + number),
    }
}

/// An operator, as far as one account is concerned.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) account: AwsAccount,
    network: Network,
    defaults: Defaults,
    vpc: tokio::sync::OnceCell<Vpc>,
    waits: Mutex<BTreeMap<Owner, Vec<Wait>>>,
    /// What each Service needs of its targets.
    needs: Mutex<BTreeMap<Owner, BTreeSet<BackendNeed>>>,
}

/// What an operator knows when it plans.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) observed: Observed,
    shared: ObservedShared,
    vpc: Vpc,
    interface_groups: BTreeMap<String, Vec<String>>,
}

impl Operator {
    pub(crate) fn new(account: AwsAccount, network: Network) -> Self {
        Self {
            account,
            network,
            defaults: Defaults::of_cluster(CLUSTER),
            vpc: tokio::sync::OnceCell::new(),
            waits: Mutex::default(),
            needs: Mutex::default(),
        }
    }

    /// One that was just started and knows nothing.
    pub(crate) async fn start(aws: &AwsBackend, network: &Network) -> Self {
        let account = connect(aws, network, no_limits(), Arc::new(())).await;
        Self::new(account, network.clone())
    }

    /// The first time it looks; later it remembers, and looks only for what it waits for.
    async fn prepare(&self, owner: &Owner) -> Result<&Vpc, ProviderError> {
        let learn = async || {
            self.account.look(&Named::default()).await?;
            self.account.vpc().await
        };
        let vpc = self.vpc.get_or_try_init(learn).await?;
        let waits = self.waits.lock().unwrap().remove(owner).unwrap_or_default();
        if !waits.is_empty() {
            self.account.look_for(&waits).await?;
        }
        Ok(vpc)
    }

    /// What there is for a Service, and the groups of targets that it has or may get.
    pub(crate) async fn view(&self, owner: &Owner, targets: &BTreeSet<String>) -> Result<View, ProviderError> {
        let vpc = self.prepare(owner).await?.clone();
        let interface_groups = self.account.interface_groups(targets).await?;
        let (observed, shared) = self
            .account
            .read(|seen| (seen.observed(owner, Known::default()), seen.shared(&owner.cluster)));
        Ok(View {
            observed,
            shared,
            vpc,
            interface_groups,
        })
    }

    pub(crate) fn targets(&self, wish: &Wish) -> BTreeSet<String> {
        let nodes = self.network.instances.iter().map(|node| node.id.clone());
        nodes.chain(wish.pods.iter().cloned()).collect()
    }

    /// The load balancer that a Service shall have, and what it needs of its targets.
    fn desired(&self, wish: &Wish, view: &View) -> (LoadBalancer, BTreeSet<BackendNeed>) {
        let nodes = self.network.instances.iter().map(|node| Node {
            name: node.id.clone(),
            provider_id: format!("aws:///{}/{}", node.zone, node.id),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            is_deleting: false,
        });
        let endpoints = wish.service.ports.iter().map(|port| {
            let key = PortKey {
                service: wish.service.name.name.to_string(),
                port: port.name.clone(),
                protocol: port.protocol,
            };
            let endpoints = wish.pods.iter().map(|pod| Endpoint {
                address: pod.parse().unwrap(),
                port: 8000 + port.port,
                is_ready: true,
                is_terminating: false,
                quic_server_id: None,
            });
            (key, endpoints.collect())
        });
        let cluster = Seen {
            nodes: nodes.collect(),
            endpoints: endpoints.collect(),
            services: BTreeMap::new(),
            interface_groups: view.interface_groups.clone(),
            backend_group: view.shared.group.as_ref().map(|group| group.id.clone()),
        };
        let owner = owner(&wish.service.name.name);
        let existing = existing(&owner, None, &view.observed);
        let around = Surroundings {
            defaults: &self.defaults,
            vpc: &view.vpc,
            cluster: &cluster,
            existing: existing.as_ref(),
        };
        let settings = ServiceSettings::read(&wish.service, &self.defaults).unwrap();
        let load_balancer = desired(&wish.service, &settings, around).unwrap();
        let needs = backend_needs(&load_balancer, &settings, around);
        (load_balancer, needs)
    }

    /// The steps for what is shared.
    fn plan_shared(&self, view: &View) -> Outcome {
        let needs = self.needs.lock().unwrap();
        let shared = Shared {
            name: backend_group_name(CLUSTER),
            tags: backend_group_tags(&self.defaults),
            is_wanted: !needs.is_empty(),
            rules: backend_rules(needs.values().flatten()),
            is_complete: true,
        };
        plan_shared(&shared, &view.shared)
    }

    /// The steps for one Service: first what is shared, at the end the other way round.
    pub(crate) fn plan_for(&self, owner: &Owner, wish: Option<&Wish>, view: &View) -> Result<Vec<Step>, ProviderError> {
        let mut observed = view.observed.clone();
        let mut steps = Vec::new();
        if let Some(wish) = wish {
            let (load_balancer, needs) = self.desired(wish, view);
            self.needs.lock().unwrap().insert(owner.clone(), needs);
            steps.extend(self.done_with(owner, self.plan_shared(view)));
            // The Service shows at once what it shall.
            observed.published = hostname(owner, &load_balancer, &observed).map(|hostname| Published {
                hostname,
                age: DNS_MEMORY,
            });
            steps.extend(self.done_with(owner, plan(owner, Some(&load_balancer), &observed)?));
            return Ok(steps);
        }
        let own = plan(owner, None, &observed)?;
        let is_gone = own.is_settled();
        steps.extend(self.done_with(owner, own));
        if is_gone {
            self.needs.lock().unwrap().remove(owner);
            steps.extend(self.done_with(owner, self.plan_shared(view)));
        }
        Ok(steps)
    }

    fn done_with(&self, owner: &Owner, outcome: Outcome) -> Vec<Step> {
        if !outcome.waits.is_empty() {
            let mut waits = self.waits.lock().unwrap();
            waits.entry(owner.clone()).or_default().extend(outcome.waits);
        }
        outcome.steps.steps().to_vec()
    }

    /// Goes on until a Service has what it shall have.
    pub(crate) async fn settle(&self, owner: &Owner, wish: Option<&Wish>) -> Result<usize, ProviderError> {
        let targets = wish.map(|wish| self.targets(wish)).unwrap_or_default();
        let mut done = 0;
        for _ in 0..20 {
            let view = self.view(owner, &targets).await?;
            let steps = self.plan_for(owner, wish, &view)?;
            if steps.is_empty() && !self.waits.lock().unwrap().contains_key(owner) {
                return Ok(done);
            }
            for step in &steps {
                self.account.perform(step).await?;
                done += 1;
            }
        }
        panic!("it does not settle");
    }
}

/// The kit's provider: an operator with one Service.
pub(crate) struct OneService {
    pub(crate) operator: Operator,
    /// All addresses that pods may have.
    pub(crate) pods: BTreeSet<String>,
}

impl Provider for OneService {
    type Key = String;
    type Desired = Wish;
    type Observed = View;
    type Step = Step;

    async fn observe(&self, key: &String) -> Result<View, ProviderError> {
        let nodes = self.operator.network.instances.iter().map(|node| node.id.clone());
        let targets = nodes.chain(self.pods.iter().cloned()).collect();
        self.operator.view(&owner(key), &targets).await
    }

    fn plan(&self, desired: Option<&Wish>, view: &View) -> Result<Plan<Step>, ProviderError> {
        let steps = self.operator.plan_for(&owner("web"), desired, view)?;
        Ok(steps.into_iter().collect())
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        self.operator.account.perform(step).await
    }

    fn is_gone(view: &View) -> bool {
        let observed = &view.observed;
        observed.load_balancers.is_empty()
            && observed.target_groups.is_empty()
            && observed.security_groups.is_empty()
            && view.shared.group.is_none()
            && view.shared.rules.is_empty()
    }
}
