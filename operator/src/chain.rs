//! Errors with their causes, in one line.

use std::error::Error;
use std::fmt;

/// Shows an error and its causes, separated by colons. A cause that the text before already ends with is left out, since
/// some crates repeat their causes. Of a refusal by the API server only its own sentence is shown.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::new();
        let errors = std::iter::successors(Some(self.0), |error: &&(dyn Error + 'static)| {
            <dyn Error>::source(*error)
        });
        for (index, error) in errors.enumerate() {
            let refusal = refusal(error);
            let text = refusal.map_or_else(|| error.to_string(), str::to_owned);
            if index == 0 {
                f.write_str(&text)?;
            } else if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            // What comes after a refusal says the same again.
            if refusal.is_some() {
                break;
            }
            shown = text;
        }
        Ok(())
    }
}

/// What the API server says of a request that it does not do.
fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a str> {
    let boxed = || error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
    match error.downcast_ref::<kube::Error>().or_else(boxed)? {
        kube::Error::Api(status) if !status.message.is_empty() => Some(&status.message),
        _ => None,
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

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write it")]
    struct Write(#[source] Box<kube::Error>);

    #[test]
    fn a_refusal_is_shown_in_its_own_words() {
        let status = kube::core::Status::failure("may only be used when `spec.type` is 'LoadBalancer'", "Invalid");
        let error = Write(Box::new(kube::Error::Api(Box::new(status))));
        assert_eq!(
            Chain(&error).to_string(),
            "cannot write it: may only be used when `spec.type` is 'LoadBalancer'"
        );
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
