//! The node's view of the cluster, compiled: what a source delivers goes in, what the dataplane should hold comes out.
//!
//! Pure: the agent commits the result, `fairlead trace` walks it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_dataplane::compile::Compiler;
use fairlead_dataplane::table::Table;
use fairlead_model::select::Here;
use fairlead_model::{Change, Cluster, Family, Selection, Service, ServiceName, ServicePort, Touched, select};

use crate::node::{LocalAddress, NoPodCidrs, NodeConfig, NodeFlags};

/// Cluster, flags and addresses of one node.
#[derive(Debug)]
pub struct View {
    flags: NodeFlags,
    node_name: Arc<str>,
    cluster: Cluster,
    addresses: Vec<LocalAddress>,
    /// Addresses that Services have from local providers.
    announced: BTreeMap<ServiceName, BTreeSet<IpAddr>>,
    is_announced_touched: bool,
    touched: Touched,
    compiled: Option<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    config: NodeConfig,
    compiler: Compiler,
}

/// What [`View::refresh`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The initial lists have not all arrived.
    Incomplete,
    /// The compiler is new: ask it to reconcile with what is loaded.
    Everything,
    /// These Services were brought up to date; perhaps none.
    Services(BTreeSet<ServiceName>),
}

impl View {
    /// An empty view.
    pub fn new(flags: NodeFlags) -> Self {
        Self {
            node_name: flags.node_name().into(),
            flags,
            cluster: Cluster::default(),
            addresses: Vec::new(),
            announced: BTreeMap::new(),
            is_announced_touched: false,
            touched: Touched::default(),
            compiled: None,
        }
    }

    /// Takes a change of the cluster in.
    pub fn absorb(&mut self, change: Change) {
        let touched = self.cluster.apply(change);
        self.touched.services.extend(touched.services);
        self.touched.node |= touched.node;
        self.touched.service_cidrs |= touched.service_cidrs;
    }

    /// Takes the host's addresses in.
    pub fn set_addresses(&mut self, mut addresses: Vec<LocalAddress>) {
        addresses.sort_unstable();
        if self.addresses != addresses {
            self.addresses = addresses;
            self.touched.node = true;
        }
    }

    /// Takes in which addresses Services have from local providers: some node answers for each of them, and Services of type `NodePort` have
    /// them nowhere else.
    pub fn set_announced(&mut self, announced: BTreeMap<ServiceName, BTreeSet<IpAddr>>) {
        if self.announced == announced {
            return;
        }
        let before = std::mem::replace(&mut self.announced, announced);
        let names = before.keys().chain(self.announced.keys());
        let changed = names.filter(|name| before.get(*name) != self.announced.get(*name));
        self.touched.services.extend(changed.cloned());
        self.is_announced_touched = true;
    }

    /// Whether a Service has this address from a local provider.
    pub fn is_announced(&self, service: &ServiceName, address: IpAddr) -> bool {
        self.announced
            .get(service)
            .is_some_and(|addresses| addresses.contains(&address))
    }

    /// Whether something has changed since the last [`Self::refresh`].
    pub fn is_touched(&self) -> bool {
        self.is_announced_touched || self.touched != Touched::default()
    }

    /// The cluster.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The node's name.
    pub fn node_name(&self) -> &Arc<str> {
        &self.node_name
    }

    /// The host's addresses.
    pub fn addresses(&self) -> &[LocalAddress] {
        &self.addresses
    }

    /// How the node is configured, once everything has arrived.
    pub fn config(&self) -> Option<&NodeConfig> {
        Some(&self.compiled.as_ref()?.config)
    }

    /// The compiled rule set, once everything has arrived.
    pub fn compiler(&self) -> Option<&Compiler> {
        Some(&self.compiled.as_ref()?.compiler)
    }

    /// The compiled rule set, to take transactions from.
    pub fn compiler_mut(&mut self) -> Option<&mut Compiler> {
        Some(&mut self.compiled.as_mut()?.compiler)
    }

