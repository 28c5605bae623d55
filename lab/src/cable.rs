//! Cables between two namespaces, beside the LAN: second networks.

use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::{IpNet, Ipv6Net};

use crate::link::Link;
use crate::netlink::Batch;
use crate::{Error, Namespace};

/// Indexes of the ends: no other link of the lab has such ones, and the ends of a cable have different ones, since a link with the index of its other end is to the
/// kernel a link to itself.
static NEXT_INDEX: AtomicU32 = AtomicU32::new(10_000);

impl Namespace {
    /// Lays a cable to another namespace. Both ends are up when this returns, and have no addresses of their own but IPv6 link-local ones.
    pub fn connect(&self, interface: &str, other: &Self, other_interface: &str) -> Result<(), Error> {
        let near = NEXT_INDEX.fetch_add(2, Ordering::Relaxed);
        let far = near + 1;
        let mut batch = Batch::default();
        batch.add_veth(&end(interface, near), None, &end(other_interface, far), other.handle());
        batch.add_address(near, link_local(near));
        self.configure(batch)?;
        let mut batch = Batch::default();
        batch.set_link(far, true);
        batch.add_address(far, link_local(far));
        other.configure(batch)?;
        self.settle(&[near], &[])?;
        other.settle(&[far], &[])
    }
}

/// Neighbour discovery needs one.
fn link_local(index: u32) -> IpNet {
    let address = Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(index));
    Ipv6Net::new_assert(address, 64).into()
}

fn end(name: &str, index: u32) -> Link<'_> {
    let [_, a, b, c] = index.to_be_bytes();
    Link {
        name,
        index,
        mac: [2, 0, 1, a, b, c],
    }
}
