//! The flags of `fairlead operator`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::aws;
use super::lease::{Timing, TimingError};
use crate::go_duration::GoDuration;
use crate::http::BindAddress;
use crate::pod;
use crate::source::ApiServerFlags;

/// The port of `--metrics-bind-address` where it names none.
const METRICS_PORT: u16 = 8080;
/// The port of `--probe-bind-address` where it names none.
const PROBE_PORT: u16 = 8081;

/// Everything that configures an operator.
#[derive(Debug, Clone, Args)]
pub struct OperatorFlags {
    /// Where the API server is.
    #[command(flatten)]
    pub api_server: ApiServerFlags,
    /// The election.
    #[command(flatten)]
    pub election: ElectionFlags,
    /// Address and port of the server for metrics; empty for none
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value_t = everywhere(METRICS_PORT),
        value_parser = |text: &str| BindAddress::parse(text, METRICS_PORT),
    )]
    pub metrics_bind_address: BindAddress,
    /// Address and port of the server for probes, `/livez` and `/readyz`; empty for none
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value_t = everywhere(PROBE_PORT),
        value_parser = |text: &str| BindAddress::parse(text, PROBE_PORT),
    )]
    pub probe_bind_address: BindAddress,
    /// Name of the Secret, in the namespace of the lease, with the key that nodes sign their heartbeats with; the operator makes
    /// it where it is missing. Empty: it makes none
    #[arg(long, value_name = "NAME", default_value = "fairlead-heartbeat")]
    pub heartbeat_secret: String,
    /// Load balancers of AWS.
    #[command(flatten)]
    pub aws: AwsFlags,
}

/// The flags of load balancers of AWS.
#[derive(Debug, Clone, Args)]
pub struct AwsFlags {
    /// How often everything in AWS is looked at for what others have changed there
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_mins(30)))]
    pub aws_resync_period: GoDuration,
    /// How long something in AWS that bears the cluster's marks may belong to no Service before it is removed; 0: for ever
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_hours(1)))]
    pub aws_orphan_grace_period: GoDuration,
}

impl AwsFlags {
    /// The times.
    pub fn timing(&self) -> aws::driver::Timing {
        let grace = self.aws_orphan_grace_period.0;
        aws::driver::Timing {
            resync: self.aws_resync_period.0.max(LEAST_RESYNC),
            orphan_grace: (!grace.is_zero()).then_some(grace),
        }
    }
}

/// Each look costs calls, which AWS counts.
const LEAST_RESYNC: Duration = Duration::from_secs(10);

fn everywhere(port: u16) -> BindAddress {
    BindAddress(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)))
}

/// The flags of the election, with the names and meanings that Kubernetes' own components give them.
#[derive(Debug, Clone, Args)]
pub struct ElectionFlags {
    /// How long others wait for a leader that says nothing before one of them takes its place; whole seconds
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_secs(15)))]
    pub leader_elect_lease_duration: GoDuration,
    /// How long a leader that cannot renew its lease goes on
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_secs(10)))]
    pub leader_elect_renew_deadline: GoDuration,
    /// How long to wait between tries
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_secs(2)))]
    pub leader_elect_retry_period: GoDuration,
    /// Namespace of the lease [default: the pod's own, else default]
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
    /// What this replica is called in the lease, together with something random [default: the host name]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,
}

impl ElectionFlags {
    /// The times of the lease, if they fit together.
    pub fn timing(&self) -> Result<Timing, TimingError> {
        Timing::new(
            self.leader_elect_lease_duration.0,
            self.leader_elect_renew_deadline.0,
            self.leader_elect_retry_period.0,
        )
    }

    /// Where the lease is.
    pub fn namespace(&self) -> String {
        pod::namespace(self.leader_elect_resource_namespace.as_deref())
    }

    /// A name that no other process has, so that a lease that bears it was written by this one.
    pub fn unique_identity(&self) -> std::io::Result<Arc<str>> {
        let name = self.identity.clone().filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        Ok(format!("{name}_{:016x}", u64::from_ne_bytes(random)).into())
    }
}
