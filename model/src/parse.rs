//! What is wrong with an object that cannot be used.

/// A field of a Kubernetes object that cannot be used. The object's other fields were not looked at after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {object}: {field}: {problem}")]
pub struct ParseError {
    /// The object's kind, as in `Service`.
    pub kind: &'static str,
    /// `namespace/name`, or the name of an object without a namespace.
    pub object: String,
    /// Path of the field, as in `spec.ports[1].nodePort`.
    pub field: String,
    /// What is wrong with the value, with the value in it.
    pub problem: String,
}
