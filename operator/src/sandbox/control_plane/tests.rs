use fairlead_model::Service;
use tempfile::TempDir;

use super::*;
use crate::source::manifest::Object as Manifest;

const POOL: &str = "
apiVersion: fairlead.io/v1alpha1
kind: LoadBalancerProvider
metadata: { name: local }
spec: { loadBalancerClass: fairlead.io/local, local: {} }
---
apiVersion: fairlead.io/v1alpha1
kind: AddressPool
metadata: { name: lan }
spec: { provider: local, addresses: [172.30.0.200-172.30.0.201] }
";

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ type: LoadBalancer, \
         loadBalancerClass: fairlead.io/local, clusterIP: 10.96.0.1, ports: [{{ port: 80 }}] }}\n"
    )
}

struct Stage {
    manifests: TempDir,
    agents: TempDir,
    copy: Copy,
}

impl Stage {
    fn new(files: &[(&str, &str)]) -> Self {
        let [manifests, agents] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let copy = Copy::new(manifests.path(), agents.path());
        let stage = Self {
            manifests,
            agents,
            copy,
        };
        for (name, text) in files {
            stage.write(name, text);
        }
        stage
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.manifests.path().join(name), text).unwrap();
    }

    fn look(&mut self) -> Decisions {
        self.copy.look().unwrap()
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.agents.path().join(name)).ok()
    }

    /// The addresses that an agent finds in a file, by Service.
    fn addresses(&self, name: &str) -> BTreeMap<String, Vec<IpAddr>> {
        let objects = manifest::parse(name, &self.text(name).unwrap()).unwrap();
        let services = objects.into_iter().filter_map(|object| match object {
            Manifest::Service(manifest) => manifest.service,
            _ => None,
        });
        let addresses = |service: &Service| (service.name.name.to_string(), service.load_balancer_ips.clone());
        services.map(|service| addresses(&service)).collect()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn services_get_addresses_and_everything_else_is_as_it_was() {
    let mut stage = Stage::new(&[
        ("pool.yaml", POOL),
        ("web.yaml", &service("web")),
        ("note.txt", "no manifest"),
    ]);
    let decisions = stage.look();
    assert_eq!(stage.text("pool.yaml").unwrap(), POOL);
    assert_eq!(stage.text("note.txt"), None);
    assert_eq!(
        stage.addresses("web.yaml"),
        BTreeMap::from([("web".to_owned(), vec![ip("172.30.0.200")])])
    );
    assert_eq!(decisions.complaints, Vec::<String>::new());
    let [web] = &decisions.load_balancers[..] else {
        panic!("{decisions:?}")
    };
    assert_eq!(addresses_of(web).collect::<Vec<_>>(), [ip("172.30.0.200")]);
    let status = web.status.as_ref().unwrap();
    assert_eq!(status.pool.as_deref(), Some("lan"));
    let of_agents = manifest::parse(LOAD_BALANCERS, &stage.text(LOAD_BALANCERS).unwrap()).unwrap();
    let [Manifest::LoadBalancer(of_agents)] = &of_agents[..] else {
        panic!("{of_agents:?}")
    };
    assert_eq!(addresses_of(of_agents).collect::<Vec<_>>(), [ip("172.30.0.200")]);

    fs::remove_file(stage.manifests.path().join("web.yaml")).unwrap();
    assert_eq!(stage.look(), Decisions::default());
    assert_eq!((stage.text("web.yaml"), stage.text(LOAD_BALANCERS)), (None, None));
}

#[test]
fn who_has_an_address_keeps_it() {
    let mut stage = Stage::new(&[("pool.yaml", POOL), ("web.yaml", &service("web"))]);
    stage.look();
    // Alone it would be the first.
    stage.write("a.yaml", &service("a"));
    stage.write("z.json", r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"z"},"spec":{"type":"LoadBalancer","loadBalancerClass":"fairlead.io/local","clusterIP":"10.96.0.2","ports":[{"port":80}]}}"#);
    let decisions = stage.look();
    let addresses = ["a.yaml", "web.yaml", "z.json"].map(|name| stage.addresses(name).into_values().next().unwrap());
    assert_eq!(addresses[0], [ip("172.30.0.201")]);
    assert_eq!(addresses[1], [ip("172.30.0.200")]);
    // Two are all that the pool has.
    assert!(addresses[2].is_empty());
    assert!(
        decisions.complaints[0].starts_with("Service default/z: "),
        "{decisions:?}"
    );
}

#[test]
fn a_broken_file_is_the_agents_matter_and_moves_no_address() {
    let mut stage = Stage::new(&[("pool.yaml", POOL), ("web.yaml", &service("web"))]);
    let before = stage.look();
    stage.write("web.yaml", "kind: [");
    assert_eq!(stage.look(), before);
    assert_eq!(stage.text("web.yaml").unwrap(), "kind: [");
    stage.write("web.yaml", &service("web").replace("80", "81"));
    assert_eq!(stage.look(), before);
    assert_eq!(stage.addresses("web.yaml")["web"], [ip("172.30.0.200")]);
}

#[test]
fn an_object_that_only_an_operator_reads_is_named_and_moves_no_address() {
    let mut stage = Stage::new(&[("pool.yaml", POOL), ("web.yaml", &service("web"))]);
    let before = stage.look();
    stage.write(
        "team.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: { name: team, labels: [a] }\n",
    );
    let after = stage.look();
    assert_eq!(after.load_balancers, before.load_balancers);
    assert!(
        after.complaints[0].starts_with("Namespace team: metadata.labels"),
        "{after:?}"
    );
    assert_eq!(stage.addresses("web.yaml")["web"], [ip("172.30.0.200")]);
}
