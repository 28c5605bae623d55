use std::fmt::Write as _;
use std::time::Duration;

use super::*;

const WEB: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  clusterIP: 10.96.0.10
  selector: {app: web}
  sessionAffinity: ClientIP
  ports:
  - name: http
    port: 80
    targetPort: web
  - name: dns
    port: 53
    protocol: UDP
";

const WEB_SLICE: &str = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {kubernetes.io/service-name: web}
addressType: IPv6
ports:
- port: 8080
endpoints:
- addresses: ['fd00:10::1']
";

fn names(file_name: &str, text: &str) -> Vec<String> {
    parse(file_name, text).unwrap().iter().map(Object::describe).collect()
}

fn error(text: &str) -> String {
    parse("web.yaml", text).unwrap_err().to_string()
}

#[test]
fn a_zero_byte_is_found_where_it_is() {
    let text = WEB.replace("10.96.0.10", "10.96\0\0\0\n\0");
    assert_eq!(
        error(&text),
        "web.yaml:7:19: Service shop/web: spec.clusterIP: a zero byte: the file is damaged"
    );
}

#[test]
fn a_service_is_read() {
    let objects = parse("web.yaml", WEB).unwrap();
    let [Object::Service(manifest)] = objects.as_slice() else {
        panic!("{objects:?}")
    };
    let service = manifest.service.as_ref().unwrap();
    assert_eq!(manifest.name, ServiceName::new("shop", "web"));
    assert_eq!(service.name, manifest.name);
    assert_eq!(service.affinity, Some(Duration::from_hours(3)));
    assert_eq!(service.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80, 53]);
    assert!(manifest.has_selector && !manifest.lacks_cluster_ip);
}

#[test]
fn a_port_without_a_name_counts_as_the_api_server_would_store_it() {
    let objects = parse("web.yaml", WEB_SLICE).unwrap();
    let [Object::EndpointSlice(_, Some(slice))] = objects.as_slice() else {
        panic!("{objects:?}")
    };
    assert_eq!(slice.ports.len(), 1);
    assert_eq!(&*slice.ports[0].name, "");
}

#[test]
fn every_kind_comes_from_documents_lists_and_json() {
    let documents = "---\n# a comment only\n---\n\
        {apiVersion: v1, kind: Node, metadata: {name: a}}\n---\n\
        {apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, spec: {cidrs: [10.96.0.0/12]}}\n---\n\
        {apiVersion: v1, kind: Endpoints, metadata: {name: db}}\n---\n\
        {apiVersion: apps/v1, kind: Deployment, metadata: {name: ignored}}\n---\n";
    let all = format!("{documents}{WEB}---\n{WEB_SLICE}");
    let expected = [
        "Node a",
        "ServiceCIDR kubernetes",
        "Endpoints default/db",
        "Service shop/web",
        "EndpointSlice shop/web-1",
    ];
    assert_eq!(names("all.yml", &all), expected);

    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
	{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}},
	{"apiVersion": "v1", "kind": "NodeList", "items": [{"metadata": {"name": "b"}}]}]}
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "c"}}"#;
    assert_eq!(names("nodes.json", json), ["Node a", "Node b", "Node c"]);
    assert_eq!(names("nothing.yaml", ""), Vec::<String>::new());
    assert_eq!(names("nothing.json", ""), Vec::<String>::new());
    assert_eq!(
        names("empty.yaml", "apiVersion: v1\nkind: List\nitems: null\n"),
        Vec::<String>::new()
    );
}

#[test]
fn what_is_none_of_a_proxys_business_is_an_object_without_a_value() {
    for (spec, lacks_cluster_ip) in [
        ("{clusterIP: None, ports: [{port: 80}]}", false),
        ("{type: ExternalName, externalName: example.com}", false),
        ("{type: NodePort, ports: [{port: 80}]}", true),
        ("{}", true),
    ] {
        let text = format!("{{apiVersion: v1, kind: Service, metadata: {{name: x}}, spec: {spec}}}");
        let objects = parse("x.yaml", &text).unwrap();
        let [Object::Service(manifest)] = objects.as_slice() else {
            panic!("{objects:?}")
        };
        assert_eq!(manifest.service, None, "{spec}");
        assert_eq!(manifest.lacks_cluster_ip, lacks_cluster_ip, "{spec}");
    }
}

#[test]
fn aliases_merge_keys_and_managed_fields_do_not_disturb() {
    let text = "\
apiVersion: v1
kind: Service
metadata:
  name: x
  managedFields: [{manager: 5}]
spec:
  clusterIP: 10.96.0.1
  ports:
  - &port {name: a, port: 80}
  - {<<: *port, name: b, port: 81}
";
    let objects = parse("x.yaml", text).unwrap();
    let [Object::Service(manifest)] = objects.as_slice() else {
        panic!("{objects:?}")
    };
    assert_eq!(manifest.service.as_ref().unwrap().ports.len(), 2);
}

