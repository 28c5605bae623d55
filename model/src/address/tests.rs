use super::*;

#[test]
fn addresses_are_read_in_every_spelling_that_kubernetes_accepts() {
    let cases = [
        ("10.0.0.1", Some("10.0.0.1")),
        ("010.000.0.08", Some("10.0.0.8")),
        ("0000010.0.0.1", Some("10.0.0.1")),
        ("fd00::1", Some("fd00::1")),
        ("FD00:0:0::1", Some("fd00::1")),
        ("fd00::00001", Some("fd00::1")),
        ("64:ff9b::192.0.02.01", Some("64:ff9b::192.0.2.1")),
        ("::ffff:10.0.0.1", Some("10.0.0.1")),
        ("::ffff:10.0.0.01", Some("10.0.0.1")),
        ("::ffff:a00:1", Some("10.0.0.1")),
        ("::10.0.0.1", Some("::10.0.0.1")),
        ("", None),
        ("10.0.0", None),
        ("10.0.0.1.", None),
        ("10.0.0.1.2", None),
        ("10.0.0.256", None),
        ("10.0.0.0256", None),
        ("10.0.0.+1", None),
        ("10.0.0.0x1", None),
        (" 10.0.0.1", None),
        ("10.0..1", None),
        ("99999999999.0.0.1", None),
        ("fe80::1%eth0", None),
        ("fd00:::1", None),
        ("fd00::1::2", None),
        ("fd00::10000", None),
        ("10.0.0.1::", None),
        ("node-1", None),
    ];
    for (text, expected) in cases {
        let expected: Option<IpAddr> = expected.map(|address| address.parse().expect("strict"));
        assert_eq!(parse_address(text), expected, "{text:?}");
    }
}

#[test]
fn networks_lose_their_host_bits_and_their_padding() {
    let cases = [
        ("10.1.2.3/8", Some("10.0.0.0/8")),
        ("010.001.2.3/08", Some("10.0.0.0/8")),
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("10.0.0.1/32", Some("10.0.0.1/32")),
        ("fd00::1/64", Some("fd00::/64")),
        ("::/0", Some("::/0")),
        ("::ffff:10.0.0.1/120", Some("10.0.0.0/24")),
        ("::ffff:10.0.0.1/96", Some("0.0.0.0/0")),
        ("::ffff:10.0.0.1/90", Some("::ffc0:0:0/90")),
        ("10.0.0.0", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/33", None),
        ("10.0.0.0/+8", None),
        ("10.0.0.0/-1", None),
        ("10.0.0.0/8/8", None),
        ("fd00::/129", None),
        ("fd00::/999999999999", None),
        ("/8", None),
    ];
    for (text, expected) in cases {
        let expected: Option<IpNet> = expected.map(|net| net.parse().expect("strict"));
        assert_eq!(parse_net(text), expected, "{text:?}");
    }
}

#[test]
fn protocols_have_their_numbers_of_the_ip_header() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
    }
    assert_eq!(Protocol::from_number(1), None, "ICMP");
    assert_eq!(Protocol::ALL.map(|p| p.to_string()), ["tcp", "udp", "sctp"]);
}
