use super::*;

#[test]
fn the_program_without_services() {
    let local_pods = LocalPods::Cidrs(vec![
        "10.244.0.0/16".parse().unwrap(),
        "fd00:10:244::/56".parse().unwrap(),
    ]);
    insta::assert_snapshot!(program(&Options {
        local_pods,
        masquerade_all: false
    }));
}

#[test]
fn local_pods_by_interface() {
    let local_pods = LocalPods::Interface(InterfacePattern::Prefix("veth".into()));
    let table = program(&Options {
        local_pods,
        masquerade_all: false,
    });
    let chains = ["services", "masquerade_host", "masquerade_cluster_ip4", "node_ports6"];
    let text = chains.map(|name| format!("{name}\n{}", table.chains[name])).concat();
    insta::assert_snapshot!(text);
}

#[test]
fn without_a_way_to_recognise_pods_cluster_ips_are_never_masqueraded() {
    let table = program(&Options::default());
    assert_eq!(table.chains["masquerade_cluster_ip4"].rules, []);
    let all = program(&Options {
        masquerade_all: true,
        ..Options::default()
    });
    assert_eq!(
        all.chains["masquerade_cluster_ip6"].to_string(),
        "\t\tgoto masquerade_always\n"
    );
}

#[test]
fn every_program_is_sound() {
    let local_pods = LocalPods::Interface(InterfacePattern::Exact("cni0".into()));
    for options in [
        Options::default(),
        Options {
            local_pods,
            masquerade_all: true,
        },
    ] {
        assert_eq!(program(&options).check(), Vec::<String>::new());
    }
}
