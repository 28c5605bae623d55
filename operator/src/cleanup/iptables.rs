//! kube-proxy's iptables rules: both back ends, both families.
//!
//! `iptables-save` tells what is there, [`plan()`] what to do about it, and `iptables-restore --noflush` does it, one
//! transaction for each table.

mod plan;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use self::plan::{Plan, plan};
use super::program::{ProgramError, find, run};
use super::{Outcome, nftables};
use crate::chain::Chain;

/// The kernel's two implementations of iptables. Rules of one are not seen by the other's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Nft,
    Legacy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// One implementation for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Variant {
    family: Family,
    backend: Backend,
}

const VARIANTS: [Variant; 4] = [
    Variant {
        family: Family::V4,
        backend: Backend::Nft,
    },
    Variant {
        family: Family::V4,
        backend: Backend::Legacy,
    },
    Variant {
        family: Family::V6,
        backend: Backend::Nft,
    },
    Variant {
        family: Family::V6,
        backend: Backend::Legacy,
    },
];

impl fmt::Display for Variant {
    /// The name of its program.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        })?;
        f.write_str(match self.backend {
            Backend::Nft => "-nft",
            Backend::Legacy => "-legacy",
        })
    }
}

impl Variant {
    fn program(self, verb: &str) -> Option<PathBuf> {
        find(&format!("{self}-{verb}"))
    }

    /// What the kernel has of this variant, as the program prints it; `None` if the program is not installed.
    fn save(self) -> Option<Result<String, ProgramError>> {
        Some(run(&self.program("save")?, &[], String::new()))
    }

    /// What can be told without the program: the tables that hold, or may hold, chains of kube-proxy.
    fn tables_without_program(self) -> Vec<String> {
        match self.backend {
            Backend::Nft => {
                let family = match self.family {
                    Family::V4 => nftables::Family::Ip,
                    Family::V6 => nftables::Family::Ip6,
                };
                let has_chain = |table: &&str| {
                    let chains = nftables::chains(family, table).unwrap_or_default();
                    chains.iter().any(|chain| plan::intercepts(table, chain))
                };
                plan::TABLES.into_iter().filter(has_chain).map(str::to_owned).collect()
            }
            Backend::Legacy => {
                // The names of the tables in use; what is in them only the program can read.
                let path = match self.family {
                    Family::V4 => "/proc/thread-self/net/ip_tables_names",
                    Family::V6 => "/proc/thread-self/net/ip6_tables_names",
                };
                let names = fs::read_to_string(path).unwrap_or_default();
                names
                    .lines()
                    .filter(|name| plan::TABLES.contains(name))
                    .map(str::to_owned)
                    .collect()
            }
        }
    }
}

/// Removes kube-proxy's chains and the rules that lead into them.
pub(super) fn remove(record: &mut dyn FnMut(Outcome)) {
    for variant in VARIANTS {
        match variant.save() {
            None => without_program(variant, record),
            Some(Err(err)) => record(Outcome::Failed(format!("{variant}: {}", Chain(&err)))),
            Some(Ok(saved)) => {
                for table in plan::unreadable_tables(&saved) {
                    record(Outcome::NotChecked(format!(
                        "{variant} table {table}: its program cannot read it, as other programs wrote rules into it"
                    )));
                }
                for plan in plan(&saved) {
                    restore(variant, &plan, record);
                }
            }
        }
    }
}

fn without_program(variant: Variant, record: &mut dyn FnMut(Outcome)) {
    let tables = variant.tables_without_program();
    let program = format!("{variant}-save is not installed");
    if tables.is_empty() {
        record(Outcome::NotChecked(format!(
            "{program}; no rules of it were seen either"
        )));
        return;
    }
    for table in tables {
        record(match variant.backend {
            Backend::Nft => Outcome::Failed(format!(
                "{variant} table {table} has chains of kube-proxy, but {program}"
            )),
            Backend::Legacy => Outcome::NotChecked(format!("{variant} table {table} is in use, but {program}")),
        });
    }
}

fn restore(variant: Variant, plan: &Plan, record: &mut dyn FnMut(Outcome)) {
    for (chain, user) in &plan.kept {
        record(Outcome::Kept(format!(
            "{variant} {} {chain}: a rule in {user} leads to it",
            plan.table
        )));
    }
    let Some(input) = plan.restore_input() else { return };
    let what = |text: &str| format!("{variant} {} {text}", plan.table);
    let Some(program) = variant.program("restore") else {
        record(Outcome::Failed(what(&format!(
            "chains of kube-proxy: {variant}-restore is not installed"
        ))));
        return;
    };
    // The lock is that of other iptables programs; five seconds is what kube-proxy grants them.
    match run(&program, &["-w", "5", "--noflush"], input) {
        Ok(_) => plan.removals().for_each(|line| record(Outcome::Removed(what(&line)))),
        Err(err) => record(Outcome::Failed(what(&format!("chains of kube-proxy: {}", Chain(&err))))),
    }
}

/// Adds a line for each variant and table with something of kube-proxy's.
pub(super) fn detect(found: &mut Vec<String>) {
    for variant in VARIANTS {
        match variant.save() {
            Some(Ok(saved)) => {
                for plan in plan(&saved).iter().filter(|plan| plan.restore_input().is_some()) {
                    let chains = plan.removed.len() + plan.emptied.len();
                    found.push(format!("{chains} chains in {variant} table {}", plan.table));
                }
            }
            None if variant.backend == Backend::Nft => {
                found.extend(
                    variant
                        .tables_without_program()
                        .iter()
                        .map(|table| format!("chains in {variant} table {table}")),
                );
            }
            None | Some(Err(_)) => {}
        }
    }
}
