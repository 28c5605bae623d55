//! An operator, and what it may do.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fairlead_e2e::control_plane::User;
use fairlead_lab::{Family, Process};
use serde_json::{Value, json};

use crate::world::{API_PORT, World};

/// An operator in the namespace of a node, so that its ports are its own.
pub(crate) struct Operator {
    pub(crate) process: Process,
    log: PathBuf,
}

impl Operator {
    pub(crate) fn start(world: &World, node: u8, name: &str) -> Self {
        let family = if node == 2 { Family::V6 } else { Family::V4 };
        let kubeconfig = world.store.kubeconfig(User::Operator, family, API_PORT).unwrap();
        let log = world.store.folder().join(format!("{name}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        command
            .arg("operator")
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args([
                &format!("--identity={name}"),
                "--leader-elect-resource-namespace=default",
            ])
            .args(["--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s"])
            .arg("--leader-elect-retry-period=500ms")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        Self {
            process: world.lab.node(node).spawn(command).unwrap(),
            log,
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.log().contains(text)
    }
}

/// Rights in the lease's namespace alone.
pub(crate) fn lease_role() -> [Value; 2] {
    let (name, namespace) = (User::Operator.name(), "default");
    let api_groups = ["coordination.k8s.io"];
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": name, "namespace": namespace},
            "rules": [
                {"apiGroups": api_groups, "resources": ["leases"], "verbs": ["create"]},
                {
                    "apiGroups": api_groups, "resources": ["leases"], "resourceNames": ["fairlead-operator"],
                    "verbs": ["get", "list", "watch", "update"],
                },
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }),
    ]
}

/// Rights to look after load balancers, as the chart gives them.
pub(crate) fn controller_role() -> [Value; 2] {
    let name = User::Operator.name();
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let watch = ["get", "list", "watch"];
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [
                rule("", &["services"], &["get", "list", "watch", "patch"]),
                rule("", &["services/status"], &["patch"]),
                rule("", &["namespaces", "nodes", "pods"], &watch),
                rule("", &["pods/status"], &["patch"]),
                rule("discovery.k8s.io", &["endpointslices"], &watch),
                rule("fairlead.io", &["loadbalancerproviders", "addresspools"], &watch),
                rule("fairlead.io", &["loadbalancers"], &["get", "list", "watch", "create", "patch", "delete"]),
                rule(
                    "fairlead.io",
                    &["loadbalancerproviders/status", "addresspools/status", "loadbalancers/status"],
                    &["patch"],
                ),
                rule("events.k8s.io", &["events"], &["create", "patch"]),
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }),
    ]
}