/// Each broken text with the error it gives: file, position, object, field.
#[test]
fn errors_name_file_object_and_field() {
    let web = |from: &str, to: &str| {
        assert!(WEB.contains(from));
        format!("{WEB_SLICE}---\n{}", WEB.replace(from, to))
    };
    for (text, expected) in [
        (
            web("port: 53", "port: dns"),
            "web.yaml:27:11: Service shop/web: spec.ports[1].port: invalid type: string \"dns\"",
        ),
        (
            web("port: 53", "port: 70000"),
            "web.yaml:27:11: Service shop/web: spec.ports[1].port: 70000 is not a port",
        ),
        (
            web("port: 53", "#"),
            "web.yaml:26:5: Service shop/web: spec.ports[1].port: 0 is not a port",
        ),
        (
            web("10.96.0.10", "10.96.0"),
            "web.yaml:19:14: Service shop/web: spec.clusterIP: \"10.96.0\" is not an IP address",
        ),
        (
            web("name: web\n", "name: web_\n"),
            "web.yaml:16:9: Service shop/web_: metadata.name: \"web_\" is not a DNS label",
        ),
        (
            web("  name: web\n", ""),
            "web.yaml:16:3: Service: metadata.name: it is missing",
        ),
        (web("kind: Service\n", ""), "web.yaml:13:1: kind: it is missing"),
        (
            web("{app: web}", "web"),
            "web.yaml:20:13: Service shop/web: spec.selector: invalid type: string \"web\"",
        ),
        (
            web("port: 80", "port: 80\n    port: 81"),
            "web.yaml:25:5: Service shop/web: spec.ports.port: duplicate mapping key",
        ),
        (
            web("{app: web}", "{app: web"),
            "web.yaml:21:18: Service shop/web: spec.sessionAffinity: ",
        ),
        (web("  clusterIP", " clusterIP"), "web.yaml:20:"),
        (web("  clusterIP: 10", "\tclusterIP: 10"), "web.yaml:19:"),
        (
            WEB_SLICE.replace("addressType: IPv6", "addressType: IPv5"),
            "web.yaml:7:14: EndpointSlice shop/web-1: addressType: ",
        ),
        (
            WEB_SLICE.replace("name: web}", "name: Web}"),
            "web.yaml:6:40: EndpointSlice shop/web-1: metadata.labels[kubernetes.io/service-name]: ",
        ),
        (
            format!("{WEB}---\n{WEB}"),
            "web.yaml:21:9: Service shop/web: metadata.name: this object is in the file twice",
        ),
        ("- 1\n- 2\n".into(), "web.yaml:1:1: this is not an object"),
        (
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: ''}\n".into(),
            "web.yaml:6:20: Node: metadata.name: it must be a name, not \"\"",
        ),
    ] {
        let error = error(&text);
        assert!(error.starts_with(expected), "\n   {error}\nis not\n   {expected}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn errors_in_json_name_the_same() {
    let good = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
 "spec": {"clusterIP": "10.96.0.1",
          "ports": [{"port": 80}]}}"#;
    assert_eq!(names("web.json", good), ["Service default/web"]);
    let error = |text: String| parse("web.json", &text).unwrap_err().to_string();
    assert_eq!(
        error(good.replace("80", "0")),
        "web.json:3:30: Service default/web: spec.ports[0].port: 0 is not a port from 1 to 65535"
    );
    let indented = "{\n  \"kind\": \"Service\",\n  \"metadata\": {\n    \"name\": \"web\",\n    \"namespace\" }\n}";
    assert_eq!(
        error(indented.to_owned()),
        "web.json:5:17: Service default/web: metadata.name: expected `:`"
    );
    assert_eq!(
        error(good.replace("80}", "80")),
        "web.json:3:32: spec.ports: expected `,` or `}`"
    );
}

#[test]
fn text_that_multiplies_itself_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{items}]").unwrap();
    }
    assert!(parse("bomb.yaml", &text).is_err());
    assert!(parse("deep.yaml", &"[".repeat(100_000)).is_err());
    assert!(parse("deep.json", &"[".repeat(100_000)).is_err());
}

/// Whatever is cut from or put into a good file, the answer is objects or an error.
#[test]
fn no_mutilation_makes_it_panic() {
    let good = format!("{WEB}---\n{WEB_SLICE}");
    for cut in 0..good.len() {
        let _ = parse("a.yaml", &good[..cut]);
        let _ = parse("a.yaml", &good[cut..]);
        for inserted in ["\t", ":", "- ", "{", "&a ", "*a ", "|", "\u{0}", "é"] {
            let text = format!("{}{inserted}{}", &good[..cut], &good[cut..]);
            let _ = parse("a.yaml", &text);
            let _ = parse("a.json", &text);
        }
    }
}
