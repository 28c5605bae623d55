//! What people want to know of the manifests and a proxy does not: why a Service is ignored, the names of pods, the order
//! in which the Services are written.
//!
//! What is served is never decided here: that is the source's and the agents' matter.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use fairlead_model::{Protocol, ServiceName};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

/// Notes on all files of a folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    files: BTreeMap<String, FileNotes>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FileNotes {
    services: Vec<ServiceNote>,
    pods: Vec<(IpAddr, String)>,
}

/// A note on one Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceNote {
    /// Its name.
    pub(super) name: ServiceName,
    /// `spec.type`.
    pub(super) type_: String,
    /// Why no proxy of ours serves it.
    pub(super) ignored: Option<Ignored>,
    /// Its cluster IPs, also of one that is ignored.
    pub(super) cluster_ips: Vec<IpAddr>,
    /// Its ports, also of one that is ignored.
    pub(super) ports: Vec<(Protocol, u16)>,
}

/// Why a Service is none of a proxy's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ignored {
    /// Type `ExternalName`, for this name.
    ExternalName(String),
    /// `clusterIP: None`.
    Headless,
    /// The label names this proxy.
    OtherProxy(String),
    /// Nobody assigned a cluster IP.
    NoClusterIp,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExternalName(name) => write!(f, "ExternalName: an alias of {name} in the DNS, without an address"),
            Self::Headless => f.write_str("headless (clusterIP: None): clients reach its pods without a proxy"),
            Self::OtherProxy(name) => write!(f, "label service.kubernetes.io/service-proxy-name gives it to `{name}`"),
            Self::NoClusterIp => f.write_str("no cluster IP, and without an API server nobody assigns one"),
        }
    }
}

impl Notes {
    /// Looks at a folder again. A file that cannot be read or parsed keeps its notes, as it keeps its objects.
    pub(super) fn read(&mut self, folder: &Path) -> io::Result<()> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let extension = path.extension().and_then(|extension| extension.to_str());
            if name.starts_with('.') || !matches!(extension, Some("yaml" | "yml" | "json")) {
                continue;
            }
            let notes = fs::read_to_string(&path).ok().and_then(|text| FileNotes::of(&text));
            if let Some(notes) = notes.or_else(|| self.files.get(name).cloned()) {
                files.insert(name.to_owned(), notes);
            }
        }
        self.files = files;
        Ok(())
    }

    /// The notes of one text, for tests.
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self {
            files: BTreeMap::from([("test.yaml".to_owned(), FileNotes::of(text).expect("the text is YAML"))]),
        }
    }

    /// All Services in the order in which they are written, ignored ones too.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceNote> {
        self.files.values().flat_map(|file| &file.services)
    }

    /// The note on a Service.
    pub(super) fn service(&self, name: &ServiceName) -> Option<&ServiceNote> {
        self.services().find(|note| note.name == *name)
    }

    /// The name of the pod with this address, if a slice tells it.
    pub(super) fn pod_name(&self, address: IpAddr) -> Option<&str> {
        let mut pods = self.files.values().flat_map(|file| &file.pods);
        pods.find(|(known, _)| *known == address).map(|(_, name)| name.as_str())
    }
}

impl FileNotes {
    fn of(text: &str) -> Option<Self> {
        // JSON is YAML too.
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).ok()?;
        let mut notes = Self::default();
        for document in documents {
            notes.take(document);
        }
        Some(notes)
    }

    fn take(&mut self, mut document: Value) {
        match document.get("kind").and_then(Value::as_str) {
            Some("Service") => {
                self.services.extend(
                    serde_json::from_value(document)
                        .ok()
                        .and_then(|service| ServiceNote::of(&service)),
                );
            }
            Some("EndpointSlice") => {
                let slice = serde_json::from_value::<EndpointSlice>(document);
                for endpoint in slice.into_iter().flat_map(|slice| slice.endpoints) {
                    let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
                    let name = endpoint.target_ref.and_then(|target| target.name);
                    self.pods.extend(address.zip(name));
                }
            }
            Some(kind) if kind.ends_with("List") => {
                let items = document.get_mut("items").map(Value::take);
                for item in items.as_ref().and_then(Value::as_array).into_iter().flatten() {
                    self.take(item.clone());
                }
            }
            _ => {}
        }
    }
}

