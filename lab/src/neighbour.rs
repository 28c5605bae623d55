//! What a namespace knows of the hosts beside it: the kernel's neighbour table.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;

use crate::link::{family, octets};
use crate::netlink::{Batch, Body, PLAIN, REPLACE, find_attribute};
use crate::{Error, Namespace};

const NDMSG: usize = 12;
/// `linux/neighbour.h`
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_FAILED: u16 = 0x20;

/// An entry of the neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The MAC address that packets for it go to, if it was ever found.
    pub mac: Option<[u8; 6]>,
    /// How sure the kernel is of that.
    pub state: NeighbourState,
}

/// How sure the kernel is that a neighbour is where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// It said so itself, lately.
    Reachable,
    /// It was, and it is used without asking again, or is about to be.
    Stale,
    /// It was, and is being asked again.
    Probe,
    /// It did not answer.
    Failed,
    /// It is looked for, or the entry is of another kind.
    Other,
}

impl Namespace {
    /// The entry for `address` on an interface, if there is one.
    pub fn neighbour(&self, interface: &str, address: IpAddr) -> Result<Option<Neighbour>, Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.push(
            format!("look up neighbour {address}"),
            libc::RTM_GETNEIGH,
            PLAIN,
            |body| write_ndmsg(body, index, 0, address),
        );
        match self.ask(batch) {
            Ok(answers) => Ok(answers.first().and_then(|answer| decode(answer))),
            Err(Error::Netlink { source, .. }) if is_absent(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the kernel ask again, now, whether a neighbour that it knows is where it was.
    pub fn probe_neighbour(&self, interface: &str, address: IpAddr) -> Result<(), Error> {
        let index = self.index_of(interface)?;
        let mut batch = Batch::default();
        batch.push(
            format!("probe neighbour {address}"),
            libc::RTM_NEWNEIGH,
            REPLACE,
            |body| write_ndmsg(body, index, NUD_PROBE, address),
        );
        self.configure(batch)
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOENT.raw_os_error())
}

fn write_ndmsg(body: &mut Body<'_>, index: u32, state: u16, address: IpAddr) {
    body.raw(&[family(address), 0, 0, 0]);
    body.raw(&index.to_ne_bytes());
    body.raw(&state.to_ne_bytes());
    // Flags and type.
    body.raw(&[0; 2]);
    body.attribute(NDA_DST, &octets(address));
}

fn decode(answer: &[u8]) -> Option<Neighbour> {
    let (header, attributes) = answer.split_at_checked(NDMSG)?;
    let state = match u16::from_ne_bytes([header[8], header[9]]) {
        NUD_REACHABLE => NeighbourState::Reachable,
        NUD_STALE | NUD_DELAY => NeighbourState::Stale,
        NUD_PROBE => NeighbourState::Probe,
        NUD_FAILED => NeighbourState::Failed,
        _ => NeighbourState::Other,
    };
    let mac = find_attribute(attributes, NDA_LLADDR).and_then(|mac| mac.try_into().ok());
    Some(Neighbour { mac, state })
}
