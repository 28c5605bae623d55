//! What commands say of a cluster beforehand comes true: `fairlead plan`, and `fairlead migrate metallb`.

use std::fs::{self, File};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use fairlead_e2e::control_plane::{ApiServer, Etcd, User, with_api_server};
use fairlead_lab::{Family, test_name};
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::operator::{Operator, controller_role, lease_role};
use crate::world::{API_PORT, World, wait_until};

/// How long a command may take.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What a command did.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

fn run(world: &World, arguments: &[&str]) -> Ended {
    let kubeconfig = world.store.kubeconfig(User::Admin, Family::V6, API_PORT).unwrap();
    let (stdout, stderr) = (world.store.folder().join("stdout"), world.store.folder().join("stderr"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    command
        .args(arguments)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap());
    let mut process = world.lab.node(2).spawn(command).unwrap();
    Ended {
        status: process.wait(ENDS_WITHIN).unwrap(),
        stdout: fs::read_to_string(stdout).unwrap(),
        stderr: fs::read_to_string(stderr).unwrap(),
    }
}

fn serve(world: &World) -> ApiServer {
    let server = world.store.serve(API_PORT).unwrap();
    let client = server.client();
    for definition in fairlead_crds::all() {
        client.apply(&serde_json::to_value(&definition).unwrap()).unwrap();
    }
    client.apply_all(&lease_role()).unwrap();
    client.apply_all(&controller_role()).unwrap();
    server
}

/// The kinds are served soon after their definitions are there.
fn apply(server: &ApiServer, object: &Value) {
    wait_until("an object to be taken", || server.client().apply(object).is_ok());
}

/// Names, addresses and versions of all Services of type `LoadBalancer`, by name.
fn services(server: &ApiServer) -> Vec<(String, Vec<String>, String)> {
    let list = server.client().run(async |client| {
        let services: Api<Service> = Api::all(client);
        services.list(&ListParams::default()).await.unwrap()
    });
    let balanced = list.items.into_iter().filter(|service| {
        let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
        type_ == Some("LoadBalancer")
    });
    let mut all: Vec<_> = balanced
        .map(|service| {
            let (name, version) = (service.name_any(), service.resource_version().unwrap());
            let status = service.status.and_then(|status| status.load_balancer);
            let ingress = status.and_then(|status| status.ingress).into_iter().flatten();
            (name, ingress.filter_map(|ingress| ingress.ip).collect(), version)
        })
        .collect();
    all.sort();
    all
}

fn service(name: &str, spec: &Value, addresses: &[&str]) -> Value {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({"ip": address})).collect();
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

#[test]
fn the_operator_does_what_was_planned_and_planning_does_nothing() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = serve(&world);
        apply(
            &server,
            &json!({
                "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": {"name": "metal"},
                "spec": {"default": true, "local": {}},
            }),
        );
        let pool = json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "AddressPool", "metadata": {"name": "public"},
            "spec": {"addresses": ["198.51.100.1-198.51.100.2", "2001:db8::1-2001:db8::9"]},
        });
        let first = service("first", &json!({}), &[]);
        apply(&server, &first);
        let before = services(&server);

        // Neither the pool nor the second Service is there yet, and the Service names no IP family.
        let second = service("second", &json!({"ipFamilyPolicy": "PreferDualStack"}), &[]);
        let file = world.store.folder().join("second.json");
        fs::write(&file, format!("{pool}\n---\n{second}\n")).unwrap();
        let planned = run(&world, &["plan", "-o", "json", "-f", file.to_str().unwrap()]);
        assert!(planned.status.success(), "{}", planned.stderr);
        let report: Value = serde_json::from_str(&planned.stdout).unwrap();
        assert_eq!(report["ipFamilies"], json!(["IPv4", "IPv6"]));
        let [second_plan, first_plan] = [&report["services"][0], &report["services"][1]];
        assert_eq!(
            (&second_plan["name"], &second_plan["isGiven"]),
            (&json!("default/second"), &json!(true))
        );
        assert_eq!(second_plan["addresses"], json!(["198.51.100.2", "2001:db8::1"]));
        assert_eq!(
            (&first_plan["name"], &first_plan["isGiven"]),
            (&json!("default/first"), &json!(false))
        );
        assert_eq!(first_plan["addresses"], json!(["198.51.100.1"]));
        assert_eq!(services(&server), before);

        // It comes true, and then there is nothing to do.
        apply(&server, &pool);
        let operator = Operator::start(&world, 1, "operator");
        wait_until("the first Service to have its address", || {
            services(&server)[0].1 == ["198.51.100.1"]
        });
        apply(&server, &second);
        wait_until("the second Service to have its addresses", || {
            services(&server)[1].1 == ["198.51.100.2", "2001:db8::1"]
        });
        for step in second_plan["steps"].as_array().unwrap() {
            let step = step.as_str().unwrap();
            wait_until(step, || operator.says(step));
        }
        wait_until("nothing to do", || run(&world, &["plan"]).stdout == "nothing to do\n");
    });
}

