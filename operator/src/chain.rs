//! Errors with their causes, in one line.

use std::error::Error;
use std::fmt;

/// Shows an error and its causes, separated by colons. A cause that the text before already ends with is left out, since
/// some crates repeat their causes.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        for cause in std::iter::successors(self.0.source(), |error| <dyn Error>::source(*error)) {
            let text = cause.to_string();
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
                shown = text;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        #[source]
        cause: Option<Box<Link>>,
    }

    #[test]
    fn a_repeated_cause_is_shown_once() {
        let root = Link {
            text: "connection refused",
            cause: None,
        };
        let middle = Link {
            text: "tcp: connection refused",
            cause: Some(Box::new(root)),
        };
        let top = Link {
            text: "cannot list Services",
            cause: Some(Box::new(middle)),
        };
        assert_eq!(Chain(&top).to_string(), "cannot list Services: tcp: connection refused");
    }
}
