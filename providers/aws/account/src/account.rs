//! The account behind the port.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairlead_aws::account::{Account, Health, Named, Snapshot};
use fairlead_aws::desired::{Target, Vpc};
use fairlead_aws::plan::{Step, Wait};
use fairlead_provider::ProviderError;

use crate::caller::Caller;
use crate::convert::groups::mark;
use crate::memory::Memory;
use crate::pace::LaneState;

/// An account of AWS.
pub struct AwsAccount {
    pub(crate) cluster: String,
    pub(crate) vpc: String,
    /// What marks our rules in the security groups of others.
    pub(crate) mark: String,
    pub(crate) caller: Caller,
    memory: Mutex<Memory>,
    /// One look at a time.
    pub(crate) looks: tokio::sync::Mutex<()>,
}

impl fmt::Debug for AwsAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, vpc, .. } = self;
        f.debug_struct("AwsAccount")
            .field("cluster", cluster)
            .field("vpc", vpc)
            .finish_non_exhaustive()
    }
}

impl AwsAccount {
    pub(crate) fn new(cluster: String, vpc: String, caller: Caller) -> Self {
        Self {
            mark: mark(&cluster),
            cluster,
            vpc,
            caller,
            memory: Mutex::default(),
            looks: tokio::sync::Mutex::default(),
        }
    }

    /// The id of the VPC.
    pub fn vpc_id(&self) -> &str {
        &self.vpc
    }

    /// How often AWS may be called now, and how many calls wait.
    pub fn lanes(&self) -> Vec<LaneState> {
        self.caller.pace.lanes()
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change is whole before anything can panic.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account for AwsAccount {
    async fn look(&self, named: &Named) -> Result<(), ProviderError> {
        self.list_everything(named).await.map_err(ProviderError::from)
    }

    async fn look_at(&self, named: &Named) -> Result<(), ProviderError> {
        self.find_named(named).await.map_err(ProviderError::from)
    }

    async fn look_for(&self, waits: &[Wait]) -> Result<(), ProviderError> {
        self.check_waits(waits).await.map_err(ProviderError::from)
    }

    fn read<T>(&self, reader: impl FnOnce(&Snapshot) -> T) -> T {
        reader(&self.memory().snapshot)
    }

    async fn vpc(&self) -> Result<Vpc, ProviderError> {
        self.describe_vpc().await
    }

    async fn interface_groups(
        &self,
        targets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, ProviderError> {
        self.find_interfaces(targets).await.map_err(ProviderError::from)
    }

    async fn health(&self, target_group: &str) -> Result<BTreeMap<Target, Health>, ProviderError> {
        let look = self.memory().begin();
        let all = self.describe_targets(target_group).await?;
        self.note_targets(look, target_group, &all);
        Ok(all)
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        self.carry_out(step).await
    }
}
