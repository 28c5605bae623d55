//! `--scenario power-off`: the node that answers for an address of a pool loses its power while a client opens connections to it.
//!
//! The pods are on other nodes, so that nothing is lost but what the address's move costs. What is shown is the client's: which of its
//! connections stood. Why a node answers is its agent's word.

mod text;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fairlead_lab::outage::{Attempt, Outage, is_quiet, lost, outage};
use fairlead_lab::{Opener, wait_for};
use fairlead_model::{Protocol, ServiceName};
use serde::Serialize;

use super::announced::addresses_on_link;
use super::ground::Place;
use super::output::Output;
use super::report::millis;
use super::session::Session;
use super::traffic::Interrupted;

/// The client opens one connection to each address in so long.
const EVERY: Duration = Duration::from_millis(5);
/// So long nothing may be lost before the power goes, and after it is back.
const QUIET: Duration = Duration::from_millis(600);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The Service whose addresses lose their node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    service: ServiceName,
    port: u16,
    addresses: Vec<IpAddr>,
    /// The nodes that its pods are on.
    pub(super) hosts: BTreeSet<u8>,
}

impl Target {
    /// The first Service with an address of a pool whose pods leave a majority of the nodes alone.
    pub(super) fn choose(session: &Session) -> anyhow::Result<Self> {
        let scene = session.scene();
        for load_balancer in session.load_balancers() {
            let addresses: Vec<_> = addresses_on_link(&load_balancer).collect();
            let Some(of) = load_balancer.spec.services.first() else {
                continue;
            };
            let name = ServiceName::new(&*of.namespace, &*of.name);
            let service = scene.services().into_iter().find(|service| service.name == name);
            let port = service.and_then(|service| service.ports.iter().find(|port| port.protocol == Protocol::Tcp));
            let slices = scene.clusters[0].slices(&name);
            let hosts: BTreeSet<_> = slices
                .flat_map(|slice| &slice.endpoints)
                .filter_map(|endpoint| match scene.ground.place_of(endpoint.address) {
                    Place::Node(node) | Place::Pods(node) => Some(node),
                    Place::Elsewhere => None,
                })
                .collect();
            let is_majority = (scene.ground.nodes.len() - hosts.len()) * 2 > scene.ground.nodes.len();
            if let Some(port) = port
                && !addresses.is_empty()
                && !hosts.is_empty()
                && is_majority
            {
                return Ok(Self {
                    service: name,
                    port: port.port,
                    addresses,
                    hosts,
                });
            }
        }
        bail!(
            "no Service of the manifests is fit for this: it takes one with an address of a pool in the LAN, a TCP port, and all of its \
             pods on one node, as `tickets` in the examples"
        )
    }
}

/// What is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    scenario: &'static str,
    service: String,
    cuts: Vec<Cut>,
    /// Whether each address went to another node.
    passed: bool,
}

/// A node that lost its power and came back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cut {
    node: String,
    addresses: Vec<Moved>,
    /// Connections that were lost when the node came back.
    lost_at_return: usize,
    /// Whether the addresses were then where they had gone.
    have_stayed: bool,
}

/// What became of an address.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Moved {
    address: IpAddr,
    before: String,
    after: String,
    /// Why the node answers now, as in the status of a `LoadBalancer`.
    reason: Option<String>,
    epoch: Option<u64>,
    /// From the last connection that stood to the first one after it that did.
    lost_millis: f64,
    lost_connections: usize,
    #[serde(skip)]
    why: String,
    #[serde(skip)]
    strip: Strip,
}

/// What the client saw around the moment.
#[derive(Debug, Clone)]
struct Strip {
    attempts: Vec<Attempt>,
    off: Instant,
    read: Instant,
}

/// Plays it, shows it, and fails if an address did not go to another node.
pub(super) fn run(session: &mut Session, output: Output) -> anyhow::Result<()> {
    let target = Target::choose(session)?;
    let client = session.lab().client();
    let openers: Vec<_> = target
        .addresses
        .iter()
        .map(|address| {
            (
                *address,
                client.open_every(EVERY, SocketAddr::new(*address, target.port)),
            )
        })
        .collect();
    let mut report = Report {
        scenario: "powerOff",
        service: target.service.to_string(),
        cuts: Vec::new(),
        passed: true,
    };
    quiet(session, &openers)?;
    output.scenario(|screen| text::title(&report.service, screen))?;
    // The addresses may be with different nodes: then each of these is turned off.
    let mut left = target.addresses.clone();
    while let Some(address) = left.first() {
        let node = owner(session, *address)?;
        if target.hosts.contains(&node) {
            bail!("{address} has gone to a node with pods of {} by itself", target.service);
        }
        let off = session.power_off(node)?;
        let addresses = moved(session, &openers, node, off)?;
        let name = session.lab().node(node).name().to_owned();
        output.scenario(|screen| text::cut(&name, &addresses, screen))?;
        let (lost_at_return, have_stayed) = bring_back(session, &openers, node)?;
        let cut = Cut {
            node: name,
            addresses,
            lost_at_return,
            have_stayed,
        };
        output.scenario(|screen| text::back(&cut, screen))?;
        left.retain(|address| {
            cut.addresses
                .iter()
                .all(|moved| moved.address != *address || moved.before != cut.node)
        });
        report.passed &= cut.addresses.iter().all(Moved::is_served);
        report.cuts.push(cut);
    }
    output.scenario_json(&report)?;
    if !report.passed {
        bail!("an address did not go to another node");
    }
    Ok(())
}

