//! Cluster IPs and ports that lead nowhere.

use std::net::IpAddr;

use fairlead_lab::{Family, Namespace, Protocol, test_name};
use serde_json::json;

use crate::manifest::{Endpoint, cluster_ips, port, service, slices};
use crate::verdict::{Verdict, assert_verdict, check, check_all, probe};
use crate::world::{CLUSTER_CIDR, Question, Workload, in_world};

#[test]
fn unknown_ports_are_refused_and_unknown_addresses_dropped() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let spec = json!({ "clusterIPs": cluster_ips(1), "ports": [port("", Protocol::Tcp, 80)] });
        let mut objects = vec![service("web", spec)];
        objects.extend(slices("web", &[("", Protocol::Tcp, 8080)], &[Endpoint::ready(&web)]));
        world.apply(objects);

        let origins: [(&Namespace, [IpAddr; 2], Option<&str>); 3] = [
            (&visitor, visitor.addresses().both(), Some("cni0")),
            (world.lab.node(1), world.lab.node(1).addresses().both(), None),
            (world.lab.client(), world.lab.client().addresses().both(), Some("eth0")),
        ];
        let used = ["10.96.0.1", "fd00:10:96::1"];
        let unused = ["10.96.7.7", "fd00:10:96::777"];
        let mut cells = Vec::new();
        for (from, sources, interface) in origins {
            for family in [0, 1] {
                for (protocol, port) in [(Protocol::Tcp, 81), (Protocol::Udp, 80), (Protocol::Udp, 53)] {
                    cells.push((
                        from,
                        sources[family],
                        interface,
                        used[family],
                        protocol,
                        port,
                        Verdict::Refused,
                    ));
                }
                for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Udp, 53)] {
                    cells.push((
                        from,
                        sources[family],
                        interface,
                        unused[family],
                        protocol,
                        port,
                        Verdict::Dropped,
                    ));
                }
            }
        }
        let world = &*world;
        check_all(
            &cells,
            |(from, source, interface, address, protocol, port, expected)| {
                let target = probe(*protocol, address.parse().unwrap(), *port);
                let cell = format!("{} to {protocol} {address} {port}", from.name());
                check(from, target, expected).map_err(|seen| format!("{cell}: expected {expected:?}, seen: {seen}"))?;
                let answer = world.trace(1, *source, target.target, *protocol);
                let verdict = if *expected == Verdict::Dropped {
                    "drop"
                } else {
                    "reject"
                };
                if answer["verdict"] == verdict {
                    Ok(())
                } else {
                    Err(format!("{cell}: traced as {answer}"))
                }?;
                let question = Question {
                    from: *source,
                    to: target.target,
                    protocol: *protocol,
                    interface: interface.map(str::to_owned),
                };
                let outcome = format!("{:?}", world.evaluate(1, &world.table(1).unwrap(), &question)).to_lowercase();
                if outcome.starts_with(verdict) {
                    Ok(())
                } else {
                    Err(format!("{cell}: evaluated as {outcome}"))
                }
            },
        );
    });
}

#[test]
fn addresses_outside_the_ranges_and_of_pods_are_nobodys_business() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 2, "web", &[8080]);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let mut objects = vec![service(
            "web",
            json!({ "clusterIPs": cluster_ips(1), "ports": [port("", Protocol::Tcp, 80)] }),
        )];
        objects.extend(slices("web", &[("", Protocol::Tcp, 8080)], &[Endpoint::ready(&web)]));
        world.apply(objects);
        for (family, elsewhere) in Family::BOTH.into_iter().zip(["10.97.0.1", "fd00:10:97::1"]) {
            let expected = Verdict::answers(&["web"], visitor.addresses().of(family));
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                assert_verdict(&visitor, probe(protocol, web.addresses().of(family), 8080), &expected);
            }
            // A UDP socket does not hear of it.
            let nobody = probe(Protocol::Tcp, elsewhere.parse().unwrap(), 80);
            assert_verdict(&visitor, nobody, &Verdict::Unreachable);
        }
    });
}
