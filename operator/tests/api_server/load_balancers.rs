//! The operator gives addresses of pools to Services, and takes them back.

use std::fs::{self, File};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fairlead_crds::LoadBalancer;
use fairlead_e2e::control_plane::{ApiServer, Etcd, User, with_api_server};
use fairlead_lab::{Family, test_name};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::operator::{Operator, controller_role, lease_role};
use crate::world::{API_PORT, World, wait_until};

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// The promise: so soon after a restart all that have an address keep it, and all others have got one.
const ALLOCATED_WITHIN: Duration = Duration::from_secs(2);
const MANY: usize = 1000;

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
}

impl Cluster {
    pub(crate) fn new(world: &World) -> Self {
        let server = world.store.serve(API_PORT).unwrap();
        let client = server.client();
        for definition in fairlead_crds::all() {
            client.apply(&serde_json::to_value(&definition).unwrap()).unwrap();
        }
        client.apply_all(&lease_role()).unwrap();
        client.apply_all(&controller_role()).unwrap();
        let cluster = Self { server };
        cluster.provider("metal", true);
        cluster
    }

    /// The kinds are served soon after their definitions are there.
    fn apply(&self, object: &Value) {
        wait_until("an object to be taken", || self.server.client().apply(object).is_ok());
    }

    fn provider(&self, name: &str, is_default: bool) {
        self.apply(&json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": {"name": name},
            "spec": {"loadBalancerClass": format!("fairlead.io/{name}"), "default": is_default, "local": {}},
        }));
    }

    pub(crate) fn pool(&self, name: &str, addresses: &[&str]) {
        self.apply(&json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "AddressPool", "metadata": {"name": name},
            "spec": {"addresses": addresses, "reuseDelaySeconds": 0},
        }));
    }

    pub(crate) fn service(name: &str, spec: &Value) -> Value {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        });
        for (field, value) in spec.as_object().unwrap() {
            service["spec"][field] = value.clone();
        }
        service
    }

    fn read(&self, name: &str) -> Option<Service> {
        self.server.client().run(async |client| {
            let services: Api<Service> = Api::namespaced(client, "default");
            services.get_opt(name).await.unwrap()
        })
    }

    pub(crate) fn load_balancer(&self, name: &str) -> Option<LoadBalancer> {
        self.server.client().run(async |client| {
            let load_balancers: Api<LoadBalancer> = Api::namespaced(client, "default");
            load_balancers.get_opt(name).await.unwrap()
        })
    }

    pub(crate) fn addresses(&self, name: &str) -> Vec<String> {
        addresses(&self.read(name).unwrap())
    }

    pub(crate) fn wait_for_addresses(&self, name: &str, expected: &[&str]) {
        wait_until(&format!("{name} to have {expected:?}"), || {
            self.addresses(name) == expected
        });
    }

    /// The status of a pool or provider.
    pub(crate) fn status(&self, kind: &str, name: &str) -> Value {
        let probe = json!({"apiVersion": "fairlead.io/v1alpha1", "kind": kind, "metadata": {"name": name}});
        self.server.client().run(async |client| {
            let found = fairlead_e2e::control_plane::api(client, &probe)
                .get(name)
                .await
                .unwrap();
            found.data["status"].clone()
        })
    }

    /// Reason and message of a condition.
    pub(crate) fn condition(&self, name: &str, type_: &str) -> Option<(String, String)> {
        let status = self.load_balancer(name)?.status?;
        let condition = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == type_)?;
        Some((condition.reason, condition.message))
    }

    pub(crate) fn wait_for_complaint(&self, name: &str, reason: &str, message: &str) {
        wait_until(&format!("{name} to hear of {reason}"), || {
            self.condition(name, "Accepted")
                .is_some_and(|(is, says)| is == reason && says.contains(message))
        });
    }

    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let events = self.server.client().run(async |client| {
            let events: Api<Event> = Api::namespaced(client, "default");
            events.list(&kube::api::ListParams::default()).await.unwrap()
        });
        let of_service = events.items.into_iter().filter(|event| {
            let regarding = event.regarding.as_ref().unwrap();
            regarding.name.as_deref() == Some(name) && regarding.uid.is_some()
        });
        of_service.filter_map(|event| event.reason).collect()
    }
}

/// What `fairlead status` shows to the administrator.
fn status(world: &World) -> String {
    let kubeconfig = world.store.kubeconfig(User::Admin, Family::V6, API_PORT).unwrap();
    let shown = world.store.folder().join("status.txt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    command
        .args(["status", "--namespace=default"])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .stdin(Stdio::null())
        .stdout(File::create(&shown).unwrap())
        .stderr(Stdio::null());
    let mut process = world.lab.node(2).spawn(command).unwrap();
    process.wait(Duration::from_secs(30)).unwrap();
    fs::read_to_string(&shown).unwrap()
}

fn addresses(service: &Service) -> Vec<String> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref());
    ingress
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress.ip.clone())
        .collect()
}

