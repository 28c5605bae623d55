//! Other programs change our table.

use std::time::{Duration, Instant};

use fairlead_lab::{Load, Pod, Protocol, test_name, wait_until};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, port, service, slices};
use crate::verdict::probe;
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, has_nft, in_world};

const HEALED_WITHIN: Duration = Duration::from_secs(1);

fn objects(endpoint: &Endpoint) -> Vec<Value> {
    let spec = json!({ "clusterIPs": cluster_ips(1), "ports": [port("", Protocol::Tcp, 80)] });
    let mut objects = vec![service("web", spec)];
    objects.extend(slices(
        "web",
        &[("", Protocol::Tcp, 8080)],
        std::slice::from_ref(endpoint),
    ));
    objects
}

const CLUSTER_IPS: [&str; 2] = ["10.96.0.1", "fd00:10:96::1"];

/// Waits until the Service answers in both families. A probe that is lost costs little.
fn wait_for_service(visitor: &Pod) {
    for address in CLUSTER_IPS {
        let target = probe(Protocol::Tcp, address.parse().unwrap(), 80).within(Duration::from_millis(50));
        wait_until(PATIENT, "the Service to answer", || {
            target.send(visitor).answer.is_reply()
        })
        .unwrap();
    }
}

#[test]
fn what_others_do_to_a_shared_table_is_mended_within_a_second() {
    in_world(test_name!(), &[CLUSTER_CIDR, "--table=shared"], |world| {
        if !has_nft("whether a table that others change is mended") {
            return;
        }
        let web = Workload::start(world, 1, "web", &[8080]);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        world.apply(objects(&Endpoint::ready(&web)));
        wait_for_service(&visitor);
        let whole = world.table(1).unwrap();
        let damages: [&[&str]; 9] = [
            &["delete", "table", "inet", "fairlead"],
            &["flush", "ruleset"],
            &["flush", "table", "inet", "fairlead"],
            &["flush", "chain", "inet", "fairlead", "services"],
            &[
                "delete",
                "element",
                "inet",
                "fairlead",
                "services4",
                "{ 10.96.0.1 . tcp . 80 }",
            ],
            &["flush", "map", "inet", "fairlead", "endpoints4"],
            &[
                "add",
                "element",
                "inet",
                "fairlead",
                "services4",
                "{ 10.96.0.9 . tcp . 80 : goto refuse }",
            ],
            &[
                "insert",
                "rule",
                "inet",
                "fairlead",
                "services",
                "ip daddr 10.96.0.1 drop",
            ],
            &["add", "table", "inet", "fairlead", "{ flags dormant; }"],
        ];
        let mut times = Vec::new();
        for damage in damages {
            // Those that keep at it are looked at only now and then, so that each begins when the last one is over.
            let heals = |world: &World| {
                ["changed", "deleted"]
                    .iter()
                    .filter_map(|reason| {
                        world.find_metric(1, &format!("fairlead_table_heals_total{{reason=\"{reason}\"}}"))
                    })
                    .sum::<f64>()
            };
            let before = heals(world);
            world.run(1, "nft", damage);
            let began = Instant::now();
            wait_until(PATIENT, &format!("the table to be whole after {damage:?}"), || {
                world.table(1).is_some_and(|table| table == whole)
            })
            .unwrap();
            let took = began.elapsed();
            eprintln!("{damage:?}: whole after {took:?}");
            times.push(took);
            wait_for_service(&visitor);
            wait_until(PATIENT, "the heal to be counted", || heals(world) > before).unwrap();
        }
        // The median, since any one of them may fall into a moment when the machine is busy with other tests.
        times.sort_unstable();
        assert!(times[times.len() / 2] < HEALED_WITHIN, "{times:?}");
        // Other tables are none of our business.
        world.run(1, "nft", &["add", "table", "inet", "other"]);
        assert!(world.run(1, "nft", &["list", "tables"]).contains("table inet other"));
    });
}

#[test]
fn an_owned_table_cannot_be_changed_by_others() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        if !has_nft("whether others can change a table of ours") {
            return;
        }
        let web = Workload::start(world, 1, "web", &[8080]);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        world.apply(objects(&Endpoint::ready(&web)));
        let version = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (6, 9) {
            eprintln!("SKIP: Linux {version} has no tables that stay when their owner ends");
            return;
        }
        let whole = world.table(1).unwrap();
        let loads: Vec<Load> = CLUSTER_IPS
            .map(|address| probe(Protocol::Tcp, address.parse().unwrap(), 80).load(&visitor, Duration::from_millis(1)))
            .into();
        let go_on = || {
            for load in &loads {
                let until = load.asked() + 20;
                wait_until(PATIENT, "traffic", || load.asked() >= until).unwrap();
            }
        };
        let refused: [&[&str]; 4] = [
            &["delete", "table", "inet", "fairlead"],
            &["flush", "table", "inet", "fairlead"],
            &[
                "delete",
                "element",
                "inet",
                "fairlead",
                "services4",
                "{ 10.96.0.1 . tcp . 80 }",
            ],
            &[
                "insert",
                "rule",
                "inet",
                "fairlead",
                "services",
                "ip daddr 10.96.0.1 drop",
            ],
        ];
        for damage in refused {
            let output = world.try_to_run(1, "nft", damage);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && errors.contains("not permitted"),
                "{damage:?}: {errors}"
            );
            go_on();
        }
        // This passes over what is owned, and takes everything else.
        world.run(1, "nft", &["add", "table", "inet", "other"]);
        world.run(1, "nft", &["flush", "ruleset"]);
        go_on();
        assert!(!world.run(1, "nft", &["list", "tables"]).contains("other"));

        // Without its owner the table stays. Then others may take it away, until the next agent has it.
        world.kill_agent(1);
        go_on();
        assert_eq!(world.table(1).unwrap(), whole);
        world.start_agent(1);
        world.apply(objects(&Endpoint::ready(&web)));
        let output = world.try_to_run(1, "nft", &["delete", "table", "inet", "fairlead"]);
        assert!(!output.status.success(), "the new agent owns the table");
        go_on();
        for load in loads {
            let report = load.stop();
            assert!(report.failures.is_empty(), "{:?}", report.failures);
        }
    });
}