/// Kinds of `MetalLB`, as far as it matters who reads them.
fn metallb_kinds() -> Vec<Value> {
    let kinds = [
        ("IPAddressPool", "ipaddresspools"),
        ("L2Advertisement", "l2advertisements"),
    ];
    let definition = |(kind, plural): (&str, &str)| {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.metallb.io")},
            "spec": {
                "group": "metallb.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
    };
    kinds.map(definition).into()
}

#[test]
fn services_of_metallb_keep_their_addresses_with_what_is_printed() {
    with_api_server(test_name!(), Etcd::Current, |tools| {
        let world = World::new(tools);
        let server = serve(&world);
        let nothing = run(&world, &["migrate", "metallb"]);
        assert!(
            !nothing.status.success() && nothing.stderr.contains("there is no pool of MetalLB's"),
            "{}",
            nothing.stderr
        );

        server.client().apply_all(&metallb_kinds()).unwrap();
        let own = |kind: &str, name: &str, spec: Value| {
            let metadata = json!({"name": name, "namespace": "default"});
            json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec})
        };
        for object in [
            own(
                "IPAddressPool",
                "public",
                json!({"addresses": ["198.51.100.0/24", "2001:db8::1 - 2001:db8::f"], "avoidBuggyIPs": true}),
            ),
            own(
                "IPAddressPool",
                "team",
                json!({
                    "addresses": ["203.0.113.5-203.0.113.6"],
                    "serviceAllocation": {"namespaceSelectors": [{"matchLabels": {"kubernetes.io/metadata.name": "default"}}]},
                }),
            ),
            own(
                "L2Advertisement",
                "all",
                json!({"interfaces": ["eth1"], "nodeSelectors": [{"matchLabels": {"rack": "1"}}]}),
            ),
            service(
                "dual",
                &json!({"ipFamilyPolicy": "RequireDualStack"}),
                &["198.51.100.77", "2001:db8::b"],
            ),
            service("single", &json!({}), &["203.0.113.6"]),
        ] {
            apply(&server, &object);
        }
        let printed = run(&world, &["migrate", "metallb"]);
        assert!(printed.status.success(), "{}", printed.stderr);
        assert!(
            printed
                .stderr
                .ends_with("2 pools; all 2 Services that have addresses keep them\n"),
            "{}",
            printed.stderr
        );

        // The API server takes it as it is, and no address moves.
        for object in fairlead::objects::parse("printed", &printed.stdout).unwrap() {
            server.client().apply(&object.value).unwrap();
        }
        let _operator = Operator::start(&world, 1, "operator");
        wait_until("the operator to have nothing left to do", || {
            run(&world, &["plan"]).stdout == "nothing to do\n"
        });
        let addresses: Vec<_> = services(&server)
            .into_iter()
            .map(|(name, addresses, _)| (name, addresses))
            .collect();
        let expected = [
            ("dual", vec!["198.51.100.77", "2001:db8::b"]),
            ("single", vec!["203.0.113.6"]),
        ];
        assert_eq!(
            addresses,
            expected.map(|(name, all)| (name.to_owned(), all.into_iter().map(str::to_owned).collect::<Vec<_>>()))
        );
    });
}
