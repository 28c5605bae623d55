//! MAC addresses in the kernel's neighbour tables: those of other nodes, which heartbeats keep there, and those of routers, which nothing else may.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::announcement::Mac;
use crate::announcement::rtnetlink::{Attributes, ask, dump};

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

/// Has the kernel find out the MAC address, and keep it for as long as it keeps those that are used.
///
/// A packet that waits for the MAC address of the next hop that a rule has given it is sent to the hop of its route instead.
pub(super) fn seek(link: u32, address: IpAddr) -> io::Result<()> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // struct ndmsg
    let mut payload = vec![u8::try_from(family).expect("families are small"), 0, 0, 0];
    payload.extend(link.to_ne_bytes());
    payload.extend([0, 0, libc::NTF_USE, 0]);
    let len = u16::try_from(octets.len() + 4).expect("an address is short");
    payload.extend(len.to_ne_bytes());
    payload.extend(NDA_DST.to_ne_bytes());
    payload.extend(octets);
    ask(libc::RTM_NEWNEIGH, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &payload)
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
