//! What the node's flags, its Node object and its addresses say about the dataplane.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use fairlead_dataplane::program::{LocalPods, Options};
use fairlead_dataplane::table::InterfacePattern;
use fairlead_model::{Family, Node};
use ipnet::IpNet;

use crate::source::{ApiServerFlags, SourceSpec};

/// The index of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

/// Flags that decide what becomes of a packet; the agent and `fairlead trace` share them. They have kube-proxy's names
/// where they mean the same.
#[derive(Debug, Clone, Args)]
pub struct NodeFlags {
    /// Where Services and endpoints come from: `kube`, or `dir:PATH` for a folder of manifests.
    #[arg(long, default_value = "kube", env = "FAIRLEAD_SOURCE")]
    pub source: SourceSpec,
    /// Name of this node [default: the host name].
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Where the API server of source `kube` is.
    #[command(flatten)]
    pub api_server: ApiServerFlags,
    /// Ranges of the cluster's pods, for `--detect-local-mode ClusterCIDR`.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub cluster_cidr: Vec<IpNet>,
    /// How a connection from a pod of this node is recognised.
    #[arg(long, value_enum, default_value = "ClusterCIDR", value_name = "MODE")]
    pub detect_local_mode: DetectLocalMode,
    /// The bridge that pods are connected to, for `--detect-local-mode BridgeInterface`.
    #[arg(long, value_name = "NAME", value_parser = interface_name, required_if_eq("detect_local_mode", "BridgeInterface"))]
    pub pod_bridge_interface: Option<String>,
    /// How names of pods' interfaces begin, for `--detect-local-mode InterfaceNamePrefix`.
    #[arg(long, value_name = "PREFIX", value_parser = interface_name, required_if_eq("detect_local_mode", "InterfaceNamePrefix"))]
    pub pod_interface_name_prefix: Option<String>,
    /// Addresses that accept node ports: CIDRs, `primary` (the Node's own addresses), `all` (every address but loopback),
    /// `localhost` (accepted as kube-proxy does, and not served: DNAT there would need `route_localnet`).
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', default_value = "primary")]
    pub nodeport_addresses: Vec<NodePortAddresses>,
    /// Masquerade every connection to a cluster IP.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub masquerade_all: bool,
    /// This node's own addresses, where no Node object names them [default: the first address of each family that is no
    /// pod's, on the interface of the default route if it has one, else on the one with the lowest index; `lo` comes last].
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub node_ip: Vec<IpAddr>,
    /// This node's zone, where no Node object names it.
    #[arg(long, value_name = "ZONE")]
    pub node_zone: Option<String>,
    /// Ranges that cluster IPs come from, where no ServiceCIDR object names them.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub service_cluster_ip_range: Vec<IpNet>,
}

/// A value of `--detect-local-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum DetectLocalMode {
    /// By `--cluster-cidr`; without it pods are not recognised.
    #[value(name = "ClusterCIDR")]
    ClusterCidr,
    /// By the pod CIDRs of the Node object.
    #[value(name = "NodeCIDR")]
    NodeCidr,
    /// By the bridge that they are connected to.
    BridgeInterface,
    /// By how their interfaces' names begin.
    InterfaceNamePrefix,
}

/// One value of `--nodeport-addresses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The Node's primary addresses.
    Primary,
    /// Every address but loopback.
    All,
    /// Loopback, which is never served.
    Localhost,
    /// Those in a range.
    In(IpNet),
}

/// A text that names no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a CIDR, `primary`, `all` or `localhost`")]
pub struct NodePortAddressesError;

impl FromStr for NodePortAddresses {
    type Err = NodePortAddressesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "primary" => Ok(Self::Primary),
            "all" => Ok(Self::All),
            "localhost" => Ok(Self::Localhost),
            cidr => cidr.parse().map(Self::In).map_err(|_| NodePortAddressesError),
        }
    }
}

impl fmt::Display for NodePortAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::All => f.write_str("all"),
            Self::Localhost => f.write_str("localhost"),
            Self::In(net) => net.fmt(f),
        }
    }
}

fn interface_name(text: &str) -> Result<String, String> {
    // IFNAMSIZ is 16 with the end mark.
    match text.len() {
        1..=15 if !text.contains(['"', '*', '/']) && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err("an interface name has 1 to 15 bytes, without blanks, quotes, slashes and stars".to_owned()),
    }
}

/// An address of an interface of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalAddress {
    /// Index of the interface.
    pub interface: u32,
    /// Whether others can reach it: scope global, and no deprecated or temporary address.
    pub is_global: bool,
    /// Whether the default route of its family leaves by the interface.
    pub is_on_uplink: bool,
    /// The address.
    pub address: IpAddr,
}

/// What the dataplane needs to know of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// What changes the program.
    pub options: Options,
    /// Addresses that accept node ports.
    pub node_port_addresses: BTreeSet<IpAddr>,
    /// Whether those are all, for both families.
    pub accepts_all: bool,
    /// The node's own addresses, at most one of each family.
    pub primary_ips: Vec<IpAddr>,
    /// The node's zone.
    pub zone: Option<Arc<str>>,
}

