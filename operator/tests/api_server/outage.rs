//! An API server that goes away takes no connection with it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fairlead_e2e::control_plane::{Etcd, with_api_server};
use fairlead_lab::{Answer, Probe, test_name};

use crate::objects::{agent_role, cluster_ips, node, service, slices};
use crate::world::{API_PORT, Workload, World, probes, wait_until};

/// Between two questions of a load.
const PAUSE: Duration = Duration::from_millis(5);
/// A first packet that is lost is sent again after a second. That is no failure of the connection.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn an_api_server_that_restarts_costs_no_connection_and_what_changed_meanwhile_is_followed() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = world.store.serve(API_PORT).unwrap();
        let api = server.client().clone();
        api.apply_all(&agent_role()).unwrap();
        api.apply_all(&world.lab.nodes().iter().map(node).collect::<Vec<_>>())
            .unwrap();
        let (near, far) = (world.workload(1, "near"), world.workload(2, "far"));
        let [steady, busy, moved, gone, late] = [10, 11, 12, 13, 14].map(cluster_ips);
        let both: [&Workload; 2] = [&near, &far];
        for (name, ips, workloads) in [
            ("steady", steady, &both[..]),
            ("busy", busy, &both),
            ("moved", moved, &both[..1]),
            ("gone", gone, &both),
        ] {
            let pods: Vec<_> = workloads.iter().map(|workload| &workload.pod).collect();
            api.apply(&service(name, ips)).unwrap();
            api.apply_all(&slices(name, &pods)).unwrap();
        }
        let agents = [world.agent(1), world.agent(2)];
        for (ips, workloads) in [(steady, &both[..]), (busy, &both), (moved, &both[..1]), (gone, &both)] {
            world.wait_for_servers(ips, workloads);
        }

        let all = || probes(steady).chain(probes(busy)).map(|probe| probe.within(PATIENCE));
        let loads: Vec<_> = all().map(|probe: Probe| probe.load(&world.visitor, PAUSE)).collect();
        let mut connections: Vec<_> = all().map(|probe| probe.open(&world.visitor).unwrap()).collect();
        let mut ask_all = |when: &str| {
            for connection in &mut connections {
                let answer = connection.ask().answer;
                assert!(answer.is_reply(), "an established connection {when}: {answer:?}");
            }
        };
        ask_all("before the outage");

        thread::scope(|scope| {
            // It is dropped when this closure fails, too: the writer would go on for ever.
            let (is_over, over) = mpsc::channel::<()>();
            // Endpoints come and go before, during and after the outage.
            let (api, near, far) = (&api, &near, &far);
            let writer = scope.spawn(move || {
                let mut written = [0; 2];
                let pods = [&near.pod, &far.pod];
                for round in 0.. {
                    // The pause is a wait for the end.
                    if over.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Disconnected) {
                        break;
                    }
                    let pods = [&pods[..], &pods[..1], &pods[1..]][round % 3];
                    for slice in slices("busy", pods) {
                        written[usize::from(api.apply(&slice).is_err())] += 1;
                    }
                }
                written
            });
            wait_until("some changes", || {
                agents[0].metric("fairlead_transactions_total").unwrap() > 10.0
            });
            server.kill().unwrap();
            wait_until("the agents to notice", || {
                agents
                    .iter()
                    .all(|agent| !agent.log_lines("the API server does not answer").is_empty())
            });
            ask_all("while the API server is away");

            // Another API server on the same etcd, which the agents do not know.
            let other = world.store.serve(API_PORT + 1).unwrap();
            other.client().delete(&service("gone", gone)).unwrap();
            other.client().apply_all(&slices("moved", &[&far.pod])).unwrap();
            other.client().apply(&service("late", late)).unwrap();
            other.client().apply_all(&slices("late", &[&far.pod])).unwrap();
            other.kill().unwrap();
            world.wait_for_servers(moved, &[near]);
            ask_all("before the API server is back");

            let server = world.store.serve(API_PORT).unwrap();
            for (ips, workload) in [(moved, far), (late, far)] {
                world.wait_for_servers(ips, &[workload]);
            }
            world.wait_for_answer(gone, &Answer::TimedOut);
            let commits = agents[0].metric("fairlead_transactions_total").unwrap();
            wait_until("changes after the outage", || {
                agents[0].metric("fairlead_transactions_total").unwrap() > commits + 10.0
            });
            drop(is_over);
            let [written, failed] = writer.join().unwrap();
            assert!(
                written > 0 && failed > 0,
                "{written} changes were written, {failed} met no API server"
            );
            server.client().apply_all(&slices("busy", &[&far.pod])).unwrap();
            world.wait_for_servers(busy, &[far]);
            world.wait_for_servers(steady, &both);
            ask_all("after the outage");
            server.kill().unwrap();
        });

        for load in loads {
            let report = load.stop();
            assert!(
                report.tally.replied() > 100,
                "the load is one: {:?}",
                report.tally.replies
            );
            assert_eq!(report.failures, [], "of {} questions", report.tally.replied());
        }
        for agent in &agents {
            assert!(
                !agent.log_lines("the API server answers again").is_empty(),
                "{}",
                agent.log()
            );
        }
    });
}
