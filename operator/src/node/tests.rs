use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    node: NodeFlags,
}

fn flags(arguments: &[&str]) -> NodeFlags {
    let arguments = ["agent", "--node-name", "node-1"].iter().chain(arguments);
    Command::try_parse_from(arguments).unwrap().node
}

fn addresses() -> Vec<LocalAddress> {
    let local = |interface, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        LocalAddress {
            interface,
            is_on_uplink: false,
            is_global: !address.is_loopback() && !address.to_string().starts_with("fe80"),
            address,
        }
    };
    vec![
        local(1, "127.0.0.1"),
        local(1, "::1"),
        local(3, "10.244.1.254"),
        local(2, "fe80::1"),
        local(2, "172.30.0.11"),
        local(2, "172.30.0.99"),
        local(2, "fd00:172:30::11"),
    ]
}

fn accepted(arguments: &[&str]) -> Vec<String> {
    let config = flags(arguments).configure(None, &addresses()).unwrap();
    config.node_port_addresses.iter().map(IpAddr::to_string).collect()
}

#[test]
fn node_ports_are_accepted_where_the_flag_says() {
    let all_v6 = ["fd00:172:30::11", "fe80::1"];
    assert_eq!(accepted(&[]), ["172.30.0.11", "fd00:172:30::11"]);
    assert_eq!(accepted(&["--nodeport-addresses", "all"]).len(), 5);
    let v4_range = accepted(&["--nodeport-addresses", "172.30.0.64/26"]);
    assert_eq!(
        v4_range,
        [&["172.30.0.99"], &all_v6[..]].concat(),
        "a family without a value is accepted whole"
    );
    assert_eq!(
        accepted(&["--nodeport-addresses", "127.0.0.0/8,::1/128"]),
        [""; 0],
        "never loopback"
    );
    assert_eq!(
        accepted(&["--nodeport-addresses", "localhost"]),
        [""; 0],
        "never loopback"
    );
    assert_eq!(
        accepted(&["--nodeport-addresses", "primary,10.0.0.0/8"]),
        ["10.244.1.254", "172.30.0.11", "fd00:172:30::11"]
    );
    assert!(!flags(&[]).configure(None, &addresses()).unwrap().accepts_all);
    let zero = flags(&["--nodeport-addresses", "0.0.0.0/0"]);
    assert!(zero.configure(None, &addresses()).unwrap().accepts_all);
}

#[test]
fn an_address_on_the_loopback_interface_is_a_primary_one_only_where_there_is_no_other() {
    let on_lo = LocalAddress {
        interface: 1,
        is_global: true,
        is_on_uplink: false,
        address: "203.0.113.1".parse().unwrap(),
    };
    let primary_ips = |addresses: &[LocalAddress]| flags(&[]).configure(None, addresses).unwrap().primary_ips;
    let both = [&[on_lo], &addresses()[..]].concat();
    assert_eq!(primary_ips(&both), primary_ips(&addresses()));
    assert_eq!(primary_ips(&[on_lo]), [on_lo.address]);
}

#[test]
fn the_primary_address_is_on_the_uplink_and_no_pods() {
    let local = |interface, is_on_uplink, address: &str| LocalAddress {
        interface,
        is_global: true,
        is_on_uplink,
        address: address.parse().unwrap(),
    };
    let all = [
        local(2, false, "10.244.1.1"),
        local(3, false, "172.30.0.11"),
        local(4, true, "192.168.1.1"),
    ];
    let primary_ips = |arguments: &[&str], addresses: &[LocalAddress]| {
        flags(arguments).configure(None, addresses).unwrap().primary_ips[0].to_string()
    };
    let pods = ["--cluster-cidr", "10.244.0.0/16"];
    assert_eq!(primary_ips(&[], &all), "192.168.1.1");
    assert_eq!(primary_ips(&pods, &all[..2]), "172.30.0.11");
    assert_eq!(primary_ips(&[], &all[..2]), "10.244.1.1");
}

#[test]
fn the_node_object_names_the_primary_addresses_and_the_zone_before_the_flags_do() {
    let node = Node {
        name: "node-1".into(),
        zone: Some("zone-a".into()),
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        primary_ips: vec!["172.30.0.99".parse().unwrap()],
        is_eligible: true,
    };
    let flags = flags(&[
        "--node-ip",
        "1.2.3.4",
        "--node-zone",
        "zone-b",
        "--detect-local-mode",
        "NodeCIDR",
    ]);
    let config = flags.configure(Some(&node), &addresses()).unwrap();
    assert_eq!(config.primary_ips, node.primary_ips);
    assert_eq!(config.zone.as_deref(), Some("zone-a"));
    assert_eq!(config.options.local_pods, LocalPods::Cidrs(node.pod_cidrs));

    let error = flags.configure(None, &addresses()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--detect-local-mode NodeCIDR: Node node-1 has no spec.podCIDRs yet"
    );
}

#[test]
fn local_pods_are_recognised_as_the_flags_say() {
    let pods = |arguments: &[&str]| flags(arguments).configure(None, &[]).unwrap().options.local_pods;
    assert_eq!(pods(&[]), LocalPods::Unknown);
    assert_eq!(
        pods(&["--cluster-cidr", "10.244.0.0/16,fd00::/48,10.245.0.0/16"]),
        LocalPods::Cidrs(vec!["10.244.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()]),
    );
    assert_eq!(
        pods(&[
            "--detect-local-mode",
            "InterfaceNamePrefix",
            "--pod-interface-name-prefix",
            "veth"
        ]),
        LocalPods::Interface(InterfacePattern::Prefix("veth".into())),
    );
    assert_eq!(
        pods(&[
            "--detect-local-mode",
            "BridgeInterface",
            "--pod-bridge-interface",
            "cni0"
        ]),
        LocalPods::Interface(InterfacePattern::Exact("cni0".into())),
    );
}

#[test]
fn a_wrong_flag_is_refused_with_its_name() {
    for (arguments, named) in [
        (&["--nodeport-addresses", "10.0.0.0/33"][..], "--nodeport-addresses"),
        (&["--cluster-cidr", "pods"], "--cluster-cidr"),
        (&["--detect-local-mode", "BridgeInterface"], "--pod-bridge-interface"),
        (
            &["--pod-interface-name-prefix", "sixteen-bytes-xx"],
            "--pod-interface-name-prefix",
        ),
    ] {
        let error = Command::try_parse_from(["agent"].iter().chain(arguments))
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{error}");
    }
}
