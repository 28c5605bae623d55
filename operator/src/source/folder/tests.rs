//! A folder on the real file system. Nothing sleeps: every step waits for the changes that it must cause.

use std::os::unix::fs::symlink;
use std::path::Path;

use fairlead_model::Cluster;
use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// inotify alone: what the slow look would find is not found in a test's time.
const WATCHED: Pace = Pace {
    quiet: Duration::from_millis(15),
    unclosed: Duration::from_millis(500),
    longest: Duration::from_secs(1),
    poll: Duration::from_hours(1),
    absent: Duration::from_millis(10),
};

/// The look at everything alone, as good as at once.
const POLLED: Pace = Pace {
    poll: Duration::from_millis(10),
    ..WATCHED
};

fn service(name: &str, ip: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: {ip}, ports: [{{port: 80}}]}}}}\n"
    )
}

fn slice(name: &str, service: &str, ip: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, ports: [{{port: 8080}}], \
          metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {service}}}}}, endpoints: [{{addresses: [{ip}]}}]}}\n"
    )
}

fn endpoints(name: &str, ip: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Endpoints, metadata: {{name: {name}}}, \
          subsets: [{{addresses: [{{ip: {ip}}}], ports: [{{port: 8080}}]}}]}}\n"
    )
}

/// A source on a folder, and the cluster as its reader sees it.
struct Reading {
    source: Source,
    cluster: Cluster,
}

impl Reading {
    fn start(folder: &Path, pace: Pace) -> Self {
        let source = start(folder.to_owned(), SourceOptions::new("node-a"), pace).unwrap();
        Self {
            source,
            cluster: Cluster::default(),
        }
    }

    /// Takes changes in until the cluster looks like this: every Service as `name=cluster IP`, every slice as
    /// `service->address`, in alphabetical order.
    async fn shows(&mut self, expected: &[&str]) {
        let waiting = async {
            while !self.cluster.is_complete() || self.lines() != expected {
                for change in self.source.changes.recv().await.expect("a source that runs") {
                    self.cluster.apply(change);
                }
            }
        };
        let is_so = tokio::time::timeout(DEADLINE, waiting).await.is_ok();
        assert!(is_so, "{:?} did not become {expected:?}", self.lines());
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for service in self.cluster.services() {
            lines.push(format!("{}={}", service.name.name, service.cluster_ips[0]));
            for slice in self.cluster.slices(&service.name) {
                let addresses = slice.endpoints.iter().map(|endpoint| endpoint.address);
                lines.extend(addresses.map(|address| format!("{}->{address}", service.name.name)));
            }
        }
        lines.sort();
        lines
    }

    /// Waits until exactly these places have a problem, and gives the text of the last one.
    async fn complains_about(&mut self, places: &[&str]) -> String {
        let is_so = |problems: &crate::source::Problems| {
            problems.current.keys().map(|place| &**place).eq(places.iter().copied())
        };
        let wait = tokio::time::timeout(DEADLINE, self.source.problems.wait_for(is_so)).await;
        let problems = wait.expect("the problems in time").expect("a source that runs");
        problems
            .current
            .values()
            .last()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn total_of_problems(&self) -> u64 {
        self.source.problems.borrow().total
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn an_edit_a_new_file_and_a_deleted_one_are_followed() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), service("a", "10.96.0.1")).unwrap();
    fs::write(path("notes.txt"), "not a manifest").unwrap();
    fs::write(path(".hidden.yaml"), service("hidden", "10.96.0.9")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["a=10.96.0.1"]).await;

    fs::write(path("a.yaml"), service("a", "10.96.0.2")).unwrap();
    reading.shows(&["a=10.96.0.2"]).await;
    fs::write(path("b.json"), r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"clusterIP": "10.96.0.3", "ports": [{"port": 1}]}}"#).unwrap();
    reading.shows(&["a=10.96.0.2", "b=10.96.0.3"]).await;
    fs::write(path("slice.yml"), slice("a-1", "a", "10.0.0.1")).unwrap();
    reading.shows(&["a->10.0.0.1", "a=10.96.0.2", "b=10.96.0.3"]).await;
    fs::remove_file(path("a.yaml")).unwrap();
    reading.shows(&["b=10.96.0.3"]).await;
}

