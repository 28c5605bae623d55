//! Scenes from manifests, for unit tests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fairlead_model::{Change, Cluster};

use super::expected::{Expected, Seen, source_of};
use super::ground::tests::three_nodes;
use super::ground::{Ground, of_family};
use super::notes::Notes;
use super::plan::plan;
use super::question::{Question, questions};
use super::scene::Scene;
use super::traffic::{Asked, Tally};
use crate::source::manifest::{Object, parse};

/// Owns what a [`Scene`] borrows.
pub(super) struct Stage {
    ground: Ground,
    clusters: Vec<Cluster>,
    notes: Notes,
    owners: BTreeMap<IpAddr, u8>,
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
                    Object::Node(own, _) if *own.name == node.name => Change::Node(Some(own)),
                    Object::ServiceCidr(cidr) => Change::ServiceCidr(cidr.name.clone(), Some(cidr)),
                    Object::Node(..)
                    | Object::Endpoints(..)
                    | Object::Provider(_)
                    | Object::Pool(_)
                    | Object::LoadBalancer(_) => continue,
                };
                cluster.apply(change);
            }
            cluster
        });
        Self {
            clusters: clusters.collect(),
            notes: Notes::of(text),
            owners: BTreeMap::new(),
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
            owners: &self.owners,
            notes: &self.notes,
        }
    }

    /// Every question with the answers that it must get.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let scene = self.scene();
        let questions = questions(&scene, &plan(&scene));
        let ask = |question: Question| Asked {
            tally: Some(right_answers(&scene, &question)),
            question,
        };
        questions.into_iter().map(ask).collect()
    }
}

fn right_answers(scene: &Scene<'_>, question: &Question) -> Tally {
    let mut tally = Tally::default();
    let family = question.family();
    match &question.expected {
        Expected::Answer { from, is_affine, .. } => {
            for (name, seen) in from.iter().take(if *is_affine { 1 } else { usize::MAX }) {
                let client = match seen {
                    Seen::Client => source_of(scene, question.key.origin, family),
                    Seen::Node(node) => of_family(scene.ground.node(*node).addresses, family),
                };
                tally.replies.insert((name.clone(), client), 12);
                tally.times.push(Duration::from_micros(210));
            }
        }
        Expected::Refused => tally.refused = 12,
        Expected::Dropped(_) | Expected::NotServed => tally.unanswered = 12,
    }
    tally
}
