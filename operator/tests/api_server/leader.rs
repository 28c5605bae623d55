//! Two operators, of which one leads.

use std::time::{Duration, Instant};

use fairlead_e2e::control_plane::{ApiServer, Etcd, with_api_server};
use fairlead_lab::test_name;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::operator::{Operator, lease_role};
use crate::world::{API_PORT, World, wait_until};

const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// The promise for a leader that ends as it should.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(2);

/// Who holds the lease, without the random part of its name.
fn holder(server: &ApiServer) -> Option<String> {
    let lease = server.client().run(async |client| {
        let leases: Api<Lease> = Api::namespaced(client, "default");
        leases.get_opt("fairlead-operator").await.unwrap()
    });
    let holder = lease?.spec?.holder_identity?;
    Some(holder.split('_').next().unwrap_or_default().to_owned()).filter(|holder| !holder.is_empty())
}

fn wait_for_holder(server: &ApiServer, expected: &str) {
    wait_until(&format!("{expected} to lead"), || {
        holder(server).as_deref() == Some(expected)
    });
}

#[test]
fn a_leader_that_ends_hands_over_and_one_that_dies_is_replaced() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = world.store.serve(API_PORT).unwrap();
        server.client().apply_all(&lease_role()).unwrap();
        let mut first = Operator::start(&world, 1, "first");
        wait_for_holder(&server, "first");
        let mut second = Operator::start(&world, 2, "second");
        wait_until("the second to take part", || second.says("operator starts"));
        // It knows the lease when it has seen it renewed by the first: then it waits.
        let third = {
            let began = Instant::now();
            let status = first.process.terminate(ENDS_WITHIN).unwrap();
            assert!(status.success(), "{status}\n{}", first.log());
            wait_for_holder(&server, "second");
            let took = began.elapsed();
            assert!(took < HANDS_OVER_WITHIN, "the hand-over took {took:?}");
            println!("hand-over: {took:.0?}");
            Operator::start(&world, 1, "third")
        };
        wait_until("the third to take part", || third.says("operator starts"));
        assert_eq!(holder(&server).as_deref(), Some("second"));
        second.process.kill().unwrap();
        wait_for_holder(&server, "third");
        wait_until("the third to know", || third.says("leads"));
    });
}

#[test]
fn a_leader_without_its_api_server_ends_its_work_and_leads_again_later() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = world.store.serve(API_PORT).unwrap();
        let mut operator = Operator::start(&world, 1, "only");
        // It may not even look, and says so.
        wait_until("a refusal", || operator.says("cannot take part in the election"));
        assert!(operator.says("403") || operator.says("forbidden"), "{}", operator.log());
        server.client().apply_all(&lease_role()).unwrap();
        wait_for_holder(&server, "only");
        server.kill().unwrap();
        wait_until("its work to end", || operator.says("no longer leads"));
        assert!(operator.says("Connection refused"), "{}", operator.log());
        let server = world.store.serve(API_PORT).unwrap();
        wait_until("it to lead again", || {
            operator.log().matches("generation=").count() == 2
        });
        assert_eq!(holder(&server).as_deref(), Some("only"));
        assert_eq!(operator.process.status().unwrap(), None);
    });
}
