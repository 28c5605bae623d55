//! `fairlead cleanup` on a real kernel: what kube-proxy left goes, and everybody else's rules stay to the letter.

use std::io::Write;
use std::process::{Command, Stdio};

use fairlead::cleanup::{CleanupError, CleanupFlags, Outcome, cleanup, detect};
use fairlead_dataplane::netlink::{Connection, Ownership};
use fairlead_dataplane::table::{Chain, Table};
use fairlead_dataplane::transaction::diff;
use fairlead_lab::{in_namespace, test_name};

const KUBE_PROXY: CleanupFlags = CleanupFlags { kube_proxy: true };
const OWN: CleanupFlags = CleanupFlags { kube_proxy: false };

/// Runs a program in this network namespace.
fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("{program} does not start: {err}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

/// Rules and chains of a save, without dates and counters.
fn saved(variant: &str) -> Vec<String> {
    let text = run(&format!("{variant}-save"), &[], "");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(" [").next().unwrap_or(line).to_owned())
        .collect()
}

fn clean(flags: &CleanupFlags) -> (Vec<String>, Result<(), CleanupError>) {
    let mut lines = Vec::new();
    let result = cleanup(flags, &mut |outcome: &Outcome| lines.push(outcome.to_string()));
    (lines, result)
}

/// What others have on the node: the kubelet, a CNI plug-in, the owner.
fn rules_of_others(pods: &str) -> String {
    format!(
        r#"*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:own - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "\"ssh\" -j KUBE-SERVICES" -j ACCEPT
-A INPUT -j KUBE-FIREWALL
-A FORWARD -j own
-A FORWARD -s {pods} -j ACCEPT
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A own -p udp -m udp --dport 53 -j RETURN
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-DROP - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s {pods} -j MASQUERADE
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j RETURN
COMMIT
"#
    )
}

/// What kube-proxy in iptables mode writes, between and before the rules of others.
fn rules_of_kube_proxy(service: &str, endpoint: &str) -> String {
    format!(
        r#"*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-I INPUT 2 -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I INPUT 1 -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I FORWARD 2 -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I FORWARD 1 -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I FORWARD 1 -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I OUTPUT 1 -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-SERVICES -d {service} -p udp -m comment --comment "shop/dns has no endpoints" -m udp --dport 53 -j REJECT
COMMIT
*nat
:KUBE-EXT-TCIPYSYI6CYIHKMF - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-OIPMJHKZGYQFKCFS - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-TCIPYSYI6CYIHKMF - [0:0]
:KUBE-SVL-TCIPYSYI6CYIHKMF - [0:0]
:KUBE-FW-TCIPYSYI6CYIHKMF - [0:0]
-I PREROUTING 1 -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I OUTPUT 1 -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING 1 -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-EXT-TCIPYSYI6CYIHKMF -m comment --comment "masquerade traffic for shop/web external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-TCIPYSYI6CYIHKMF -j KUBE-SVC-TCIPYSYI6CYIHKMF
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web" -m tcp --dport 30080 -j KUBE-EXT-TCIPYSYI6CYIHKMF
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-OIPMJHKZGYQFKCFS -s {endpoint} -m comment --comment "shop/web" -j KUBE-MARK-MASQ
-A KUBE-SEP-OIPMJHKZGYQFKCFS -p tcp -m recent --set --name KUBE-SEP-OIPMJHKZGYQFKCFS --rsource -m tcp -j DNAT --to-destination {endpoint}
-A KUBE-SERVICES -d {service} -p tcp -m comment --comment "shop/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-TCIPYSYI6CYIHKMF
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-TCIPYSYI6CYIHKMF -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-OIPMJHKZGYQFKCFS
COMMIT
"#
    )
}

const VARIANTS: [&str; 4] = ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"];

#[test]
fn kube_proxys_iptables_rules_go_from_both_back_ends_and_others_stay() {
    in_namespace(test_name!(), || {
        let before: Vec<_> = VARIANTS
            .iter()
            .map(|variant| {
                let (pods, service, endpoint) = match variant.strip_prefix("ip6") {
                    Some(_) => ("fd00:244::/64", "fd00:96::10", "fd00:244::5"),
                    None => ("10.244.0.0/24", "10.96.0.10", "10.244.0.5"),
                };
                let restore = format!("{variant}-restore");
                run(&restore, &["--noflush"], &rules_of_others(pods));
                let before = saved(variant);
                run(&restore, &["--noflush"], &rules_of_kube_proxy(service, endpoint));
                assert_ne!(saved(variant), before);
                before
            })
            .collect();
        let found = detect();
        for variant in VARIANTS {
            assert!(
                found.contains(&format!("10 chains in {variant} table nat")),
                "{found:#?}"
            );
        }

        let (lines, result) = clean(&KUBE_PROXY);
        result.unwrap_or_else(|err| panic!("{err}: {:#?}", err.remaining));
        for (variant, before) in VARIANTS.iter().zip(&before) {
            assert_eq!(&saved(variant), before, "{variant}: {lines:#?}");
        }
        for line in [
            "removed iptables-legacy nat chain KUBE-SEP-OIPMJHKZGYQFKCFS",
            "removed ip6tables-nft filter rule of INPUT: -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS",
            "removed ip6tables-legacy mangle chain KUBE-PROXY-CANARY",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
        }

        assert_eq!(detect(), Vec::<String>::new());
        let (lines, result) = clean(&KUBE_PROXY);
        assert!(result.is_ok());
        assert_eq!(lines, ["nothing to remove"]);
    });
}

