//! Loading and changing rules.

use std::time::Duration;

use fairlead_dataplane::netlink::Ownership;
use fairlead_dataplane::sync::Dataplane;
use fairlead_lab::Namespace;

use crate::cost::{Cost, measure, ms, percentile};
use crate::fixture::Cluster;

/// Sizes of the comparison with kube-proxy.
const SIZES: [(u32, u32); 3] = [(1_000, 2), (10_000, 2), (5_000, 50)];
const LOADS: usize = 5;
const CHANGES: usize = 2_000;

fn in_fresh_namespace<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    Namespace::new("bench").expect("a network namespace").run(run)
}

fn open() -> Dataplane {
    Dataplane::open(Ownership::Owned).expect("nf_tables")
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> Duration) -> Duration {
    percentile(&mut costs.iter().map(of).collect::<Vec<_>>(), 50)
}

/// From complete lists to committed rules, in an empty namespace.
pub(crate) fn load() {
    println!("| cold load, lists complete → committed | median of {LOADS} | of it processor time | sent |");
    println!("|---|---|---|---|");
    for (services, endpoints) in SIZES {
        let cluster = Cluster::new(services, endpoints);
        let mut bytes = 0;
        let costs: Vec<_> = (0..LOADS)
            .map(|_| {
                in_fresh_namespace(|| {
                    let (report, cost) = measure(|| {
                        let mut dataplane = open();
                        let seed = dataplane.load().expect("an empty namespace");
                        let mut compiler = cluster.compile(seed);
                        dataplane.reconcile(&mut compiler).expect("the kernel takes it")
                    });
                    (report.bytes, cost)
                })
            })
            .map(|(sent, cost)| {
                bytes = sent;
                cost
            })
            .collect();
        println!(
            "| {services} Services × {endpoints} endpoints | **{}** | {} | {:.1} MB |",
            ms(median(&costs, |cost| cost.wall)),
            ms(median(&costs, |cost| cost.cpu)),
            f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1e6,
        );
    }
}

/// One endpoint changes among many Services.
pub(crate) fn change() {
    println!("| one endpoint changes, event → committed | p50 | p99 | processor time, mean |");
    println!("|---|---|---|---|");
    for (services, endpoints) in SIZES {
        in_fresh_namespace(|| {
            let mut cluster = Cluster::new(services, endpoints);
            let mut dataplane = open();
            let mut compiler = cluster.compile(None);
            dataplane.reconcile(&mut compiler).expect("the kernel takes it");
            let count = cluster.services.len();
            let mut one_change = |row: &str, change: &mut dyn FnMut(&mut Cluster, usize, usize)| {
                let mut walls = Vec::new();
                let mut cpu = Duration::ZERO;
                for turn in 0..CHANGES {
                    let index = turn * 7919 % count;
                    change(&mut cluster, index, turn);
                    let (report, cost) = measure(|| {
                        cluster.refresh(&mut compiler, index);
                        dataplane.commit(&mut compiler).expect("the kernel takes it")
                    });
                    assert!(report.bytes > 0 && !report.is_full);
                    walls.push(cost.wall);
                    cpu += cost.cpu;
                }
                let turns = u32::try_from(CHANGES).expect("few changes");
                println!(
                    "| {services} × {endpoints}: {row} | {} | **{}** | {} |",
                    ms(percentile(&mut walls, 50)),
                    ms(percentile(&mut walls, 99)),
                    ms(cpu / turns),
                );
            };
            let mut fresh = 0;
            one_change("an endpoint is replaced", &mut |cluster, index, _| {
                fresh += 1;
                cluster.replace_endpoint(index, 0, fresh);
            });
            // Every second turn takes away what the turn before has added.
            one_change("an endpoint comes or goes", &mut |cluster, index, _| {
                let slice = &mut cluster.slices[index];
                if slice.endpoints.len() > usize::try_from(endpoints).expect("few endpoints") {
                    slice.endpoints.pop();
                } else {
                    slice
                        .endpoints
                        .push(Cluster::new(1, endpoints + 1).slices.remove(0).endpoints.remove(0));
                }
            });
        });
    }
}

/// Many endpoints change at once.
pub(crate) fn burst() {
    println!("| 1,000 endpoints change at once, at 10,000 × 2 | median of {LOADS} | of it processor time |");
    println!("|---|---|---|");
    in_fresh_namespace(|| {
        let mut cluster = Cluster::new(10_000, 2);
        let mut dataplane = open();
        let mut compiler = cluster.compile(None);
        dataplane.reconcile(&mut compiler).expect("the kernel takes it");
        let costs: Vec<_> = (0u32..5)
            .map(|round| {
                for index in 0..1_000 {
                    let fresh = round * 1_000 + u32::try_from(index).expect("few");
                    cluster.replace_endpoint(index * 10, 1, fresh);
                }
                let run = || {
                    (0..1_000).for_each(|index| cluster.refresh(&mut compiler, index * 10));
                    dataplane.commit(&mut compiler).expect("the kernel takes it")
                };
                measure(run).1
            })
            .collect();
        let (wall, cpu) = (median(&costs, |cost| cost.wall), median(&costs, |cost| cost.cpu));
        println!("| one transaction | **{}** | {} |", ms(wall), ms(cpu));
    });
}

/// An agent starts where the rules are loaded already.
pub(crate) fn restart() {
    println!("| restart with the rules in place, lists complete → compared | median of {LOADS} | written |");
    println!("|---|---|---|");
    for (services, endpoints) in SIZES {
        in_fresh_namespace(|| {
            let cluster = Cluster::new(services, endpoints);
            let mut compiler = cluster.compile(None);
            open().reconcile(&mut compiler).expect("the kernel takes it");
            let mut written = 0;
            let costs: Vec<_> = (0..LOADS)
                .map(|_| {
                    let (report, cost) = measure(|| {
                        let mut dataplane = open();
                        let seed = dataplane.load().expect("the table is there");
                        let mut compiler = cluster.compile(seed);
                        dataplane.reconcile(&mut compiler).expect("the kernel takes it")
                    });
                    written += report.bytes;
                    cost
                })
                .collect();
            let wall = median(&costs, |cost| cost.wall);
            println!("| {services} × {endpoints} | **{}** | {written} bytes |", ms(wall));
        });
    }
}
