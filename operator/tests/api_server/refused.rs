//! An agent whose API server cannot be reached as it is configured, or does not let it in. It says so in one line per round, with
//! the URL and the reason, goes on trying with a growing pause, and works as soon as the cause is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fairlead_e2e::control_plane::{ApiServer, Etcd, Proxy, Setup, User, with_api_server};
use fairlead_lab::{Addresses, Family, Lab, in_namespace, test_name};

use crate::objects::{agent_role, cluster_ips, node, service, slices};
use crate::world::{API_PORT, Workload, World, start_agent, wait_until, waits};

const URL: &str = "https://172.30.0.1:6443/";

/// A kubeconfig that differs from the agent's in this.
fn kubeconfig(world: &World, from: &str, to: &str) -> PathBuf {
    let right = world.store.kubeconfig(User::Agent, Family::V4, API_PORT).unwrap();
    let text = fs::read_to_string(right).unwrap();
    assert!(text.contains(from), "{text}");
    let wrong = world.store.folder().join("wrong.kubeconfig");
    fs::write(&wrong, text.replace(from, to)).unwrap();
    wrong
}

fn start(world: &World, kubeconfig: &Path) -> Proxy {
    start_agent(&Setup::new(world.lab.node(1), kubeconfig, world.store.folder()))
}

/// Waits for some rounds, and looks at the lines that contain `text`: each has the URL and the reason, there is one for each
/// second at most, their pauses grow, and the agent does not end.
fn expect_one_line_per_round(agent: &mut Proxy, started: Instant, text: &str, url: &str, reason: &str) {
    wait_until("four rounds", || waits(agent, text).len() >= 4);
    let mut lines = agent.log_lines(text);
    lines.retain(|line| line.contains("retry_in"));
    let most = started.elapsed().as_secs() + 1;
    assert!(lines.len() as u64 <= most, "more than one line each second: {lines:#?}");
    for line in &lines {
        assert!(line.contains(url) && line.contains(reason), "{line}");
    }
    let waits = waits(agent, text);
    // Each is up to a half shorter than its double by chance: they grow from the first to the fourth in any case.
    assert!(waits[3] > waits[0] * 2.0, "{waits:?}");
    assert_eq!(agent.process().status().unwrap(), None, "it ended");
}

/// Writes a Service with an endpoint.
fn write_service(world: &World, server: &ApiServer) -> (Addresses, Workload) {
    let api = server.client();
    let pod = world.workload(2, "pod");
    let web = cluster_ips(10);
    api.apply(&node(world.lab.node(1))).unwrap();
    api.apply(&service("web", web)).unwrap();
    api.apply_all(&slices("web", &[&pod.pod])).unwrap();
    (web, pod)
}

#[test]
fn a_host_name_without_an_address_is_named() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        // Without a way to any name server, the look-up fails at once.
        for everything in ["0.0.0.0/0", "::/0"] {
            lab.node(1).delete_route(everything.parse().unwrap()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = "{apiVersion: v1, kind: Config, current-context: x, users: [{name: u, user: {token: t}}], \
             clusters: [{name: c, cluster: {server: 'https://api.invalid:6443'}}], contexts: [{name: x, context: {cluster: c, user: u}}]}";
        fs::write(&kubeconfig, text).unwrap();
        let started = Instant::now();
        let mut agent = start_agent(&Setup::new(lab.node(1), &kubeconfig, folder.path()));
        expect_one_line_per_round(
            &mut agent,
            started,
            "does not answer",
            "https://api.invalid:6443/",
            "failed to lookup address",
        );
    });
}

#[test]
fn a_certificate_of_another_authority_is_refused_until_the_server_has_the_right_one() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let right = rcgen::generate_simple_self_signed(["172.30.0.1".to_owned()]).unwrap();
        let authority = world.store.folder().join("authority.crt");
        fs::write(&authority, right.cert.pem()).unwrap();
        let server = world.store.serve(API_PORT).unwrap();
        server.client().apply_all(&agent_role()).unwrap();
        let (web, pod) = write_service(&world, &server);
        let kubeconfig = kubeconfig(&world, "server.crt", "authority.crt");
        let started = Instant::now();
        let mut agent = start(&world, &kubeconfig);
        expect_one_line_per_round(
            &mut agent,
            started,
            "certificate that is not trusted",
            URL,
            "invalid peer certificate",
        );

        // A kube-apiserver reads its files again when they change; until both have, it keeps what it has.
        fs::write(
            world.store.folder().join("server.key"),
            right.signing_key.serialize_pem(),
        )
        .unwrap();
        fs::write(world.store.folder().join("server.crt"), right.cert.pem()).unwrap();
        world.wait_for_servers(web, &[&pod]);
        wait_until("a healthy agent", || agent.healthz() == Some(200));
    });
}

#[test]
fn a_token_that_nobody_knows_is_refused_until_the_server_knows_it() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = world.store.serve(API_PORT).unwrap();
        server.client().apply_all(&agent_role()).unwrap();
        let (web, pod) = write_service(&world, &server);
        let kubeconfig = kubeconfig(&world, "token-of-fairlead-agent", "wrong");
        let started = Instant::now();
        let mut agent = start(&world, &kubeconfig);
        expect_one_line_per_round(&mut agent, started, "refuses the watch", URL, "401 Unauthorized");

        server.kill().unwrap();
        let tokens = world.store.folder().join("tokens.csv");
        let known = fs::read_to_string(&tokens).unwrap();
        fs::write(&tokens, known.replace("token-of-fairlead-agent", "wrong")).unwrap();
        let _server = world.store.serve(API_PORT).unwrap();
        world.wait_for_servers(web, &[&pod]);
    });
}

#[test]
fn an_agent_without_a_role_is_refused_until_the_role_is_bound() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = world.store.serve(API_PORT).unwrap();
        let (web, pod) = write_service(&world, &server);
        let kubeconfig = world.store.kubeconfig(User::Agent, Family::V4, API_PORT).unwrap();
        let started = Instant::now();
        let mut agent = start(&world, &kubeconfig);
        // Of ServiceCIDRs it says that it goes on without them.
        wait_until("the optional kind", || {
            agent.log_lines("going on without them").len() == 1
        });
        for (kind, resource) in [
            ("Service", "services"),
            ("EndpointSlice", "endpointslices"),
            ("Node", "nodes"),
        ] {
            let reason = format!("403 Forbidden: {resource}");
            expect_one_line_per_round(&mut agent, started, &format!("kind=\"{kind}\""), URL, &reason);
        }

        server.client().apply_all(&agent_role()).unwrap();
        world.wait_for_servers(web, &[&pod]);
        wait_until("every kind to come in", || {
            agent.log_lines("the API server takes the watch again").len() == 3
        });
    });
}
