//! What errors of AWS mean.

use std::error::Error;

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use fairlead_aws::account::{ACCESS_DENIED, IN_USE, LIMIT_REACHED, NOT_FOUND, REFUSED, THROTTLED, UNAVAILABLE};
use fairlead_provider::{ProviderError, Retry};

use crate::watch::{Operation, Outcome};

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
#[error("{}", text(*.operation, .code.as_deref(), .message.as_deref()))]
pub(crate) struct Failure {
    /// What was called.
    pub(crate) operation: Operation,
    /// What kind of failure it is.
    pub(crate) class: Class,
    /// AWS' code for it.
    pub(crate) code: Option<String>,
    /// What AWS says about it.
    pub(crate) message: Option<String>,
    /// What it follows from, if AWS said nothing.
    #[source]
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Fewer calls.
    Throttled,
    /// The same again.
    Transient,
    /// AWS is to let us.
    Denied,
    /// What it is about is to be there.
    Missing,
    /// Something else is to go first.
    InUse,
    /// Something is to become less.
    Full,
    /// Another call.
    Refused,
}

fn text(operation: Operation, code: Option<&str>, message: Option<&str>) -> String {
    match (code, message) {
        (Some(code), Some(message)) => format!("{operation}: {code}: {message}"),
        (Some(code), None) => format!("{operation}: {code}"),
        _ => format!("{operation}: AWS cannot be reached"),
    }
}

impl Failure {
    pub(crate) fn of<E>(operation: Operation, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let class = match (&error, code.as_deref()) {
            (SdkError::ConstructionFailure(_), _) => Class::Refused,
            (_, Some(code)) => class_of(code, status),
            (_, None) if status == Some(429) => Class::Throttled,
            // No answer, or none that can be read.
            (_, None) => Class::Transient,
        };
        Self {
            operation,
            class,
            message: error.message().map(str::to_owned),
            source: code.is_none().then(|| error.into()),
            code,
        }
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match self.class {
            Class::Throttled => Outcome::Throttled,
            Class::Transient => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

const THROTTLING: [&str; 11] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "SlowDown",
];

const TRANSIENT: [&str; 8] = [
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
    "RequestTimeout",
    "RequestTimeoutException",
];

const DENIED: [&str; 12] = [
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

const IN_USE_CODES: [&str; 4] = [
    "ResourceInUse",
    "DependencyViolation",
    "InvalidGroup.InUse",
    "OperationNotPermitted",
];

fn class_of(code: &str, status: Option<u16>) -> Class {
    if THROTTLING.contains(&code) {
        Class::Throttled
    } else if TRANSIENT.contains(&code) {
        Class::Transient
    } else if DENIED.contains(&code) {
        Class::Denied
    } else if IN_USE_CODES.contains(&code) {
        Class::InUse
    } else if code.ends_with("NotFound") {
        Class::Missing
    } else if code.starts_with("TooMany") || code.ends_with("LimitExceeded") {
        Class::Full
    } else if status.is_some_and(|status| status >= 500) {
        Class::Transient
    } else {
        Class::Refused
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        let (reason, retry) = match failure.class {
            Class::Throttled => (THROTTLED, Retry::Backoff),
            Class::Transient => (UNAVAILABLE, Retry::Backoff),
            Class::Denied => (ACCESS_DENIED, Retry::Backoff),
            Class::Missing => (NOT_FOUND, Retry::Backoff),
            Class::InUse => (IN_USE, Retry::Backoff),
            Class::Full => (LIMIT_REACHED, Retry::Backoff),
            Class::Refused => (REFUSED, Retry::WhenChanged),
        };
        Self {
            reason,
            message: failure.to_string(),
            retry,
            source: failure.source,
        }
    }
}

/// What a step is about is not in the snapshot.
pub(crate) fn missing(what: impl std::fmt::Display) -> ProviderError {
    ProviderError {
        reason: NOT_FOUND,
        message: format!("{what} is not there"),
        retry: Retry::Backoff,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_can_be_done() {
        for (code, status, class) in [
            ("Throttling", 400, Class::Throttled),
            ("RequestLimitExceeded", 503, Class::Throttled),
            ("InternalFailure", 500, Class::Transient),
            ("SomethingNew", 502, Class::Transient),
            ("SomethingNew", 400, Class::Refused),
            ("UnauthorizedOperation", 403, Class::Denied),
            ("TargetGroupNotFound", 400, Class::Missing),
            ("InvalidGroup.NotFound", 400, Class::Missing),
            ("InvalidPermission.NotFound", 400, Class::Missing),
            ("DependencyViolation", 400, Class::InUse),
            ("TooManyTargets", 400, Class::Full),
            ("RulesPerSecurityGroupLimitExceeded", 400, Class::Full),
            ("ValidationError", 400, Class::Refused),
            ("DuplicateListener", 400, Class::Refused),
        ] {
            assert_eq!(class_of(code, Some(status)), class, "{code}");
        }
    }
}
