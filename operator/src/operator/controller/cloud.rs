//! Load balancers that clouds make: what their drivers are asked for, and what they said.
//!
//! A driver does its steps by itself, beside the controller, which writes down what came of them. Each wish has a number, so that no word about
//! an earlier one is taken for an answer to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::Service;

use super::plan::Complaint;

/// How a key stands in a cloud.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The name that clients reach it at.
    pub hostname: Option<String>,
    /// What the cloud calls its parts.
    pub ids: BTreeMap<String, String>,
    /// What the Service's user must mend.
    pub complaint: Option<Complaint>,
    /// What may pass by itself.
    pub trouble: Option<Complaint>,
    /// What is waited for.
    pub pending: Option<String>,
    /// True if nothing of it is left.
    pub is_gone: bool,
}

/// What a driver is asked for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A load balancer. The record of it is there, and the Service stays until it is gone.
    Have(Arc<Service>),
    /// None any more.
    Leave,
}

/// One wish.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Whose.
    pub key: ServiceName,
    /// Which of the key's wishes it is; it grows when another one follows, not when the Service changes.
    pub number: u64,
    /// What is wished.
    pub wish: Wish,
    /// The record.
    pub record: Arc<LoadBalancer>,
}

/// What a driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// About a key, in answer to its wish of this number.
    Key {
        /// Whose.
        key: ServiceName,
        /// The wish.
        number: u64,
        /// How it stands.
        state: State,
    },
    /// About all of it: what is wrong, if something is.
    Everything(Option<Complaint>),
}

/// What was asked and said, by provider.
#[derive(Debug, Clone, Default)]
pub struct Clouds {
    /// Whether there is anybody who would do it.
    pub is_supported: bool,
    keys: BTreeMap<(String, ServiceName), Asked>,
    troubles: BTreeMap<String, Complaint>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Asked {
    number: u64,
    is_leaving: bool,
    versions: [Option<String>; 2],
    state: Option<State>,
}

impl Clouds {
    /// Nothing asked and nothing said.
    pub fn new(is_supported: bool) -> Self {
        Self {
            is_supported,
            ..Self::default()
        }
    }

    /// How a key stands, as far as it was said.
    pub fn state(&self, provider: &str, key: &ServiceName) -> Option<&State> {
        let asked = self.keys.get(&(provider.to_owned(), key.clone()))?;
        asked.state.as_ref()
    }

    /// True if it was said, in answer to the last wish, that nothing is left.
    pub fn is_gone(&self, provider: &str, key: &ServiceName) -> bool {
        self.state(provider, key).is_some_and(|state| state.is_gone)
    }

    /// What is wrong with a provider.
    pub fn trouble(&self, provider: &str) -> Option<&Complaint> {
        self.troubles.get(provider)
    }

    /// Notes what was said. True if it is news.
    pub fn said(&mut self, provider: &str, said: Said) -> Option<ServiceName> {
        match said {
            Said::Everything(Some(complaint)) => drop(self.troubles.insert(provider.to_owned(), complaint)),
            Said::Everything(None) => drop(self.troubles.remove(provider)),
            Said::Key { key, number, state } => {
                let asked = self.keys.get_mut(&(provider.to_owned(), key.clone()))?;
                if asked.number == number && asked.state.as_ref() != Some(&state) {
                    asked.state = Some(state);
                    return Some(key);
                }
            }
        }
        None
    }

    /// The wish to send, if it is another one than before.
    pub fn ask(&mut self, provider: &str, key: &ServiceName, wish: Wish, record: Arc<LoadBalancer>) -> Option<Ask> {
        let is_leaving = matches!(wish, Wish::Leave);
        let service = match &wish {
            Wish::Have(service) => service.metadata.resource_version.clone(),
            Wish::Leave => None,
        };
        let versions = [service, record.metadata.resource_version.clone()];
        let id = (provider.to_owned(), key.clone());
        let number = match self.keys.get_mut(&id) {
            Some(asked) if asked.is_leaving == is_leaving => {
                if asked.versions == versions {
                    return None;
                }
                asked.versions = versions;
                asked.number
            }
            _ => {
                self.next += 1;
                let asked = Asked {
                    number: self.next,
                    is_leaving,
                    versions,
                    state: None,
                };
                self.keys.insert(id, asked);
                self.next
            }
        };
        Some(Ask {
            key: key.clone(),
            number,
            wish,
            record,
        })
    }

    /// Nothing is wished any more. True if something was.
    pub fn forget(&mut self, provider: &str, key: &ServiceName) -> bool {
        self.keys.remove(&(provider.to_owned(), key.clone())).is_some()
    }

    /// A provider that is not driven any more: nothing that it said counts.
    pub fn forget_provider(&mut self, provider: &str) {
        self.keys.retain(|(of, _), _| of != provider);
        self.troubles.remove(provider);
    }

    /// The providers that were asked for something about a key.
    pub fn asked(&self, key: &ServiceName) -> Vec<String> {
        let all = self.keys.keys().filter(|(_, of)| of == key);
        all.map(|(provider, _)| provider.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Arc<LoadBalancer> {
        let value = serde_json::json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancer",
            "metadata": { "name": "web", "resourceVersion": "7" }, "spec": { "provider": "aws", "services": [] },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn no_word_about_an_earlier_wish_answers_a_later_one() {
        let key = ServiceName::new("shop", "web");
        let mut clouds = Clouds::default();
        let ask = |clouds: &mut Clouds, wish| clouds.ask("aws", &key, wish, record());
        let gone = |number| Said::Key {
            key: ServiceName::new("shop", "web"),
            number,
            state: State {
                is_gone: true,
                ..State::default()
            },
        };
        let first = ask(&mut clouds, Wish::Leave).unwrap().number;
        assert!(ask(&mut clouds, Wish::Leave).is_none(), "it was asked already");
        ask(&mut clouds, Wish::Have(Arc::default())).unwrap();
        assert_eq!(clouds.said("aws", gone(first)), None);
        let last = ask(&mut clouds, Wish::Leave).unwrap().number;
        assert_eq!(clouds.said("aws", gone(first)), None);
        assert!(!clouds.is_gone("aws", &key));
        assert_eq!(clouds.said("aws", gone(last)), Some(key.clone()));
        assert!(clouds.is_gone("aws", &key));
    }
}
