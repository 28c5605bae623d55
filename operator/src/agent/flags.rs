//! The flags of `fairlead agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use fairlead_dataplane::netlink::Ownership;
use serde_json::{Value, json};

use super::announce::flags::AnnounceFlags;
use super::server::ServerFlags;
use super::sysctl::ConntrackFlags;
use crate::go_duration::GoDuration;
use crate::node::NodeFlags;

/// Everything that configures an agent.
#[derive(Debug, Clone, Args)]
pub struct AgentFlags {
    /// What decides about packets.
    #[command(flatten)]
    pub node: NodeFlags,
    /// The HTTP servers.
    #[command(flatten)]
    pub servers: ServerFlags,
    /// conntrack's settings.
    #[command(flatten)]
    pub conntrack: ConntrackFlags,
    /// Where the kernel's settings are written; elsewhere than /proc/sys in a container, which has that read-only
    #[arg(long, value_name = "PATH", default_value = "/proc/sys")]
    pub proc_sys: PathBuf,
    /// Remove what kube-proxy left behind (nftables, iptables, ipvs) once our rules are in place and no kube-proxy answers on
    /// this node any more
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", conflicts_with = "once")]
    pub replace_kube_proxy: bool,
    /// Where a kube-proxy that runs on this node answers HTTP, for `--replace-kube-proxy`: its healthz or metrics addresses
    #[arg(
        long,
        value_name = "IP:PORT",
        value_delimiter = ',',
        default_values = ["127.0.0.1:10256", "[::1]:10256", "127.0.0.1:10249", "[::1]:10249"],
    )]
    pub kube_proxy_healthz_address: Vec<SocketAddr>,
    /// How addresses of local providers are announced.
    #[command(flatten)]
    pub announce: AnnounceFlags,
    /// Write the rules once and end; they stay in place.
    #[arg(long)]
    pub once: bool,
    /// Longest wait before rules that the kernel refused are tried again. A change that has waited twice as long makes the
    /// agent unhealthy.
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_secs(30)))]
    pub sync_period: GoDuration,
    /// Whether other programs may change our table.
    #[arg(long, value_enum, default_value = "owned", value_name = "OWNERSHIP")]
    pub table: TableOwnership,
}

/// Who may change our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableOwnership {
    /// The agent alone, where the kernel has table owners (Linux 6.9). Others are refused, and `nft flush ruleset` passes it
    /// over.
    Owned,
    /// Every program. What others change is mended at once.
    Shared,
}

impl From<TableOwnership> for Ownership {
    fn from(ownership: TableOwnership) -> Self {
        match ownership {
            TableOwnership::Owned => Self::Owned,
            TableOwnership::Shared => Self::Shared,
        }
    }
}

impl AgentFlags {
    /// The running configuration, for `/configz`.
    pub fn to_json(&self) -> Value {
        let node = &self.node;
        let text = |values: &[String]| values.join(",");
        json!({ "fairlead.agent": {
            "source": node.source.to_string(),
            "nodeName": node.node_name(),
            "clusterCIDR": text(&node.cluster_cidr.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "detectLocalMode": format!("{:?}", node.detect_local_mode),
            "nodePortAddresses": node.nodeport_addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "masqueradeAll": node.masquerade_all,
            "syncPeriod": self.sync_period.to_string(),
            "healthzBindAddress": self.servers.healthz_bind_address.to_string(),
            "metricsBindAddress": self.servers.metrics_bind_address.to_string(),
            "probeBindAddress": self.servers.probe_bind_address.to_string(),
            "procSys": self.proc_sys,
            "replaceKubeProxy": self.replace_kube_proxy,
            "tableOwnership": format!("{:?}", self.table),
            "mode": "nftables",
        }})
    }
}
