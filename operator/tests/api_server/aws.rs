//! The operator makes load balancers of AWS, here in an account that is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fairlead::operator::aws::accounts::Accounts;
use fairlead::operator::aws::driver::Timing;
use fairlead::operator::aws::figures::Counters;
use fairlead::operator::controller::drivers::Aws;
use fairlead::operator::controller::figures::{Board, Figures};
use fairlead::operator::controller::run;
use fairlead::operator::lease::{Claim, Generation};
use fairlead_aws::account::{Account, Health, Named, Snapshot};
use fairlead_aws::desired::{SecurityGroup, Subnet, Target, Vpc, ZoneKind};
use fairlead_aws::plan::{ObservedSecurityGroup, Step, Wait};
use fairlead_aws::testing::{Contents, TestAccount};
use fairlead_crds::{AwsProvider, LoadBalancer};
use fairlead_e2e::control_plane::{ApiServer, Etcd, User, with_api_server};
use fairlead_lab::{Family, test_name};
use fairlead_provider::ProviderError;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::events::v1::Event;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::operator::{controller_role, lease_role};
use crate::world::{API_PORT, World, wait_until};

pub(crate) const CLUSTER: &str = "production";

/// An account that outlives operators.
#[derive(Debug, Clone)]
struct Shared(Arc<TestAccount>);

impl Accounts for Shared {
    type Account = Self;

    const ARE_THERE: bool = true;

    async fn open(&self, _provider: &AwsProvider) -> Result<Self, ProviderError> {
        Ok(self.clone())
    }
}

impl Account for Shared {
    async fn look(&self, named: &Named) -> Result<(), ProviderError> {
        self.0.look(named).await
    }

    async fn look_at(&self, named: &Named) -> Result<(), ProviderError> {
        self.0.look_at(named).await
    }

    async fn look_for(&self, waits: &[Wait]) -> Result<(), ProviderError> {
        self.0.look_for(waits).await
    }

    fn read<T>(&self, reader: impl FnOnce(&Snapshot) -> T) -> T {
        self.0.read(reader)
    }

    async fn vpc(&self) -> Result<Vpc, ProviderError> {
        self.0.vpc().await
    }

