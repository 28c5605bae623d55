//! From settings to clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::imds;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use fairlead_provider::ProviderError;

use crate::AwsAccount;
use crate::caller::Caller;
use crate::pace::{Lane, Limit, Pace, usual_limits};
use crate::trust;
use crate::watch::Watch;

/// There is no VPC in the settings, and the instance does not say its own.
pub const NO_VPC: &str = "NoVpc";
/// There is no region, neither in the settings nor where the SDK looks for one.
pub const NO_REGION: &str = "NoRegion";

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Which account, and where in it.
///
/// Credentials come from where AWS' own tools look for them, in their order: the environment, the profile, a web identity token (IRSA),
/// the container (EKS Pod Identity), the instance (`IMDSv2`). Endpoints can be set by `AWS_ENDPOINT_URL` and its forms for one service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster's name.
    pub cluster: String,
    /// The region; `None`: that of the environment, the profile or the instance.
    pub region: Option<String>,
    /// The VPC; `None`: that of the instance.
    pub vpc: Option<String>,
    /// How often AWS is called; what is not here has its usual limit.
    pub limits: BTreeMap<Lane, Limit>,
}

impl Settings {
    /// The usual ones for a cluster.
    pub fn of_cluster(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            region: None,
            vpc: None,
            limits: usual_limits(),
        }
    }
}

impl AwsAccount {
    /// Finds credentials, region and VPC. Only the instance is asked, and only for what nobody said.
    pub async fn connect(settings: Settings, watch: Arc<dyn Watch>) -> Result<Self, ProviderError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(trust::http_client()?);
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Self::with_config(settings, loader.load().await, watch).await
    }

    /// The same with what the SDK is to use, such as credentials of its caller's own.
    pub async fn with_config(
        settings: Settings,
        config: SdkConfig,
        watch: Arc<dyn Watch>,
    ) -> Result<Self, ProviderError> {
        if config.region().is_none() {
            let message = "there is no region in the settings, the environment, the profile or the instance's metadata";
            return Err(ProviderError::refused(NO_REGION, message));
        }
        let vpc = match settings.vpc {
            Some(vpc) => vpc,
            None => vpc_of_instance().await?,
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(CALL_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        // Calls are made again here, where the pace is known.
        let once = RetryConfig::disabled();
        let load_balancing = aws_sdk_elasticloadbalancingv2::config::Builder::from(&config)
            .retry_config(once.clone())
            .timeout_config(timeouts.clone())
            .build();
        let ec2 = aws_sdk_ec2::config::Builder::from(&config)
            .retry_config(once)
            .timeout_config(timeouts)
            .build();
        let caller = Caller::new(
            aws_sdk_elasticloadbalancingv2::Client::from_conf(load_balancing),
            aws_sdk_ec2::Client::from_conf(ec2),
            Pace::new(&settings.limits),
            watch,
        );
        Ok(Self::new(settings.cluster, vpc, caller))
    }
}

/// The VPC of the instance that this runs on, from its metadata.
async fn vpc_of_instance() -> Result<String, ProviderError> {
    let metadata = imds::Client::builder().build();
    let failed = |error: imds::client::error::ImdsError| {
        ProviderError::failed(
            NO_VPC,
            "there is no VPC in the settings, and the instance does not say its own",
            error,
        )
    };
    let mac = metadata.get("/latest/meta-data/mac").await.map_err(failed)?;
    let path = format!("/latest/meta-data/network/interfaces/macs/{}/vpc-id", mac.as_ref());
    let vpc = metadata.get(path).await.map_err(failed)?;
    Ok(vpc.as_ref().to_owned())
}
