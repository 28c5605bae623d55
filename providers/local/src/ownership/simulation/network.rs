//! Who reaches whom, and how well.

/// Loss, in datagrams of 1,000, up to which the bounds are promised.
pub(super) const CLEAN: u64 = 100;
/// All of them.
pub(super) const ALL: u64 = 1_000;

pub(super) struct Network {
    /// On every link.
    pub(super) loss: u64,
    /// From, to: loss of this direction on top.
    links: Vec<Vec<u64>>,
    /// Which part of a partition each node is in.
    sides: Vec<u64>,
    /// Datagrams of 1,000 that arrive twice.
    pub(super) twice: u64,
}

impl Network {
    pub(super) fn new() -> Self {
        Self {
            loss: 0,
            links: Vec::new(),
            sides: Vec::new(),
            twice: 0,
        }
    }

    pub(super) fn add(&mut self) {
        self.sides.push(0);
        self.links.iter_mut().for_each(|row| row.push(0));
        self.links.push(vec![0; self.sides.len()]);
    }

    pub(super) fn set_side(&mut self, node: usize, side: u64) {
        self.sides[node] = side;
    }

    pub(super) fn set_link(&mut self, from: usize, to: usize, loss: u64) {
        self.links[from][to] = loss;
    }

    pub(super) fn mend(&mut self, node: usize) {
        self.sides[node] = 0;
        self.links[node].fill(0);
        self.links.iter_mut().for_each(|row| row[node] = 0);
    }

    /// Of 1,000 datagrams, how many are lost.
    pub(super) fn loss(&self, from: usize, to: usize) -> u64 {
        if self.sides[from] == self.sides[to] {
            (self.loss + self.links[from][to]).min(ALL)
        } else {
            ALL
        }
    }

    /// Every link is good or cut: none that loses so much that it comes and goes.
    pub(super) fn is_clear(&self) -> bool {
        let is_bad = |loss: &u64| (CLEAN + 1..ALL).contains(&(loss + self.loss));
        !self.links.iter().flatten().any(is_bad)
    }

    /// In both directions no more than this is lost.
    pub(super) fn joins(&self, one: usize, other: usize, loss: u64) -> bool {
        self.loss(one, other) <= loss && self.loss(other, one) <= loss
    }
}
