//! Addresses that machines outside of the cluster have: what the agents tell, the operator acts upon.

use fairlead_crds::LoadBalancer;
use fairlead_e2e::control_plane::{Etcd, with_api_server};
use fairlead_lab::test_name;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::load_balancers::Cluster;
use crate::operator::Operator;
use crate::world::{World, wait_until};

const MAC: &str = "02:00:00:00:09:09";

/// Writes what an agent writes of an address.
fn announce(cluster: &Cluster, name: &str, address: &str, by: &Value) {
    let patch = json!({"status": {"announcements": {address: by}}});
    cluster.server.client().run(async |client| {
        let load_balancers: Api<LoadBalancer> = Api::namespaced(client, "default");
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        load_balancers.patch_status(name, &parameters, &patch).await.unwrap();
    });
}

fn by(stranger: &Value) -> Value {
    json!({"node": "n2", "reason": "Vacant", "epoch": 1, "stranger": stranger})
}

fn quarantined(cluster: &Cluster) -> Vec<(String, bool)> {
    let status = cluster.status("AddressPool", "small");
    let all = status["quarantined"].as_array().cloned().unwrap_or_default();
    let one = |entry: &Value| {
        assert_eq!((&entry["mac"], &entry["node"]), (&json!(MAC), &json!("n2")));
        (
            entry["address"].as_str().unwrap().to_owned(),
            entry["until"].is_string(),
        )
    };
    all.iter().map(one).collect()
}

fn wait_for_quarantined(cluster: &Cluster, expected: &[(&str, bool)]) {
    wait_until(&format!("these to be set aside: {expected:?}"), || {
        let now = quarantined(cluster);
        now.iter()
            .map(|(address, has_end)| (address.as_str(), *has_end))
            .eq(expected.iter().copied())
    });
}

#[test]
fn an_address_that_another_machine_has_is_set_aside() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let cluster = Cluster::new(&world);
        let api = cluster.server.client();
        cluster.pool("small", &["198.51.100.1-198.51.100.4"]);
        // This one has its address from another controller.
        api.apply(&Cluster::service("came", &json!({}))).unwrap();
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.4"}]}}});
        api.run(async |client| {
            let services: Api<Service> = Api::namespaced(client, "default");
            let (parameters, patch) = (PatchParams::default(), Patch::Merge(&status));
            services.patch_status("came", &parameters, &patch).await.unwrap();
        });
        let mut operator = Operator::start(&world, 1, "first");
        api.apply(&Cluster::service("web", &json!({}))).unwrap();
        cluster.wait_for_addresses("web", &["198.51.100.1"]);
        let mut named = Cluster::service("named", &json!({}));
        named["metadata"]["annotations"] = json!({"fairlead.io/loadBalancerIPs": "198.51.100.2"});
        api.apply(&named).unwrap();
        cluster.wait_for_addresses("named", &["198.51.100.2"]);

        // Who did not ask for it gets another one, and hears why.
        announce(&cluster, "web", "198.51.100.1", &by(&json!(MAC)));
        cluster.wait_for_addresses("web", &["198.51.100.3"]);
        let has_event = |name: &str| cluster.events(name).iter().any(|reason| reason == "AddressConflict");
        wait_until("an event", || has_event("web"));
        wait_for_quarantined(&cluster, &[("198.51.100.1", false)]);
        // The node withdraws what it said: nobody asks for the address any more.
        announce(&cluster, "web", "198.51.100.1", &Value::Null);
        wait_for_quarantined(&cluster, &[("198.51.100.1", true)]);
        assert_eq!(cluster.addresses("web"), ["198.51.100.3"]);

        // Who asked for it by name keeps it, and hears why it is not reached.
        announce(&cluster, "named", "198.51.100.2", &by(&json!(MAC)));
        let sentence = format!("198.51.100.2 belongs to a machine outside of the cluster, {MAC}, as node n2 has heard");
        cluster.wait_for_complaint("named", "AddressConflict", &sentence);
        let is_ready = |name: &str| cluster.condition(name, "Ready").unwrap().0;
        assert_eq!(
            (cluster.addresses("named"), is_ready("named").as_str()),
            (vec!["198.51.100.2".to_owned()], "AddressConflict")
        );
        wait_until("an event", || has_event("named"));

        wait_until("the third one to be ready", || {
            cluster.condition("came", "Ready").is_some()
        });
        announce(&cluster, "came", "198.51.100.4", &by(&json!(MAC)));
        cluster.wait_for_complaint("came", "AddressConflict", "It stays, since the Service came with it");

        // Another operator goes on with that.
        let all = [("198.51.100.1", true), ("198.51.100.2", false), ("198.51.100.4", false)];
        wait_for_quarantined(&cluster, &all);
        operator.process.kill().unwrap();
        let mut again = Operator::start(&world, 1, "again");
        api.apply(&Cluster::service("late", &json!({}))).unwrap();
        cluster.wait_for_complaint(
            "late",
            "PoolExhausted",
            "machines outside of the cluster have 198.51.100.1",
        );
        assert_eq!(cluster.addresses("named"), ["198.51.100.2"]);
        assert_eq!(cluster.addresses("web"), ["198.51.100.3"]);
        assert_eq!(cluster.addresses("came"), ["198.51.100.4"]);
        assert_eq!(quarantined(&cluster).len(), 3);

        // A machine is gone, and another one while nobody listens.
        announce(&cluster, "came", "198.51.100.4", &by(&Value::Null));
        wait_until("the Service that came to be as it shall be", || {
            is_ready("came") == "Ready"
        });
        wait_for_quarantined(&cluster, &all[..2]);
        again.process.kill().unwrap();
        announce(&cluster, "named", "198.51.100.2", &by(&Value::Null));
        let _third = Operator::start(&world, 1, "third");
        wait_until("the Service to be as it shall be", || is_ready("named") == "Ready");
        assert_eq!(cluster.condition("named", "Accepted").unwrap().0, "Accepted");
        wait_for_quarantined(&cluster, &all[..1]);
    });
}
