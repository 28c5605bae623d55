//! The node's links, their addresses and the routers behind them, as the kernel tells of them (rtnetlink).
//!
//! A message about a link describes all of it, so the picture is kept by the messages alone. When some were lost it is drawn anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use super::link::Link;
use super::router::{self, Routers};
use super::rtnetlink::{self, Attributes, Messages};
use super::wire::Mac;

const LINK_HEADER_LEN: usize = 16;
const ADDRESS_HEADER_LEN: usize = 8;
/// Links, addresses and routes of both families: `RTNLGRP_*` as bits.
const GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;
/// Room for the links of some thousand pods that come at once.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// `linux/if_link.h`
const IFLA_INFO_SLAVE_KIND: u16 = 4;
/// Hosts behind a port of this kind talk with the port, not with its master.
const VRF: &[u8] = b"vrf\0";

/// Hears of links and addresses.
#[derive(Debug)]
pub(super) struct LinkMonitor {
    socket: OwnedFd,
    links: Links,
    buffer: Vec<u8>,
}

/// All links, by index, and the addresses that were told of before their link.
#[derive(Debug, Default)]
struct Links {
    all: BTreeMap<u32, Link>,
    prefixes: BTreeMap<u32, BTreeSet<IpNet>>,
    routers: Routers,
}

/// What a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Something,
    /// A link is gone. One that comes with the same index is another.
    LinkGone,
}

impl LinkMonitor {
    /// Begins to listen, in the namespace of the calling thread, and looks at all there is.
    pub(super) fn open() -> io::Result<Self> {
        let socket = rtnetlink::open(GROUPS)?;
        // Only root of the machine may go beyond the machine's limit.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        }
        let mut monitor = Self {
            socket,
            links: Links::default(),
            buffer: vec![0; 64 * 1024],
        };
        monitor.links = list()?;
        Ok(monitor)
    }

    /// All links as they were when last read.
    pub(super) fn links(&self) -> Vec<Link> {
        self.links.whole()
    }

    /// Reads all messages that wait. `show` is called with all links after one has gone, and after the last change.
    pub(super) fn read(&mut self, mut show: impl FnMut(Vec<Link>)) -> io::Result<()> {
        let mut has_changed = false;
        loop {
            let len = match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => len,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    // What goes while we look is told again afterwards.
                    let fresh = list()?;
                    let links = &mut self.links.all;
                    links.retain(|index, _| fresh.all.contains_key(index));
                    show(self.links.whole());
                    self.links = fresh;
                    has_changed = true;
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            };
            for (kind, payload) in Messages(&self.buffer[..len]) {
                match self.links.apply(kind, payload) {
                    Change::Nothing => {}
                    Change::Something => has_changed = true,
                    Change::LinkGone => {
                        show(self.links.whole());
                        has_changed = false;
                    }
                }
            }
        }
        if has_changed {
            show(self.links.whole());
        }
        Ok(())
    }
}

impl AsFd for LinkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Links {
    fn whole(&self) -> Vec<Link> {
        let with_prefixes = |link: &Link| Link {
            prefixes: self.prefixes.get(&link.index).cloned().unwrap_or_default(),
            routers: self.routers.behind(link.index),
            ..link.clone()
        };
        self.all.values().map(with_prefixes).collect()
    }

    fn apply(&mut self, kind: u16, payload: &[u8]) -> Change {
        let change = match kind {
            libc::RTM_NEWLINK => decode_link(payload).map(|link| {
                if !link.is_up() {
                    // Its routes go without a word.
                    self.routers.forget(link.index);
                }
                let old = self.all.insert(link.index, link.clone());
                old != Some(link)
            }),
            libc::RTM_DELLINK => {
                let gone = decode_link(payload).and_then(|link| {
                    self.prefixes.remove(&link.index);
                    self.routers.forget(link.index);
                    self.all.remove(&link.index)
                });
                if gone.is_some() {
                    return Change::LinkGone;
                }
                None
            }
            libc::RTM_NEWADDR => {
                decode_address(payload).map(|(link, prefix)| self.prefixes.entry(link).or_default().insert(prefix))
            }
            libc::RTM_DELADDR => decode_address(payload)
                .and_then(|(link, prefix)| self.prefixes.get_mut(&link).map(|prefixes| prefixes.remove(&prefix))),
            libc::RTM_NEWROUTE => router::decode(payload).map(|route| self.routers.add(&route)),
            libc::RTM_DELROUTE => router::decode(payload).map(|route| self.routers.remove(&route)),
            _ => None,
        };
        match change {
            Some(true) => Change::Something,
            Some(false) | None => Change::Nothing,
        }
    }
}

/// Lists all links, addresses and routers.
fn list() -> io::Result<Links> {
    let mut links = Links::default();
    for (kind, header_len) in [
        (libc::RTM_GETLINK, LINK_HEADER_LEN),
        (libc::RTM_GETADDR, ADDRESS_HEADER_LEN),
        (libc::RTM_GETROUTE, router::HEADER_LEN),
    ] {
        rtnetlink::dump(kind, header_len, |kind, payload| {
            links.apply(kind, payload);
        })?;
    }
    Ok(links)
}

fn decode_link(payload: &[u8]) -> Option<Link> {
    let (header, attributes) = payload.split_first_chunk::<LINK_HEADER_LEN>()?;
    let [family, _, t0, t1, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    // Other families tell of a link as a port of a bridge, and not of all of it.
    if i32::from(family) != libc::AF_UNSPEC {
        return None;
    }
    let is_ethernet = u16::from_ne_bytes([t0, t1]) == libc::ARPHRD_ETHER;
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: String::new(),
        mac: None,
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
        is_port: false,
        prefixes: BTreeSet::new(),
        carrier_changes: 0,
        lower: None,
        routers: Vec::new(),
    };
    let mut is_in_vrf = false;
    for (kind, value) in Attributes(attributes) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_ADDRESS if is_ethernet => link.mac = value.try_into().ok().map(Mac),
            libc::IFLA_MASTER => link.is_port = true,
            libc::IFLA_LINK => link.lower = value.first_chunk().map(|index| u32::from_ne_bytes(*index)),
            libc::IFLA_CARRIER_CHANGES => {
                link.carrier_changes = value.first_chunk().map_or(0, |count| u32::from_ne_bytes(*count));
            }
            libc::IFLA_LINKINFO => {
                is_in_vrf = Attributes(value).any(|attribute| attribute == (IFLA_INFO_SLAVE_KIND, VRF));
            }
            _ => {}
        }
    }
    link.is_port &= !is_in_vrf;
    Some(link)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn decode_address(payload: &[u8]) -> Option<(u32, IpNet)> {
    let (header, attributes) = payload.split_first_chunk::<ADDRESS_HEADER_LEN>()?;
    let [_, prefix_len, _, _, i0, i1, i2, i3] = *header;
    // On a point-to-point link this is the other end's: that is what can be reached.
    let (_, value) = Attributes(attributes).find(|&(kind, _)| kind == libc::IFA_ADDRESS)?;
    let address: IpAddr = match *value {
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into(),
    };
    let prefix = IpNet::new(address, prefix_len).ok()?;
    Some((u32::from_ne_bytes([i0, i1, i2, i3]), prefix))
}
