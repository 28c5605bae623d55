//! What is written into the API server decides where connections go.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use fairlead_e2e::control_plane::{ApiServer, Etcd, Store, with_api_server};
use fairlead_lab::{Answer, Protocol, test_name};
use serde_json::json;

use crate::objects::{agent_role, cluster_ips, node, service, slices};
use crate::world::{API_PORT, World, probes, wait_until};

/// Starts the API server with what an agent needs.
fn serve(world: &World) -> ApiServer {
    let server = Store::serve(&world.store, API_PORT).unwrap();
    for object in agent_role()
        .iter()
        .chain(&world.lab.nodes().iter().map(node).collect::<Vec<_>>())
    {
        server.client().apply(object).unwrap();
    }
    server
}

#[test]
fn connections_go_where_services_and_slices_say_and_follow_each_change() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = serve(&world);
        let api = server.client();
        let (near, far) = (world.workload(1, "near"), world.workload(2, "far"));
        let ips = cluster_ips(10);
        api.apply(&service("web", ips)).unwrap();
        api.apply_all(&slices("web", &[&near.pod])).unwrap();
        let agents = [world.agent(1), world.agent(2)];
        world.wait_for_servers(ips, &[&near]);

        api.apply_all(&slices("web", &[&near.pod, &far.pod])).unwrap();
        world.wait_for_servers(ips, &[&near, &far]);

        api.apply_all(&slices("web", &[])).unwrap();
        world.wait_for_answer(ips, &Answer::Refused);

        api.apply_all(&slices("web", &[&far.pod])).unwrap();
        world.wait_for_servers(ips, &[&far]);

        // A second slice of the same Service.
        let mut more = slices("web", &[&near.pod]);
        for slice in &mut more {
            slice["metadata"]["name"] = json!(format!("{}-more", slice["metadata"]["name"].as_str().unwrap()));
            api.apply(slice).unwrap();
        }
        world.wait_for_servers(ips, &[&near, &far]);
        for slice in &more {
            api.delete(slice).unwrap();
        }
        world.wait_for_servers(ips, &[&far]);

        // A Service that another proxy serves is none of ours, and its address is as good as unallocated.
        let mut foreign = service("web", ips);
        foreign["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "another"});
        api.apply(&foreign).unwrap();
        world.wait_for_answer(ips, &Answer::TimedOut);
        api.apply(&service("web", ips)).unwrap();
        world.wait_for_servers(ips, &[&far]);

        api.delete(&service("web", ips)).unwrap();
        world.wait_for_answer(ips, &Answer::TimedOut);

        for agent in agents {
            assert_eq!(agent.log_lines("WARN"), Vec::<String>::new());
            assert_eq!(agent.log_lines("does not stream lists"), Vec::<String>::new());
        }
    });
}

#[test]
fn the_api_servers_own_service_leads_to_it() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let _server = serve(&world);
        let _agents = [world.agent(1), world.agent(2)];
        let kubernetes = SocketAddr::new(IpAddr::from([10, 96, 0, 1]), 443);
        // Nothing but the API server listens in the LAN's namespace.
        wait_until("a connection to the Service default/kubernetes", || {
            world
                .visitor
                .run(|| TcpStream::connect_timeout(&kubernetes, Duration::from_secs(1)).is_ok())
        });
    });
}

#[test]
fn lists_in_pages_serve_where_etcd_cannot_report_progress() {
    with_api_server(test_name!(), Etcd::Debian, |tools| {
        let world = World::new(tools);
        let server = serve(&world);
        let api = server.client();
        let (near, far) = (world.workload(1, "near"), world.workload(2, "far"));
        let (web, other) = (cluster_ips(10), cluster_ips(11));
        api.apply(&service("web", web)).unwrap();
        api.apply_all(&slices("web", &[&near.pod])).unwrap();
        let agents = [world.agent(1), world.agent(2)];
        world.wait_for_servers(web, &[&near]);
        for agent in &agents {
            // One line for each kind.
            wait_until("the agent to say so", || {
                agent.log_lines("does not stream lists").len() == 4
            });
        }
        api.apply_all(&slices("web", &[&near.pod, &far.pod])).unwrap();
        world.wait_for_servers(web, &[&near, &far]);
        api.apply(&service("other", other)).unwrap();
        api.apply_all(&slices("other", &[&far.pod])).unwrap();
        world.wait_for_servers(other, &[&far]);
        api.delete(&service("web", web)).unwrap();
        world.wait_for_answer(web, &Answer::TimedOut);
    });
}

#[test]
fn unallocated_addresses_of_every_service_cidr_are_dropped() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = serve(&world);
        let _agents = [world.agent(1), world.agent(2)];
        // The API server makes the object for its own flag.
        world.wait_for_answer(cluster_ips(77), &Answer::TimedOut);

        let mut more = cluster_ips(77);
        more.v4 = [10, 97, 0, 77].into();
        more.v6 = [0xfd00, 0x10, 0x97, 0, 0, 0, 0, 0x77].into();
        // The LAN's router knows no way, and says so. UDP sockets do not hear of it.
        for probe in probes(more).filter(|probe| probe.protocol == Protocol::Tcp) {
            let answer = probe.send(&world.visitor).answer;
            assert!(
                matches!(answer, Answer::Unreachable(_)),
                "{} {}: {answer:?}",
                probe.protocol,
                probe.target
            );
        }
        server
            .client()
            .apply(&json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"},
                "spec": {"cidrs": ["10.97.0.0/24", "fd00:10:97::/112"]},
            }))
            .unwrap();
        world.wait_for_answer(more, &Answer::TimedOut);
    });
}

#[test]
fn a_node_that_is_to_be_deleted_is_not_healthy() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = serve(&world);
        let agent = world.agent(1);
        wait_until("a healthy node", || agent.healthz() == Some(200));
        let mut doomed = node(world.lab.node(1));
        doomed["spec"]["taints"] = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
        server.client().apply(&doomed).unwrap();
        wait_until("an unhealthy node", || agent.healthz() == Some(503));
        server.client().apply(&node(world.lab.node(1))).unwrap();
        wait_until("a healthy node", || agent.healthz() == Some(200));
        // Of another node's fate it hears nothing.
        let mut other = node(world.lab.node(2));
        other["spec"]["taints"] = doomed["spec"]["taints"].clone();
        server.client().apply(&other).unwrap();
        let commits = agent.metric("fairlead_transactions_total").unwrap();
        server.client().apply(&service("web", cluster_ips(10))).unwrap();
        wait_until("a later change to arrive", || {
            agent.metric("fairlead_transactions_total").unwrap() > commits
        });
        assert_eq!(agent.healthz(), Some(200));
    });
}