#[tokio::test]
async fn an_editor_that_renames_is_followed() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), service("a", "10.96.0.1")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["a=10.96.0.1"]).await;

    fs::write(path(".a.yaml.swp"), service("a", "10.96.0.2")).unwrap();
    fs::rename(path(".a.yaml.swp"), path("a.yaml")).unwrap();
    reading.shows(&["a=10.96.0.2"]).await;
    fs::rename(path("a.yaml"), path("a.yaml~")).unwrap();
    reading.shows(&[]).await;
    fs::rename(path("a.yaml~"), path("b.yaml")).unwrap();
    reading.shows(&["a=10.96.0.2"]).await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_state_and_everything_else_goes_on() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), service("a", "10.96.0.1")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["a=10.96.0.1"]).await;

    fs::write(path("a.yaml"), service("a", "10.96.0")).unwrap();
    let problem = reading.complains_about(&["a.yaml"]).await;
    assert!(
        problem.starts_with("a.yaml:1:72: Service default/a: spec.clusterIP: \"10.96.0\""),
        "{problem}"
    );
    fs::write(path("b.yaml"), service("b", "10.96.0.3")).unwrap();
    reading.shows(&["a=10.96.0.1", "b=10.96.0.3"]).await;
    // The file was not touched, so the error is not repeated.
    assert_eq!(reading.total_of_problems(), 1);

    fs::write(path("a.yaml"), service("a", "10.96.0.2")).unwrap();
    reading.shows(&["a=10.96.0.2", "b=10.96.0.3"]).await;
    reading.complains_about(&[]).await;
    fs::write(path("a.yaml"), ": : :").unwrap();
    reading.complains_about(&["a.yaml"]).await;
    fs::remove_file(path("a.yaml")).unwrap();
    reading.shows(&["b=10.96.0.3"]).await;
    reading.complains_about(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_broken_at_the_start_does_not_hold_up_the_others() {
    let folder = folder();
    fs::write(folder.path().join("a.yaml"), "kind: [").unwrap();
    fs::write(folder.path().join("b.yaml"), [0xff, 0xfe]).unwrap();
    fs::write(folder.path().join("c.yaml"), service("c", "10.96.0.1")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["c=10.96.0.1"]).await;
    reading.complains_about(&["a.yaml", "b.yaml"]).await;
}

#[tokio::test]
async fn an_object_in_two_files_is_taken_from_the_first() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("b.yaml"), service("a", "10.96.0.2")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["a=10.96.0.2"]).await;
    fs::write(path("a.yaml"), service("a", "10.96.0.1")).unwrap();
    reading.shows(&["a=10.96.0.1"]).await;
    let problem = reading.complains_about(&["b.yaml: Service default/a"]).await;
    assert!(problem.contains("a.yaml"), "{problem}");
    fs::remove_file(path("a.yaml")).unwrap();
    reading.shows(&["a=10.96.0.2"]).await;
    reading.complains_about(&[]).await;
}

#[tokio::test]
async fn endpoints_are_mirrored_for_a_service_without_selector_and_slices() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a.yaml"), service("a", "10.96.0.1")).unwrap();
    fs::write(path("endpoints.yaml"), endpoints("a", "10.0.0.1")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["a->10.0.0.1", "a=10.96.0.1"]).await;
    fs::write(path("slice.yaml"), slice("a-1", "a", "10.0.0.2")).unwrap();
    reading.shows(&["a->10.0.0.2", "a=10.96.0.1"]).await;
    fs::remove_file(path("slice.yaml")).unwrap();
    reading.shows(&["a->10.0.0.1", "a=10.96.0.1"]).await;
    let selecting = service("a", "10.96.0.1").replace("spec: {", "spec: {selector: {app: a}, ");
    fs::write(path("a.yaml"), selecting).unwrap();
    reading.shows(&["a=10.96.0.1"]).await;
}