    /// Brings the compiler up to date. `seed` is asked for what is loaded in the kernel when a compiler is made.
    pub fn refresh(&mut self, seed: impl FnOnce() -> Option<Arc<Table>>) -> Result<Refreshed, NoPodCidrs> {
        if !self.cluster.is_complete() {
            return Ok(Refreshed::Incomplete);
        }
        if self.compiled.is_some() && !self.is_touched() {
            return Ok(Refreshed::Services(BTreeSet::new()));
        }
        if self.compiled.is_none() || self.touched.node {
            // On an error what works stays, until the new state of the node is known to be usable.
            let config = self.flags.configure(self.cluster.node(), &self.addresses)?;
            let is_reusable = |old: &NodeConfig| old.options == config.options && old.zone == config.zone;
            match &mut self.compiled {
                Some(compiled) if is_reusable(&compiled.config) => {
                    if compiled.config.primary_ips != config.primary_ips {
                        let guarded = self
                            .cluster
                            .services()
                            .filter(|service| !service.source_ranges.is_empty());
                        self.touched
                            .services
                            .extend(guarded.map(|service| service.name.clone()));
                    }
                    compiled
                        .compiler
                        .set_node_ips(config.node_port_addresses.clone(), config.primary_ips.clone());
                    compiled.config = config;
                }
                _ => {
                    self.compile_all(config, seed());
                    return Ok(Refreshed::Everything);
                }
            }
        }
        Ok(Refreshed::Services(self.refresh_touched()))
    }

    fn compile_all(&mut self, config: NodeConfig, seed: Option<Arc<Table>>) {
        let mut compiler = Compiler::new(&config.options, seed);
        compiler.set_node_ips(config.node_port_addresses.clone(), config.primary_ips.clone());
        self.compiled = Some(Compiled { config, compiler });
        self.touched.service_cidrs = true;
        self.is_announced_touched = true;
        self.touched.services = self.cluster.services().map(|service| service.name.clone()).collect();
        self.refresh_touched();
    }

    fn refresh_touched(&mut self) -> BTreeSet<ServiceName> {
        let touched = std::mem::take(&mut self.touched);
        let Some(Compiled { config, compiler }) = &mut self.compiled else {
            return touched.services;
        };
        if touched.service_cidrs {
            let mut cidrs: Vec<_> = self.cluster.service_cidrs().collect();
            if cidrs.is_empty() {
                cidrs.clone_from(&self.flags.service_cluster_ip_range);
            }
            compiler.set_service_cidrs(&cidrs);
        }
        if std::mem::take(&mut self.is_announced_touched) {
            compiler.set_announced(self.announced.values().flatten().copied().collect());
        }
        let here = Here {
            node: &self.node_name,
            zone: config.zone.as_deref(),
        };
        for name in &touched.services {
            match self.cluster.service(name) {
                Some(service) => {
                    let service = with_announced(service, self.announced.get(name));
                    compiler.set_service(&service, |port, family| choose(&self.cluster, name, port, family, here));
                }
                None => compiler.remove_service(name),
            }
        }
        touched.services
    }

    /// The endpoints of a Service port, with the reason for each.
    pub fn selection(&self, service: &Service, port: &ServicePort, family: Family) -> Selection {
        let zone = self
            .compiled
            .as_ref()
            .and_then(|compiled| compiled.config.zone.as_deref());
        choose(
            &self.cluster,
            &service.name,
            port,
            family,
            Here {
                node: &self.node_name,
                zone,
            },
        )
    }
}

/// The Service with what it has from a local provider, where its own status does not say so: it is of type `NodePort`, or nobody has
/// written its status yet.
fn with_announced<'a>(service: &'a Service, announced: Option<&BTreeSet<IpAddr>>) -> Cow<'a, Service> {
    let is_reachable = service.ports.iter().any(|port| port.node_port.is_some());
    let known = |address: &IpAddr| service.load_balancer_ips.contains(address);
    let missing: Vec<_> = announced
        .into_iter()
        .flatten()
        .filter(|address| is_reachable && !known(address))
        .copied()
        .collect();
    if missing.is_empty() {
        return Cow::Borrowed(service);
    }
    let mut service = service.clone();
    service.load_balancer_ips.extend(missing);
    Cow::Owned(service)
}

fn choose(cluster: &Cluster, name: &ServiceName, port: &ServicePort, family: Family, here: Here<'_>) -> Selection {
    select(cluster.slices(name), &port.name, port.protocol, family, here)
}

#[cfg(test)]
mod tests;
