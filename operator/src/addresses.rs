//! The host's addresses, as far as the dataplane needs them.

use fairlead_dataplane::netlink::{NetlinkError, addresses};
use fairlead_model::Family;

use crate::node::LocalAddress;
use crate::routes;

const SCOPE_UNIVERSE: u8 = 0;
/// `IFA_F_SECONDARY` (IPv6: temporary), `IFA_F_DADFAILED`, `IFA_F_DEPRECATED`, `IFA_F_TENTATIVE`: not an address that others
/// should be told of.
const UNFIT: u32 = 0x01 | 0x08 | 0x20 | 0x40;

/// Lists the addresses of this network namespace.
pub fn list() -> Result<Vec<LocalAddress>, NetlinkError> {
    let all = addresses::list()?;
    let uplinks = Family::ALL.map(routes::default_interface);
    let local = all.iter().map(|found| LocalAddress {
        interface: found.interface,
        is_global: found.scope == SCOPE_UNIVERSE && found.flags & UNFIT == 0,
        is_on_uplink: uplinks[usize::from(found.address.is_ipv6())] == Some(found.interface),
        address: found.address,
    });
    Ok(local.collect())
}
