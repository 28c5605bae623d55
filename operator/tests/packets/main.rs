//! Real connections through the real agent.
//!
//! Each test has a lab of its own: three nodes with an agent on each, pods, and a client outside. Manifests go into a
//! folder that the agents follow; probes show who answers and whom they saw. What is expected comes from kube-proxy's
//! documented behaviour, not from our own code, and our evaluator is asked beside it.
//!
//! [`world`] is the lab with its agents, [`manifest`] writes objects, [`verdict`] says what is expected and what was seen.

mod affinity;
mod choice;
mod hairpin;
mod http;
mod lifecycle;
mod manifest;
mod matrix;
mod node_ports;
mod ports;
mod source_ranges;
mod verdict;
mod world;
