//! Nodes with agents, an operator, an API server, and a client.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use fairlead_lab::outage::is_quiet;
use fairlead_lab::{Addresses, Family, Lab, LinkState, Node, Opener, Pod, Process, wait_for, wait_for_every};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};

use crate::control_plane::{API_PORT, ApiServer, Proxy, Setup, Store, Tools, User};
use crate::program::last_lines;

/// One connection to each address in so long.
pub(super) const EVERY: Duration = Duration::from_millis(5);
/// How long anything may take that is not measured.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// So long nothing may be lost before something is measured.
const QUIET: Duration = Duration::from_millis(600);
/// Pause between looks at all agents.
const LOOK: Duration = Duration::from_millis(100);
pub(super) const INTERFACE: &str = "eth0";
pub(super) const PORT: u16 = 80;
const POD_PORT: u16 = 8080;
const NAMESPACE: &str = "default";
/// The Service that is there all the time.
const WEB: &str = "web";
pub(super) const CLASS: &str = "fairlead.io/local";
/// Nobody listens there: whoever sends to it wants to know where the address is, and no more.
const DISCARD: u16 = 9;

/// All of it. Fields are dropped in this order: what uses the lab goes before it.
pub(super) struct World {
    agents: BTreeMap<u8, Proxy>,
    operator: Process,
    server: Option<ApiServer>,
    store: Store,
    kubeconfig: PathBuf,
    pod: Pod,
    pub(super) lab: Lab,
    fairlead: PathBuf,
    /// How many nodes may own addresses.
    pub(super) owners: u8,
    /// Of the Service that is there all the time.
    pub(super) addresses: Addresses,
}

impl World {
    /// Starts everything, and waits until a Service with one pod is reached at an address of each family.
    pub(super) fn start(owners: u8, tools: &Tools, fairlead: &Path) -> Result<Self> {
        let lab = Lab::with_nodes(owners + 1)?;
        let store = Store::start(&lab, tools)?;
        let server = store.serve(API_PORT)?;
        let kubeconfig = store.kubeconfig(User::Admin, Family::V4, API_PORT)?;
        for definition in fairlead_crds::all() {
            server
                .client()
                .apply(&serde_json::to_value(&definition).context("a kind")?)?;
        }
        for node in lab.nodes() {
            server.client().apply(&node_object(node, node.number() > owners))?;
        }
        let pod = lab.node(owners + 1).add_pod(WEB)?;
        answer_http(&pod)?;
        for object in [provider(), pool()] {
            // The kinds are served soon after their definitions are there.
            wait_for(PATIENCE, "Fairlead's kinds", || server.client().apply(&object).ok())?;
        }
        let operator = start_operator(&lab, &store, fairlead, &kubeconfig)?;
        let mut world = Self {
            agents: BTreeMap::new(),
            operator,
            server: Some(server),
            store,
            kubeconfig,
            pod,
            lab,
            fairlead: fairlead.to_owned(),
            owners,
            addresses: Addresses {
                v4: [0, 0, 0, 0].into(),
                v6: Ipv6Addr::UNSPECIFIED,
            },
        };
        for object in world.slices(WEB) {
            world.server().client().apply(&object)?;
        }
        world.server().client().apply(&service(WEB))?;
        for number in 1..=owners + 1 {
            world.start_agent(number)?;
        }
        world.addresses = wait_for(PATIENCE, "addresses", || world.addresses_of(WEB).transpose())??;
        world.wait_until_all_are_heard()?;
        world.open_connections()?;
        Ok(world)
    }

    /// The API server, which runs.
    pub(super) fn server(&self) -> &ApiServer {
        self.server.as_ref().expect("the API server runs but while it is away")
    }

