use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: ConntrackFlags,
}

fn flags(arguments: &[&str]) -> ConntrackFlags {
    Line::try_parse_from([&["agent"], arguments].concat()).unwrap().flags
}

fn cores(count: usize) -> NonZero<usize> {
    NonZero::new(count).unwrap()
}

fn lines(flags: &ConntrackFlags, count: usize, current: &[(Setting, u64)]) -> Vec<String> {
    plan(flags, cores(count), &current.iter().copied().collect())
        .iter()
        .map(ToString::to_string)
        .collect()
}

const AS_DEFAULT: [(Setting, u64); 4] = [
    (Setting::Max, 131_072),
    (Setting::Buckets, 32_768),
    (Setting::TcpTimeoutEstablished, 86_400),
    (Setting::TcpTimeoutCloseWait, 3_600),
];

#[test]
fn the_defaults_are_kube_proxys() {
    assert_eq!(
        lines(&flags(&[]), 2, &[(Setting::Max, 65_536), (Setting::Buckets, 16_384)]),
        [
            "net.netfilter.nf_conntrack_max = 131072",
            "net.netfilter.nf_conntrack_buckets = 32768",
            "net.netfilter.nf_conntrack_tcp_timeout_established = 86400",
            "net.netfilter.nf_conntrack_tcp_timeout_close_wait = 3600",
        ],
    );
    assert_eq!(lines(&flags(&[]), 2, &AS_DEFAULT), Vec::<String>::new());
}

#[test]
fn the_limit_is_raised_with_the_cores_and_never_lowered() {
    let max = |arguments: &[&str], count: usize, now: u64| {
        let current = [
            AS_DEFAULT.as_slice(),
            &[(Setting::Max, now), (Setting::Buckets, u64::MAX)],
        ]
        .concat();
        lines(&flags(arguments), count, &current)
    };
    let path = "net.netfilter.nf_conntrack_max";
    assert_eq!(max(&[], 8, 131_072), [format!("{path} = 262144")]);
    assert_eq!(max(&[], 8, 262_145), Vec::<String>::new());
    assert_eq!(
        max(&[], 128, 0),
        [format!("{path} = 1048576")],
        "no more than a million by the number of cores"
    );
    assert_eq!(max(&["--conntrack-min=2000000"], 128, 0), [format!("{path} = 2000000")]);
    assert_eq!(max(&["--conntrack-max-per-core=0"], 8, 1), Vec::<String>::new());
}

#[test]
fn the_hash_table_grows_even_where_the_limit_is_high_enough() {
    let current = [AS_DEFAULT.as_slice(), &[(Setting::Buckets, 1_000)]].concat();
    assert_eq!(
        lines(&flags(&[]), 1, &current),
        ["net.netfilter.nf_conntrack_buckets = 32768"]
    );
}

#[test]
fn the_other_flags_set_what_they_say() {
    let current = [
        AS_DEFAULT.as_slice(),
        &[(Setting::UdpTimeout, 30), (Setting::TcpBeLiberal, 0)],
    ]
    .concat();
    assert_eq!(
        lines(
            &flags(&[
                "--conntrack-tcp-be-liberal",
                "--conntrack-udp-timeout=10s",
                "--conntrack-udp-timeout-stream=2m",
                "--conntrack-tcp-timeout-established=0",
                "--conntrack-tcp-timeout-close-wait=500ms",
            ]),
            1,
            &current,
        ),
        [
            "net.netfilter.nf_conntrack_tcp_be_liberal = 1",
            "net.netfilter.nf_conntrack_tcp_timeout_close_wait = 1",
            "net.netfilter.nf_conntrack_udp_timeout = 10",
            "net.netfilter.nf_conntrack_udp_timeout_stream = 120",
        ],
    );
    assert!(!flags(&["--conntrack-tcp-be-liberal=false"]).conntrack_tcp_be_liberal);
}

#[test]
fn cpu_lists_are_counted() {
    for (list, want) in [
        ("0\n", Some(1)),
        ("0-3", Some(4)),
        ("0-3,8,10-11\n", Some(7)),
        ("", None),
        ("3-1", None),
    ] {
        assert_eq!(count_cpus(list), want.map(cores), "{list}");
    }
}

#[test]
fn what_cannot_be_written_is_told_and_the_rest_is_written() {
    let root = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("online", "0-7\n");
    file(Setting::Max.path(), "65536\n");
    // A folder in the place of the file: not to be written, by root either.
    fs::create_dir_all(root.path().join(Setting::TcpTimeoutEstablished.path())).unwrap();
    file(Setting::TcpTimeoutCloseWait.path(), "60\n");

    let sysctls = Sysctls {
        online_cpus: root.path().join("online"),
        ..Sysctls::new(root.path())
    };
    let failures: Vec<_> = sysctls.apply(&flags(&[])).iter().map(ToString::to_string).collect();
    let folder = root.path().display();
    assert_eq!(
        failures,
        [format!(
            "cannot set net.netfilter.nf_conntrack_tcp_timeout_established = 86400 in {folder}"
        )],
    );
    assert_eq!(sysctls.read(Setting::Buckets), Some(65_536));
    assert_eq!(sysctls.read(Setting::Max), Some(262_144));
    assert_eq!(sysctls.read(Setting::TcpTimeoutCloseWait), Some(3_600));
}