#[tokio::test]
async fn only_the_own_node_counts_and_service_cidrs_come_too() {
    let folder = folder();
    let node = |name: &str, zone: &str| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: {zone}}}}}}}\n"
        )
    };
    let cidr =
        "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: k}, spec: {cidrs: [fd00::/112]}}\n";
    let text = [node("node-b", "b"), node("node-a", "a"), cidr.to_owned()].join("---\n");
    fs::write(folder.path().join("cluster.yaml"), text).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&[]).await;
    assert_eq!(reading.cluster.node().unwrap().zone.as_deref(), Some("a"));
    assert_eq!(
        reading
            .cluster
            .service_cidrs()
            .map(|net| net.to_string())
            .collect::<Vec<_>>(),
        ["fd00::/112"]
    );
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for (version, ip) in [("..1", "10.96.0.1"), ("..2", "10.96.0.2")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("a.yaml"), service("a", ip)).unwrap();
    }
    symlink("..1", path("..data")).unwrap();
    symlink("..data/a.yaml", path("a.yaml")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    reading.shows(&["a=10.96.0.1"]).await;
    symlink("..2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    reading.shows(&["a=10.96.0.2"]).await;
}

#[tokio::test]
async fn a_folder_may_come_later_go_and_be_exchanged() {
    let parent = folder();
    let path = |name: &str| parent.path().join(name);
    let mut reading = Reading::start(&path("folder"), WATCHED);
    let problem = reading.complains_about(&[path("folder").to_str().unwrap()]).await;
    assert!(problem.contains("cannot be read"), "{problem}");
    assert!(reading.source.changes.try_recv().is_err());

    fs::create_dir(path("new")).unwrap();
    fs::write(path("new/a.yaml"), service("a", "10.96.0.1")).unwrap();
    fs::rename(path("new"), path("folder")).unwrap();
    reading.shows(&["a=10.96.0.1"]).await;
    reading.complains_about(&[]).await;

    // A folder that is gone says nothing about what was in it.
    fs::rename(path("folder"), path("old")).unwrap();
    reading.complains_about(&[path("folder").to_str().unwrap()]).await;
    assert!(reading.source.changes.try_recv().is_err());
    fs::create_dir(path("new")).unwrap();
    fs::write(path("new/a.yaml"), service("a", "10.96.0.2")).unwrap();
    fs::rename(path("new"), path("folder")).unwrap();
    reading.shows(&["a=10.96.0.2"]).await;
    fs::write(path("folder/b.yaml"), service("b", "10.96.0.3")).unwrap();
    reading.shows(&["a=10.96.0.2", "b=10.96.0.3"]).await;
}

#[tokio::test]
async fn what_inotify_cannot_see_is_found_all_the_same() {
    let (folder, elsewhere) = (folder(), folder());
    fs::write(elsewhere.path().join("target"), service("a", "10.96.0.1")).unwrap();
    symlink(elsewhere.path().join("target"), folder.path().join("a.yaml")).unwrap();
    let mut reading = Reading::start(folder.path(), POLLED);
    reading.shows(&["a=10.96.0.1"]).await;
    fs::write(elsewhere.path().join("target"), service("a", "10.96.0.22")).unwrap();
    reading.shows(&["a=10.96.0.22"]).await;
}

#[tokio::test]
async fn a_service_without_a_cluster_ip_is_named() {
    let folder = folder();
    fs::write(folder.path().join("a.yaml"), service("a", "''")).unwrap();
    let mut reading = Reading::start(folder.path(), WATCHED);
    let problem = reading.complains_about(&["a.yaml: Service default/a"]).await;
    assert!(problem.starts_with("spec.clusterIP: "), "{problem}");
    reading.shows(&[]).await;
}

#[tokio::test]
async fn a_missing_folder_fails_a_command_that_answers_once() {
    let parent = folder();
    let options = SourceOptions {
        if_missing: IfMissing::Fail,
        ..SourceOptions::new("node-a")
    };
    let path = parent.path().join("absent");
    let error = start(path.clone(), options, WATCHED).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read folder {}", path.display()));
}

#[tokio::test]
async fn what_is_saved_together_comes_together() {
    let folder = folder();
    let mut source = start(folder.path().to_owned(), SourceOptions::new("node-a"), WATCHED).unwrap();
    let mut next = async || {
        let changes = tokio::time::timeout(DEADLINE, source.changes.recv())
            .await
            .expect("changes in time");
        changes.expect("a source that runs").len()
    };
    assert_eq!(next().await, 4, "the initial lists are complete");
    let both = [service("a", "10.96.0.1"), service("b", "10.96.0.2")].join("---\n");
    let save = |text: &str| {
        fs::write(folder.path().join(".new"), text).unwrap();
        fs::rename(folder.path().join(".new"), folder.path().join("a.yaml")).unwrap();
    };
    save(&both);
    assert_eq!(next().await, 2);
    save(&service("c", "10.96.0.3"));
    assert_eq!(next().await, 3, "two go and one comes");
}