    /// Ends the API server.
    pub(super) fn stop_api_server(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), ApiServer::kill)
    }

    /// Starts it again, on what it knew.
    pub(super) fn start_api_server(&mut self) -> Result<()> {
        self.server = Some(self.store.serve(API_PORT)?);
        Ok(())
    }

    /// Kills all agents at once, and starts them again with what they remember.
    pub(super) fn restart_agents(&mut self) -> Result<()> {
        let numbers: Vec<_> = self.agents.keys().copied().collect();
        for agent in self.agents.values_mut() {
            agent.process().kill()?;
        }
        numbers.into_iter().try_for_each(|number| self.start_agent(number))?;
        self.wait_until_all_are_heard()
    }

    /// Forgets what the agent of a node remembers.
    fn forget(&self, number: u8) -> Result<()> {
        let state = self
            .store
            .folder()
            .join(format!("{}-state", self.lab.node(number).name()));
        if state.exists() {
            fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
        }
        Ok(())
    }

    /// Starts the agent of a node.
    fn start_agent(&mut self, number: u8) -> Result<()> {
        let node = self.lab.node(number);
        let setup = Setup::new(node, &self.kubeconfig, self.store.folder());
        let agent = Proxy::start_fairlead(&self.fairlead, &setup)?;
        self.agents.insert(number, agent);
        Ok(())
    }

    /// The addresses of a Service, if it has one of each family.
    pub(super) fn addresses_of(&self, name: &str) -> Result<Option<Addresses>> {
        let service = self.server().client().run(async |client| {
            let services: Api<Service> = Api::namespaced(client, NAMESPACE);
            services.get(name).await
        })?;
        Ok(published(&service))
    }

    /// The slices of a Service whose only endpoint is the pod.
    pub(super) fn slices(&self, service: &str) -> [Value; 2] {
        let addresses = self.pod.addresses();
        let node = self.lab.node(self.owners + 1).name();
        Family::BOTH.map(|family| {
            let address_type = match family {
                Family::V4 => "IPv4",
                Family::V6 => "IPv6",
            };
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": NAMESPACE, "name": format!("{service}-{}", address_type.to_lowercase()),
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": address_type,
                "ports": [{"name": "http", "port": POD_PORT, "protocol": "TCP"}],
                "endpoints": [{
                    "addresses": [addresses.of(family)], "nodeName": node,
                    "conditions": {"ready": true, "serving": true, "terminating": false},
                }],
            })
        })
    }

    /// Opens connections to both addresses from now on, once all of them stand for a while.
    pub(super) fn open_connections(&self) -> Result<[Opener; 2]> {
        let openers = self
            .addresses
            .both()
            .map(|address| self.lab.client().open_every(EVERY, SocketAddr::new(address, PORT)));
        wait_for(PATIENCE, "the client's connections to stand", || {
            let now = std::time::Instant::now();
            let are_quiet = openers.iter().all(|opener| is_quiet(&opener.attempts(), QUIET, now));
            are_quiet.then_some(())
        })?;
        Ok(openers)
    }

    /// The node that the client sends to for an address.
    pub(super) fn owner(&self, address: IpAddr) -> Result<Option<u8>> {
        let client = self.lab.client();
        client.run(|| knock(address));
        let mac = client
            .neighbour(INTERFACE, address)?
            .and_then(|neighbour| neighbour.mac);
        Ok(self
            .lab
            .nodes()
            .iter()
            .find(|node| Some(node.mac()) == mac)
            .map(Node::number))
    }

    /// [`Self::owner`], with a deadline.
    pub(super) fn wait_for_owner(&self, address: IpAddr) -> Result<u8> {
        wait_for(PATIENCE, "an owner", || self.owner(address).transpose())?
    }

    /// Turns a node off: no frame leaves it any more, and its agent is dead.
    pub(super) fn power_off(&mut self, node: u8) -> Result<()> {
        self.lab.lan().set_link(self.lab.node(node).name(), LinkState::Down)?;
        if let Some(mut agent) = self.agents.remove(&node) {
            agent.process().kill()?;
        }
        Ok(())
    }

    /// Turns it on with an agent that remembers nothing, and waits until all hear it.
    pub(super) fn power_on(&mut self, node: u8) -> Result<()> {
        self.forget(node)?;
        self.lab.lan().set_link(self.lab.node(node).name(), LinkState::Up)?;
        self.start_agent(node)?;
        self.wait_until_all_are_heard()
    }

    /// Waits until no agent misses another one.
    pub(super) fn wait_until_all_are_heard(&mut self) -> Result<()> {
        let agents = &mut self.agents;
        let heard = wait_for_every(LOOK, PATIENCE, "all agents to hear each other", || {
            let hears_all = |agent: &Proxy| {
                agent.metric("fairlead_silent_nodes") == Some(0.0) && !agent.log_lines("taking part in").is_empty()
            };
            agents.values().all(hears_all).then_some(())
        });
        heard.with_context(|| self.last_words())
    }

    /// How often an agent has found that two nodes answered for an address.
    pub(super) fn splits(&self) -> u64 {
        let counts = self
            .agents
            .values()
            .filter_map(|agent| agent.metric("fairlead_address_splits_total"));
        // Counters of a few.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let sum = counts.sum::<f64>() as u64;
        sum
    }

    fn last_words(&self) -> String {
        let logs = self
            .agents
            .iter()
            .map(|(node, agent)| format!("node-{node}:\n{}", last_lines(&agent.log())));
        logs.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Before the API server, so that it does not say that this is gone.
        let _ = self.operator.kill();
    }
}

