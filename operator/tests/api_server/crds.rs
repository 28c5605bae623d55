//! What the API server says to objects of our own kinds: each bound of the schemas and each rule accepts and refuses.

use std::fmt::Debug;
use std::time::Duration;

use fairlead_crds::{AddressPool, Announcement, GROUP, Heartbeat, LoadBalancerProvider, LocalProvider};
use fairlead_e2e::control_plane::{API_PORT, ApiServer, Etcd, Store, api, with_api_server};
use fairlead_lab::{Lab, test_name};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::wait_until;

/// No request takes longer on a server that answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test with an API server that knows the kinds.
fn with_kinds(test: &str, body: impl FnOnce(&ApiServer) + Send) {
    with_api_server(test, Etcd::Current, |tools| {
        let lab = Lab::with_nodes(1).unwrap();
        let store = Store::start(&lab, tools).unwrap();
        let server = store.serve(API_PORT).unwrap();
        for definition in fairlead_crds::all() {
            server
                .client()
                .apply(&serde_json::to_value(&definition).unwrap())
                .unwrap();
            let kind = &definition.spec.names.kind;
            let probe = json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind, "metadata": {}});
            wait_until(&format!("{kind} to be known"), || {
                ask(&server, &probe, async |api| {
                    api.list(&kube::api::ListParams::default()).await
                })
                .is_ok()
            });
        }
        body(&server);
    });
}

/// One request about an object, which ends.
fn ask<T: Send>(
    server: &ApiServer,
    object: &Value,
    request: impl AsyncFnOnce(Api<DynamicObject>) -> kube::Result<T> + Send,
) -> Result<T, String> {
    server.client().run(async |client| {
        tokio::time::timeout(PATIENCE, request(api(client, object)))
            .await
            .expect("the API server answers")
            .map_err(|error| error.to_string())
    })
}

/// A kind, and a `spec` that the API server accepts, which tests alter.
struct Subject<'a> {
    server: &'a ApiServer,
    kind: &'a str,
    namespace: Option<&'a str>,
    spec: Value,
}

/// The same object with other values at some paths, such as `/local/heartbeat/port`.
fn altered(spec: &Value, changes: &[(&str, Value)]) -> Value {
    let mut spec = spec.clone();
    for (path, value) in changes {
        let mut at = &mut spec;
        for key in path.trim_start_matches('/').split('/') {
            at = match key.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[key],
            };
        }
        *at = value.clone();
    }
    spec
}

impl Subject<'_> {
    fn object(&self, name: &str, spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": self.kind, "metadata": {"name": name}, "spec": spec,
        });
        if let Some(namespace) = self.namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        object
    }

    /// What creating it would come to.
    fn try_create(&self, changes: &[(&str, Value)]) -> Result<(), String> {
        let object = self.object("tried", &altered(&self.spec, changes));
        ask(self.server, &object, async |api| {
            let parameters = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
            api.create(&parameters, &object).await.map(drop)
        })
    }

    /// Creates it, with what the server makes of it.
    fn create<K: DeserializeOwned>(&self, name: &str, changes: &[(&str, Value)]) -> (Value, K) {
        let object = self.object(name, &altered(&self.spec, changes));
        let created = ask(self.server, &object, async |api| {
            let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &object).await
        });
        let created = serde_json::to_value(created.unwrap()).unwrap();
        (created.clone(), serde_json::from_value(created).unwrap())
    }

    /// Merges a change into an object that exists.
    fn change(&self, name: &str, patch: &Value) -> Result<(), String> {
        let object = self.object(name, &Value::Null);
        ask(self.server, &object, async |api| {
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map(drop)
        })
    }

    fn set_status(&self, name: &str, status: &Value) -> Result<(), String> {
        let object = self.object(name, &Value::Null);
        ask(self.server, &object, async |api| {
            let patch = json!({"status": status});
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .map(drop)
        })
    }

    fn accepts(&self, changes: &[(&str, Value)]) {
        if let Err(error) = self.try_create(changes) {
            panic!("refused: {changes:?}: {error}");
        }
    }

    /// Refused, with these words in what the API server says.
    fn refuses(&self, changes: &[(&str, Value)], words: &str) {
        assert_says(&self.try_create(changes), words, &changes);
    }

    /// Values of one field: those accepted, and those refused by the name of the field.
    fn bounds(&self, path: &str, good: &[Value], bad: &[Value]) {
        let field = format!("spec{}", path.replace('/', "."));
        for value in good {
            self.accepts(&[(path, value.clone())]);
        }
        for value in bad {
            self.refuses(&[(path, value.clone())], &field);
        }
    }

    /// The head and the first line of what `kubectl get` shows, and `kubectl get -o wide` behind a `/`.
    fn table(&self) -> Vec<(String, String)> {
        let object = self.object("", &Value::Null);
        let plural = format!("{}s", self.kind.to_lowercase());
        let namespace = self
            .namespace
            .map(|name| format!("/namespaces/{name}"))
            .unwrap_or_default();
        let table: Value = self.server.client().run(async |client| {
            let request = hyper::Request::get(format!("/apis/{GROUP}/v1alpha1{namespace}/{plural}"))
                .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
                .body(Vec::new())
                .unwrap();
            tokio::time::timeout(PATIENCE, client.request(request))
                .await
                .unwrap()
                .unwrap()
        });
        let columns = table["columnDefinitions"].as_array().unwrap();
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(columns.len(), cells.len(), "{object}: {table}");
        columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| {
                let wide = if column["priority"] == 0 { "" } else { "/" };
                let cell = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
                (format!("{wide}{}", column["name"].as_str().unwrap()), cell)
            })
            .filter(|(name, _)| name != "Age")
            .collect()
    }
}