fn has_finalizer(service: &Service) -> bool {
    service.finalizers().iter().any(|name| name == FINALIZER)
}

#[test]
fn a_service_gets_addresses_of_both_families_and_leaves_nothing_behind() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let api = cluster.server.client();
        cluster.pool("small", &["198.51.100.1-198.51.100.2", "2001:db8::1-2001:db8::9"]);
        let _operator = Operator::start(&world, 1, "operator");

        let dual = Cluster::service(
            "web",
            &json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
        );
        api.apply(&dual).unwrap();
        cluster.wait_for_addresses("web", &["2001:db8::1", "198.51.100.1"]);
        assert!(has_finalizer(&cluster.read("web").unwrap()));
        wait_until("the load balancer to be ready", || {
            cluster
                .condition("web", "Ready")
                .is_some_and(|(reason, _)| reason == "Ready")
        });
        let load_balancer = cluster.load_balancer("web").unwrap();
        assert_eq!(load_balancer.spec.provider, "metal");
        assert_eq!(load_balancer.status.unwrap().pool.as_deref(), Some("small"));
        wait_until("events", || {
            let events = cluster.events("web");
            ["EnsuringLoadBalancer", "IPAllocated", "EnsuredLoadBalancer"]
                .iter()
                .all(|reason| events.iter().any(|event| event == reason))
        });

        wait_until("the pool's and the provider's status", || {
            let (pool, provider) = (
                cluster.status("AddressPool", "small"),
                cluster.status("LoadBalancerProvider", "metal"),
            );
            pool["ipv4"] == json!({"assigned": 1, "available": 1})
                && pool["ipv6"] == json!({"assigned": 1, "available": 8})
                && pool["conditions"][1]["status"] == "True"
                && provider["loadBalancers"] == 1
                && provider["conditions"][0]["reason"] == "Accepted"
        });

        let screen = status(&world);
        for line in [
            "Pods  operator leads",
            "metal     local  fairlead.io/metal (default)  1               ready",
            "small  198.51.100.1-198.51.100.2  1 of 2  1 of 9  ready",
            "default/web    metal     2001:db8::1   –     ready",
        ] {
            assert!(screen.lines().any(|shown| shown == line), "{line} is not in\n{screen}");
        }

        // Somebody else's, by class; and ours, by class.
        api.apply(&Cluster::service(
            "theirs",
            &json!({"loadBalancerClass": "example.com/other"}),
        ))
        .unwrap();
        api.apply(&Cluster::service(
            "ours",
            &json!({"loadBalancerClass": "fairlead.io/metal"}),
        ))
        .unwrap();
        cluster.wait_for_addresses("ours", &["198.51.100.2"]);
        let theirs = cluster.read("theirs").unwrap();
        assert!(!has_finalizer(&theirs) && addresses(&theirs).is_empty());

        // Nothing is left for one more, which gets what another gives up.
        let more = Cluster::service("more", &json!({}));
        api.apply(&more).unwrap();
        cluster.wait_for_complaint("more", "PoolExhausted", "every address of small is taken");
        wait_until("an event", || {
            cluster.events("more").iter().any(|reason| reason == "AllocationFailed")
        });
        api.apply(&Cluster::service("ours", &json!({"type": "ClusterIP"})))
            .unwrap();
        cluster.wait_for_addresses("more", &["198.51.100.2"]);
        wait_until("the former load balancer to be forgotten", || {
            let ours = cluster.read("ours").unwrap();
            !has_finalizer(&ours) && addresses(&ours).is_empty() && cluster.load_balancer("ours").is_none()
        });

        // As when the namespace is deleted: the record goes first, and stays until the Service has been let go.
        api.delete(&json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancer",
            "metadata": {"name": "web", "namespace": "default"},
        }))
        .unwrap();
        let record = cluster.load_balancer("web").expect("it stays");
        assert!(record.metadata.deletion_timestamp.is_some());
        api.delete(&dual).unwrap();
        wait_until("the Service to go", || cluster.read("web").is_none());
        wait_until("its load balancer to go", || cluster.load_balancer("web").is_none());
    });
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing_that_works() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let api = cluster.server.client();
        cluster.pool("good", &["198.51.100.0/28"]);
        let operator = Operator::start(&world, 1, "operator");
        let mut web = Cluster::service("web", &json!({}));
        api.apply(&web).unwrap();
        cluster.wait_for_addresses("web", &["198.51.100.0"]);

        web["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": "198.51.100.x"});
        api.apply(&web).unwrap();
        cluster.wait_for_complaint(
            "web",
            "InvalidAnnotation",
            "annotation metallb.io/loadBalancerIPs: \"198.51.100.x\"",
        );
        web["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": "203.0.113.1"});
        api.apply(&web).unwrap();
        cluster.wait_for_complaint("web", "AddressNotInPool", "203.0.113.1 is in no AddressPool");
        assert_eq!(cluster.addresses("web"), ["198.51.100.0"]);

        // One that asks for what does not exist hears of it.
        let mut lost = Cluster::service("lost", &json!({}));
        lost["metadata"]["annotations"] = json!({"fairlead.io/provider": "none"});
        api.apply(&lost).unwrap();
        wait_until("an event", || {
            cluster
                .events("lost")
                .iter()
                .any(|reason| reason == "SyncLoadBalancerFailed")
        });
        assert!(!has_finalizer(&cluster.read("lost").unwrap()));

        // A pool that overlaps with an older one.
        cluster.pool("late", &["198.51.100.0/24"]);
        wait_until("a complaint about the pool", || {
            operator.says("is in AddressPool good too")
        });
        wait_until("the pool to say so", || {
            let late = cluster.status("AddressPool", "late");
            late["conditions"][0]["reason"] == "PoolOverlap" && late["conditions"][1]["status"] == "False"
        });
        cluster.provider("second", true);
        wait_until("the second default to say so", || {
            cluster.status("LoadBalancerProvider", "second")["conditions"][0]["reason"] == "TwoDefaults"
        });
        let second = json!({"apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": {"name": "second"}});
        api.delete(&second).unwrap();
        assert_eq!(cluster.addresses("web"), ["198.51.100.0"]);
        web["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": "198.51.100.9"});
        api.apply(&web).unwrap();
        cluster.wait_for_addresses("web", &["198.51.100.9"]);

        // Without its provider the Service stays as it is, and can still be deleted.
        let provider = json!({"apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": {"name": "metal"}});
        api.delete(&provider).unwrap();
        cluster.wait_for_complaint("web", "UnknownProvider", "metal");
        assert_eq!(cluster.addresses("web"), ["198.51.100.9"]);
        api.delete(&web).unwrap();
        wait_until("the Service to go", || {
            cluster.read("web").is_none() && cluster.load_balancer("web").is_none()
        });
    });
}