impl ServiceNote {
    fn of(service: &Service) -> Option<Self> {
        let namespace = service
            .metadata
            .namespace
            .as_deref()
            .filter(|namespace| !namespace.is_empty());
        let name = ServiceName::new(namespace.unwrap_or("default"), service.metadata.name.as_deref()?);
        let spec = service.spec.as_ref()?;
        let type_ = spec
            .type_
            .clone()
            .filter(|type_| !type_.is_empty())
            .unwrap_or_else(|| "ClusterIP".to_owned());
        let all = spec.cluster_ips.as_deref().unwrap_or_default();
        let texts: Vec<&String> = if all.is_empty() {
            spec.cluster_ip.iter().collect()
        } else {
            all.iter().collect()
        };
        let label = service
            .metadata
            .labels
            .as_ref()
            .and_then(|l| l.get("service.kubernetes.io/service-proxy-name"));
        let ignored = if type_ == "ExternalName" {
            Some(Ignored::ExternalName(spec.external_name.clone().unwrap_or_default()))
        } else if let Some(proxy) = label {
            Some(Ignored::OtherProxy(proxy.clone()))
        } else {
            match texts.first().map(|text| text.as_str()) {
                Some("None") => Some(Ignored::Headless),
                None | Some("") => Some(Ignored::NoClusterIp),
                Some(_) => None,
            }
        };
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                None | Some("" | "TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(_) => return None,
            };
            Some((protocol, u16::try_from(port.port).ok().filter(|port| *port != 0)?))
        });
        Some(Self {
            name,
            type_,
            ignored,
            cluster_ips: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            ports: ports.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = r"
kind: List
apiVersion: v1
items:
- { apiVersion: v1, kind: Service, metadata: { name: web }, spec: { clusterIPs: [10.96.0.1], ports: [{ port: 80 }] } }
- { apiVersion: v1, kind: Service, metadata: { name: alias }, spec: { type: ExternalName, externalName: example.com } }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: shop }
spec: { clusterIP: None }
---
apiVersion: v1
kind: Service
metadata: { name: foreign, labels: { service.kubernetes.io/service-proxy-name: other } }
spec: { clusterIP: 10.96.0.2, ports: [{ port: 53, protocol: UDP }] }
---
apiVersion: v1
kind: Service
metadata: { name: forgotten }
spec: { ports: [{ port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1 }
addressType: IPv4
endpoints:
- { addresses: [10.244.1.2], targetRef: { kind: Pod, name: web-abc } }
- { addresses: [10.244.1.3] }
";

    #[test]
    fn each_service_that_is_ignored_has_its_reason() {
        let notes = Notes::of(SERVICES);
        let reasons: Vec<_> = notes
            .services()
            .map(|note| (note.name.to_string(), note.ignored.clone()))
            .collect();
        assert_eq!(
            reasons,
            [
                ("default/web".to_owned(), None),
                (
                    "default/alias".to_owned(),
                    Some(Ignored::ExternalName("example.com".into()))
                ),
                ("shop/headless".to_owned(), Some(Ignored::Headless)),
                ("default/foreign".to_owned(), Some(Ignored::OtherProxy("other".into()))),
                ("default/forgotten".to_owned(), Some(Ignored::NoClusterIp)),
            ]
        );
        let foreign = notes.service(&ServiceName::new("default", "foreign")).unwrap();
        assert_eq!(foreign.ports, [(Protocol::Udp, 53)]);
        assert_eq!(foreign.cluster_ips, ["10.96.0.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn pods_have_the_names_that_slices_tell() {
        let notes = Notes::of(SERVICES);
        assert_eq!(notes.pod_name("10.244.1.2".parse().unwrap()), Some("web-abc"));
        assert_eq!(notes.pod_name("10.244.1.3".parse().unwrap()), None);
    }

    #[test]
    fn a_broken_file_keeps_its_notes_and_a_removed_one_loses_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let mut notes = Notes::default();
        fs::write(&path, SERVICES).unwrap();
        notes.read(folder.path()).unwrap();
        fs::write(&path, "kind: [").unwrap();
        notes.read(folder.path()).unwrap();
        assert_eq!(notes.services().count(), 5);
        fs::remove_file(&path).unwrap();
        notes.read(folder.path()).unwrap();
        assert_eq!(notes.services().count(), 0);
    }
}
