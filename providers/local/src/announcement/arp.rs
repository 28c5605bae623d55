//! ARP for IPv4 over Ethernet (RFC 826) and what RFC 5227 makes of it.

use std::net::Ipv4Addr;

use super::counters::DropReason;
use super::wire::{self, Mac};

const ETHERNET: u16 = 1;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const LEN: usize = 28;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Request,
    Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) operation: Operation,
    pub(super) sender_mac: Mac,
    pub(super) sender: Ipv4Addr,
    pub(super) target_mac: Mac,
    pub(super) target: Ipv4Addr,
}

impl Packet {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, DropReason> {
        let packet = payload.first_chunk::<LEN>().ok_or(DropReason::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let mac = |at: usize| Mac(packet[at..at + 6].try_into().expect("six bytes"));
        let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        if (word(0), word(2), packet[4], packet[5]) != (ETHERNET, wire::IPV4, 6, 4) {
            return Err(DropReason::Malformed);
        }
        let operation = match word(6) {
            REQUEST => Operation::Request,
            REPLY => Operation::Reply,
            _ => return Err(DropReason::OtherProtocol),
        };
        Ok(Self {
            operation,
            sender_mac: mac(8),
            sender: address(14),
            target_mac: mac(18),
            target: address(24),
        })
    }

    /// What `mac` says to the one who asked where `self.target` is.
    pub(super) fn answer(&self, mac: Mac) -> Vec<u8> {
        let reply = Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        };
        reply.to_frame(self.sender_mac)
    }

    fn to_frame(self, destination: Mac) -> Vec<u8> {
        let operation = match self.operation {
            Operation::Request => REQUEST,
            Operation::Reply => REPLY,
        };
        let mut packet = Vec::with_capacity(LEN);
        packet.extend(ETHERNET.to_be_bytes());
        packet.extend(wire::IPV4.to_be_bytes());
        packet.extend([6, 4]);
        packet.extend(operation.to_be_bytes());
        packet.extend(self.sender_mac.0);
        packet.extend(self.sender.octets());
        packet.extend(self.target_mac.0);
        packet.extend(self.target.octets());
        wire::frame(destination, self.sender_mac, wire::ARP, &packet)
    }
}

/// Tells everybody that `mac` has `address`: once as a request and once as a reply, as some hosts listen to only one of the two.
pub(super) fn announcement(mac: Mac, address: Ipv4Addr) -> [Vec<u8>; 2] {
    [Operation::Request, Operation::Reply].map(|operation| {
        let packet = Packet {
            operation,
            sender_mac: mac,
            sender: address,
            target_mac: Mac::BROADCAST,
            target: address,
        };
        packet.to_frame(Mac::BROADCAST)
    })
}

/// Asks whether anybody has `address`, without claiming it (RFC 5227, section 2.1.1).
pub(super) fn probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let packet = Packet {
        operation: Operation::Request,
        sender_mac: mac,
        sender: Ipv4Addr::UNSPECIFIED,
        target_mac: Mac::UNKNOWN,
        target: address,
    };
    packet.to_frame(Mac::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::super::wire::Frame;
    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 200);

    fn read(bytes: &[u8]) -> (Mac, Packet) {
        let frame = Frame::parse(bytes).unwrap();
        assert_eq!((frame.kind, frame.source), (wire::ARP, OURS));
        (frame.destination, Packet::parse(frame.payload).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        for (bytes, operation) in announcement(OURS, ADDRESS)
            .iter()
            .zip([Operation::Request, Operation::Reply])
        {
            let (destination, packet) = read(bytes);
            assert_eq!(
                (destination, packet.operation, packet.sender, packet.target),
                (Mac::BROADCAST, operation, ADDRESS, ADDRESS)
            );
        }
        let (destination, packet) = read(&probe(OURS, ADDRESS));
        assert_eq!(
            (destination, packet.sender, packet.target),
            (Mac::BROADCAST, Ipv4Addr::UNSPECIFIED, ADDRESS)
        );
    }

    #[test]
    fn other_hardware_and_protocols_are_not_ours() {
        let good = probe(OURS, ADDRESS);
        for (at, value, reason) in [
            (1, 6, DropReason::Malformed),
            (3, 1, DropReason::Malformed),
            (4, 8, DropReason::Malformed),
            (5, 16, DropReason::Malformed),
            (7, 3, DropReason::OtherProtocol),
        ] {
            let mut bytes = good[14..].to_vec();
            bytes[at] = value;
            assert_eq!(Packet::parse(&bytes), Err(reason));
        }
        assert_eq!(Packet::parse(&good[14..41]), Err(DropReason::Malformed));
    }
}
