use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::agent::health::{Clock, Health};
use crate::http::listen::client::{get, request};

fn name(name: &str) -> ServiceName {
    ServiceName::new("shop", name)
}

fn check(port: u16, local_ready_endpoints: usize) -> HealthCheck {
    HealthCheck {
        port: HealthCheckNodePort(port),
        local_ready_endpoints,
    }
}

fn desired(checks: &[(&str, u16, usize)]) -> BTreeMap<ServiceName, HealthCheck> {
    checks
        .iter()
        .map(|&(service, port, endpoints)| (name(service), check(port, endpoints)))
        .collect()
}

fn healthy() -> SharedHealth {
    SharedHealth::new(Health::new(Duration::from_secs(30)), Clock::start())
}

/// A port that was free a moment ago. Another test may take it meanwhile; the tests below retry with another.
fn free_port() -> (u16, TcpListener) {
    let listener = listen("[::]:0".parse().unwrap()).unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

fn steps(desired: &BTreeMap<ServiceName, HealthCheck>, observed: &BTreeMap<Socket, usize>) -> Vec<String> {
    let addresses = ListenAddresses::Only(["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()].into());
    plan(desired, &addresses, observed)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn observed(sockets: &[(&str, &str, usize)]) -> BTreeMap<Socket, usize> {
    sockets
        .iter()
        .map(|&(service, address, endpoints)| {
            (
                Socket {
                    service: name(service),
                    address: address.parse().unwrap(),
                },
                endpoints,
            )
        })
        .collect()
}

#[test]
fn the_plan_closes_then_updates_then_opens_on_each_address() {
    let desired = desired(&[("a", 30001, 2), ("b", 30002, 0), ("c", 30003, 1)]);
    let observed = observed(&[
        ("a", "10.0.0.1:30001", 1),
        ("a", "[fd00::1]:30001", 2),
        ("b", "10.0.0.1:30001", 0),
        ("c", "10.0.0.1:30003", 1),
        ("c", "[fd00::1]:30003", 1),
        ("gone", "10.0.0.9:30009", 1),
    ]);
    assert_eq!(
        steps(&desired, &observed),
        [
            "- health check of shop/b on 10.0.0.1:30001",
            "- health check of shop/gone on 10.0.0.9:30009",
            "~ health check of shop/a on 10.0.0.1:30001: 2 local endpoints",
            "+ health check of shop/b on 10.0.0.1:30002: 0 local endpoints",
            "+ health check of shop/b on [fd00::1]:30002: 0 local endpoints",
        ],
    );
}

#[test]
fn nothing_is_planned_when_all_is_as_desired() {
    let desired = desired(&[("a", 30001, 2)]);
    let observed = observed(&[("a", "10.0.0.1:30001", 2), ("a", "[fd00::1]:30001", 2)]);
    assert_eq!(steps(&desired, &observed), Vec::<String>::new());
}

#[test]
fn all_addresses_are_one_socket_for_both_families() {
    let plan = plan(&desired(&[("a", 30001, 2)]), &ListenAddresses::All, &BTreeMap::new());
    let [Step::Open(socket, 2)] = plan.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(socket.address.to_string(), "[::]:30001");
}

/// Servers that serve `service` on all addresses, and the port. The port was free when asked for.
async fn serving(health: SharedHealth, service: &str, endpoints: usize) -> (HealthCheckServers, u16) {
    for _ in 0..20 {
        let (port, reserved) = free_port();
        drop(reserved);
        let mut servers = HealthCheckServers::new(health.clone());
        if servers
            .sync(&desired(&[(service, port, endpoints)]), &ListenAddresses::All)
            .await
            .is_empty()
        {
            return (servers, port);
        }
    }
    panic!("no port stays free");
}

#[tokio::test]
async fn a_load_balancer_of_either_family_gets_kube_proxys_answer() {
    let (mut servers, port) = serving(healthy(), "web", 2).await;
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let answer = get(SocketAddr::new(ip, port), "/any/path?at=all").await;
        assert_eq!(answer.status, 200, "{ip}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-load-balancing-endpoint-weight"), Some("2"));
        assert_eq!(
            answer.body,
            "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}",
        );
    }

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert!(
        servers
            .sync(&desired(&[("web", port, 0)]), &ListenAddresses::All)
            .await
            .is_empty()
    );
    let answer = request(address, "POST", "/").await.unwrap();
    assert_eq!(
        (answer.status, answer.header("x-load-balancing-endpoint-weight")),
        (503, Some("0"))
    );
    assert!(answer.body.contains("\"localEndpoints\": 0,"), "{}", answer.body);

    assert!(servers.sync(&BTreeMap::new(), &ListenAddresses::All).await.is_empty());
    assert!(
        request(address, "GET", "/").await.is_err(),
        "the port is closed when sync returns"
    );
}

#[tokio::test]
async fn a_proxy_that_is_late_fails_the_check_and_a_leaving_node_does_not() {
    let health = SharedHealth::new(Health::new(Duration::ZERO), Clock::start());
    health.node_seen(false);
    let (_servers, port) = serving(health.clone(), "web", 1).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(get(address, "/").await.status, 200);
    health.queued();
    let answer = get(address, "/").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("\"serviceProxyHealthy\": false"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("x-load-balancing-endpoint-weight"), Some("1"));
}

#[tokio::test]
async fn a_port_can_pass_from_one_service_to_another() {
    let (mut servers, port) = serving(healthy(), "zebra", 1).await;
    assert!(
        servers
            .sync(&desired(&[("ant", port, 3)]), &ListenAddresses::All)
            .await
            .is_empty()
    );
    let answer = get(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), "/").await;
    assert!(answer.body.contains("\"name\": \"ant\""), "{}", answer.body);
}

#[tokio::test]
async fn a_taken_port_is_reported_once_and_tried_at_every_sync() {
    let (port, other) = free_port();
    let mut servers = HealthCheckServers::new(healthy());
    let desired = desired(&[("web", port, 1)]);
    let failures = servers.sync(&desired, &ListenAddresses::All).await;
    let [failure] = failures.as_slice() else {
        panic!("{failures:?}")
    };
    assert_eq!(failure.reason(), "FailedToStartServiceHealthcheck");
    assert_eq!(failure.source.kind(), io::ErrorKind::AddrInUse);
    assert!(
        servers.sync(&desired, &ListenAddresses::All).await.is_empty(),
        "the same failure is not told again"
    );
    assert!(servers.observe().is_empty());
    drop(other);
    assert!(servers.sync(&desired, &ListenAddresses::All).await.is_empty());
    assert_eq!(servers.observe().len(), 1);
}

#[tokio::test]
async fn an_address_that_fails_does_not_keep_the_others_from_being_served() {
    let (port, reserved) = free_port();
    drop(reserved);
    let mut servers = HealthCheckServers::new(healthy());
    // 203.0.113.0/24 is documentation space: no host has it.
    let addresses = ListenAddresses::Only(["203.0.113.9".parse().unwrap(), "::1".parse().unwrap()].into());
    let failures = servers.sync(&desired(&[("web", port, 1)]), &addresses).await;
    assert!(
        failures
            .iter()
            .any(|failure| failure.source.kind() == io::ErrorKind::AddrNotAvailable),
        "{failures:?}"
    );
    assert_eq!(
        get(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), "/").await.status,
        200
    );
}

