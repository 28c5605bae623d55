//! `fairlead trace`: where a connection goes, and why.
//!
//! The same view, compiler and table as the agent's, walked by the evaluator; nothing is written to the kernel.

mod explain;
mod text;

use std::fmt;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use fairlead_dataplane::evaluate::{Packet, evaluate};
use fairlead_model::Protocol;
use tokio::time::timeout;

use crate::agent::announce::plan::addresses_of_services;
use crate::agent::flags::AgentFlags;
use crate::go_duration::GoDuration;
use crate::source::{self, IfMissing, SourceOptions, Surroundings};
use crate::view::{Refreshed, View};
use crate::{addresses, routes};
use explain::{Answerer, Explanation};

/// Flags of `fairlead trace`.
#[derive(Debug, Clone, Args)]
pub struct TraceFlags {
    /// Where the connection comes from: an address of this host, of a pod, or any other.
    #[arg(long, value_name = "IP")]
    pub from: IpAddr,
    /// Where it goes to: `10.96.0.1:80`, `[fd00::1]:53/udp`; TCP if no protocol is given.
    #[arg(long, value_name = "IP:PORT[/PROTOCOL]")]
    pub to: Destination,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub output: Output,
    /// How long to wait for the source.
    #[arg(long, value_name = "DURATION", default_value_t = GoDuration(Duration::from_secs(30)))]
    pub timeout: GoDuration,
    /// The agent's own flags; those that do not decide about packets are ignored.
    #[command(flatten)]
    pub agent: AgentFlags,
}

/// A format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Address, port and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Address and port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
}

/// A text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected IP:PORT or [IPV6]:PORT, with /tcp, /udp or /sctp if need be")]
pub struct DestinationError;

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::ALL
            .into_iter()
            .find(|known| known.to_string() == protocol.to_ascii_lowercase());
        Ok(Self {
            address: address.parse().map_err(|_| DestinationError)?,
            protocol: protocol.ok_or(DestinationError)?,
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.protocol)
    }
}

/// How long load balancers are waited for when all else is there. Without the chart fairlead-crds there are none, and who may not read them asks about
/// the rest.
const WAIT_FOR_LOAD_BALANCERS: Duration = Duration::from_secs(1);

/// Answers once.
pub async fn run(flags: TraceFlags) -> anyhow::Result<()> {
    if flags.from.is_ipv4() != flags.to.address.is_ipv4() {
        bail!(
            "--from {} and --to {} are not of one address family",
            flags.from,
            flags.to.address
        );
    }
    let (view, surroundings) = collect(&flags).await?;
    let compiler = view.compiler().context("the source is not complete")?;
    let interface = routes::interface_towards(flags.from);
    let packet = Packet {
        source: flags.from,
        destination: flags.to.address,
        protocol: flags.to.protocol,
        interface: interface.clone(),
    };
    // The node's own addresses count even where this namespace lacks them, so that a trace from elsewhere tells the same.
    let primary_ips = view.config().map_or(&[][..], |config| &config.primary_ips);
    let is_local = |address: IpAddr| {
        let is_assigned = view.addresses().iter().any(|local| local.address == address);
        address.is_loopback() || is_assigned || primary_ips.contains(&address)
    };
    let evaluation = evaluate(compiler.table(), is_local, &packet);
    let is_local_address = is_local(flags.from);
    let mut explanation = Explanation::new(&view, &packet, is_local_address, evaluation);
    explanation.answerer = surroundings.and_then(|surroundings| Answerer::of(&surroundings, packet.destination.ip()));
    let answer = match flags.output {
        Output::Text => text::Text(&explanation).to_string(),
        Output::Json => format!("{}\n", explanation.to_json()),
    };
    match std::io::stdout().write_all(answer.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the answer"),
    }
}

/// Reads the source until it is complete. Without surroundings, what load balancers have is not known.
async fn collect(flags: &TraceFlags) -> anyhow::Result<(View, Option<Arc<Surroundings>>)> {
    let node = &flags.agent.node;
    let mut view = View::new(node.clone());
    view.set_addresses(addresses::list().context("cannot list addresses")?);
    let options = SourceOptions {
        node_name: view.node_name().clone(),
        api_server: node.api_server.clone(),
        if_missing: IfMissing::Fail,
        with_surroundings: true,
    };
    let mut source = source::start(&node.source, options).await?;
    let read = async {
        while !view.cluster().is_complete() {
            match source.changes.recv().await {
                Some(changes) => changes.into_iter().for_each(|change| view.absorb(change)),
                None => return Err(source.task.failed().await.into()),
            }
        }
        let told = timeout(WAIT_FOR_LOAD_BALANCERS, source.surroundings.wait_for(Option::is_some));
        let surroundings = told.await.ok().and_then(|told| told.ok()?.clone());
        if let Some(surroundings) = &surroundings {
            view.set_announced(addresses_of_services(surroundings));
        }
        match view.refresh(|| None)? {
            Refreshed::Incomplete => bail!("the source is not complete"),
            Refreshed::Everything | Refreshed::Services(_) => Ok((view, surroundings)),
        }
    };
    timeout(flags.timeout.0, read)
        .await
        .with_context(|| format!("source {} was not complete within {}", node.source, flags.timeout))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_reads_what_it_shows() {
        for text in ["10.96.0.1:80/tcp", "[fd00::1]:53/udp", "10.96.0.1:80/sctp"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        assert_eq!("10.96.0.1:80".parse::<Destination>().unwrap().protocol, Protocol::Tcp);
        for text in ["10.96.0.1", "fd00::1:80", "10.96.0.1:80/icmp", ""] {
            assert_eq!(text.parse::<Destination>(), Err(DestinationError), "{text}");
        }
    }
}
