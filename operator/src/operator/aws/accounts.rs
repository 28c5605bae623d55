//! Where accounts come from.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_aws::account::{Account, Health, Named, Snapshot};
use fairlead_aws::desired::{Target, Vpc};
use fairlead_aws::plan::{Step, Wait};
use fairlead_crds::AwsProvider;
use fairlead_provider::ProviderError;

use super::figures::Counters;

/// Opens accounts.
pub trait Accounts: Clone + Send + Sync + 'static {
    /// An account.
    type Account: Account + 'static;

    /// Whether there can be any. Without, Services of AWS hear that this build makes no such load balancers.
    const ARE_THERE: bool;

    /// The account of a provider.
    fn open(&self, provider: &AwsProvider) -> impl Future<Output = Result<Self::Account, ProviderError>> + Send;
}

/// Where this build has accounts from.
#[cfg(feature = "aws")]
pub fn accounts(counters: Counters) -> impl Accounts {
    sdk::Sdk { counters }
}

/// Where this build has accounts from.
#[cfg(not(feature = "aws"))]
pub fn accounts(_counters: Counters) -> impl Accounts {
    NoAccounts
}

/// Accounts by AWS' own SDK.
#[cfg(feature = "aws")]
mod sdk {
    use std::sync::Arc;

    use fairlead_aws_account::{AwsAccount, Call, Settings, Watch};
    use fairlead_crds::AwsProvider;
    use fairlead_provider::ProviderError;

    use super::{Accounts, Counters};

    #[derive(Debug, Clone)]
    pub(super) struct Sdk {
        pub(super) counters: Counters,
    }

    impl Accounts for Sdk {
        type Account = AwsAccount;

        const ARE_THERE: bool = true;

        async fn open(&self, provider: &AwsProvider) -> Result<AwsAccount, ProviderError> {
            let settings = Settings {
                region: provider.region.clone(),
                vpc: provider.vpc_id.clone(),
                ..Settings::of_cluster(&provider.cluster_name)
            };
            AwsAccount::connect(settings, Arc::new(Heard(self.counters.clone()))).await
        }
    }

    struct Heard(Counters);

    impl Watch for Heard {
        fn called(&self, call: Call) {
            let (operation, outcome) = (call.operation.to_string(), call.outcome.word());
            self.0.change(|counts| {
                *counts.calls.entry((operation, outcome)).or_default() += 1;
                counts.held += call.held;
            });
        }
    }
}

/// No account at all.
#[derive(Debug, Clone, Copy)]
pub struct NoAccounts;

/// There is none.
#[derive(Debug, Clone, Copy)]
pub enum Never {}

impl Accounts for NoAccounts {
    type Account = Never;

    const ARE_THERE: bool = false;

    async fn open(&self, _provider: &AwsProvider) -> Result<Never, ProviderError> {
        let reason = fairlead_crds::reason::UNSUPPORTED_PROVIDER.as_str();
        Err(ProviderError::refused(
            reason,
            "this build makes no load balancers of AWS",
        ))
    }
}

impl Account for Never {
    async fn look(&self, _: &Named) -> Result<(), ProviderError> {
        match *self {}
    }

    async fn look_at(&self, _: &Named) -> Result<(), ProviderError> {
        match *self {}
    }

    async fn look_for(&self, _: &[Wait]) -> Result<(), ProviderError> {
        match *self {}
    }

    fn read<T>(&self, _: impl FnOnce(&Snapshot) -> T) -> T {
        match *self {}
    }

    async fn vpc(&self) -> Result<Vpc, ProviderError> {
        match *self {}
    }

    async fn interface_groups(&self, _: &BTreeSet<String>) -> Result<BTreeMap<String, Vec<String>>, ProviderError> {
        match *self {}
    }

    async fn health(&self, _: &str) -> Result<BTreeMap<Target, Health>, ProviderError> {
        match *self {}
    }

    async fn perform(&self, _: &Step) -> Result<(), ProviderError> {
        match *self {}
    }
}
