use std::fmt;

use fairlead_model::ServiceName;

/// Something about a Service that its user must mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Service {service}: {place}: {message}")]
pub struct Fault {
    /// The Service.
    pub service: ServiceName,
    /// The annotation or the field that it is about.
    pub place: String,
    /// What is wrong; where the AWS Load Balancer Controller refuses the same, in its words.
    pub message: String,
}

/// All that is wrong with a Service; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}
