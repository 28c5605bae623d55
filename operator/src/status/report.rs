//! What the objects say, as a value.

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider, PoolUsage, condition};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) providers: Vec<LoadBalancerProvider>,
    pub(super) pools: Vec<AddressPool>,
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) pods: Vec<Pod>,
    pub(super) lease: Option<Lease>,
}

/// What there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) leader: Option<String>,
    pub(super) pods: Vec<PodReport>,
    pub(super) providers: Vec<ProviderReport>,
    pub(super) pools: Vec<PoolReport>,
    pub(super) load_balancers: Vec<LoadBalancerReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodReport {
    pub(super) name: String,
    /// `agent` or `operator`.
    pub(super) component: String,
    pub(super) node: String,
    pub(super) is_ready: bool,
    pub(super) restarts: i32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProviderReport {
    pub(super) name: String,
    /// `local` or `aws`.
    pub(super) kind: &'static str,
    pub(super) class: Option<String>,
    pub(super) is_default: bool,
    pub(super) load_balancers: i64,
    #[serde(flatten)]
    pub(super) state: State,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolReport {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) ipv4: Option<PoolUsage>,
    pub(super) ipv6: Option<PoolUsage>,
    #[serde(flatten)]
    pub(super) state: State,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancerReport {
    pub(super) name: String,
    pub(super) provider: String,
    pub(super) addresses: Vec<String>,
    pub(super) hostname: Option<String>,
    pub(super) node: Option<String>,
    #[serde(flatten)]
    pub(super) state: State,
}

/// What the conditions of an object say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) is_ready: bool,
    /// Whether all that the object asks for is so.
    pub(super) is_accepted: bool,
    /// What is wrong; empty if nothing is.
    pub(super) message: String,
}

impl State {
    fn of(conditions: Option<&Vec<Condition>>) -> Self {
        let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) else {
            return Self {
                is_ready: false,
                is_accepted: false,
                message: "nobody has looked at it yet".to_owned(),
            };
        };
        let find = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let is_true = |type_| find(type_).is_some_and(|condition| condition.status == "True");
        let wrong = [condition::ACCEPTED, condition::READY]
            .into_iter()
            .filter_map(find)
            .find(|condition| condition.status != "True");
        Self {
            is_ready: is_true(condition::READY),
            is_accepted: is_true(condition::ACCEPTED),
            message: wrong.map_or_else(String::new, |condition| {
                format!("{}: {}", condition.reason, condition.message)
            }),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.is_ready && self.is_accepted
    }
}

impl Report {
    pub(super) fn of(objects: &Objects) -> Self {
        let holder = objects
            .lease
            .as_ref()
            .and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
        let mut pods: Vec<_> = objects.pods.iter().map(pod).collect();
        pods.sort_by(|one, other| {
            (&one.component, &one.node, &one.name).cmp(&(&other.component, &other.node, &other.name))
        });
        Self {
            // What follows the pod's name is random.
            leader: holder.and_then(|holder| Some(holder.rsplit_once('_')?.0.to_owned())),
            pods,
            providers: objects.providers.iter().map(provider).collect(),
            pools: objects.pools.iter().map(pool).collect(),
            load_balancers: objects.load_balancers.iter().map(load_balancer).collect(),
        }
    }

    /// How many things are not as they shall be.
    pub(super) fn complaints(&self) -> usize {
        let providers = self.providers.iter().map(|provider| &provider.state);
        let pools = self.pools.iter().map(|pool| &pool.state);
        let load_balancers = self.load_balancers.iter().map(|load_balancer| &load_balancer.state);
        let states = providers.chain(pools).chain(load_balancers);
        let has_operator = self.pods.iter().any(|pod| pod.component == "operator");
        states.filter(|state| !state.is_good()).count()
            + self.pods.iter().filter(|pod| !pod.is_ready).count()
            + usize::from(has_operator && self.leader.is_none())
    }
}

fn pod(pod: &Pod) -> PodReport {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let is_ready =
        |condition: &k8s_openapi::api::core::v1::PodCondition| condition.type_ == "Ready" && condition.status == "True";
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    PodReport {
        name: pod.name_any(),
        component: pod
            .labels()
            .get("app.kubernetes.io/component")
            .cloned()
            .unwrap_or_default(),
        node: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        is_ready: conditions.is_some_and(|conditions| conditions.iter().any(is_ready)),
        restarts: containers
            .into_iter()
            .flatten()
            .map(|container| container.restart_count)
            .sum(),
    }
}

fn provider(provider: &LoadBalancerProvider) -> ProviderReport {
    let status = provider.status.as_ref();
    ProviderReport {
        name: provider.name_any(),
        kind: if provider.spec.local.is_some() { "local" } else { "aws" },
        class: provider.spec.load_balancer_class.clone(),
        is_default: provider.spec.is_default,
        load_balancers: status.map_or(0, |status| status.load_balancers),
        state: State::of(status.map(|status| &status.conditions)),
    }
}

fn pool(pool: &AddressPool) -> PoolReport {
    let status = pool.status.as_ref();
    PoolReport {
        name: pool.name_any(),
        addresses: pool.spec.addresses.clone(),
        ipv4: status.and_then(|status| status.ipv4),
        ipv6: status.and_then(|status| status.ipv6),
        state: State::of(status.map(|status| &status.conditions)),
    }
}

fn load_balancer(load_balancer: &LoadBalancer) -> LoadBalancerReport {
    let status = load_balancer.status.as_ref();
    LoadBalancerReport {
        name: format!(
            "{}/{}",
            load_balancer.namespace().unwrap_or_default(),
            load_balancer.name_any()
        ),
        provider: load_balancer.spec.provider.clone(),
        addresses: status.map(|status| status.addresses.clone()).unwrap_or_default(),
        hostname: status.and_then(|status| status.hostname.clone()),
        node: status.and_then(|status| status.node.clone()),
        state: State::of(status.map(|status| &status.conditions)),
    }
}
