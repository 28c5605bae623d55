//! The running sandbox: a lab, its workloads, one agent on each node, and the manifests that they all follow.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use fairlead_crds::LoadBalancer;
use fairlead_lab::{Lab, LinkState, Pod};
use fairlead_model::ServiceName;

use super::agents::{Agent, Death, write_heartbeat_key};
use super::announced::{ANSWERED_WITHIN, Announced, addresses_on_link, announced};
use super::control_plane::ControlPlane;
use super::ground::{Ground, VISITOR, alone};
use super::health::health_checks;
use super::manifests::{Edit, Follower};
use super::plan::{Plan, plan};
use super::question::{HOME_NODE, only, questions, routes};
use super::report::{self, EditReport, HealthReport, NodeReport, Report, TrafficReport};
use super::scene::Scene;
use super::traffic::{Askers, ask};
use super::workloads::Workloads;

/// How long an agent may take to end. Then it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// How often everything is asked if addresses do not stay where they are.
const LOOKS: usize = 3;

/// The running sandbox. Fields are dropped in this order: what uses the lab goes before it.
pub(super) struct Session {
    agents: Vec<Agent>,
    visitor: Pod,
    workloads: Workloads,
    lab: Lab,
    ground: Ground,
    follower: Follower,
    control_plane: ControlPlane,
    announced: Vec<Announced>,
    owners: BTreeMap<IpAddr, u8>,
    plan: Plan,
    routes: BTreeMap<IpAddr, u8>,
    complaints: Vec<String>,
    folder: PathBuf,
    logs: PathBuf,
    requests: usize,
    is_interrupted: Arc<AtomicBool>,
}

/// Which Services are asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extent<'a> {
    /// All.
    All,
    /// Those that an edit touched.
    Touched(&'a Edit),
}

impl Session {
    /// Builds everything but the agents.
    pub(super) fn start(
        lab: Lab,
        follower: Follower,
        control_plane: ControlPlane,
        folder: &Path,
        logs: &Path,
        requests: usize,
        is_interrupted: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let ground = Ground::of(&lab);
        let home = lab.node(HOME_NODE);
        let visitor = home
            .add_pod_at("visitor", home.pod_addresses(VISITOR))
            .context("cannot start the pod that asks")?;
        let mut session = Self {
            agents: Vec::new(),
            visitor,
            workloads: Workloads::default(),
            lab,
            ground,
            follower,
            control_plane,
            announced: Vec::new(),
            owners: BTreeMap::new(),
            plan: Plan::default(),
            routes: BTreeMap::new(),
            complaints: Vec::new(),
            folder: folder.to_owned(),
            logs: logs.to_owned(),
            requests,
            is_interrupted,
        };
        session.prepare()?;
        write_heartbeat_key(logs)?;
        Ok(session)
    }

    /// Starts the agents of these nodes, as far as there is none yet, and waits until they have written their rules.
    pub(super) fn start_agents(&mut self, is_wanted: impl Fn(u8) -> bool) -> anyhow::Result<()> {
        for node in self.lab.nodes() {
            let is_there = self.agents.iter().any(|agent| agent.node() == node.number());
            if is_wanted(node.number()) && !is_there {
                let agent = Agent::start(node, self.control_plane.folder(), &self.logs)?;
                self.agents.push(agent);
            }
        }
        self.agents.sort_by_key(Agent::node);
        for agent in &mut self.agents {
            agent.wait_for_first_commit(&self.lab, &self.is_interrupted)?;
        }
        Ok(())
    }

    /// Waits until nodes answer for the addresses of pools.
    pub(super) fn find_owners(&mut self) -> anyhow::Result<()> {
        self.find_owners_within(ANSWERED_WITHIN)
    }

    fn find_owners_within(&mut self, limit: Duration) -> anyhow::Result<()> {
        let load_balancers = self.load_balancers();
        self.announced = announced(&load_balancers, &self.lab, &self.agents, limit, &self.is_interrupted)?;
        let owner = |announced: &Announced| Some((announced.address, announced.owner.as_ref()?.node));
        self.owners = self.announced.iter().filter_map(owner).collect();
        self.set_routes()
    }

