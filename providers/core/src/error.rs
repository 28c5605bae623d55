use std::error::Error;
use std::time::Duration;

/// Whether trying again may help, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Later, and later still if it fails again.
    Backoff,
    /// At this time: something is known to take so long.
    After(Duration),
    /// Not before the Service, or what it refers to, has changed.
    WhenChanged,
}

/// Why a provider could not do something.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// One word for conditions, metrics and tests, such as `PoolExhausted`.
    pub reason: &'static str,
    /// A sentence for people, with the names of what it is about.
    pub message: String,
    /// When to try again.
    pub retry: Retry,
    /// What it follows from.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl ProviderError {
    /// Something that its user must mend.
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry: Retry::WhenChanged,
            source: None,
        }
    }

    /// Something that may pass by itself.
    pub fn failed(
        reason: &'static str,
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            reason,
            message: message.into(),
            retry: Retry::Backoff,
            source: Some(source.into()),
        }
    }

    /// The same, to be tried again after this time.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry = Retry::After(wait);
        self
    }
}
