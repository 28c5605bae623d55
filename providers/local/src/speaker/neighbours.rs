//! The MAC addresses of other nodes, from the kernel's neighbour tables: heartbeats keep them there.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::announcement::Mac;
use crate::announcement::rtnetlink::{Attributes, dump};

const HEADER_LEN: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// The MAC addresses that the kernel has for these IP addresses.
pub(super) fn macs_of(addresses: &BTreeSet<IpAddr>) -> io::Result<BTreeSet<Mac>> {
    let mut macs = BTreeSet::new();
    dump(libc::RTM_GETNEIGH, HEADER_LEN, |_, payload| {
        if let Some((address, mac)) = decode(payload)
            && addresses.contains(&address)
        {
            macs.insert(mac);
        }
    })?;
    Ok(macs)
}

fn decode(payload: &[u8]) -> Option<(IpAddr, Mac)> {
    let (mut address, mut mac) = (None, None);
    for (kind, value) in Attributes(payload.get(HEADER_LEN..)?) {
        match kind {
            NDA_DST => {
                address = match *value {
                    [a, b, c, d] => Some(IpAddr::from(Ipv4Addr::new(a, b, c, d))),
                    _ => <[u8; 16]>::try_from(value)
                        .ok()
                        .map(|octets| Ipv6Addr::from(octets).into()),
                };
            }
            NDA_LLADDR => mac = value.try_into().ok().map(Mac),
            _ => {}
        }
    }
    address.zip(mac)
}
