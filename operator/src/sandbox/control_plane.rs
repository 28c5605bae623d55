//! The control plane that the sandbox does without: what an API server and the operator would add to the manifests.
//!
//! ```text
//!   folder of manifests ──► copy, as it is ──────────────────────────────► folder that the agents read
//!           │                    ▲                                                    ▲
//!           └──► the operator's decisions ──► addresses in the status of Services ────┤
//!                     ▲         │                                                     │
//!                     └─────────┴──► LoadBalancers, which are also its memory ────────┘
//! ```
//!
//! Agents that read a folder take it as it is, and must: if each decided by itself, two that started at different times might give
//! one address to two Services. So one decides and writes, here as in a cluster. The folder of the person stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};

use crate::objects::{self, Object};
use crate::plan::{Written, written};
use crate::source::folder::{Looks, is_manifest};
use crate::source::manifest;

/// The file with the load balancers; it comes last.
const LOAD_BALANCERS: &str = "zz-load-balancers.yaml";
/// Where objects are that name no namespace.
const NAMESPACE: &str = "default";

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Decisions {
    /// The load balancers that there are.
    pub(super) load_balancers: Vec<LoadBalancer>,
    /// What Services ask for and do not get, one line each.
    pub(super) complaints: Vec<String>,
}

/// It follows the folder until it is dropped.
#[derive(Debug)]
pub(super) struct ControlPlane {
    folder: PathBuf,
    decisions: watch::Receiver<Decisions>,
    task: JoinHandle<()>,
}

impl ControlPlane {
    /// Starts to follow `manifests`. The folder for the agents, which must be there and empty, is complete when this returns.
    pub(super) fn start(manifests: &Path, folder: &Path, runtime: &Handle) -> anyhow::Result<Self> {
        let mut looks = Looks::start(manifests.to_owned());
        let mut copy = Copy::new(manifests, folder);
        let first = copy
            .look()
            .with_context(|| format!("cannot copy the manifests to {}", folder.display()))?;
        let (sender, decisions) = watch::channel(first);
        let task = runtime.spawn(async move {
            loop {
                looks.next().await;
                // A folder that is away, or a full disk, leaves everything as it is.
                match block_in_place(|| copy.look()) {
                    Ok(decisions) => drop(sender.send_replace(decisions)),
                    Err(error) => tracing::warn!(%error, "cannot copy the manifests"),
                }
            }
        });
        Ok(Self {
            folder: folder.to_owned(),
            decisions,
            task,
        })
    }

    /// The folder that the agents read.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was decided last.
    pub(super) fn decisions(&self) -> Decisions {
        self.decisions.borrow().clone()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The addresses of a load balancer.
pub(super) fn addresses_of(load_balancer: &LoadBalancer) -> impl Iterator<Item = IpAddr> {
    let status = load_balancer.status.iter();
    status.flat_map(|status| status.addresses.iter().filter_map(|text| text.parse().ok()))
}

/// The folder and its copy.
#[derive(Debug)]
struct Copy {
    from: PathBuf,
    to: PathBuf,
    files: BTreeMap<OsString, File>,
    decided: Vec<Written>,
    load_balancers: Vec<LoadBalancer>,
    /// What was written last.
    written: BTreeMap<OsString, Vec<u8>>,
}

/// A file of the person.
#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// Of its last good state, which is what agents go by.
    objects: Vec<Object>,
    is_good: bool,
}

impl Copy {
    fn new(from: &Path, to: &Path) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            files: BTreeMap::new(),
            decided: Vec::new(),
            load_balancers: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// Brings the copy up to date.
    fn look(&mut self) -> io::Result<Decisions> {
        self.read()?;
        let objects = self.objects();
        let mut complaints = Vec::new();
        match written(&objects, self.load_balancers.clone(), NAMESPACE, SystemTime::now()) {
            Ok(decided) => self.decide(&objects, decided),
            // Nothing changes hands because of an object that cannot be understood.
            Err(error) => complaints.push(error.to_string()),
        }
        let complaint = |written: &Written| Some(format!("Service {}: {}", written.key, written.complaint.as_ref()?));
        complaints.extend(self.decided.iter().filter_map(complaint));
        self.write()?;
        Ok(self.decisions(complaints))
    }