#[test]
fn a_mark_that_a_cni_plug_in_uses_keeps_working() {
    in_namespace(test_name!(), || {
        run(
            "iptables-nft-restore",
            &["--noflush"],
            &rules_of_others("10.244.0.0/24"),
        );
        run(
            "iptables-nft-restore",
            &["--noflush"],
            &rules_of_kube_proxy("10.96.0.10", "10.244.0.5"),
        );
        run(
            "iptables-nft-restore",
            &["--noflush"],
            "*nat\n:CNI-HOSTPORT-SETMARK - [0:0]\n-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ\nCOMMIT\n",
        );
        let (lines, result) = clean(&KUBE_PROXY);
        result.unwrap_or_else(|err| panic!("{:#?}", err.remaining));
        let kept = "kept iptables-nft nat KUBE-MARK-MASQ: a rule in CNI-HOSTPORT-SETMARK leads to it";
        assert!(lines.iter().any(|line| line == kept), "{lines:#?}");
        let nat = run("iptables-nft-save", &["-t", "nat"], "");
        for rule in [
            "-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ",
            "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
            "-j KUBE-POSTROUTING",
            "-j MASQUERADE --random-fully",
        ] {
            assert!(nat.contains(rule), "{rule}: {nat}");
        }
        assert!(!nat.contains("KUBE-SERVICES"), "{nat}");
        assert_eq!(detect(), Vec::<String>::new(), "what is kept on purpose is no leftover");
    });
}

#[test]
fn kube_proxys_nftables_and_its_device_go_and_our_table_stays() {
    in_namespace(test_name!(), || {
        let others = "table ip filter { chain mine { tcp dport 22 accept; }; }\n\
            table inet fairlead { chain c { accept; }; }\n\
            table inet kube-proxy { chain c { accept; }; }\n";
        run("nft", &["-f", "-"], others);
        let before = run("nft", &["list", "ruleset"], "");
        run(
            "nft",
            &["-f", "-"],
            "table ip kube-proxy { map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }; }\n\
             table ip6 kube-proxy { chain services { }; chain nat-output { type nat hook output priority -100; goto services; }; }\n",
        );
        run("ip", &["link", "add", "kube-ipvs0", "type", "bridge"], "");
        let found = detect();
        for line in [
            "nftables table ip kube-proxy",
            "nftables table ip6 kube-proxy",
            "ipvs with device kube-ipvs0 or ip sets KUBE-*",
        ] {
            assert!(found.iter().any(|found| found == line), "{line}: {found:#?}");
        }

        let (lines, result) = clean(&KUBE_PROXY);
        assert!(result.is_ok(), "{lines:#?}");
        assert_eq!(
            lines,
            [
                "removed nftables table ip kube-proxy",
                "removed nftables table ip6 kube-proxy",
                "removed network device kube-ipvs0",
            ],
        );
        assert_eq!(run("nft", &["list", "ruleset"], ""), before);
        assert!(!run("ip", &["link"], "").contains("kube-ipvs0"));
    });
}

#[test]
fn our_own_table_goes_and_kube_proxys_stays() {
    in_namespace(test_name!(), || {
        run(
            "nft",
            &["-f", "-"],
            "table ip kube-proxy { chain c { accept; }; }\ntable ip fairlead { chain c { accept; }; }\n",
        );
        let before = run("nft", &["list", "ruleset"], "");
        run(
            "nft",
            &["-f", "-"],
            "table inet fairlead { set s { type ipv4_addr; elements = { 10.0.0.1 }; }; }\ntable netdev fairlead { chain c { accept; }; }\n",
        );
        let (lines, result) = clean(&OWN);
        assert!(result.is_ok());
        assert_eq!(
            lines,
            [
                "removed nftables table inet fairlead",
                "removed nftables table netdev fairlead"
            ]
        );
        assert_eq!(run("nft", &["list", "ruleset"], ""), before);
        assert_eq!(clean(&OWN).0, ["nothing to remove"]);
    });
}

#[test]
fn a_table_that_a_running_agent_owns_is_told_and_goes_when_the_agent_has_ended() {
    in_namespace(test_name!(), || {
        let mut agent = Connection::open(Ownership::Owned).unwrap();
        let table = Table {
            chains: [("c".into(), Chain::default())].into(),
            ..Table::default()
        };
        agent.commit(&diff(&Table::default(), &table), None).unwrap();
        if !agent.load().unwrap().unwrap().is_owned {
            // The kernel is older than 6.9: nobody owns a table that is to outlive its owner.
            return;
        }
        let (lines, result) = clean(&OWN);
        assert_eq!(result.unwrap_err().remaining.len(), 1);
        assert!(
            lines[0].starts_with("failed: nftables table inet fairlead (an agent"),
            "{lines:#?}"
        );
        drop(agent);
        assert_eq!(clean(&OWN).0, ["removed nftables table inet fairlead"]);
    });
}
