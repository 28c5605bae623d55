//! Who comes first: a hash of node and group, so that groups spread evenly and all agents agree.

use aws_lc_rs::digest::{Context, SHA256};

use super::config::GroupId;

/// A node, by a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The identity of the node called `name`.
    pub fn of(name: &str) -> Self {
        Self(hash(&[name.as_bytes()]))
    }
}

/// The rendezvous hash: the highest one of a group is its first candidate.
pub(super) fn score(node: NodeId, group: GroupId) -> u64 {
    hash(&[&node.0.to_be_bytes(), &group.0])
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}
