//! What the operator would have written where there is no API server to write to: for a folder of manifests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use fairlead_crds::{LoadBalancer, LoadBalancerStatus};
use fairlead_model::ServiceName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::cluster::Cluster;
use super::foresee::{begin, ip_families, settle};
use super::input::{Input, applied};
use crate::objects::Object;
use crate::operator::controller::decide::Decider;
use crate::operator::controller::plan::{self, Step, Wanted};
use crate::operator::controller::world::key_of;

/// What the operator would have written for a Service.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// Its name.
    pub(crate) key: ServiceName,
    /// The addresses that its status gets; `None` if it stays as it is in the files.
    pub(crate) published: Option<Vec<IpAddr>>,
    /// Its load balancer.
    pub(crate) load_balancer: Option<LoadBalancer>,
    /// What it asks for and does not get.
    pub(crate) complaint: Option<String>,
}

/// Decides about objects that are all there is, as an operator that starts anew: what it wrote before is what it goes by.
///
/// An error is an object that cannot be understood.
pub(crate) fn written(
    objects: &[Object],
    before: Vec<LoadBalancer>,
    namespace: &str,
    now: SystemTime,
) -> anyhow::Result<Vec<Written>> {
    let Input { mut objects } = Input::read(objects, namespace)?;
    let (families, _) = ip_families(None, &objects, &[]);
    // An object of the files is as a person wants it.
    let of_files: Vec<_> = objects.load_balancers.iter().map(key_of::<LoadBalancer>).collect();
    let others = before
        .into_iter()
        .filter(|load_balancer| !of_files.contains(&key_of(load_balancer)));
    objects.load_balancers.extend(others);
    let services = objects.services.into_iter();
    let services = services.map(|service| applied(service, None, &families)).collect();
    let mut decider = Decider::default();
    begin(&mut decider, Cluster { services, ..objects });
    let keys = decider.world.keys();
    let mut wanted = BTreeMap::new();
    settle(&mut decider, keys, &mut wanted, now);
    let now = Time(Timestamp::try_from(now).unwrap_or_default());
    let written = wanted.iter().map(|(key, wanted)| perform(&decider, key, wanted, &now));
    Ok(written.collect())
}

/// Does the operator's steps to values in place of objects of an API server.
fn perform(decider: &Decider, key: &ServiceName, wanted: &Wanted, now: &Time) -> Written {
    let observed = decider.observed(key);
    let mut written = Written {
        key: key.clone(),
        published: None,
        load_balancer: observed.load_balancer.cloned(),
        complaint: wanted.complaint().map(|complaint| complaint.message.clone()),
    };
    for step in plan::plan(&observed, wanted, now) {
        match step {
            Step::Create(spec) | Step::Update(spec) => {
                let status = written.load_balancer.take().and_then(|old| old.status);
                let mut load_balancer = LoadBalancer::new(&key.name, spec);
                load_balancer.metadata.namespace = Some(key.namespace.to_string());
                // What the operator's own has as well, or it would be updated for ever.
                load_balancer.metadata.finalizers = Some(vec![plan::KEEPER.to_owned()]);
                load_balancer.status = status;
                written.load_balancer = Some(load_balancer);
            }
            Step::Publish(addresses) => written.published = Some(addresses),
            Step::Report(report) => {
                if let Some(load_balancer) = &mut written.load_balancer {
                    load_balancer.status = Some(LoadBalancerStatus {
                        addresses: report.addresses.iter().map(ToString::to_string).collect(),
                        pool: report.pool.as_deref().map(str::to_owned),
                        conditions: report.conditions,
                        observed_generation: report.observed_generation,
                        ..load_balancer.status.take().unwrap_or_default()
                    });
                }
            }
            Step::Delete => written.load_balancer = None,
            // Nothing is deleted behind its back, and nothing made in a cloud.
            Step::PublishHostname(_) | Step::AddFinalizer | Step::RemoveFinalizer => {}
        }
    }
    written
}
