//! An agent that starts while the API server is away.

use std::time::Duration;

use fairlead_e2e::control_plane::{Etcd, Proxy, with_api_server};
use fairlead_lab::{Addresses, Answer, test_name};

use crate::objects::{agent_role, cluster_ips, node, service, slices};
use crate::world::{API_PORT, World, probes, wait_until, waits};

#[test]
fn an_agent_waits_for_its_api_server_and_says_where_it_looks() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let agents = [world.agent(1), world.agent(2)];
        for (agent, url) in agents
            .iter()
            .zip(["https://172.30.0.1:6443/", "https://[fd00:172:30::1]:6443/"])
        {
            wait_until("four tries", || retries(agent).len() >= 4);
            for line in agent.log_lines("does not answer") {
                assert!(line.contains(url), "{line}");
                assert!(line.contains("Connection refused"), "{line}");
            }
            let waits = retries(agent);
            // Each is up to a half shorter than its double by chance: they grow from the first to the fourth in any case.
            assert!(waits[3] > waits[0] * 2.0, "{waits:?}");
        }

        // The rules need the API server's word, so that there is nothing to be seen of a Service yet.
        let server = world.store.serve(API_PORT).unwrap();
        let api = server.client();
        let pod = world.workload(2, "pod");
        api.apply_all(&agent_role()).unwrap();
        api.apply(&node(world.lab.node(1))).unwrap();
        let web = cluster_ips(10);
        api.apply(&service("web", web)).unwrap();
        api.apply_all(&slices("web", &[&pod.pod])).unwrap();
        world.wait_for_servers(web, &[&pod]);
        for agent in &agents {
            wait_until("a healthy agent", || agent.healthz() == Some(200));
        }
    });
}

#[test]
fn an_agent_that_restarts_without_its_api_server_leaves_the_rules_in_place() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = world.store.serve(API_PORT).unwrap();
        let api = server.client();
        api.apply_all(&agent_role()).unwrap();
        let (near, far) = (world.workload(1, "near"), world.workload(2, "far"));
        let [web, gone] = [10, 11].map(cluster_ips);
        for (name, ips) in [("web", web), ("gone", gone)] {
            api.apply(&service(name, ips)).unwrap();
            api.apply_all(&slices(name, &[&near.pod, &far.pod])).unwrap();
        }
        let mut agent = world.agent(1);
        let _other = world.agent(2);
        world.wait_for_servers(web, &[&near, &far]);
        world.wait_for_servers(gone, &[&near, &far]);
        let load = load(&world, web);

        server.kill().unwrap();
        agent.process().kill().unwrap();
        let agent = world.agent(1);
        wait_until("the agent to look for its API server", || retries(&agent).len() >= 3);
        world.wait_for_servers(web, &[&near, &far]);

        let other = world.store.serve(API_PORT + 1).unwrap();
        other.client().delete(&service("gone", gone)).unwrap();
        other.kill().unwrap();
        let _server = world.store.serve(API_PORT).unwrap();
        world.wait_for_answer(gone, &Answer::TimedOut);
        for load in load {
            assert_eq!(load.stop().failures, []);
        }
    });
}

fn load(world: &World, service: Addresses) -> Vec<fairlead_lab::Load> {
    let patient = probes(service).map(|probe| probe.within(Duration::from_secs(3)));
    patient
        .map(|probe| probe.load(&world.visitor, Duration::from_millis(5)))
        .collect()
}

/// The waits for an API server that does not answer.
fn retries(agent: &Proxy) -> Vec<f64> {
    waits(agent, "does not answer")
}
