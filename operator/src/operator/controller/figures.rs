//! What the controller has to show for metrics.

use std::sync::Arc;

use fairlead_model::Family;
use tokio::sync::watch;

use super::local::Local;
use super::world::World;

/// How it stands. Nothing while this replica does not lead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many addresses each pool has, by IP family.
    pub pools: Vec<PoolFigures>,
    /// Load balancers that are reached at addresses.
    pub ready: usize,
    /// Load balancers that do not have all that they ask for, by reason.
    pub refused: Vec<(String, usize)>,
}

/// The addresses of one family of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFigures {
    /// The pool.
    pub pool: String,
    /// The family.
    pub family: Family,
    /// Those that Services have.
    pub assigned: u64,
    /// Those that can be given out. Of more than fit, the largest number that does.
    pub available: u64,
}

impl Figures {
    /// As it stands now.
    pub fn of(world: &World, local: &Local) -> Self {
        let mut pools = Vec::new();
        for pool in local.allocator().pools() {
            for family in Family::ALL {
                if let Some(usage) = local.allocator().usage(&pool.name, family) {
                    pools.push(PoolFigures {
                        pool: pool.name.to_string(),
                        family,
                        assigned: usage.assigned,
                        available: u64::try_from(usage.available).unwrap_or(u64::MAX),
                    });
                }
            }
        }
        let conditions = world
            .load_balancers
            .iter()
            .filter_map(|(_, load_balancer)| load_balancer.status.as_ref())
            .map(|status| &status.conditions);
        let mut ready = 0;
        let mut refused = std::collections::BTreeMap::new();
        for condition in conditions.flatten() {
            match (condition.type_.as_str(), condition.status.as_str()) {
                (fairlead_crds::condition::READY, "True") => ready += 1,
                (fairlead_crds::condition::ACCEPTED, "False") => {
                    *refused.entry(condition.reason.clone()).or_insert(0) += 1;
                }
                _ => {}
            }
        }
        Self {
            pools,
            ready,
            refused: refused.into_iter().collect(),
        }
    }
}

/// Where figures are shown, until it is dropped.
#[derive(Debug)]
pub struct Board(Arc<watch::Sender<Figures>>);

impl Board {
    /// Shows figures to whoever looks at the receiver's end.
    pub fn new(sender: Arc<watch::Sender<Figures>>) -> Self {
        Self(sender)
    }

    /// Shows these.
    pub fn show(&self, figures: Figures) {
        self.0.send_if_modified(|shown| {
            let is_new = *shown != figures;
            *shown = figures;
            is_new
        });
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.show(Figures::default());
    }
}
