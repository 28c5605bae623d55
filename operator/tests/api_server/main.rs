//! The agent against a real kube-apiserver, with real connections between pods of the lab.
//!
//! `e2e/cluster/tools.sh api-server kube-proxy` installs what these tests start. Without it they say `SKIP`; in CI they fail then.
//!
//! [`fairlead_e2e::control_plane`] starts etcd and kube-apiserver on the LAN of the lab, [`world`] puts nodes and pods around
//! them.

mod aws;
mod conflicts;
mod crds;
mod foretold;
mod kit;
mod leader;
mod load_balancers;
#[cfg(feature = "aws")]
mod localstack;
mod objects;
mod operator;
mod outage;
mod refused;
mod replace;
mod start;
mod traffic;
mod world;
