//! Tables of `nf_tables`, and the chains in them.

use std::io;

pub(super) use fairlead_dataplane::netlink::NfFamily as Family;
use fairlead_dataplane::netlink::{Connection, NetlinkError, Ownership};

use super::netlink::{Answer, Message, NETFILTER, dump};
use super::{Outcome, outcome};

const SUBSYSTEM: u8 = 10;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
/// The fixed part of a netfilter message.
const FIXED: usize = 4;

/// The kernel's number of a family.
fn number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
        Family::Other(number) => number,
    }
}

/// True if there is such a table.
pub(super) fn exists(family: Family, table: &str) -> Result<bool, NetlinkError> {
    let tables = Connection::open(Ownership::Shared)?.list_tables()?;
    Ok(tables.iter().any(|(of, name)| *of == family && name == table))
}

/// The names of a table's chains; none if there is no such table.
pub(super) fn chains(family: Family, table: &str) -> io::Result<Vec<String>> {
    let number = number(family);
    let chains = dump(NETFILTER, &Message::netfilter(SUBSYSTEM, NFT_MSG_GETCHAIN, number))?;
    let is_of_table = |answer: &&Answer| {
        answer.family() == number && answer.string(FIXED, NFTA_CHAIN_TABLE).as_deref() == Some(table)
    };
    let names = chains
        .iter()
        .filter(is_of_table)
        .filter_map(|answer| answer.string(FIXED, NFTA_CHAIN_NAME));
    Ok(names.collect())
}

/// Removes a table with everything in it. No table is no outcome.
pub(super) fn remove(family: Family, table: &str, record: &mut dyn FnMut(Outcome)) {
    let what = format!("nftables table {family} {table}");
    let result = Connection::open(Ownership::Shared).and_then(|mut connection| connection.delete_table(family, table));
    match result {
        Ok(false) => {}
        Ok(true) => record(Outcome::Removed(what)),
        Err(err @ NetlinkError::OwnedByAnother { .. }) => {
            record(outcome(
                format!("{what} (an agent that still runs must be stopped first)"),
                Err(err),
            ));
        }
        Err(err) => record(outcome(what, Err(err))),
    }
}