    async fn interface_groups(
        &self,
        targets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, ProviderError> {
        self.0.interface_groups(targets).await
    }

    async fn health(&self, target_group: &str) -> Result<BTreeMap<Target, Health>, ProviderError> {
        self.0.health(target_group).await
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        self.0.perform(step).await
    }
}

fn vpc() -> Vpc {
    let subnet = |number: u8, zone: &str| Subnet {
        id: format!("subnet-{number}"),
        zone: format!("eu-central-1{zone}"),
        zone_kind: ZoneKind::AvailabilityZone,
        ipv4: Some(format!("10.0.{number}.0/24").parse().unwrap()),
        ipv6: vec![format!("2001:db8:0:{number}::/64").parse().unwrap()],
        free_addresses: 200,
        is_public: false,
        tags: BTreeMap::new(),
    };
    Vpc {
        id: "vpc-1".to_owned(),
        ranges: ["10.0.0.0/16", "2001:db8::/56"]
            .map(|text| text.parse().unwrap())
            .into(),
        subnets: vec![subnet(1, "a"), subnet(2, "b")],
        security_groups: vec![SecurityGroup {
            id: "sg-nodes".to_owned(),
            tags: BTreeMap::new(),
        }],
    }
}

/// The leader's work in this process, until it is dropped.
struct Leader {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    counters: Counters,
}

impl Leader {
    fn start(world: &World, account: &Shared) -> Self {
        let (stop, stopped) = oneshot::channel();
        let namespace = world.lab.lan().clone();
        let kubeconfig = world.store.kubeconfig(User::Operator, Family::V4, API_PORT).unwrap();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let accounts = account.clone();
        let counters = Counters::default();
        let shared = counters.clone();
        let lead = async move {
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            let client = kube::Client::try_from(config.unwrap()).unwrap();
            let claim = Claim {
                generation: Generation(1),
                valid_until: Instant::now() + Duration::from_hours(1),
            };
            let (_claim, claims) = watch::channel(Some(claim));
            let (figures, _shown) = watch::channel(Figures::default());
            let aws = Aws {
                accounts,
                timing: Timing {
                    resync: Duration::from_mins(10),
                    orphan_grace: Some(Duration::from_millis(1)),
                },
                counters: shared,
            };
            let board = Board::new(Arc::new(figures));
            tokio::select! {
                ended = run::run(client, "leader".into(), claims, board, aws) => panic!("it ended: {ended:?}"),
                _ = stopped => {}
            }
        };
        let thread = thread::spawn(move || {
            namespace.run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(lead);
            });
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
            counters,
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

pub(crate) struct Cluster {
    server: ApiServer,
}

impl Cluster {
    fn new(world: &World) -> Self {
        Self::with_provider(world, &json!({"clusterName": CLUSTER}), "aws:///eu-central-1a/i-1")
    }

    /// With this provider, and one node that is this instance.
    pub(crate) fn with_provider(world: &World, provider: &Value, node: &str) -> Self {
        let server = world.store.serve(API_PORT).unwrap();
        let client = server.client();
        for definition in fairlead_crds::all() {
            client.apply(&serde_json::to_value(&definition).unwrap()).unwrap();
        }
        client.apply_all(&lease_role()).unwrap();
        client.apply_all(&controller_role()).unwrap();
        let cluster = Self { server };
        cluster.apply(&json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": {"name": "aws"},
            "spec": {"default": true, "nodePortServices": "OptIn", "aws": provider},
        }));
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
            "spec": {"providerID": node},
        }));
        cluster
    }

    pub(crate) fn apply(&self, object: &Value) {
        wait_until("an object to be taken", || self.server.client().apply(object).is_ok());
    }

    pub(crate) fn delete(&self, name: &str) {
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}});
        self.server.client().delete(&service).unwrap();
        wait_until(&format!("{name} to go"), || {
            self.service(name).is_none() && self.record(name).is_none()
        });
    }

    fn service(&self, name: &str) -> Option<Service> {
        self.server.client().run(async |client| {
            let services: Api<Service> = Api::namespaced(client, "default");
            services.get_opt(name).await.unwrap()
        })
    }

    fn record(&self, name: &str) -> Option<LoadBalancer> {
        self.server.client().run(async |client| {
            let records: Api<LoadBalancer> = Api::namespaced(client, "default");
            records.get_opt(name).await.unwrap()
        })
    }

    pub(crate) fn hostname(&self, name: &str) -> Option<String> {
        let status = self.service(name)?.status?.load_balancer?;
        status.ingress?.into_iter().find_map(|ingress| ingress.hostname)
    }

    fn condition(&self, name: &str, type_: &str) -> Option<(String, String)> {
        let conditions = self.record(name)?.status?.conditions;
        let condition = conditions.into_iter().find(|condition| condition.type_ == type_)?;
        Some((condition.reason, condition.message))
    }

    fn has_event(&self, name: &str, reason: &str, text: &str) -> bool {
        let events = self.server.client().run(async |client| {
            let events: Api<Event> = Api::namespaced(client, "default");
            events.list(&kube::api::ListParams::default()).await.unwrap()
        });
        events.items.into_iter().any(|event| {
            event.regarding.and_then(|regarding| regarding.name).as_deref() == Some(name)
                && event.reason.as_deref() == Some(reason)
                && event.note.is_some_and(|note| note.contains(text))
        })
    }
}