    fn decide(&mut self, objects: &[Object], decided: Vec<Written>) {
        let of_files: BTreeSet<_> = objects
            .iter()
            .filter(|object| object.kind == "LoadBalancer")
            .map(key_of)
            .collect();
        let own = decided.iter().filter(|written| !of_files.contains(&written.key));
        self.load_balancers = own.filter_map(|written| written.load_balancer.clone()).collect();
        self.decided = decided;
    }

    fn decisions(&self, complaints: Vec<String>) -> Decisions {
        Decisions {
            load_balancers: self.load_balancers.clone(),
            complaints,
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(&self.from)? {
            let path = entry?.path();
            let Some(name) = path.file_name().filter(|name| is_manifest(name)) else {
                continue;
            };
            // One that is about to go, or is none of ours, is looked at again when something happens to it.
            if !path.is_file() {
                continue;
            }
            present.insert(name.to_owned());
            let Ok(bytes) = fs::read(&path) else { continue };
            let file = self.files.entry(name.to_owned()).or_default();
            if file.bytes != bytes {
                file.take(name, bytes);
            }
        }
        self.files.retain(|name, _| present.contains(name));
        Ok(())
    }

    /// The objects of all files; where one comes twice, the first one counts.
    fn objects(&self) -> Vec<Object> {
        let mut names = BTreeSet::new();
        let all = self.files.values().flat_map(|file| &file.objects);
        all.filter(|object| names.insert((object.group().to_owned(), object.kind.clone(), key_of(object))))
            .cloned()
            .collect()
    }

    fn write(&mut self) -> io::Result<()> {
        let mut now = BTreeMap::new();
        for (name, file) in &self.files {
            let changed = file
                .is_good
                .then(|| with_status(&file.objects, &self.decided))
                .flatten();
            now.insert(name.clone(), changed.unwrap_or_else(|| file.bytes.clone()));
        }
        if !self.load_balancers.is_empty() {
            let objects: Vec<_> = self.load_balancers.iter().map(|object| json!(object)).collect();
            now.insert(LOAD_BALANCERS.into(), list(&objects));
        }
        for (name, bytes) in &now {
            if self.written.get(name) != Some(bytes) {
                replace(&self.to, name, bytes)?;
            }
        }
        for name in self.written.keys().filter(|name| !now.contains_key(*name)) {
            fs::remove_file(self.to.join(name))?;
        }
        self.written = now;
        Ok(())
    }
}

impl File {
    fn take(&mut self, name: &OsStr, bytes: Vec<u8>) {
        let name = name.to_string_lossy();
        let text = std::str::from_utf8(&bytes).ok();
        // What the agents refuse counts as little here.
        let is_accepted = |text: &&str| manifest::parse(&name, text).is_ok();
        let objects = text
            .filter(is_accepted)
            .and_then(|text| objects::parse(&name, text).ok());
        self.is_good = objects.is_some();
        self.objects = objects.unwrap_or_else(|| std::mem::take(&mut self.objects));
        self.bytes = bytes;
    }
}

fn key_of(object: &Object) -> ServiceName {
    let namespace = Some(object.namespace()).filter(|namespace| !namespace.is_empty());
    ServiceName::new(namespace.unwrap_or(NAMESPACE), object.name())
}

/// The objects of a file with the addresses that its Services have; `None` if none of them has any.
fn with_status(objects: &[Object], written: &[Written]) -> Option<Vec<u8>> {
    let mut is_changed = false;
    let mut values = Vec::new();
    for object in objects {
        let mut value = object.value.clone();
        value["apiVersion"] = json!(object.api_version);
        value["kind"] = json!(object.kind);
        let key = key_of(object);
        let of_service = written
            .iter()
            .find(|written| object.kind == "Service" && written.key == key);
        if let Some(addresses) = of_service.and_then(|written| written.published.as_ref()) {
            let ingress: Vec<_> = addresses.iter().map(|address| json!({ "ip": address })).collect();
            value["status"] = json!({ "loadBalancer": { "ingress": ingress } });
            is_changed = true;
        }
        values.push(value);
    }
    is_changed.then(|| list(&values))
}

/// One list of objects, in JSON, which is YAML too.
fn list(objects: &[Value]) -> Vec<u8> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    list.to_string().into_bytes()
}

/// At no time is the file there in part.
fn replace(folder: &Path, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::with_prefix_in(".", folder)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(folder.join(name)).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests;