/// One address of each family in the status of a Service.
pub(super) fn published(service: &Service) -> Option<Addresses> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    let addresses: Vec<IpAddr> = ingress.iter().filter_map(|one| one.ip.as_ref()?.parse().ok()).collect();
    let v4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    })?;
    let v6 = addresses.iter().find_map(|address| match address {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    })?;
    Some(Addresses { v4, v6 })
}

/// A Service of the provider, with an address of each family.
pub(super) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": CLASS, "ipFamilyPolicy": "RequireDualStack",
            "allocateLoadBalancerNodePorts": false,
            "ports": [{"name": "http", "port": PORT, "targetPort": POD_PORT}],
        },
    })
}

fn provider() -> Value {
    json!({
        "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": {"name": "local"},
        "spec": {"loadBalancerClass": CLASS, "local": {}},
    })
}

fn pool() -> Value {
    json!({
        "apiVersion": "fairlead.io/v1alpha1", "kind": "AddressPool", "metadata": {"name": "lan"},
        "spec": {"provider": "local", "addresses": ["172.30.0.120-172.30.0.250", "fd00:172:30::1000/116"]},
    })
}

/// The one with the pods owns nothing, as a control plane of kubeadm.
fn node_object(node: &Node, is_excluded: bool) -> Value {
    let mut labels = json!({"kubernetes.io/os": "linux"});
    if is_excluded {
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = json!("");
    }
    let addresses = node
        .addresses()
        .both()
        .map(|address| json!({"type": "InternalIP", "address": address}));
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name(), "labels": labels},
        "status": {"addresses": addresses},
    })
}

fn start_operator(lab: &Lab, store: &Store, fairlead: &Path, kubeconfig: &Path) -> Result<Process> {
    let log = store.folder().join("operator.log");
    let mut command = Command::new(fairlead);
    command
        .arg("operator")
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--leader-elect-resource-namespace", NAMESPACE])
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?);
    Ok(lab.lan().spawn(command)?)
}

/// Serves a short page in the pod until the process ends.
fn answer_http(pod: &Pod) -> Result<()> {
    for address in pod.addresses().both() {
        let listener = pod
            .run(|| TcpListener::bind((address, POD_PORT)))
            .context("cannot serve HTTP")?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever only connects gets nothing; one that does not end its request waits for nobody else.
                thread::spawn(move || answer(&stream));
            }
        });
    }
    Ok(())
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            return stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
        }
    }
    Ok(())
}

/// Makes the kernel look for an address, as a first packet does.
fn knock(address: IpAddr) {
    let any: IpAddr = if address.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    // What comes of it is in the neighbour table.
    let _ = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], (address, DISCARD)));
}
