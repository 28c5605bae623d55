//! Which provider takes a Service.
//!
//! The rules are those of Kubernetes' own service controller and of `spec.loadBalancerClass`: a Service with a class belongs to
//! the provider of that class and to nobody else, one without belongs to the default provider. The annotation
//! `fairlead.io/provider` names a provider where there is no class, and is how a Service of type `NodePort` opts in.

use std::fmt;
use std::sync::Arc;

use fairlead_crds::reason::{self, Reason};

/// The part of a provider's configuration that says what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// Its name.
    pub name: Arc<str>,
    /// The class of its Services.
    pub class: Option<String>,
    /// Whether it takes Services of type `LoadBalancer` without a class.
    pub is_default: bool,
    /// Whether it takes Services of type `NodePort` that ask for it.
    pub takes_node_ports: bool,
}

/// What decides about a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its type.
    pub exposure: Exposure,
    /// `spec.loadBalancerClass`.
    pub class: Option<&'a str>,
    /// The annotation `fairlead.io/provider`.
    pub provider: Option<&'a str>,
}

/// The type of a Service, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// `LoadBalancer`
    LoadBalancer,
    /// `NodePort`
    NodePort,
    /// Any other.
    Other,
}

/// Whose a Service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// This provider's.
    Of(Arc<str>),
    /// Somebody else's, or nobody's: it is not touched.
    Foreign,
    /// It asks for us, and cannot have what it asks for.
    Refused(Refusal),
}

/// Why a Service that asks for us is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The annotation names a provider that does not exist.
    UnknownProvider(String),
    /// The annotation names one provider, the class belongs to another.
    ClassOfAnother {
        /// The provider of the annotation.
        provider: String,
        /// The class.
        class: String,
    },
    /// The provider takes no Services of type `NodePort`.
    TakesNoNodePorts(String),
}

impl Refusal {
    /// One word for conditions and metrics.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownProvider(_) => reason::UNKNOWN_PROVIDER,
            Self::ClassOfAnother { .. } => reason::CLASS_OF_ANOTHER,
            Self::TakesNoNodePorts(_) => reason::NODE_PORTS_NOT_TAKEN,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownProvider(provider) => {
                write!(
                    f,
                    "annotation fairlead.io/provider: there is no LoadBalancerProvider {provider:?}"
                )
            }
            Self::ClassOfAnother { provider, class } => write!(
                f,
                "annotation fairlead.io/provider: LoadBalancerProvider {provider:?} does not have the class {class:?} of \
                 spec.loadBalancerClass"
            ),
            Self::TakesNoNodePorts(provider) => write!(
                f,
                "annotation fairlead.io/provider: LoadBalancerProvider {provider:?} takes no Services of type NodePort; its \
                 spec.nodePortServices can allow it"
            ),
        }
    }
}