#[tokio::test]
async fn a_failure_becomes_a_warning_event_of_the_service() {
    let (posted, mut events) = tokio::sync::mpsc::channel::<(String, serde_json::Value)>(4);
    let api = axum::Router::new().fallback(move |uri: axum::http::Uri, body: String| {
        let posted = posted.clone();
        async move {
            let event = serde_json::from_str(&body).expect("an event");
            posted
                .send((uri.path().to_owned(), event))
                .await
                .expect("the test listens");
            ([(axum::http::header::CONTENT_TYPE, "application/json")], body)
        }
    });
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, api));

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
    let socket = Socket {
        service: name("web"),
        address: "[::]:30001".parse().unwrap(),
    };
    let failure = ListenFailure {
        socket,
        source: io::ErrorKind::AddrInUse.into(),
    };
    publish(None, "node-a", &failure, None).await;
    publish(Some(&recorder(client, "node-a")), "node-a", &failure, Some("b7c1")).await;

    let (path, event) = tokio::time::timeout(Duration::from_secs(10), events.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/shop/events");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "FailedToStartServiceHealthcheck");
    assert_eq!(event["action"], "Listen");
    assert_eq!(event["regarding"]["kind"], "Service");
    assert_eq!(event["regarding"]["name"], "web");
    assert_eq!(event["regarding"]["uid"], "b7c1");
    assert_eq!(
        event["note"],
        "node node-a failed to start healthcheck \"shop/web\" on port 30001: address in use",
    );
    server.abort();
}
