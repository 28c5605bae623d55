//! Keys and data as the kernel holds them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_model::Protocol;

/// Type of one field of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// `ipv4_addr`, 4 bytes
    Ipv4Addr,
    /// `ipv6_addr`, 16 bytes
    Ipv6Addr,
    /// `inet_proto`, 1 byte
    InetProto,
    /// `inet_service`, 2 bytes, network order
    InetService,
    /// `typeof numgen random mod 1`: the number of a slot, 4 bytes, **host order**
    Slot,
}

impl FieldType {
    /// Length in bytes where the field is the whole key.
    pub const fn width(self) -> usize {
        match self {
            Self::Ipv4Addr | Self::Slot => 4,
            Self::Ipv6Addr => 16,
            Self::InetProto => 1,
            Self::InetService => 2,
        }
    }

    /// Length in bytes within a concatenation, where each field fills whole registers.
    pub const fn padded_width(self) -> usize {
        self.width().next_multiple_of(4)
    }

    /// Length in bytes of a key of these fields.
    pub fn key_len(fields: &[Self]) -> usize {
        match fields {
            [only] => only.width(),
            fields => fields.iter().map(|field| field.padded_width()).sum(),
        }
    }
}

/// The longest key: two IPv6 addresses, a protocol and a port.
const CAPACITY: usize = 40;

/// A key, or the data that a key maps to, in the kernel's form: fields one after the other, each padded to four bytes if
/// there are several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Datum {
    bytes: [u8; CAPACITY],
    len: u8,
}

impl Datum {
    /// The datum with these bytes; `None` if they are too many to be a key of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut datum = Self {
            bytes: [0; CAPACITY],
            len: 0,
        };
        datum.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        datum.len = u8::try_from(bytes.len()).ok()?;
        Some(datum)
    }

    /// The bytes, as the kernel holds them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// A key that is nothing but an address.
    pub fn address(address: IpAddr) -> Self {
        Self::builder().address(address).finish()
    }

    /// A key that is nothing but a port.
    pub fn port(port: u16) -> Self {
        let mut datum = Self {
            bytes: [0; CAPACITY],
            len: 2,
        };
        datum.bytes[..2].copy_from_slice(&port.to_be_bytes());
        datum
    }

    /// Starts a concatenation.
    pub const fn builder() -> DatumBuilder {
        DatumBuilder(Self {
            bytes: [0; CAPACITY],
            len: 0,
        })
    }

    /// Takes the datum apart. Missing bytes read as zero.
    pub fn fields<'a>(&'a self, types: &'a [FieldType]) -> impl Iterator<Item = FieldValue> + 'a {
        let mut rest = self.as_bytes();
        types.iter().map(move |kind| {
            let taken = rest.len().min(kind.padded_width());
            let (field, after) = rest.split_at(taken);
            rest = after;
            FieldValue::from_bytes(*kind, field)
        })
    }
}

impl fmt::Debug for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Datum(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Builds a concatenation field by field.
#[derive(Debug, Clone, Copy)]
pub struct DatumBuilder(Datum);

impl DatumBuilder {
    fn push(mut self, field: &[u8]) -> Self {
        let start = usize::from(self.0.len);
        self.0.bytes[start..start + field.len()].copy_from_slice(field);
        self.0.len += u8::try_from(field.len().next_multiple_of(4)).expect("a field has at most 16 bytes");
        self
    }

    /// Appends an address.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }

    /// Appends a protocol.
    #[must_use]
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.push(&[protocol.number()])
    }

    /// Appends a port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.push(&port.to_be_bytes())
    }

    /// Appends the number of a slot.
    #[must_use]
    pub fn slot(self, slot: u32) -> Self {
        self.push(&slot.to_ne_bytes())
    }

    /// The finished datum.
    pub const fn finish(self) -> Datum {
        self.0
    }
}

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldValue {
    /// An address of either family.
    Address(IpAddr),
    /// A protocol number.
    Protocol(u8),
    /// A port.
    Port(u16),
    /// The number of a slot.
    Slot(u32),
}

impl FieldValue {
    fn from_bytes(kind: FieldType, bytes: &[u8]) -> Self {
        let mut field = [0; 16];
        field[..bytes.len().min(16)].copy_from_slice(&bytes[..bytes.len().min(16)]);
        let [a, b, c, d, ..] = field;
        match kind {
            FieldType::Ipv4Addr => Self::Address(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            FieldType::Ipv6Addr => Self::Address(IpAddr::V6(Ipv6Addr::from(field))),
            FieldType::InetProto => Self::Protocol(a),
            FieldType::InetService => Self::Port(u16::from_be_bytes([a, b])),
            FieldType::Slot => Self::Slot(u32::from_ne_bytes([a, b, c, d])),
        }
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Protocol(number) => match Protocol::from_number(*number) {
                Some(protocol) => protocol.fmt(f),
                None => number.fmt(f),
            },
            Self::Port(port) => port.fmt(f),
            Self::Slot(slot) => slot.fmt(f),
        }
    }
}
