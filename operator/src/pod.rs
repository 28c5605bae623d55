//! What a pod knows of itself.

/// Where a pod finds the name of its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace to use: the one that was asked for, else the pod's own, else `default`.
pub fn namespace(asked_for: Option<&str>) -> String {
    let own = || {
        let text = std::fs::read_to_string(NAMESPACE_FILE).ok()?;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    };
    asked_for
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .or_else(own)
        .unwrap_or_else(|| "default".to_owned())
}
