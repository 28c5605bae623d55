//! Conntrack entries: listing them, and deleting those that outlived their endpoint.
//!
//! A UDP client that keeps sending never lets its entry time out, so it would be sent to an endpoint that is gone for as
//! long as it sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_model::{Family, Protocol};

use super::attribute::{Attribute, Attributes, Writer};
use super::error::NetlinkError;
use super::expression::nfproto;
use super::message::Message;
use super::socket::{Sequence, Socket};
use super::uapi::{conntrack as uapi, netlink, nfnetlink};

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Where its packets come from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// Their protocol number.
    pub protocol: u8,
    /// Their source port.
    pub source_port: u16,
    /// Their destination port.
    pub destination_port: u16,
}

/// A connection that conntrack knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// As the client sent it: to the frontend, if that is a Service.
    pub original: Tuple,
    /// As answers are expected: from the endpoint.
    pub reply: Tuple,
    /// The `IPS_*` bits.
    pub status: u32,
    /// The conntrack zone.
    pub zone: u16,
    /// Tells it from a later entry with the same tuples.
    pub id: Option<u32>,
}

/// A connection to conntrack of the network namespace it was opened in.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens a connection.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            socket: Socket::open(libc::NETLINK_NETFILTER)?,
        })
    }

    /// Lists the entries of one family and protocol.
    pub fn entries(&mut self, family: Family, protocol: Protocol) -> Result<Vec<Entry>, NetlinkError> {
        match self.dump(family, Some(protocol)) {
            // Kernels before 5.8 ignore the filter; one that does not like it is asked without.
            Err(err) if matches!(err.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => self.dump(family, None),
            result => result,
        }
        .map(|mut entries| {
            entries.retain(|entry| entry.original.protocol == protocol.number());
            entries
        })
    }

    fn dump(&mut self, family: Family, only: Option<Protocol>) -> Result<Vec<Entry>, NetlinkError> {
        let write = |w: &mut Writer, sequence: Sequence| {
            let start = w.begin_nfnetlink(uapi::GET, netlink::DUMP, sequence, nfproto(family), 0);
            if let Some(protocol) = only {
                w.nest(uapi::TUPLE_ORIGINAL, |w| {
                    w.nest(uapi::TUPLE_PROTO, |w| w.u8(uapi::PROTO_NUMBER, protocol.number()));
                });
                w.nest(uapi::FILTER, |w| {
                    w.bytes(
                        uapi::FILTER_ORIGINAL_FLAGS,
                        &uapi::FILTER_FLAG_PROTO_NUMBER.to_ne_bytes(),
                    );
                    w.bytes(uapi::FILTER_REPLY_FLAGS, &0_u32.to_ne_bytes());
                });
            }
            w.end_message(start);
        };
        let each = |entries: &mut Vec<Entry>, message: &Message<'_>| entries.extend(decode(message));
        self.socket.request("list conntrack entries", write, Vec::new, each)
    }

    /// Deletes an entry. Whether it was still there.
    pub fn delete(&mut self, entry: &Entry) -> Result<bool, NetlinkError> {
        let family = Family::of(entry.original.source);
        let write = |w: &mut Writer, sequence: Sequence| {
            let start = w.begin_nfnetlink(uapi::DELETE, netlink::ACK, sequence, nfproto(family), 0);
            w.nest(uapi::TUPLE_ORIGINAL, |w| write_tuple(w, &entry.original));
            if entry.zone != 0 {
                w.be16(uapi::ZONE, entry.zone);
            }
            if let Some(id) = entry.id {
                w.be32(uapi::ID, id);
            }
            w.end_message(start);
        };
        match self
            .socket
            .request("delete a conntrack entry", write, || (), |(), _| {})
        {
            Ok(()) => Ok(true),
            Err(err) if err.errno() == Some(libc::ENOENT) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Deletes the entries of one family and protocol that `is_stale` picks, and says how many that were.
    pub fn delete_stale(
        &mut self,
        family: Family,
        protocol: Protocol,
        mut is_stale: impl FnMut(&Entry) -> bool,
    ) -> Result<usize, NetlinkError> {
        let mut deleted = 0;
        for entry in self.entries(family, protocol)?.iter().filter(|entry| is_stale(entry)) {
            deleted += usize::from(self.delete(entry)?);
        }
        Ok(deleted)
    }
}

fn write_tuple(w: &mut Writer, tuple: &Tuple) {
    w.nest(uapi::TUPLE_IP, |w| {
        for (address, v4, v6) in [
            (tuple.source, uapi::IP_V4_SRC, uapi::IP_V6_SRC),
            (tuple.destination, uapi::IP_V4_DST, uapi::IP_V6_DST),
        ] {
            match address {
                IpAddr::V4(address) => w.bytes(v4, &address.octets()),
                IpAddr::V6(address) => w.bytes(v6, &address.octets()),
            }
        }
    });
    w.nest(uapi::TUPLE_PROTO, |w| {
        w.u8(uapi::PROTO_NUMBER, tuple.protocol);
        w.be16(uapi::PROTO_SRC_PORT, tuple.source_port);
        w.be16(uapi::PROTO_DST_PORT, tuple.destination_port);
    });
}

/// The entry that a message tells. A protocol without ports has none, and neither has its entry here.
pub(super) fn decode(message: &Message<'_>) -> Option<Entry> {
    if message.kind != uapi::NEW {
        return None;
    }
    let attributes = message.attributes(nfnetlink::HEADER_LEN);
    let original = attributes.find(uapi::TUPLE_ORIGINAL)?.nested();
    // The zone of the entry, or of only this direction.
    let zone = attributes.find(uapi::ZONE).or_else(|| original.find(uapi::TUPLE_ZONE));
    Some(Entry {
        original: read_tuple(original)?,
        reply: read_tuple(attributes.find(uapi::TUPLE_REPLY)?.nested())?,
        status: attributes
            .find(uapi::STATUS)
            .and_then(Attribute::be32)
            .unwrap_or_default(),
        zone: zone.map_or(Some(0), Attribute::be16)?,
        id: attributes.find(uapi::ID).and_then(Attribute::be32),
    })
}

fn read_tuple(attributes: Attributes<'_>) -> Option<Tuple> {
    let ip = attributes.find(uapi::TUPLE_IP)?.nested();
    let protocol = attributes.find(uapi::TUPLE_PROTO)?.nested();
    let address = |v4, v6| -> Option<IpAddr> {
        if let Some(address) = ip.find(v4) {
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(address.value).ok()?).into());
        }
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(ip.find(v6)?.value).ok()?).into())
    };
    Some(Tuple {
        source: address(uapi::IP_V4_SRC, uapi::IP_V6_SRC)?,
        destination: address(uapi::IP_V4_DST, uapi::IP_V6_DST)?,
        protocol: protocol.find(uapi::PROTO_NUMBER)?.u8()?,
        source_port: protocol.find(uapi::PROTO_SRC_PORT)?.be16()?,
        destination_port: protocol.find(uapi::PROTO_DST_PORT)?.be16()?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use fairlead_lab::{in_namespace, test_name};

    use super::*;
    use crate::netlink::tests::tables::everything;
    use crate::netlink::{Connection, Ownership};
    use crate::transaction::Transaction;

    #[test]
    fn the_kernel_leaves_other_protocols_out() {
        in_namespace(test_name!(), || {
            let mut connection = Connection::open(Ownership::Shared).unwrap();
            connection.commit(&Transaction::load(&everything()), None).unwrap();
            let socket = UdpSocket::bind("[::1]:0").unwrap();
            socket.send_to(b"?", socket.local_addr().unwrap()).unwrap();
            let mut conntrack = Conntrack::open().unwrap();
            let mut count = |only| conntrack.dump(Family::V6, only).unwrap().len();
            assert_eq!(
                (count(None), count(Some(Protocol::Udp)), count(Some(Protocol::Sctp))),
                (1, 1, 0)
            );
        });
    }
}