fn assert_says(answer: &Result<(), String>, words: &str, about: &impl Debug) {
    match answer {
        Ok(()) => panic!("not refused: {about:?}"),
        Err(error) => assert!(error.contains(words), "refused without {words:?}: {about:?}: {error}"),
    }
}

fn row(cells: &[(&str, &str)]) -> Vec<(String, String)> {
    cells
        .iter()
        .map(|(name, cell)| ((*name).to_owned(), (*cell).to_owned()))
        .collect()
}

fn text(length: usize) -> Value {
    "a".repeat(length).into()
}

fn list(length: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..length).map(item).collect()
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": "…", "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

#[test]
fn providers() {
    with_kinds(test_name!(), |server| {
        let kind = "LoadBalancerProvider";
        let subject = |spec| Subject {
            server,
            kind,
            namespace: None,
            spec,
        };
        let local = subject(json!({"default": true, "local": {}}));
        let aws = subject(json!({"default": true, "aws": {"clusterName": "one"}}));

        let exactly_one = "exactly one of spec.local and spec.aws";
        local.accepts(&[]);
        aws.accepts(&[]);
        local.refuses(&[("/local", Value::Null)], exactly_one);
        local.refuses(&[("/aws", json!({"clusterName": "one"}))], exactly_one);
        // What is null counts as missing.
        local.accepts(&[("/aws", Value::Null), ("/nodePortNamespaceSelector", Value::Null)]);

        let no_service = "would take no Service";
        local.refuses(&[("/default", json!(false))], no_service);
        local.accepts(&[("/default", json!(false)), ("/loadBalancerClass", json!("a"))]);
        local.accepts(&[("/default", json!(false)), ("/nodePortServices", json!("OptIn"))]);

        let selected = [
            ("/nodePortServices", json!("OptIn")),
            ("/nodePortNamespaceSelector", json!({"matchLabels": {"a": "b"}})),
        ];
        local.refuses(&selected[1..], "spec.nodePortNamespaceSelector has no effect");
        local.accepts(&selected);

        let classes = ["local", "example.com/local", "a.b-c/D_e.F-0"].map(Value::from);
        let none = ["", "a/b/c", "/a", "a/", "-a", "A/b", "a b"].map(Value::from);
        local.bounds("/loadBalancerClass", &classes, &none);
        let prefix = ["a"; 127].join(".");
        local.bounds(
            "/loadBalancerClass",
            &[format!("{prefix}/{}", "a".repeat(63)).into()],
            &[
                format!("{prefix}/{}", "a".repeat(64)).into(),
                format!("a{prefix}/{}", "a".repeat(63)).into(),
            ],
        );
        let one_of = |path, good: &[&str]| {
            let good: Vec<Value> = good.iter().map(|&value| value.into()).collect();
            let subject = if path == "/aws/defaultTargetType" { &aws } else { &local };
            subject.bounds(path, &good, &["Else".into()]);
        };
        one_of("/nodePortServices", &["Never", "OptIn"]);
        one_of("/local/ownership", &["Sticky", "Revertive"]);
        one_of("/local/cordonedNodes", &["Keep", "Move"]);
        one_of("/aws/defaultTargetType", &["Instance", "Ip"]);

        let numbers = |path, least: i64, most: i64| {
            local.bounds(
                path,
                &[least.into(), most.into()],
                &[(least - 1).into(), (most + 1).into(), "some".into()],
            );
        };
        numbers("/local/heartbeat/port", 1, 65535);
        numbers("/local/heartbeat/intervalMilliseconds", 20, 10000);
        numbers("/local/heartbeat/failureThreshold", 2, 20);
        numbers("/local/refreshSeconds", 0, 86400);

        aws.bounds(
            "/aws/clusterName",
            &[text(1), text(100)],
            &[text(0), text(101), Value::Null],
        );
        let regions = ["eu-central-1", "us-gov-west-1", "mx-central-1"].map(Value::from);
        let long_region = format!("eu-{}-1", "a".repeat(28)).into();
        aws.bounds("/aws/region", &regions, &["".into(), "Frankfurt".into(), long_region]);
        let long_vpc = format!("vpc-{}", "0".repeat(29)).into();
        aws.bounds(
            "/aws/vpcId",
            &["vpc-0a1b2c".into()],
            &["subnet-0a1b2c".into(), long_vpc],
        );
        let tags = |count| -> Value { (0..count).map(|i| (format!("tag{i}"), json!("value"))).collect() };
        aws.bounds("/aws/tags", &[tags(40)], &[tags(41)]);

        // What the server fills in is what the types have as default.
        let (made, typed): (_, LoadBalancerProvider) = local.create("local", &[("/aws", Value::Null)]);
        assert_eq!(made["spec"].get("aws"), None);
        assert_eq!(typed.spec.local, Some(LocalProvider::default()));
        let Heartbeat { port, .. } = Heartbeat::default();
        assert_eq!(made["spec"]["local"]["heartbeat"]["port"], port);
        assert_eq!(made["spec"]["local"]["echo"], true);
        assert_eq!(made["spec"]["nodePortServices"], "Never");

        // What cannot be changed.
        let to_aws = json!({"spec": {"local": null, "aws": {"clusterName": "one"}}});
        assert_says(
            &local.change("local", &to_aws),
            "spec.local cannot become spec.aws",
            &to_aws,
        );
        let (_, _): (_, LoadBalancerProvider) = aws.create("aws", &[]);
        let to_local = json!({"spec": {"aws": null, "local": {}}});
        assert_says(
            &aws.change("aws", &to_local),
            "spec.local cannot become spec.aws",
            &to_local,
        );
        let class = |class: Value| json!({"spec": {"loadBalancerClass": class}});
        local.change("local", &class("a".into())).unwrap();
        local.change("local", &json!({"spec": {"default": false}})).unwrap();
        local.change("local", &json!({"spec": {"default": true}})).unwrap();
        for other in [json!("b"), Value::Null] {
            let fixed = "spec.loadBalancerClass cannot be changed";
            assert_says(&local.change("local", &class(other.clone())), fixed, &other);
        }

        aws.server
            .client()
            .delete(&aws.object("aws", &Value::Null))
            .expect("it can be deleted");
        let status = json!({
            "conditions": [condition("Accepted", "True", "Accepted"), condition("Ready", "True", "Ready")],
            "observedGeneration": 1, "loadBalancers": 7,
        });
        local.set_status("local", &status).unwrap();
        let expected = [
            ("Name", "local"),
            ("Class", "a"),
            ("Default", "true"),
            ("LoadBalancers", "7"),
            ("Ready", "True"),
            ("/Reason", "Ready"),
        ];
        assert_eq!(local.table(), row(&expected));
    });
}