impl Moved {
    fn is_served(&self) -> bool {
        self.reason.is_some()
    }
}

type Openers = [(IpAddr, Opener)];

/// Waits until the client has lost nothing for a while.
fn quiet(session: &Session, openers: &Openers) -> anyhow::Result<()> {
    let are_quiet = || {
        let all = openers
            .iter()
            .all(|(_, opener)| is_quiet(&opener.attempts(), QUIET, Instant::now()));
        all.then_some(())
    };
    wait(session, "the client's connections to stand", are_quiet)
}

/// Waits for something, or for Ctrl-C.
fn wait<T>(session: &Session, what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let is_interrupted = session.is_interrupted();
    wait_for(PATIENCE, what, || {
        if is_interrupted.load(Ordering::Relaxed) {
            return Some(Err(Interrupted));
        }
        look().map(Ok)
    })?
    .map_err(Into::into)
}

fn owner(session: &mut Session, address: IpAddr) -> anyhow::Result<u8> {
    session.find_owners()?;
    let announced = session
        .announced()
        .iter()
        .find(|announced| announced.address == address);
    let owner = announced.and_then(|announced| announced.owner.as_ref());
    owner
        .map(|owner| owner.node)
        .with_context(|| format!("nobody answers for {address}"))
}

/// Waits until the client is served again, and says by whom.
fn moved(session: &mut Session, openers: &Openers, node: u8, off: Instant) -> anyhow::Result<Vec<Moved>> {
    let before = session.announced().to_vec();
    let name = session.lab().node(node).name().to_owned();
    let outages = wait(session, &format!("another node to answer in place of {name}"), || {
        let now = Instant::now();
        let all: Vec<_> = openers
            .iter()
            .map(|(_, opener)| outage(&opener.attempts(), off, now))
            .collect();
        (!all.contains(&Outage::Unknown)).then_some(all)
    })?;
    session.find_owners()?;
    let node_of = |session: &Session, announced: &super::announced::Announced| {
        let node = announced.owner.as_ref().map(|owner| owner.node);
        node.map_or_else(
            || "nobody".to_owned(),
            |node| session.lab().node(node).name().to_owned(),
        )
    };
    let mut moved = Vec::new();
    for ((address, opener), outage) in openers.iter().zip(outages) {
        let is_it = |announced: &&super::announced::Announced| announced.address == *address;
        let (Some(before), Some(after)) = (before.iter().find(is_it), session.announced().iter().find(is_it)) else {
            bail!("{address} is no address of the pool any more");
        };
        let word = after.owner.as_ref().and_then(|owner| owner.word.as_ref());
        let (attempts, read) = (opener.attempts(), Instant::now());
        moved.push(Moved {
            address: *address,
            before: node_of(session, before),
            after: node_of(session, after),
            reason: word.map(|word| word.reason.clone()),
            epoch: word.map(|word| word.epoch),
            why: word.map_or_else(|| "nobody answers for it".to_owned(), super::announced::Word::sentence),
            lost_millis: match outage {
                Outage::Took(time) => millis(time),
                Outage::None | Outage::Unknown => 0.0,
            },
            lost_connections: lost(&attempts, off, read),
            strip: Strip { attempts, off, read },
        });
    }
    Ok(moved)
}

/// Turns the node on, and waits until the others hear it and all is quiet. Returns what the client lost, and whether the addresses stayed.
fn bring_back(session: &mut Session, openers: &Openers, node: u8) -> anyhow::Result<(usize, bool)> {
    let before = session.announced().to_vec();
    let heard = format!("the node is heard node=\"{}\"", session.lab().node(node).name());
    let count = |session: &Session| -> Vec<usize> {
        let others = session.agents().iter().filter(|agent| agent.node() != node);
        others.map(|agent| agent.log().matches(&heard).count()).collect()
    };
    let known = count(session);
    let on = Instant::now();
    session.power_on(node)?;
    wait(session, "the others to hear the node again", || {
        let now = count(session);
        now.iter().zip(&known).all(|(now, known)| now > known).then_some(())
    })?;
    let back = Instant::now();
    wait(session, "time to pass without a loss", || {
        let now = Instant::now();
        let are_quiet = openers
            .iter()
            .all(|(_, opener)| is_quiet(&opener.attempts(), QUIET, now));
        (now > back + QUIET && are_quiet).then_some(())
    })?;
    session.find_owners()?;
    let node_of =
        |announced: &super::announced::Announced| (announced.address, announced.owner.as_ref().map(|owner| owner.node));
    let have_stayed = before.iter().map(node_of).eq(session.announced().iter().map(node_of));
    let now = Instant::now();
    let lost = openers
        .iter()
        .map(|(_, opener)| lost(&opener.attempts(), on, now))
        .sum();
    Ok((lost, have_stayed))
}