pub(crate) fn service(name: &str, annotations: &Value, spec: &Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

fn account() -> Shared {
    let nodes = ObservedSecurityGroup {
        id: "sg-nodes".to_owned(),
        name: "nodes".to_owned(),
        rules: BTreeSet::new(),
        is_full: false,
        is_in_use: true,
        tags: BTreeMap::new(),
    };
    let mut contents = Contents::default();
    contents.security_groups.insert(nodes.id.clone(), nodes);
    let account = TestAccount::new(CLUSTER, vpc(), contents);
    account.set_interface_groups("i-1", &["sg-nodes"]);
    Shared(Arc::new(account))
}

/// Whether an account has nothing but what was there before.
fn is_empty(account: &Shared) -> bool {
    account.0.with(|contents| {
        let mut groups = contents.security_groups.values();
        contents.load_balancers.is_empty()
            && contents.target_groups.is_empty()
            && groups.all(|group| group.id == "sg-nodes" && group.rules.is_empty())
    })
}

#[test]
fn services_get_load_balancers_of_aws_and_leave_nothing_behind() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let account = account();
        let leader = Leader::start(&world, &account);
        cluster.apply(&service("web", &json!({}), &json!({})));
        wait_until("a host name", || cluster.hostname("web").is_some());
        let hostname = cluster.hostname("web").unwrap();
        wait_until("the load balancer to be ready", || {
            cluster.condition("web", "Ready") == Some(("Ready".to_owned(), format!("reached at {hostname}")))
        });
        let status = cluster.record("web").unwrap().status.unwrap();
        assert_eq!(status.hostname, Some(hostname));
        let kinds: BTreeSet<_> = status.ids.keys().map(|id| id.split('/').next().unwrap()).collect();
        assert_eq!(kinds, ["loadBalancer", "securityGroup", "targetGroup"].into());
        for reason in ["EnsuringLoadBalancer", "EnsuredLoadBalancer"] {
            wait_until(reason, || cluster.has_event("web", reason, ""));
        }
        let looks = account.0.looks();

        // What is wrong is said word for word, nothing of it is made, and others go on.
        let annotation = "service.beta.kubernetes.io/aws-load-balancer-scheme";
        cluster.apply(&service("wrong", &json!({annotation: "outside"}), &json!({})));
        cluster.apply(&service(
            "ports",
            &json!({"fairlead.io/provider": "aws"}),
            &json!({"type": "NodePort"}),
        ));
        wait_until("a refusal", || {
            cluster.condition("wrong", "Accepted").is_some_and(|(reason, message)| {
                reason == "InvalidAnnotation" && message.contains("unknown scheme: outside")
            })
        });
        wait_until("an event", || {
            cluster.has_event("wrong", "SyncLoadBalancerFailed", "unknown scheme: outside")
        });
        wait_until("a host name on record", || {
            let record = cluster.record("ports");
            record.is_some_and(|record| record.status.is_some_and(|status| status.hostname.is_some()))
        });
        assert_eq!(account.0.with(|contents| contents.load_balancers.len()), 2);
        cluster.apply(&service("wrong", &json!({}), &json!({})));
        wait_until("it to be mended", || cluster.hostname("wrong").is_some());
        assert_eq!(account.0.looks(), looks, "one look serves all Services");

        // Another operator finds what there is, and changes nothing.
        drop(leader);
        account.0.take_steps();
        let leader = Leader::start(&world, &account);
        wait_until("a look", || account.0.looks() > looks);
        cluster.apply(&service("late", &json!({}), &json!({})));
        wait_until("another one", || cluster.hostname("late").is_some());
        let steps = account.0.take_steps();
        // The range of ports that nodes let in may have become another one.
        let is_kept = |step: &String| !step.starts_with('-') || step.starts_with("- rules of sg-nodes");
        assert!(steps.iter().all(is_kept), "{steps:?}");
        let made = steps.iter().filter(|step| step.starts_with("+ load balancer")).count();
        assert_eq!(made, 1, "{steps:?}");

        for name in ["web", "wrong", "ports", "late"] {
            cluster.delete(name);
        }
        wait_until("nothing to be left", || is_empty(&account));
        assert!(leader.counters.read().steps["DeleteLoadBalancer"] >= 4);
        assert!(leader.counters.read().failures.is_empty());
    });
}

