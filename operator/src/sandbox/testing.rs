//! Scenes from manifests, for unit tests.

use fairlead_model::{Change, Cluster};

use super::ground::Ground;
use super::ground::tests::three_nodes;
use super::notes::Notes;
use super::scene::Scene;
use crate::source::manifest::{Object, parse};

/// Owns what a [`Scene`] borrows.
pub(super) struct Stage {
    ground: Ground,
    clusters: Vec<Cluster>,
    notes: Notes,
}

impl Stage {
    /// The scene of one manifest text on three nodes.
    pub(super) fn of(text: &str) -> Self {
        let ground = three_nodes();
        let objects = parse("test.yaml", text).unwrap();
        let clusters = ground.nodes.iter().map(|node| {
            let mut cluster = Cluster::default();
            for object in &objects {
                let change = match object.clone() {
                    Object::Service(manifest) => Change::Service(manifest.name, manifest.service),
                    Object::EndpointSlice(name, slice) => Change::EndpointSlice(name, slice),
                    Object::Node(own) if *own.name == node.name => Change::Node(Some(own)),
                    Object::ServiceCidr(cidr) => Change::ServiceCidr(cidr.name.clone(), Some(cidr)),
                    Object::Node(_) | Object::Endpoints(..) => continue,
                };
                cluster.apply(change);
            }
            cluster
        });
        Self {
            clusters: clusters.collect(),
            notes: Notes::of(text),
            ground,
        }
    }

    /// The scene of the examples.
    pub(super) fn of_examples() -> Self {
        Self::of(&super::manifests::EXAMPLES.map(|(_, text)| text).join("\n---\n"))
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            ground: &self.ground,
            clusters: &self.clusters,
            notes: &self.notes,
        }
    }
}
