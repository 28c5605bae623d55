use super::*;

fn metadata(namespace: Option<&str>, name: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        namespace: namespace.map(Into::into),
        name: name.map(Into::into),
        ..ObjectMeta::default()
    }
}

#[test]
fn names_are_dns_labels() {
    let longest = "a".repeat(63);
    for (name, is_valid) in [
        ("web", true),
        ("0-1", true),
        (longest.as_str(), true),
        ("", false),
        ("Web", false),
        ("-web", false),
        ("web-", false),
        ("web.a", false),
        ("web_a", false),
        ("wéb", false),
        ("web\"; }", false),
        (
            "a234567890123456789012345678901234567890123456789012345678901234",
            false,
        ),
    ] {
        let object = metadata(Some("ns"), Some(name));
        let read = Subject::in_namespace("Service", &object).service_name();
        assert_eq!(read.is_ok(), is_valid, "{name:?}");
        let object = metadata(Some(name), Some("web"));
        let read = Subject::in_namespace("Service", &object).service_name();
        // An empty namespace is no namespace.
        assert_eq!(read.is_ok(), is_valid || name.is_empty(), "{name:?}");
    }
}

#[test]
fn an_object_without_a_namespace_lives_in_default() {
    let object = metadata(None, Some("web"));
    let name = Subject::in_namespace("Service", &object).service_name().expect("valid");
    assert_eq!(name, ServiceName::new("default", "web"));
}

#[test]
fn subdomains_have_labels_between_dots() {
    for (name, is_valid) in [
        ("node-1.example.org", true),
        ("node-1", true),
        ("", false),
        ("node..1", false),
        (".node", false),
        ("node.", false),
        ("Node", false),
        (&"a.".repeat(127), false),
        (&format!("{}a", "a.".repeat(126)), true),
        (&format!("{}a", "a.".repeat(127)), false),
    ] {
        let object = metadata(None, Some(name));
        assert_eq!(
            Subject::in_cluster("Node", &object).subdomain_name().is_ok(),
            is_valid,
            "{name:?}"
        );
    }
}

#[test]
fn an_error_names_kind_object_field_and_value() {
    let object = metadata(Some("shop"), Some("web"));
    let subject = Subject::in_namespace("Service", &object);
    let i = 1;
    let message = |error: ParseError| error.to_string();
    assert_eq!(
        subject
            .port(format_args!("spec.ports[{i}].port"), 70000)
            .map_err(message),
        Err("Service shop/web: spec.ports[1].port: 70000 is not a port from 1 to 65535".into())
    );
    assert_eq!(
        subject
            .address(format_args!("spec.externalIPs[0]"), "10.0.0.256")
            .map_err(message),
        Err("Service shop/web: spec.externalIPs[0]: \"10.0.0.256\" is not an IP address".into())
    );
    let object = metadata(None, Some("node-1"));
    assert_eq!(
        Subject::in_cluster("Node", &object)
            .net(format_args!("spec.podCIDRs[0]"), "10.0.0.0")
            .map_err(message),
        Err("Node node-1: spec.podCIDRs[0]: \"10.0.0.0\" is not a CIDR".into())
    );
}

#[test]
fn ports_and_protocols_have_their_defaults() {
    let object = metadata(None, Some("web"));
    let subject = Subject::in_namespace("Service", &object);
    let field = format_args!("field");
    assert_eq!(subject.optional_port(field, None), Ok(None));
    assert_eq!(subject.optional_port(field, Some(0)), Ok(None));
    assert_eq!(subject.optional_port(field, Some(65535)), Ok(Some(65535)));
    assert!(subject.optional_port(field, Some(-1)).is_err());
    assert!(subject.port(field, 0).is_err());
    assert_eq!(subject.protocol(field, None), Ok(Protocol::Tcp));
    assert_eq!(subject.protocol(field, Some("UDP")), Ok(Protocol::Udp));
    assert_eq!(subject.protocol(field, Some("SCTP")), Ok(Protocol::Sctp));
    assert!(
        subject.protocol(field, Some("udp")).is_err(),
        "the API knows upper case only"
    );
    assert!(subject.protocol(field, Some("ICMP")).is_err());
}