    /// Starts what the manifests ask for: workloads, and the client's routes.
    pub(super) fn prepare(&mut self) -> anyhow::Result<()> {
        let plan = plan(&self.scene());
        self.complaints = self.workloads.start(&self.lab, &plan);
        self.plan = plan;
        self.set_routes()
    }

    /// Routes what the client does not find on its own link.
    fn set_routes(&mut self) -> anyhow::Result<()> {
        let on_link: Vec<_> = self.load_balancers().iter().flat_map(addresses_on_link).collect();
        let mut routes = routes(&self.scene());
        routes.retain(|address, _| !on_link.contains(address));
        for (address, node) in &routes {
            if self.ground.place_of(*address) == super::ground::Place::Elsewhere
                && self.routes.get(address) != Some(node)
            {
                self.lab.client().route(alone(*address), self.lab.node(*node))?;
            }
        }
        for address in self.routes.keys().filter(|address| !routes.contains_key(address)) {
            if self.ground.place_of(*address) == super::ground::Place::Elsewhere {
                self.lab.client().unroute(alone(*address))?;
            }
        }
        self.routes = routes;
        Ok(())
    }

    /// Follows an edit: starts what is new, waits for the agents, and ends what is gone. Returns when the last node had
    /// the edit in its kernel.
    pub(super) fn follow(&mut self, edit: &Edit) -> anyhow::Result<Option<SystemTime>> {
        self.prepare()?;
        let mut last = None;
        let edited = edit.at.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut late = Vec::new();
        for agent in self
            .agents
            .iter_mut()
            .filter(|agent| edit.nodes.contains(&agent.node()))
        {
            match agent.wait_for_edit(&self.lab, edited, &self.is_interrupted)? {
                Some(synced) => last = last.max(Some(synced)),
                None => late.push(format!(
                    "the agent on {} does not say that it followed the edit",
                    agent.name()
                )),
            }
        }
        self.find_owners()?;
        self.workloads.end_others(&self.plan);
        if !self.complaints.is_empty() {
            // What is gone may have been in the way.
            self.complaints = self.workloads.start(&self.lab, &self.plan);
        }
        self.complaints.extend(late);
        Ok(last)
    }

