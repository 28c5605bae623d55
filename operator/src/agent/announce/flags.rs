//! The agent's flags about announcing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use fairlead_local::allocation::Selector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::pod;

/// How addresses of local providers are announced.
#[derive(Debug, Clone, Args)]
pub struct AnnounceFlags {
    /// Labels of the nodes that have an agent: only they have a say in who answers for an address
    #[arg(long, value_name = "LABEL=VALUE,…", default_value = "kubernetes.io/os=linux")]
    pub agent_nodes: NodeLabels,
    /// Secret with the key that nodes sign their heartbeats with
    #[arg(long, value_name = "NAME", default_value = "fairlead-heartbeat")]
    pub heartbeat_secret: String,
    /// Its namespace [default: the pod's own, else default]
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub heartbeat_secret_namespace: Option<String>,
    /// File with that key, in place of the Secret
    #[arg(long, value_name = "FILE")]
    pub heartbeat_key_file: Option<PathBuf>,
    /// Folder for what outlives a restart of the agent but not of the node
    #[arg(long, value_name = "PATH", default_value = "/run/fairlead")]
    pub state_dir: PathBuf,
}

impl AnnounceFlags {
    /// Where the Secret is.
    pub fn namespace(&self) -> String {
        pod::namespace(self.heartbeat_secret_namespace.as_deref())
    }
}

/// Labels that a node must have, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLabels(BTreeMap<String, String>);

/// A text that is no list of labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected LABEL=VALUE, separated by commas, not `{0}`")]
pub struct NodeLabelsError(String);

impl FromStr for NodeLabels {
    type Err = NodeLabelsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pairs = text
            .split(',')
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((label, value)) if !label.is_empty() => Ok((label.to_owned(), value.to_owned())),
                _ => Err(NodeLabelsError(pair.to_owned())),
            });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

impl NodeLabels {
    /// The selector of such nodes.
    pub fn selector(&self) -> Selector {
        let selector = LabelSelector {
            match_labels: Some(self.0.clone()),
            match_expressions: None,
        };
        Selector::try_from(&selector).expect("plain labels can always be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_select_nodes_that_have_all_of_them() {
        let labels: NodeLabels = "kubernetes.io/os=linux,edge=".parse().unwrap();
        let node = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let selector = labels.selector();
        assert!(selector.selects(&node(&[("kubernetes.io/os", "linux"), ("edge", "")])));
        assert!(!selector.selects(&node(&[("kubernetes.io/os", "linux")])));
        assert!("".parse::<NodeLabels>().unwrap().selector().selects(&node(&[])));
    }

    #[test]
    fn what_is_no_label_is_named() {
        let error = "a=b,linux".parse::<NodeLabels>().unwrap_err().to_string();
        assert_eq!(error, "expected LABEL=VALUE, separated by commas, not `linux`");
    }
}