#[test]
fn what_belongs_to_no_service_is_removed_and_protected_load_balancers_stay() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let account = account();
        let leader = Leader::start(&world, &account);
        let protected = json!({
            "service.beta.kubernetes.io/aws-load-balancer-attributes": "deletion_protection.enabled=true",
        });
        cluster.apply(&service("lost", &json!({}), &json!({})));
        cluster.apply(&service("kept", &protected, &json!({})));
        wait_until("host names", || {
            cluster.hostname("lost").is_some() && cluster.hostname("kept").is_some()
        });

        // Deleted, but protected: it says why it stays, and goes when it may.
        let of_kept =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kept", "namespace": "default"}});
        cluster.server.client().delete(&of_kept).unwrap();
        let sentence = "deletion_protection is enabled, cannot delete the service: default/kept";
        wait_until("a refusal", || {
            cluster.condition("kept", "Ready") == Some(("Deleting".to_owned(), sentence.to_owned()))
        });
        wait_until("an event", || {
            cluster.has_event("kept", "DeleteLoadBalancerFailed", sentence)
        });
        assert!(cluster.service("kept").is_some());

        // Somebody takes the finalizers away while no operator runs.
        drop(leader);
        let nobody = json!({"metadata": {"finalizers": null}});
        cluster.server.client().run(async |client| {
            let parameters = kube::api::PatchParams::default();
            let patch = kube::api::Patch::Merge(&nobody);
            let services: Api<Service> = Api::namespaced(client.clone(), "default");
            let records: Api<LoadBalancer> = Api::namespaced(client, "default");
            services.patch("lost", &parameters, &patch).await.unwrap();
            records.patch("lost", &parameters, &patch).await.unwrap();
            records
                .delete("lost", &kube::api::DeleteParams::default())
                .await
                .unwrap();
            services
                .delete("lost", &kube::api::DeleteParams::default())
                .await
                .unwrap();
        });
        wait_until("both to go", || {
            cluster.service("lost").is_none() && cluster.record("lost").is_none()
        });
        let _leader = Leader::start(&world, &account);
        wait_until("what was lost to be removed", || {
            account.0.with(|contents| contents.load_balancers.len()) == 1
        });
        assert!(cluster.service("kept").is_some());
    });
}

#[test]
fn a_pod_with_a_gate_is_ready_when_its_load_balancer_finds_it_healthy() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let account = account();
        account.0.set_interface_groups("10.0.1.7", &["sg-nodes"]);
        let _leader = Leader::start(&world, &account);
        let gate = "target-health.fairlead.io/web";
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"},
        }));
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-a", "namespace": "default"},
            "spec": {
                "containers": [{"name": "web", "image": "web"}],
                "readinessGates": [{"conditionType": gate}], "automountServiceAccountToken": false,
            },
        }));
        cluster.server.client().run(async |client| {
            let pods: Api<Pod> = Api::namespaced(client, "default");
            let status = json!({"status": {"conditions": [{"type": "ContainersReady", "status": "True"}]}});
            let patch = kube::api::Patch::Strategic(&status);
            let parameters = kube::api::PatchParams::default();
            pods.patch_status("web-a", &parameters, &patch).await.unwrap();
        });
        cluster.apply(&json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"},
            },
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{
                "addresses": ["10.0.1.7"], "conditions": {"ready": false},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "web-a"},
            }],
        }));
        let target_type = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
        cluster.apply(&service("web", &json!({target_type: "ip"}), &json!({})));
        wait_until("the gate to be open", || {
            let pod = cluster.server.client().run(async |client| {
                let pods: Api<Pod> = Api::namespaced(client, "default");
                pods.get("web-a").await.unwrap()
            });
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            let mut of_gate = conditions.iter().filter(|condition| condition.type_ == gate);
            of_gate.any(|condition| condition.status == "True" && condition.reason.as_deref() == Some("Healthy"))
        });
        let targets = account.0.with(|contents| {
            let groups = contents.target_groups.values();
            groups.flat_map(|group| group.targets.clone()).collect::<Vec<_>>()
        });
        assert_eq!(targets.len(), 1);
        assert_eq!(targets[0].id, "10.0.1.7");
        assert_eq!(cluster.service("web").unwrap().name_any(), "web");
    });
}
