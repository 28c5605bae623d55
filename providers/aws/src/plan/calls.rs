//! How many calls of AWS' API a step is.

use super::Step;

/// How many targets one call registers or deregisters at most, so that it stays far from the limits of a request.
pub const TARGETS_IN_A_CALL: usize = 200;
/// How many things one call tags at most.
const TAGGED_IN_A_CALL: usize = 20;

impl Step {
    /// How many calls it is.
    pub fn calls(&self) -> usize {
        match self {
            // The record is the cluster's.
            Self::RecordTargets { .. } => 0,
            Self::RegisterTargets { targets, .. } | Self::DeregisterTargets { targets, .. } => {
                targets.len().div_ceil(TARGETS_IN_A_CALL)
            }
            // One certificate in a call.
            Self::AddListenerCertificates { certificates, .. }
            | Self::RemoveListenerCertificates { certificates, .. } => certificates.len(),
            Self::AddTags { arns, .. } | Self::RemoveTags { arns, .. } => arns.len().div_ceil(TAGGED_IN_A_CALL),
            _ => 1,
        }
    }
}