    /// What there is to plan with.
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            ground: &self.ground,
            clusters: self.follower.clusters(),
            owners: &self.owners,
            notes: self.follower.notes(),
        }
    }

    /// What there is, before anything is asked.
    pub(super) fn outline(&self) -> Report {
        let scene = self.scene();
        Report {
            manifests: self.folder.display().to_string(),
            edit: None,
            nodes: self.nodes(),
            client: self.ground.client.both(),
            pod: self.ground.visitor.both(),
            workloads: report::workloads(&scene, &self.plan),
            services: report::services(&scene, &self.plan),
            ignored: report::ignored(&scene),
            announced: report::announced(&scene, &self.announced),
            problems: self.problems(),
            traffic: Vec::new(),
            health_checks: Vec::new(),
            passed: true,
        }
    }

    /// Asks, and puts everything together. Where an address went to another node meanwhile, as it may on a machine that stalls, what was
    /// expected of it was of the past.
    pub(super) fn report(&mut self, extent: Extent<'_>, effect: Option<Duration>) -> anyhow::Result<Report> {
        let mut report = self.look(extent, effect)?;
        for _ in 1..LOOKS {
            let before = self.owners.clone();
            self.find_owners_within(Duration::ZERO)?;
            if self.owners == before {
                break;
            }
            self.find_owners()?;
            report = self.look(extent, effect)?;
        }
        Ok(report)
    }

    fn look(&self, extent: Extent<'_>, effect: Option<Duration>) -> anyhow::Result<Report> {
        let scene = self.scene();
        let is_wanted = |name: &ServiceName| match extent {
            Extent::All => true,
            Extent::Touched(edit) => edit.services.contains(name),
        };
        let questions = only(questions(&scene, &self.plan), is_wanted);
        let askers = Askers {
            pod: &self.visitor,
            node: self.lab.node(HOME_NODE),
            outside: self.lab.client(),
        };
        let asked = ask(questions, askers, self.requests, &self.is_interrupted)?;
        let checks = health_checks(&scene, &self.lab);
        let traffic: Vec<TrafficReport> = report::traffic(&scene, &asked);
        let health_checks: Vec<HealthReport> = report::health(&scene, &checks);
        let passed = traffic.iter().all(|row| row.complaint.is_none())
            && health_checks.iter().all(|check| check.complaint.is_none());
        let edit = match extent {
            Extent::All => None,
            Extent::Touched(edit) => Some(EditReport {
                services: edit.services.iter().map(ToString::to_string).collect(),
                effect_millis: effect.map(report::millis),
            }),
        };
        Ok(Report {
            edit,
            traffic,
            health_checks,
            passed,
            ..self.outline()
        })
    }

    fn nodes(&self) -> Vec<NodeReport> {
        let report = |agent: &Agent| NodeReport {
            name: agent.name().to_owned(),
            addresses: self.ground.node(agent.node()).addresses.both(),
            zone: self
                .scene()
                .cluster(agent.node())
                .node()
                .and_then(|node| node.zone.as_deref().map(str::to_owned)),
            agent_pid: agent.id(),
            first_commit_millis: report::millis(agent.first_commit()),
        };
        self.agents.iter().map(report).collect()
    }

    /// What is wrong with the manifests, or does not fit the lab.
    pub(super) fn problems(&self) -> Vec<String> {
        let unplaced = self.plan.unplaced.iter().map(ToString::to_string);
        self.follower
            .problems()
            .into_iter()
            .chain(self.control_plane.decisions().complaints)
            .chain(unplaced)
            .chain(self.complaints.iter().cloned())
            .collect()
    }

    /// The manifests, to wait for edits.
    pub(super) fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// How many pods run, besides the one that asks.
    pub(super) fn pods(&self) -> usize {
        self.workloads.pods()
    }

    /// The lab.
    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The agents.
    pub(super) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The folder of the agents' logs.
    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// The folder of manifests.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder that the agents read: the manifests, and what the operator would have written.
    pub(super) fn agents_folder(&self) -> &Path {
        self.control_plane.folder()
    }

    /// Agents that have died are started again, as a `DaemonSet` would; their rules stayed in the kernel.
    pub(super) fn restart_the_dead(&mut self) -> anyhow::Result<Vec<(Death, Duration)>> {
        let mut deaths = Vec::new();
        for agent in &mut self.agents {
            if let Some(death) = agent.death()? {
                *agent = Agent::start(self.lab.node(agent.node()), self.control_plane.folder(), &self.logs)?;
                deaths.push((death, agent.wait_for_first_commit(&self.lab, &self.is_interrupted)?));
            }
        }
        Ok(deaths)
    }

    /// Turns a node off: its link is silent from one moment to the next, its agent is dead, and nobody is told. Returns when that was.
    pub(super) fn power_off(&mut self, node: u8) -> anyhow::Result<Instant> {
        let at = Instant::now();
        self.lab
            .lan()
            .set_link(self.lab.node(node).name(), LinkState::Down)
            .context("cannot turn the node off")?;
        self.agent(node).kill()?;
        Ok(at)
    }

    /// Turns it on again. Its agent remembers nothing.
    pub(super) fn power_on(&mut self, node: u8) -> anyhow::Result<()> {
        self.lab
            .lan()
            .set_link(self.lab.node(node).name(), LinkState::Up)
            .context("cannot turn the node on")?;
        let agent = Agent::start(self.lab.node(node), self.control_plane.folder(), &self.logs)?;
        *self.agent(node) = agent;
        self.start_agents(|_| true)
    }

    fn agent(&mut self, node: u8) -> &mut Agent {
        let mut agents = self.agents.iter_mut();
        agents.find(|agent| agent.node() == node).expect("every node has one")
    }

    /// The load balancers that the agents are told of.
    pub(super) fn load_balancers(&self) -> Vec<LoadBalancer> {
        self.control_plane.decisions().load_balancers
    }

    /// The addresses of pools, and who answers for them.
    pub(super) fn announced(&self) -> &[Announced] {
        &self.announced
    }

    /// Set once somebody has pressed Ctrl-C.
    pub(super) fn is_interrupted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_interrupted)
    }

    /// Ends the agents in good order; everything else ends with the lab.
    pub(super) fn end(mut self) {
        for agent in self.agents.drain(..) {
            agent.end(ENDS_WITHIN);
        }
    }
}