/// Whose a Service is. The takers are in the order in which they were made: of two defaults the older one counts.
pub fn scope(asked: Asked<'_>, takers: &[Taker]) -> Scope {
    let named = |name: &str| takers.iter().find(|taker| &*taker.name == name);
    let of = |taker: &Taker| Scope::Of(taker.name.clone());
    match (asked.exposure, asked.class, asked.provider) {
        (Exposure::Other, ..) | (Exposure::NodePort, _, None) => Scope::Foreign,
        (Exposure::NodePort, _, Some(name)) => match named(name) {
            None => Scope::Refused(Refusal::UnknownProvider(name.to_owned())),
            Some(taker) if !taker.takes_node_ports => Scope::Refused(Refusal::TakesNoNodePorts(name.to_owned())),
            Some(taker) => of(taker),
        },
        (Exposure::LoadBalancer, Some(class), name) => {
            let of_class = takers.iter().find(|taker| taker.class.as_deref() == Some(class));
            match (of_class, name) {
                (Some(taker), None) => of(taker),
                (Some(taker), Some(name)) if &*taker.name == name => of(taker),
                (_, Some(name)) if named(name).is_some() => Scope::Refused(Refusal::ClassOfAnother {
                    provider: name.to_owned(),
                    class: class.to_owned(),
                }),
                (Some(_), Some(name)) => Scope::Refused(Refusal::UnknownProvider(name.to_owned())),
                (None, _) => Scope::Foreign,
            }
        }
        (Exposure::LoadBalancer, None, Some(name)) => match named(name) {
            None => Scope::Refused(Refusal::UnknownProvider(name.to_owned())),
            Some(taker) => of(taker),
        },
        (Exposure::LoadBalancer, None, None) => takers.iter().find(|taker| taker.is_default).map_or(Scope::Foreign, of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taker(name: &str, class: Option<&str>, is_default: bool) -> Taker {
        Taker {
            name: name.into(),
            class: class.map(str::to_owned),
            is_default,
            takes_node_ports: name == "metal",
        }
    }

    fn takers() -> [Taker; 3] {
        [
            taker("metal", Some("fairlead.io/metal"), true),
            taker("cloud", Some("fairlead.io/cloud"), false),
            taker("late", None, true),
        ]
    }

    fn ask(exposure: Exposure, class: Option<&str>, provider: Option<&str>) -> Scope {
        scope(
            Asked {
                exposure,
                class,
                provider,
            },
            &takers(),
        )
    }

    #[test]
    fn a_class_decides_and_without_one_the_oldest_default() {
        use Exposure::LoadBalancer;
        assert_eq!(
            ask(LoadBalancer, Some("fairlead.io/cloud"), None),
            Scope::Of("cloud".into())
        );
        assert_eq!(ask(LoadBalancer, Some("example.com/other"), None), Scope::Foreign);
        assert_eq!(ask(LoadBalancer, None, None), Scope::Of("metal".into()));
        let nobody = scope(
            Asked {
                exposure: LoadBalancer,
                class: None,
                provider: None,
            },
            &[taker("cloud", Some("fairlead.io/cloud"), false)],
        );
        assert_eq!(nobody, Scope::Foreign);
    }

    #[test]
    fn the_annotation_chooses_where_no_class_does_and_must_agree_with_one() {
        use Exposure::LoadBalancer;
        assert_eq!(ask(LoadBalancer, None, Some("cloud")), Scope::Of("cloud".into()));
        assert_eq!(
            ask(LoadBalancer, Some("fairlead.io/cloud"), Some("cloud")),
            Scope::Of("cloud".into())
        );
        let refusal = |scope| match scope {
            Scope::Refused(refusal) => (refusal.reason(), refusal.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refusal(ask(LoadBalancer, Some("fairlead.io/cloud"), Some("metal"))),
            (
                reason::CLASS_OF_ANOTHER,
                "annotation fairlead.io/provider: LoadBalancerProvider \"metal\" does not have the class \
                 \"fairlead.io/cloud\" of spec.loadBalancerClass"
                    .to_owned()
            )
        );
        assert_eq!(
            refusal(ask(LoadBalancer, None, Some("none"))).0,
            reason::UNKNOWN_PROVIDER
        );
        // With somebody else's class it is not ours to judge, unless it names one of ours.
        assert_eq!(
            ask(LoadBalancer, Some("example.com/other"), Some("theirs")),
            Scope::Foreign
        );
    }

    #[test]
    fn a_node_port_service_must_ask_and_the_provider_must_be_willing() {
        use Exposure::{NodePort, Other};
        assert_eq!(ask(NodePort, None, None), Scope::Foreign);
        assert_eq!(ask(NodePort, None, Some("metal")), Scope::Of("metal".into()));
        assert_eq!(
            ask(NodePort, None, Some("cloud")),
            Scope::Refused(Refusal::TakesNoNodePorts("cloud".to_owned()))
        );
        assert_eq!(ask(Other, None, Some("metal")), Scope::Foreign);
    }
}