/// Why the node cannot be configured yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--detect-local-mode NodeCIDR: Node {node} has no spec.podCIDRs yet")]
pub struct NoPodCidrs {
    node: String,
}

impl NodeFlags {
    /// The node's name.
    pub fn node_name(&self) -> String {
        let host_name = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        self.node_name
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(host_name)
    }

    /// Puts flags, Node object and addresses together.
    pub fn configure(&self, node: Option<&Node>, addresses: &[LocalAddress]) -> Result<NodeConfig, NoPodCidrs> {
        let primary_ips = self.primary_ips(node, addresses);
        let accepts_all = Family::ALL.map(|family| self.accepts_all(family));
        let accepted = addresses.iter().map(|local| local.address).filter(|address| {
            let is_all = accepts_all[usize::from(Family::of(*address) == Family::V6)];
            !address.is_loopback() && (is_all || self.is_in_accepted_range(*address))
        });
        let mut node_port_addresses: BTreeSet<_> = accepted.collect();
        if self.nodeport_addresses.contains(&NodePortAddresses::Primary) {
            node_port_addresses.extend(&primary_ips);
        }
        let zone = node
            .and_then(|node| node.zone.clone())
            .or_else(|| self.node_zone.as_deref().map(Arc::from));
        Ok(NodeConfig {
            options: Options {
                local_pods: self.local_pods(node)?,
                masquerade_all: self.masquerade_all,
            },
            node_port_addresses,
            accepts_all: accepts_all == [true, true],
            primary_ips,
            zone,
        })
    }

    fn local_pods(&self, node: Option<&Node>) -> Result<LocalPods, NoPodCidrs> {
        Ok(match self.detect_local_mode {
            DetectLocalMode::ClusterCidr if self.cluster_cidr.is_empty() => LocalPods::Unknown,
            DetectLocalMode::ClusterCidr => LocalPods::Cidrs(first_of_each_family(&self.cluster_cidr)),
            DetectLocalMode::NodeCidr => match node.filter(|node| !node.pod_cidrs.is_empty()) {
                Some(node) => LocalPods::Cidrs(first_of_each_family(&node.pod_cidrs)),
                None => return Err(NoPodCidrs { node: self.node_name() }),
            },
            DetectLocalMode::BridgeInterface => self.pod_bridge_interface.clone().map_or(LocalPods::Unknown, |name| {
                LocalPods::Interface(InterfacePattern::Exact(name))
            }),
            DetectLocalMode::InterfaceNamePrefix => match self.pod_interface_name_prefix.clone() {
                // A name of full length is no beginning of a longer one.
                Some(name) if name.len() == 15 => LocalPods::Interface(InterfacePattern::Exact(name)),
                Some(prefix) => LocalPods::Interface(InterfacePattern::Prefix(prefix)),
                None => LocalPods::Unknown,
            },
        })
    }

    /// A family that no value speaks of is accepted whole, as by kube-proxy. The keywords speak of both.
    fn accepts_all(&self, family: Family) -> bool {
        let mut of_family = self.nodeport_addresses.iter().filter(|value| match value {
            NodePortAddresses::In(net) => Family::of_net(net) == family,
            NodePortAddresses::Primary | NodePortAddresses::All | NodePortAddresses::Localhost => true,
        });
        let is_match_all = |value: &NodePortAddresses| match value {
            NodePortAddresses::All => true,
            NodePortAddresses::In(net) => net.prefix_len() == 0,
            NodePortAddresses::Primary | NodePortAddresses::Localhost => false,
        };
        of_family.clone().next().is_none() || of_family.any(is_match_all)
    }

    fn is_in_accepted_range(&self, address: IpAddr) -> bool {
        self.nodeport_addresses.iter().any(|value| match value {
            NodePortAddresses::In(net) => net.contains(&address),
            NodePortAddresses::Primary | NodePortAddresses::All | NodePortAddresses::Localhost => false,
        })
    }

    fn primary_ips(&self, node: Option<&Node>, addresses: &[LocalAddress]) -> Vec<IpAddr> {
        if let Some(node) = node.filter(|node| !node.primary_ips.is_empty()) {
            return node.primary_ips.clone();
        }
        if !self.node_ip.is_empty() {
            return self.node_ip.clone();
        }
        let mut candidates: Vec<_> = addresses
            .iter()
            .filter(|local| local.is_global && !local.address.is_loopback())
            .collect();
        candidates.sort_by_key(|local| {
            let is_pods = self.cluster_cidr.iter().any(|net| net.contains(&local.address));
            // An address on `lo` is one that several hosts may have, such as a load balancer's: only where there is no other.
            (
                is_pods,
                local.interface == LOOPBACK,
                !local.is_on_uplink,
                local.interface,
            )
        });
        let first = |family| {
            candidates
                .iter()
                .map(|local| local.address)
                .find(|address| Family::of(*address) == family)
        };
        Family::ALL.into_iter().filter_map(first).collect()
    }
}

/// kube-proxy takes one range of each family.
fn first_of_each_family(nets: &[IpNet]) -> Vec<IpNet> {
    let first = |family| nets.iter().copied().find(|net| Family::of_net(net) == family);
    Family::ALL.into_iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests;
