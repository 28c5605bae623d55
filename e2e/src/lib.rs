//! A real cluster from nothing, and what is asked of Fairlead on it.
//!
//! [`cluster`] brings a kind cluster up, with the node image that `e2e/cluster/` builds where no registry can be reached;
//! [`proxy`] gives it its Services: Fairlead by its Helm chart, or the real kube-proxy. On that stand [`upstream`], which runs
//! Kubernetes' own tests, and [`checks`], our own. [`dump`] writes down what a failure leaves. Everything is asked of programs
//! (`kind`, `kubectl`, `helm`, `docker`) through [`program`], as a person would.
//!
//! [`mod@bench`] needs no cluster, but for one of its benchmarks: it measures against an API server alone, a [`control_plane`], which
//! the tests of the package `fairlead` use too. Nor does [`aws`], a test account of AWS behind a proxy that counts calls and makes
//! faults.

pub mod aws;
pub mod bench;
pub mod checks;
pub mod cli;
pub mod cluster;
pub mod conformance;
pub mod control_plane;
pub mod dump;
pub mod lan;
pub mod load;
pub mod program;
pub mod proxy;
pub mod upstream;
