//! A cluster as an API server holds it: objects with all that controllers write into them, which a proxy has to read past.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use fairlead_lab::Node;
use futures::{StreamExt, TryStreamExt};
use kube::api::{DynamicObject, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::control_plane::{Client, api};

/// The networks of all pods, wide enough for every [`Size`], with those of the lab in it.
pub const CLUSTER_CIDR: &str = "10.128.0.0/9,fd00:10:244::/48";

const FIRST_POD: u32 = 0x0a80_0001;
const PODS: u32 = 1 << 22;
const FIRST_SERVICE: u32 = 0x0a60_0100;
/// As many as the Services' network has room for.
const MOST_SERVICES: u32 = 60_000;
/// The pods are spread over so many nodes; the proxy's own is one of them.
const NODES: u32 = 100;
/// What the control plane's controller puts into one slice at most.
const PER_SLICE: u32 = 100;
/// Requests under way at a time.
const AT_A_TIME: usize = 32;
/// Far apart in whatever order a proxy keeps Services, and prime, so that all have their turn.
const STRIDE: u32 = 31;
/// One endpoint is replaced, one comes, one goes: then a Service is again as it was.
const CHANGES_OF_A_SERVICE: u32 = 3;

/// How large a cluster is, written `10000x2`: Services, and endpoints of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Services.
    pub services: u32,
    /// Endpoints of each.
    pub endpoints: u32,
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (services, endpoints) = text
            .split_once(['x', '×'])
            .context("expected SERVICESxENDPOINTS, such as 10000x2")?;
        let size = Self {
            services: services.parse().context("the number of Services")?,
            endpoints: endpoints.parse().context("the number of endpoints")?,
        };
        ensure!(
            (1..=MOST_SERVICES).contains(&size.services),
            "there may be 1 to {MOST_SERVICES} Services"
        );
        ensure!(size.endpoints >= 1, "a Service needs an endpoint");
        let addresses = size.services.checked_mul(size.endpoints.saturating_add(1));
        ensure!(
            addresses.is_some_and(|addresses| addresses <= PODS),
            "there may be {PODS} endpoints in all, with a spare one for each Service"
        );
        Ok(size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, endpoints } = *self;
        match services {
            0..1000 => write!(f, "{services} × {endpoints}"),
            _ => write!(f, "{},{:03} × {endpoints}", services / 1000, services % 1000),
        }
    }
}

/// Services with their endpoints, and what has changed of them so far.
#[derive(Debug)]
pub struct Cluster {
    size: Size,
    changes: u32,
}

impl Cluster {
    /// Creates all Services and their slices.
    pub fn create(size: Size, client: &Client) -> Result<Self> {
        let cluster = Self { size, changes: 0 };
        client.run(|client| async move {
            let all = (0..size.services).flat_map(|number| {
                let slices = (0..cluster.slices()).map(move |nth| cluster_slice(size, number, nth, 0));
                std::iter::once(service(number)).chain(slices)
            });
            let requests = futures::stream::iter(all).map(|object| {
                let api = api(client.clone(), &object);
                async move {
                    let object: DynamicObject = serde_json::from_value(object)?;
                    api.create(&PostParams::default(), &object).await?;
                    anyhow::Ok(())
                }
            });
            requests
                .buffer_unordered(AT_A_TIME)
                .try_collect::<()>()
                .await
                .context("the API server refuses an object")
        })?;
        Ok(Self { size, changes: 0 })
    }

    /// The slice that the next change writes: in turn a Service has an endpoint replaced, has one more, and one fewer.
    pub fn change(&mut self) -> Value {
        let (turn, step) = (self.changes / CHANGES_OF_A_SERVICE, self.changes % CHANGES_OF_A_SERVICE);
        self.changes += 1;
        let number = turn.wrapping_mul(STRIDE) % self.size.services;
        cluster_slice(self.size, number, self.slices() - 1, (step + 1) % CHANGES_OF_A_SERVICE)
    }

    fn slices(&self) -> u32 {
        self.size.endpoints.div_ceil(PER_SLICE)
    }
}

/// The Node that a node of the lab is: kube-proxy waits for its own.
pub fn node(node: &Node) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name()},
        "status": {"addresses": [{"type": "InternalIP", "address": node.addresses().v4}]},
    })
}

fn name(number: u32) -> String {
    format!("backend-for-frontend-{number:05}")
}

fn service(number: u32) -> Value {
    let name = name(number);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": "default", "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "benchmark"},
        },
        "spec": {
            "clusterIP": Ipv4Addr::from(FIRST_SERVICE + number),
            "selector": {"app.kubernetes.io/name": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    })
}

/// The endpoints in slice `nth` of a Service. `state` decides about the last: it is the usual one, another, or both.
fn endpoints(size: Size, nth: u32, state: u32) -> Vec<u32> {
    let (usual, other) = (size.endpoints - 1, size.endpoints);
    let mut endpoints: Vec<u32> = (nth * PER_SLICE..usual.min((nth + 1) * PER_SLICE)).collect();
    if usual / PER_SLICE == nth {
        endpoints.extend(
            match state {
                0 => [Some(usual), None],
                1 => [Some(other), None],
                _ => [Some(other), Some(usual)],
            }
            .into_iter()
            .flatten(),
        );
    }
    endpoints
}

fn cluster_slice(size: Size, number: u32, nth: u32, state: u32) -> Value {
    let name = name(number);
    let endpoint = |nth: u32| {
        let pod = number * (size.endpoints + 1) + nth;
        json!({
            "addresses": [Ipv4Addr::from(FIRST_POD + pod)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", (number + nth) % NODES + 1), "zone": format!("zone-{}", nth % 3),
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": format!("{name}-7d4b9c6f5d-{nth:05}"),
                "uid": format!("00000000-0000-4000-8000-{pod:012}"),
            },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "default", "name": format!("{name}-x7k2p{nth}"), "generateName": format!("{name}-"),
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "benchmark",
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": name, "uid": format!("00000000-0000-4000-8000-{number:012}"),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints(size, nth, state).into_iter().map(endpoint).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_printed() {
        let size: Size = "10000x2".parse().unwrap();
        assert_eq!((size.services, size.endpoints), (10_000, 2));
        assert_eq!(size.to_string(), "10,000 × 2");
        for wrong in ["10000", "0x2", "10x0", "60001x1", "50000x100", "x", "-1x2"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn slices_hold_each_endpoint_once() {
        for endpoints_of_each in [1, 2, 99, 100, 101, 200, 250] {
            let size = Size {
                services: 1,
                endpoints: endpoints_of_each,
            };
            let slices = endpoints_of_each.div_ceil(PER_SLICE);
            let all: Vec<u32> = (0..slices).flat_map(|nth| endpoints(size, nth, 0)).collect();
            assert_eq!(all, (0..endpoints_of_each).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_change_is_one_and_three_of_them_are_none() {
        let size = Size {
            services: 5,
            endpoints: 3,
        };
        let mut cluster = Cluster { size, changes: 0 };
        let mut now: Vec<Value> = (0..5).map(|number| cluster_slice(size, number, 0, 0)).collect();
        let first = now.clone();
        for change in 1..=30 {
            let slice = cluster.change();
            let name = &slice["metadata"]["name"];
            let before = now.iter_mut().find(|slice| slice["metadata"]["name"] == *name).unwrap();
            assert_ne!(*before, slice, "change {change}");
            *before = slice;
            assert_eq!(now == first, change % 3 == 0, "after change {change}");
        }
    }
}
