//! Stories of one Service: what each change writes, as the text that the log shows.

use std::net::SocketAddr;

use fairlead_model::{Backend, Candidate, Protocol, Standing, TrafficPolicy};

use super::*;
use crate::program::LocalPods;

const LOCAL: bool = true;
const REMOTE: bool = false;

fn compiler() -> Compiler {
    let local_pods = LocalPods::Cidrs(vec!["10.244.0.0/16".parse().unwrap()]);
    let mut compiler = Compiler::new(
        &Options {
            local_pods,
            masquerade_all: false,
        },
        None,
    );
    compiler.set_node_ips(
        ["172.30.0.11".parse().unwrap()].into(),
        vec!["172.30.0.11".parse().unwrap()],
    );
    assert!(!compiler.reconcile(None).is_empty());
    compiler
}

fn service(name: &str) -> Service {
    Service {
        name: ServiceName::new("default", name),
        cluster_ips: vec!["10.96.0.1".parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        affinity: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        uid: None,
    }
}

/// Ready endpoints on port 8080.
fn endpoints(all: &[(&str, bool)]) -> Selection {
    let candidate = |(address, is_local): &(&str, bool)| {
        let address: SocketAddr = format!("{address}:8080").parse().unwrap();
        Candidate {
            backend: Backend {
                address: address.ip(),
                port: address.port(),
                is_local: *is_local,
            },
            node: None,
            zone: None,
            is_serving: true,
            is_ready: true,
            cluster: Standing::Chosen,
            local: if *is_local {
                Standing::Chosen
            } else {
                Standing::NotLocal
            },
        }
    };
    Selection {
        candidates: all.iter().map(candidate).collect(),
    }
}

fn set(compiler: &mut Compiler, service: &Service, all: &[(&str, bool)]) -> String {
    compiler.set_service(service, |_, family| {
        if family == Family::V4 {
            endpoints(all)
        } else {
            Selection::default()
        }
    });
    assert_eq!(compiler.table().check(), Vec::<String>::new());
    compiler.take_transaction().to_string()
}

#[test]
fn a_service_comes_changes_and_goes() {
    let mut compiler = compiler();
    let before = compiler.table().clone();
    let web = service("web");
    let three = [("10.244.1.1", LOCAL), ("10.244.2.1", REMOTE), ("10.244.2.2", REMOTE)];
    let comes = set(&mut compiler, &web, &three);
    let replaced = set(&mut compiler, &web, &[three[0], three[1], ("10.244.2.9", REMOTE)]);
    let first_goes = set(&mut compiler, &web, &[three[1], ("10.244.2.9", REMOTE)]);
    let last_goes = set(&mut compiler, &web, &[]);
    compiler.remove_service(&web.name);
    let goes = compiler.take_transaction().to_string();
    assert_eq!(*compiler.table(), before);
    insta::assert_snapshot!(format!(
        "it comes with three endpoints\n{comes}\none is replaced\n{replaced}\nthe first goes\n{first_goes}\n\
         the others go too\n{last_goes}\nthe Service goes\n{goes}"
    ));
}

#[test]
fn policy_local_has_short_cuts_beside_the_local_endpoints() {
    let mut compiler = compiler();
    let mut web = service("web");
    web.load_balancer_ips = vec!["198.51.100.1".parse().unwrap()];
    web.ports[0].node_port = Some(30080);
    web.external_policy = TrafficPolicy::Local;
    web.source_ranges = vec!["172.30.0.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let comes = set(&mut compiler, &web, &[("10.244.1.1", LOCAL), ("10.244.2.1", REMOTE)]);
    let none_local = set(&mut compiler, &web, &[("10.244.2.1", REMOTE)]);
    insta::assert_snapshot!(format!("it comes\n{comes}\nthe local endpoint goes\n{none_local}"));
}

#[test]
fn affinity_has_chains_of_its_own() {
    let mut compiler = compiler();
    let mut web = service("web");
    web.affinity = Some(std::time::Duration::from_hours(3));
    let comes = set(&mut compiler, &web, &[("10.244.1.1", LOCAL), ("10.244.2.1", REMOTE)]);
    let one_goes = set(&mut compiler, &web, &[("10.244.2.1", REMOTE)]);
    web.affinity = None;
    let switched_off = set(&mut compiler, &web, &[("10.244.2.1", REMOTE)]);
    insta::assert_snapshot!(format!(
        "it comes\n{comes}\none goes\n{one_goes}\naffinity is switched off\n{switched_off}"
    ));
}

#[test]
fn an_address_whose_services_differ_in_policy_has_a_chain() {
    let mut compiler = compiler();
    let shared = vec!["198.51.100.1".parse().unwrap()];
    let mut web = service("web");
    web.external_ips.clone_from(&shared);
    let mut mail = service("mail");
    mail.cluster_ips = vec!["10.96.0.2".parse().unwrap()];
    mail.ports[0].port = 25;
    mail.external_ips = shared;
    mail.external_policy = TrafficPolicy::Local;
    set(&mut compiler, &web, &[("10.244.1.1", LOCAL)]);
    let joined = set(&mut compiler, &mail, &[("10.244.1.2", LOCAL)]);
    assert!(
        joined.contains("+ masquerade4: 198.51.100.1 : goto vip4/198.51.100.1"),
        "{joined}"
    );
    assert!(
        joined.contains("+ vip4/198.51.100.1/tcp: 25 : goto masquerade_host"),
        "{joined}"
    );
    compiler.remove_service(&web.name);
    let alone = compiler.take_transaction().to_string();
    assert!(
        alone.contains("+ masquerade4: 198.51.100.1 : goto masquerade_host"),
        "{alone}"
    );
    assert!(alone.contains("- chain vip4/198.51.100.1"), "{alone}");
}

#[test]
fn of_two_services_that_claim_a_frontend_the_first_by_name_has_it_until_it_lets_go() {
    let mut compiler = compiler();
    let (first, second) = (service("a"), service("b"));
    let frontend = Frontend::Address("10.96.0.1".parse().unwrap(), Protocol::Tcp, 80);
    let owner = |compiler: &Compiler| compiler.owner(&frontend).map(|owner| owner.service.name.to_string());
    set(&mut compiler, &second, &[("10.244.1.2", LOCAL)]);
    assert_eq!(owner(&compiler).as_deref(), Some("b"));
    set(&mut compiler, &first, &[("10.244.1.1", LOCAL)]);
    assert_eq!(owner(&compiler).as_deref(), Some("a"));
    compiler.remove_service(&first.name);
    assert_eq!(owner(&compiler).as_deref(), Some("b"));
    let back = compiler.take_transaction().to_string();
    assert!(
        !back.contains("services4"),
        "the verdict was the same all along: {back}"
    );
}

#[test]
fn a_change_back_is_no_change() {
    let mut compiler = compiler();
    let web = service("web");
    set(&mut compiler, &web, &[("10.244.1.1", LOCAL)]);
    for all in [
        &[("10.244.1.2", LOCAL), ("10.244.1.3", LOCAL)][..],
        &[],
        &[("10.244.1.1", LOCAL)],
    ] {
        compiler.set_service(&web, |_, family| {
            if family == Family::V4 {
                endpoints(all)
            } else {
                Selection::default()
            }
        });
    }
    assert!(compiler.take_transaction().is_empty());
}