#[test]
fn pools() {
    with_kinds(test_name!(), |server| {
        let pool = Subject {
            server,
            kind: "AddressPool",
            namespace: None,
            spec: json!({"addresses": ["198.51.100.0/24"]}),
        };

        let good = [
            "198.51.100.0/24",
            "198.51.100.7/32",
            "2001:db8::/112",
            "2001:db8::1/128",
            "198.51.100.10-198.51.100.20",
            "198.51.100.10 - 198.51.100.20",
            "2001:db8::1-2001:db8::ffff",
        ];
        pool.accepts(&[("/addresses", json!(good))]);
        let shapes = "spec.addresses[1]: Invalid value";
        let none = [
            "198.51.100.7",
            "2001:db8::1",
            "198.51.100.0/33",
            "2001:db8::/129",
            "198.51.100.256/32",
            "198.51.100.1-",
            "-198.51.100.1",
            "198.51.100.1-198.51.100.2-198.51.100.3",
            "198.51.100.1-20",
            "198.51.100.0/24-198.51.100.9",
            "fe80::1%eth0-fe80::2%eth0",
            "::ffff:198.51.100.1-::ffff:198.51.100.2",
            "example.com",
            " ",
        ];
        for address in none {
            let addresses = [("/addresses", json!(["198.51.100.0/24", address]))];
            pool.refuses(&addresses, shapes);
            pool.refuses(&addresses, "addresses must be CIDRs");
        }
        for range in ["198.51.100.1-2001:db8::1", "2001:db8::1 - 198.51.100.1"] {
            let addresses = [("/addresses", json!(["198.51.100.0/24", range]))];
            pool.refuses(&addresses, "addresses: both ends of a range must be IPv4, or both IPv6");
            pool.refuses(&addresses, shapes);
        }
        // The longest list of the longest ranges: rules must not cost too much.
        let longest = |count| {
            let end = |i| format!("2001:0db8:1111:2222:3333:4444:5555:{i:04x}");
            list(count, |i| format!("{} - {}", end(i), end(i)).into())
        };
        pool.bounds("/addresses", &[longest(256)], &[longest(257), json!([]), Value::Null]);
        let padded = |spaces| json!([format!("198.51.100.1{}-198.51.100.2", " ".repeat(spaces))]);
        pool.bounds("/addresses", &[padded(93 - 25)], &[padded(94 - 25), json!([""])]);

        pool.bounds("/provider", &[text(1), text(253)], &[text(0), text(254)]);
        pool.bounds(
            "/reuseDelaySeconds",
            &[json!(0), json!(86400)],
            &[json!(-1), json!(86401)],
        );
        let most = i64::from(i32::MAX);
        pool.bounds(
            "/allocation/priority",
            &[json!(0), json!(most)],
            &[json!(-1), json!(most + 1)],
        );
        pool.bounds(
            "/allocation/namespaces",
            &[json!([]), list(256, |_| text(63)), json!([text(1)])],
            &[list(257, |_| text(1)), json!([text(0)]), json!([text(64)])],
        );
        let selectors = |count| {
            list(
                count,
                |_| json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
            )
        };
        for path in [
            "/allocation/namespaceSelectors",
            "/allocation/serviceSelectors",
            "/announcement/nodeSelectors",
        ] {
            pool.bounds(path, &[selectors(64)], &[selectors(65)]);
        }
        let preferred = |count, weight: i64| list(count, |_| json!({"weight": weight, "preference": {}}));
        pool.bounds(
            "/announcement/preferredNodes",
            &[preferred(64, 1), preferred(1, 100)],
            &[
                preferred(65, 1),
                preferred(1, 0),
                preferred(1, 101),
                json!([{"weight": 1}]),
                json!([{"preference": {}}]),
            ],
        );
        pool.bounds(
            "/announcement/interfaces",
            &[list(64, |_| text(15)), json!([text(1)])],
            &[list(65, |_| text(1)), json!([text(0)]), json!([text(16)])],
        );

        let changes = [("/announcement", json!({})), ("/allocation", json!({"priority": 1}))];
        let (made, typed): (_, AddressPool) = pool.create("pool", &changes);
        assert_eq!(typed.spec.announcement, Some(Announcement::default()));
        assert_eq!(made["spec"]["announcement"]["requireOnLink"], true);
        assert_eq!(made["spec"]["allocation"]["exclusive"], false);
        assert_eq!(made["spec"]["autoAssign"], true);
        assert_eq!(made["spec"]["avoidBuggyIPs"], false);
        assert_eq!(made["spec"]["reuseDelaySeconds"], 60);

        let resting = json!({"address": "198.51.100.7", "until": Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH), "service": {"namespace": "shop", "name": "web"}});
        let mut status = json!({
            "ipv4": {"assigned": 3, "available": 252}, "resting": [resting], "observedGeneration": 1,
            "conditions": [condition("Ready", "False", "PoolOverlap")],
        });
        pool.set_status("pool", &status).unwrap();
        let expected = [
            ("Name", "pool"),
            ("Addresses", r#"["198.51.100.0/24"]"#),
            ("Auto", "true"),
            ("IPv4-Assigned", "3"),
            ("IPv4-Available", "252"),
            ("IPv6-Assigned", "null"),
            ("IPv6-Available", "null"),
            ("Ready", "False"),
            ("/Reason", "PoolOverlap"),
        ];
        assert_eq!(pool.table(), row(&expected));
        // Of each address and each type of condition there is one.
        status["resting"] = json!([resting, resting]);
        assert_says(&pool.set_status("pool", &status), "status.resting[1]", &status);
        let twice =
            json!({"conditions": [condition("Ready", "True", "Ready"), condition("Ready", "False", "Pending")]});
        assert_says(&pool.set_status("pool", &twice), "status.conditions[1]", &twice);
    });
}

