//! `fairlead`: the agent, its subcommands and everything that the binary links.

pub mod addresses;
pub mod agent;
pub mod chain;
pub mod cleanup;
pub mod cli;
pub mod go_duration;
pub mod http;
mod listing;
pub mod migrate;
pub mod node;
pub mod objects;
pub mod operator;
mod output;
pub mod plan;
pub mod pod;
mod process_metrics;
mod routes;
pub mod sandbox;
pub mod source;
pub mod status;
mod sys;
mod terminal;
pub mod trace;
pub mod view;
pub mod watch;
