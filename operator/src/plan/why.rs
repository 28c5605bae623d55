//! Why a provider takes a Service, or why none does.

use k8s_openapi::api::core::v1::Service;

use crate::operator::controller::scope::{Asked, Exposure, Scope, Taker};
use crate::operator::controller::wish::asked;

/// A sentence that explains what [`scope`](crate::operator::controller::scope::scope) has decided.
pub(super) fn why(service: &Service, takers: &[Taker], scope: &Scope) -> String {
    if service.metadata.deletion_timestamp.is_some() {
        return "the Service is being deleted".to_owned();
    }
    let Asked {
        exposure,
        class,
        provider,
    } = asked(service);
    match (scope, exposure, class, provider) {
        (Scope::Refused(refusal), ..) => refusal.to_string(),
        (Scope::Of(_), Exposure::LoadBalancer, Some(class), _) => {
            format!("it has the class {class} of spec.loadBalancerClass")
        }
        (Scope::Of(name), _, _, Some(_)) => format!("annotation fairlead.io/provider asks for {name}"),
        (Scope::Of(_), _, _, None) => {
            let defaults = takers.iter().filter(|taker| taker.is_default).count();
            let which = if defaults > 1 {
                "the oldest default"
            } else {
                "the default"
            };
            format!("it is {which}, and the Service has no spec.loadBalancerClass")
        }
        (Scope::Foreign, Exposure::LoadBalancer, Some(class), _) => {
            format!("no LoadBalancerProvider has the class {class} of spec.loadBalancerClass")
        }
        (Scope::Foreign, Exposure::LoadBalancer, None, _) => {
            "no LoadBalancerProvider is the default, and the Service has no spec.loadBalancerClass".to_owned()
        }
        (Scope::Foreign, Exposure::NodePort, ..) => {
            "a Service of type NodePort has a load balancer only if its annotation fairlead.io/provider asks for one"
                .to_owned()
        }
        (Scope::Foreign, Exposure::Other, ..) => {
            let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
            format!(
                "a Service of type {} has no load balancer",
                type_.unwrap_or("ClusterIP")
            )
        }
    }
}