#[test]
fn load_balancers() {
    with_kinds(test_name!(), |server| {
        let service = |name: String| json!({"namespace": "shop", "name": name});
        let balancer = Subject {
            server,
            kind: "LoadBalancer",
            namespace: Some("default"),
            spec: json!({"provider": "local", "services": [service("web".to_owned())]}),
        };
        balancer.accepts(&[]);
        balancer.bounds("/provider", &[text(1), text(253)], &[text(0), text(254), Value::Null]);
        let services = |count| list(count, |i| service(format!("web-{i}")));
        let twice = json!([service("web".to_owned()), service("web".to_owned())]);
        balancer.bounds(
            "/services",
            &[services(256)],
            &[services(257), json!([]), Value::Null, twice],
        );
        for field in ["/services/0/namespace", "/services/0/name"] {
            let name = field.trim_start_matches("/services/0/");
            for good in [text(1), text(63)] {
                balancer.accepts(&[(field, good)]);
            }
            for bad in [text(0), text(64), Value::Null] {
                balancer.refuses(&[(field, bad)], &format!("spec.services[0].{name}"));
            }
        }

        let (_, _): (_, fairlead_crds::LoadBalancer) = balancer.create("web", &[]);
        let status = json!({
            "addresses": ["198.51.100.7", "2001:db8::7"], "hostname": "web.example.com", "ids": {"arn": "arn:aws:one"},
            "pool": "lan", "node": "node-2", "nodeReason": "OwnerDead", "observedGeneration": 1,
            "announcements": {"198.51.100.7": {"node": "node-2", "reason": "OwnerDead", "epoch": 4}},
            "conditions": [condition("Ready", "True", "Ready")],
        });
        balancer.set_status("web", &status).unwrap();
        let expected = [
            ("Name", "web"),
            ("Provider", "local"),
            ("Address", r#"["198.51.100.7","2001:db8::7"]"#),
            ("Node", "node-2"),
            ("Ready", "True"),
            ("Reason", "Ready"),
            ("/Hostname", "web.example.com"),
            ("/Pool", "lan"),
        ];
        assert_eq!(balancer.table(), row(&expected));
        let stored = ask(server, &balancer.object("web", &Value::Null), async |api| {
            api.get("web").await
        })
        .unwrap();
        assert_eq!(stored.data["status"], status, "no field of the status is unknown");
    });
}
