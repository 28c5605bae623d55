//! Label selectors.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// What labels must be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    DoesNotExist(String),
}

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// No such operator.
    #[error("matchExpressions[{index}].operator: {operator:?} is none of In, NotIn, Exists and DoesNotExist")]
    Operator {
        /// The place in the list.
        index: usize,
        /// The text.
        operator: String,
    },
    /// In and `NotIn` ask for values.
    #[error("matchExpressions[{index}].values: {operator} needs at least one")]
    NoValues {
        /// The place in the list.
        index: usize,
        /// The operator.
        operator: String,
    },
}

impl Selector {
    /// True if such labels are selected. A selector that asks for nothing selects all.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

impl TryFrom<&LabelSelector> for Selector {
    type Error = SelectorError;

    fn try_from(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let equal = selector.match_labels.iter().flatten();
        let mut requirements: Vec<_> = equal
            .map(|(key, value)| Requirement::In(key.clone(), [value.clone()].into()))
            .collect();
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let values: BTreeSet<_> = expression.values.iter().flatten().cloned().collect();
            let (key, operator) = (expression.key.clone(), expression.operator.clone());
            requirements.push(match (operator.as_str(), values.is_empty()) {
                ("Exists", _) => Requirement::Exists(key),
                ("DoesNotExist", _) => Requirement::DoesNotExist(key),
                ("In", false) => Requirement::In(key, values),
                ("NotIn", false) => Requirement::NotIn(key, values),
                ("In" | "NotIn", true) => return Err(SelectorError::NoValues { index, operator }),
                _ => return Err(SelectorError::Operator { index, operator }),
            });
        }
        Ok(Self(requirements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: &str) -> Result<Selector, SelectorError> {
        (&serde_json::from_str::<LabelSelector>(json).unwrap()).try_into()
    }

    #[test]
    fn every_operator_selects_as_kubernetes_says() {
        let labels: BTreeMap<_, _> = [("tier".to_owned(), "web".to_owned())].into();
        for (json, is_selected) in [
            ("{}", true),
            (r#"{"matchLabels": {"tier": "web"}}"#, true),
            (r#"{"matchLabels": {"tier": "db"}}"#, false),
            (
                r#"{"matchExpressions": [{"key": "tier", "operator": "In", "values": ["db", "web"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}"#,
                false,
            ),
            (
                r#"{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}"#,
                false,
            ),
            (r#"{"matchExpressions": [{"key": "tier", "operator": "Exists"}]}"#, true),
            (
                r#"{"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}"#,
                false,
            ),
            (
                r#"{"matchLabels": {"tier": "web"}, "matchExpressions": [{"key": "zone", "operator": "Exists"}]}"#,
                false,
            ),
        ] {
            assert_eq!(selector(json).unwrap().selects(&labels), is_selected, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |json| selector(json).unwrap_err().to_string();
        assert_eq!(
            error(r#"{"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Is"}]}"#),
            "matchExpressions[1].operator: \"Is\" is none of In, NotIn, Exists and DoesNotExist"
        );
        assert_eq!(
            error(r#"{"matchExpressions": [{"key": "a", "operator": "In"}]}"#),
            "matchExpressions[0].values: In needs at least one"
        );
    }
}