#[test]
fn no_address_moves_when_the_operator_starts_again() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let api = cluster.server.client();
        cluster.pool("wide", &["10.8.0.0/16"]);
        let mut operator = Operator::start(&world, 1, "first");
        for number in 0..MANY {
            api.apply(&Cluster::service(
                &format!("s{number}"),
                &json!({"allocateLoadBalancerNodePorts": false}),
            ))
            .unwrap();
        }
        let all = || -> Vec<(String, Vec<String>)> {
            let services = api.run(async |client| {
                let services: Api<Service> = Api::namespaced(client, "default");
                services.list(&kube::api::ListParams::default()).await.unwrap()
            });
            let named = services
                .items
                .iter()
                .filter(|service| service.name_any() != "kubernetes");
            named.map(|service| (service.name_any(), addresses(service))).collect()
        };
        wait_until("all to have addresses", || {
            let all = all();
            all.len() == MANY && all.iter().all(|(_, addresses)| addresses.len() == 1)
        });
        let before = all();
        let distinct: std::collections::BTreeSet<IpAddr> = before
            .iter()
            .map(|(_, addresses)| addresses[0].parse().unwrap())
            .collect();
        assert_eq!(distinct.len(), MANY);

        // One comes while nobody looks, and is the last in the order in which they are looked at.
        operator.process.kill().unwrap();
        api.apply(&Cluster::service("zz-last", &json!({}))).unwrap();
        let again = Operator::start(&world, 1, "again");
        wait_until("it to lead", || again.says("leads"));
        let began = Instant::now();
        wait_until("it to know all", || {
            again.says("the addresses that Services have are known services=1000")
        });
        let known = began.elapsed();
        wait_until("the last one to have an address", || {
            !cluster.addresses("zz-last").is_empty()
        });
        let took = began.elapsed();
        assert!(
            took < ALLOCATED_WITHIN,
            "it took {took:?} until all Services had their addresses"
        );
        println!(
            "1,000 Services are known {known:.0?} after the operator leads, the last one has its address after {took:.0?}"
        );
        let after: Vec<_> = all().into_iter().filter(|(name, _)| name != "zz-last").collect();
        assert_eq!(after, before);
        assert!(!distinct.contains(&cluster.addresses("zz-last")[0].parse().unwrap()));
    });
}
