//! Real connections through the real agent.
//!
//! Each test has a lab of its own: three nodes with an agent on each, pods, and a client outside. Manifests go into a
//! folder that the agents follow; probes show who answers and whom they saw. What is expected comes from kube-proxy's
//! documented behaviour, not from our own code, and our evaluator is asked beside it.
//!
//! [`world`] is the lab with its agents, [`manifest`] writes objects, [`verdict`] says what is expected and what was seen.

mod affinity;
mod announced;
mod choice;
mod detect_local;
mod flows;
mod hairpin;
mod healing;
mod health_check;
mod http;
mod lifecycle;
mod manifest;
mod matrix;
mod node_ports;
mod ports;
mod privileges;
mod restart;
mod shared_addresses;
mod source_ranges;
mod unused_addresses;
mod verdict;
mod world;
