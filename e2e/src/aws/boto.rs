use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::backend::SCRIPT;
use crate::program::{Program, last_lines, repository};

/// What talks to AWS.
const CLIENT: &str = "e2e/localstack/account.py";
/// A whole document takes some hundred calls where there are many load balancers.
const PATIENCE: Duration = Duration::from_mins(2);

/// boto3, AWS's SDK for Python: a client that shares nothing with what it looks at. Each call is a process of its own, and
/// is made once.
#[derive(Debug, Clone)]
pub struct Boto {
    environment: Vec<(&'static str, String)>,
}

/// What AWS says when it does not do a call: the source of errors of [`Boto`], for `downcast_ref`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refused {
    /// The error's code, such as `ResourceInUse`.
    pub code: String,
    /// What it says to people.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
}

/// A VPC of both families.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Its id.
    pub vpc: String,
    /// Its block of IPv4.
    pub ipv4: String,
    /// Its block of IPv6.
    pub ipv6: String,
    /// The zones with subnets, in their order.
    pub zones: Vec<Zone>,
    /// The security group of the nodes, tagged as the cluster's.
    pub node_security_group: String,
    /// The nodes, one zone after the other.
    pub instances: Vec<Instance>,
}

/// An availability zone of a [`Network`]. Its subnets have the tags by which controllers find them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Zone {
    /// Such as `us-east-1a`.
    pub name: String,
    /// The subnet with a route to the internet.
    pub public: String,
    /// The subnet without one.
    pub private: String,
}

/// A node of a [`Network`], in the private subnet of its zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// Such as `i-0123456789abcdef0`.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its IPv4 address.
    pub address: String,
}

#[derive(Deserialize)]
struct Failure {
    refused: Refused,
}

impl Boto {
    pub(super) fn new(environment: Vec<(&'static str, String)>) -> Self {
        Self { environment }
    }

    /// Everything that load balancers are made of, under `LoadBalancers`, `TargetGroups`, `SecurityGroups` and
    /// `NetworkInterfaces`, with the names of boto3.
    ///
    /// Listeners are in their load balancers, and `Tags` and `Attributes` are maps wherever there are any. A target group's
    /// `Targets` are its targets with their health. The security groups named `default` are left out.
    pub fn describe(&self) -> Result<Value> {
        self.ask(&["describe"], None)
    }

    /// One call: a service and a method with the names of boto3, such as `elbv2` and `create_listener`.
    pub fn call(&self, service: &str, method: &str, parameters: &Value) -> Result<Value> {
        self.ask(&["call", service, method], Some(parameters))
    }

    /// Makes a VPC with a public and a private subnet in three zones, tagged for a cluster, and so many nodes in it.
    pub fn make_network(&self, cluster: &str, nodes: u16) -> Result<Network> {
        let made = self.ask(
            &["make-network"],
            Some(&json!({ "cluster": cluster, "instances": nodes })),
        )?;
        serde_json::from_value(made).context("cannot read what our own script made")
    }

    /// Removes a VPC and what [`Self::make_network`] put there. It is refused where load balancers are left.
    pub fn remove_network(&self, vpc: &str) -> Result<()> {
        self.ask(&["remove-network", vpc], None)?;
        Ok(())
    }

    fn ask(&self, arguments: &[&str], input: Option<&Value>) -> Result<Value> {
        let mut program = Program::script(SCRIPT)
            .args([OsStr::new("python"), repository().join(CLIENT).as_os_str()])
            .args(arguments)
            .within(PATIENCE);
        for (name, value) in &self.environment {
            program = program.env(name, value);
        }
        if let Some(input) = input {
            program = program.input(input.to_string());
        }
        let output = program.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let what = arguments.join(" ");
        match output.status.code() {
            Some(0) => serde_json::from_str(&text).with_context(|| format!("cannot read the answer to `{what}`")),
            Some(2) if text.starts_with('{') => {
                let failure: Failure =
                    serde_json::from_str(&text).with_context(|| format!("cannot read the answer to `{what}`"))?;
                Err(failure.refused).with_context(|| format!("`{what}` failed"))
            }
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                anyhow::bail!("`{what}` failed ({}): {}", output.status, last_lines(&said))
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (HTTP {}): {}", self.code, self.status, self.message)
    }
}

impl std::error::Error for Refused {}
