//! A pod that is its own endpoint must see the node as its client, else it would answer itself past the node.

use std::net::IpAddr;

use fairlead_lab::{Family, Protocol, test_name};
use serde_json::json;

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices, with_ingress};
use crate::verdict::{Verdict, check, check_all, probe};
use crate::world::{CLUSTER_CIDR, Workload, in_world};

#[test]
fn a_pod_reaches_itself_through_every_frontend() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let mut objects = Vec::new();
        let mut cells = Vec::new();
        for (number, internal, external) in [(1, "Cluster", "Cluster"), (2, "Local", "Local")] {
            let name = format!("web-{number}");
            let ports = Protocol::ALL.map(|protocol| {
                node_port(
                    &protocol.to_string().to_lowercase(),
                    protocol,
                    80,
                    30_080 + u16::from(number),
                )
            });
            let spec = json!({
                "type": "LoadBalancer",
                "clusterIPs": cluster_ips(number),
                "externalIPs": [format!("198.51.100.{number}"), format!("2001:db8:1::{number}")],
                "internalTrafficPolicy": internal,
                "externalTrafficPolicy": external,
                "ports": ports,
            });
            let ingress = [format!("203.0.113.{number}"), format!("2001:db8:2::{number}")];
            objects.push(with_ingress(service(&name, spec), &[&ingress[0], &ingress[1]]));
            let ports = [
                ("tcp", Protocol::Tcp, 8080),
                ("udp", Protocol::Udp, 8080),
                ("sctp", Protocol::Sctp, 8080),
            ];
            objects.extend(slices(&name, &ports, &[Endpoint::ready(&web)]));

            let frontends = [
                "10.96.0.",
                "fd00:10:96::",
                "198.51.100.",
                "2001:db8:1::",
                "203.0.113.",
                "2001:db8:2::",
            ];
            for prefix in frontends {
                let address: IpAddr = format!("{prefix}{number}").parse().unwrap();
                cells.push((address, 80));
            }
            for address in world.lab.node(1).addresses().both() {
                cells.push((address, 30_080 + u16::from(number)));
            }
        }
        world.apply(objects);

        let protocols = || Protocol::ALL.into_iter().filter(|protocol| protocol.is_supported());
        let cells: Vec<_> = cells
            .iter()
            .flat_map(|cell| protocols().map(move |protocol| (*cell, protocol)))
            .collect();
        check_all(&cells, |&((address, port), protocol)| {
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            let gateway = world.lab.node(1).pod_addresses(1).of(family);
            check(
                &web,
                probe(protocol, address, port),
                &Verdict::answers(&["web"], gateway),
            )
            .map_err(|seen| format!("{protocol} {address}:{port}: {seen}"))
        });
    });
}

#[test]
fn other_endpoints_still_see_the_pod_itself() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let neighbour = Workload::start(world, 1, "neighbour", &[8080]);
        let spec = json!({ "clusterIPs": cluster_ips(1), "ports": [{ "port": 80 }] });
        let mut objects = vec![service("web", spec)];
        objects.extend(slices(
            "web",
            &[("", Protocol::Tcp, 8080)],
            &[Endpoint::ready(&web), Endpoint::ready(&neighbour)],
        ));
        world.apply(objects);
        for (family, cluster_ip) in [(Family::V4, "10.96.0.1"), (Family::V6, "fd00:10:96::1")] {
            let (own, gateway) = (
                web.addresses().of(family),
                world.lab.node(1).pod_addresses(1).of(family),
            );
            let expected = Verdict::Answers([("web".to_owned(), gateway), ("neighbour".to_owned(), own)].into());
            check(&web, probe(Protocol::Tcp, cluster_ip.parse().unwrap(), 80), &expected).unwrap();
        }
    });
}
