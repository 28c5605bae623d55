use clap::Parser;
use fairlead_dataplane::compile::Frontend;
use fairlead_model::{Kind, Node, Protocol, TrafficPolicy};

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    node: NodeFlags,
}

fn view(arguments: &[&str]) -> View {
    let arguments = ["agent", "--node-name", "node-1"].iter().chain(arguments);
    View::new(Command::try_parse_from(arguments).unwrap().node)
}

fn service(name: &str, cluster_ip: &str) -> Arc<Service> {
    Arc::new(Service {
        name: ServiceName::new("default", name),
        cluster_ips: vec![cluster_ip.parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        affinity: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        uid: None,
    })
}

fn complete(view: &mut View) {
    for kind in [Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::ServiceCidr] {
        assert_eq!(view.refresh(|| None), Ok(Refreshed::Incomplete));
        view.absorb(Change::InitialListComplete(kind));
    }
}

fn set(view: &mut View, service: &Arc<Service>) {
    view.absorb(Change::Service(service.name.clone(), Some(Arc::clone(service))));
}

#[test]
fn nothing_is_compiled_before_every_initial_list_has_arrived() {
    let mut view = view(&[]);
    let service = service("web", "10.96.0.1");
    set(&mut view, &service);
    complete(&mut view);
    assert_eq!(view.refresh(|| None), Ok(Refreshed::Everything));
    let frontend = Frontend::Address("10.96.0.1".parse().unwrap(), Protocol::Tcp, 80);
    assert_eq!(
        view.compiler().unwrap().owner(&frontend).unwrap().to_string(),
        "default/web"
    );
    assert_eq!(view.refresh(|| None), Ok(Refreshed::Services(BTreeSet::new())));
}

#[test]
fn a_change_brings_its_service_up_to_date_and_no_other() {
    let mut view = view(&[]);
    complete(&mut view);
    view.refresh(|| None).unwrap();
    let web = service("web", "10.96.0.1");
    set(&mut view, &web);
    assert_eq!(
        view.refresh(|| None),
        Ok(Refreshed::Services(BTreeSet::from([web.name.clone()])))
    );
    view.absorb(Change::Service(web.name.clone(), None));
    assert_eq!(
        view.refresh(|| None),
        Ok(Refreshed::Services(BTreeSet::from([web.name.clone()])))
    );
    assert_eq!(view.compiler().unwrap().service_names().count(), 0);
}

#[test]
fn a_node_without_pod_cidrs_is_waited_for_and_losing_them_keeps_what_works() {
    let mut view = view(&["--detect-local-mode", "NodeCIDR"]);
    complete(&mut view);
    assert!(view.refresh(|| None).is_err());
    let node = Node {
        name: "node-1".into(),
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        ..Node::default()
    };
    view.absorb(Change::Node(Some(node.clone())));
    assert_eq!(view.refresh(|| None), Ok(Refreshed::Everything));
    view.absorb(Change::Node(Some(Node {
        pod_cidrs: Vec::new(),
        ..node
    })));
    assert!(view.refresh(|| None).is_err());
    assert!(view.compiler().is_some());
}

#[test]
fn an_address_that_comes_is_accepted_without_compiling_anew() {
    let mut view = view(&["--nodeport-addresses", "all"]);
    complete(&mut view);
    view.refresh(|| None).unwrap();
    let address = LocalAddress {
        interface: 2,
        is_global: true,
        is_on_uplink: true,
        address: "172.30.0.11".parse().unwrap(),
    };
    view.set_addresses(vec![address]);
    assert_eq!(view.refresh(|| None), Ok(Refreshed::Services(BTreeSet::new())));
    assert_eq!(view.compiler().unwrap().table().sets["node_ips4"].elements.len(), 1);
}
