//! A test account of AWS: LocalStack, and in front of it a proxy that counts every call and makes faults.
//!
//! An [`AwsBackend`] is what a program under test talks to: its [`environment`](AwsBackend::environment) leads to the
//! [`FaultProxy`], whose [`Faults`] say which calls are throttled, refused, delayed or left without a reply, and what was
//! called. A [`Boto`] is who looks at the result: another SDK, straight to LocalStack, so that it neither counts nor meets a
//! fault. What LocalStack does differently from AWS is in `e2e/localstack/README.md`.
//!
//! ```no_run
//! use fairlead_e2e::aws::AwsBackend;
//!
//! # fn main() -> anyhow::Result<()> {
//! let aws = AwsBackend::start()?;
//! let network = aws.boto().make_network("cluster", 3)?;
//! aws.faults().on("CreateListener").drop_reply(1);
//! aws.faults().on("Describe*").throttle(2);
//! // … a program with `aws.environment()` works here …
//! assert_eq!(aws.faults().calls()["elasticloadbalancing:CreateListener"], 2);
//! assert_eq!(aws.boto().describe()?["LoadBalancers"][0]["VpcId"], network.vpc);
//! # Ok(())
//! # }
//! ```

mod backend;
mod boto;
mod bucket;
mod call;
mod faults;
mod proxy;
mod refusal;
mod testing;

pub use backend::{AwsBackend, LocalStack};
pub use boto::{Boto, Instance, Network, Refused, Zone};
pub use bucket::TokenBucket;
pub use call::{Call, Outcome};
pub use faults::{Faults, On};
pub use proxy::FaultProxy;
pub use refusal::Refusal;
pub use testing::with_aws;
