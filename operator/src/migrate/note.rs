//! What is to be told about the change from MetalLB.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something that MetalLB does, or an address, has no place in what is printed.
    Lost,
    /// It works, in another way.
    Differs,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "not carried over",
            Self::Differs => "differs",
        })
    }
}

/// One sentence about one field of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub weight: Weight,
    /// The object, as in `IPAddressPool metallb-system/public`.
    pub about: String,
    /// The field, as in `spec.addresses[1]`; empty if it is the object as a whole.
    pub field: String,
    /// The sentence.
    pub text: String,
    /// The `AddressPool`s that it is to be read with; none if it is about all.
    pub pools: Vec<String>,
}

impl Note {
    /// Something that has no place in what is printed.
    pub fn lost(about: &str, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            weight: Weight::Lost,
            about: about.to_owned(),
            field: field.into(),
            text: text.into(),
            pools: Vec::new(),
        }
    }

    /// Something that works in another way.
    pub fn differs(about: &str, field: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            weight: Weight::Differs,
            ..Self::lost(about, field, text)
        }
    }

    /// To be read with this pool.
    #[must_use]
    pub fn with_pool(mut self, pool: &str) -> Self {
        self.pools.push(pool.to_owned());
        self
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.about, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.text)
    }
}
