//! The form of a set: how the kernel and nft are told of a [`SetSpec`], and how it is read back.

use std::sync::{Mutex, PoisonError};

use super::attribute::{Attribute, Attributes, Writer};
use super::uapi::set;
use crate::table::{FieldType, Holds, SetData, SetSpec};

/// Room of a set of learned keys.
const LEARNED_SIZE: u32 = 65535;

/// Bits of each field's type in the type of a concatenation.
const TYPE_BITS: u32 = 6;

/// How many different lists of fields are remembered. Our program has about twenty.
const MAX_LAYOUTS: usize = 256;

/// The type's number in nft. The kernel does not look at it, it keeps it for nft.
const fn type_id(field: FieldType) -> u32 {
    match field {
        // `integer`: only its `typeof` says how long it is.
        FieldType::Slot => 4,
        FieldType::Ipv4Addr => 7,
        FieldType::Ipv6Addr => 8,
        FieldType::InetProto => 12,
        FieldType::InetService => 13,
    }
}

fn concatenated_id(fields: &[FieldType]) -> u32 {
    fields.iter().fold(0, |id, field| (id << TYPE_BITS) | type_id(*field))
}

fn fields_of_id(mut id: u32) -> Option<Vec<FieldType>> {
    let all = [
        FieldType::Slot,
        FieldType::Ipv4Addr,
        FieldType::Ipv6Addr,
        FieldType::InetProto,
        FieldType::InetService,
    ];
    let mut fields = Vec::new();
    while id != 0 {
        let last = id & ((1 << TYPE_BITS) - 1);
        fields.push(all.into_iter().find(|field| type_id(*field) == last)?);
        id >>= TYPE_BITS;
    }
    fields.reverse();
    (!fields.is_empty()).then_some(fields)
}

/// A list of fields that lives on; each different one is kept once.
fn keep(fields: &[FieldType]) -> Option<&'static [FieldType]> {
    static KEPT: Mutex<Vec<&'static [FieldType]>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.iter().find(|known| **known == fields) {
        return Some(known);
    }
    if kept.len() == MAX_LAYOUTS {
        return None;
    }
    let fields: &'static [FieldType] = Box::leak(fields.to_vec().into_boxed_slice());
    kept.push(fields);
    Some(fields)
}

fn len(fields: &[FieldType]) -> u32 {
    u32::try_from(FieldType::key_len(fields)).expect("a key has at most 40 bytes")
}

const fn flags(spec: &SetSpec) -> u32 {
    let holds = match spec.holds {
        Holds::Keys => 0,
        Holds::Ranges if spec.key.len() > 1 => set::FLAG_INTERVAL | set::FLAG_CONCATENATION,
        Holds::Ranges => set::FLAG_INTERVAL,
        Holds::Learned => set::FLAG_DYNAMIC | set::FLAG_TIMEOUT,
    };
    match spec.data {
        SetData::Nothing => holds,
        SetData::Verdict | SetData::Fields(_) => holds | set::FLAG_MAP,
    }
}

/// Writes the attributes that make a set what it is.
pub(super) fn write(writer: &mut Writer, spec: &SetSpec) {
    writer.be32(set::FLAGS, flags(spec));
    writer.be32(set::KEY_TYPE, concatenated_id(spec.key));
    writer.be32(set::KEY_LEN, len(spec.key));
    match spec.data {
        SetData::Nothing => {}
        SetData::Verdict => {
            writer.be32(set::DATA_TYPE, set::DATA_VERDICT);
            writer.be32(set::DATA_LEN, 0);
        }
        SetData::Fields(fields) => {
            writer.be32(set::DATA_TYPE, concatenated_id(fields));
            writer.be32(set::DATA_LEN, len(fields));
        }
    }
    match spec.holds {
        Holds::Learned => writer.nest(set::DESCRIPTION, |w| w.be32(set::DESCRIPTION_SIZE, LEARNED_SIZE)),
        Holds::Ranges if spec.key.len() > 1 => writer.nest(set::DESCRIPTION, |w| write_field_lens(w, spec.key)),
        Holds::Ranges | Holds::Keys => {}
    }
    writer.bytes(set::USERDATA, &userdata(spec));
}

fn write_field_lens(writer: &mut Writer, fields: &[FieldType]) {
    writer.nest(set::DESCRIPTION_FIELDS, |w| {
        for field in fields {
            let len = u32::try_from(field.width()).expect("a field has at most 16 bytes");
            w.nest(super::uapi::LIST_ELEMENT, |w| w.be32(set::FIELD_LEN, len));
        }
    });
}

/// Reads the form of a set; `None` if it is none of ours.
pub(super) fn read(attributes: Attributes<'_>) -> Option<SetSpec> {
    let number = |kind| attributes.find(kind).and_then(Attribute::be32);
    let foreign = [set::TIMEOUT, set::OBJECT_TYPE, set::EXPRESSION, set::EXPRESSIONS];
    if foreign.into_iter().any(|kind| attributes.find(kind).is_some()) {
        return None;
    }
    let key = keep(&fields_of_id(number(set::KEY_TYPE)?)?)?;
    // The kernel leaves a zero out.
    let flags_read = number(set::FLAGS).unwrap_or_default();
    let data = match number(set::DATA_TYPE) {
        None => SetData::Nothing,
        Some(_) if flags_read & set::FLAG_MAP == 0 => SetData::Nothing,
        Some(set::DATA_VERDICT) => SetData::Verdict,
        Some(id) => SetData::Fields(keep(&fields_of_id(id)?)?),
    };
    let holds = if flags_read & set::FLAG_INTERVAL != 0 {
        Holds::Ranges
    } else if flags_read & set::FLAG_DYNAMIC != 0 {
        Holds::Learned
    } else {
        Holds::Keys
    };
    let spec = SetSpec { key, data, holds };
    let size = attributes
        .find(set::DESCRIPTION)
        .and_then(|description| description.nested().find(set::DESCRIPTION_SIZE))
        .and_then(Attribute::be32);
    let expected_size = (holds == Holds::Learned).then_some(LEARNED_SIZE);
    let data_len = match data {
        SetData::Fields(fields) => number(set::DATA_LEN) == Some(len(fields)),
        SetData::Nothing | SetData::Verdict => true,
    };
    let has_typeof = !names_a_slot(&spec) || attributes.find(set::USERDATA)?.value == userdata(&spec);
    let is_ours = flags_read == flags(&spec)
        && number(set::KEY_LEN) == Some(len(key))
        && data_len
        && size == expected_size
        && has_typeof;
    is_ours.then_some(spec)
}

fn names_a_slot(spec: &SetSpec) -> bool {
    let data = match spec.data {
        SetData::Fields(fields) => fields,
        SetData::Nothing | SetData::Verdict => &[],
    };
    spec.key.iter().chain(data).any(|field| *field == FieldType::Slot)
}

// Userdata is nft's memory of what it cannot say to the kernel: byte orders, and the expressions behind `typeof`.

const KEY_BYTEORDER: u8 = 0;
const DATA_BYTEORDER: u8 = 1;
const KEY_TYPEOF: u8 = 3;
const DATA_TYPEOF: u8 = 4;
const DATA_IS_INTERVAL: u8 = 6;

const TYPEOF_EXPRESSION: u8 = 0;
const TYPEOF_CONTENT: u8 = 1;

const EXPRESSION_PAYLOAD: u32 = 7;
const EXPRESSION_META: u32 = 9;
const EXPRESSION_CONCATENATION: u32 = 13;
const EXPRESSION_NUMGEN: u32 = 23;

/// Appends type, length of one byte, and content.
fn tlv(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.push(kind);
    bytes.push(u8::try_from(content.len()).expect("a form of at most six fields takes less than 256 bytes"));
    bytes.extend_from_slice(content);
}

fn tlv_u32(bytes: &mut Vec<u8>, kind: u8, value: u32) {
    tlv(bytes, kind, &value.to_ne_bytes());
}

fn byteorder(fields: &[FieldType]) -> u32 {
    match fields {
        [FieldType::Slot] => 1,
        [_] => 2,
        // Each field of a concatenation has its own.
        _ => 0,
    }
}

fn userdata(spec: &SetSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    let is_typeof = names_a_slot(spec);
    tlv_u32(&mut bytes, KEY_BYTEORDER, byteorder(spec.key));
    match spec.data {
        SetData::Nothing => {}
        SetData::Verdict => tlv_u32(&mut bytes, DATA_BYTEORDER, 0),
        SetData::Fields(fields) => tlv_u32(&mut bytes, DATA_BYTEORDER, byteorder(fields)),
    }
    write_typeof(&mut bytes, KEY_TYPEOF, spec.key, is_typeof);
    if let SetData::Fields(fields) = spec.data {
        write_typeof(&mut bytes, DATA_TYPEOF, fields, is_typeof);
    }
    if spec.data != SetData::Nothing {
        tlv_u32(&mut bytes, DATA_IS_INTERVAL, 0);
    }
    bytes
}

/// The expression whose type the fields have; without `typeof` nft notes only that it is a concatenation.
fn write_typeof(bytes: &mut Vec<u8>, kind: u8, fields: &[FieldType], is_typeof: bool) {
    let (expression, content) = match fields {
        [only] if is_typeof => typeof_field(*only),
        [_] => return,
        fields => {
            let mut content = Vec::new();
            for (place, field) in fields.iter().enumerate().filter(|_| is_typeof) {
                let (expression, inner) = typeof_field(*field);
                let place = u8::try_from(place).expect("at most six fields");
                tlv(&mut content, place, &typeof_expression(expression, &inner));
            }
            (EXPRESSION_CONCATENATION, content)
        }
    };
    tlv(bytes, kind, &typeof_expression(expression, &content));
}

fn typeof_expression(expression: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tlv_u32(&mut bytes, TYPEOF_EXPRESSION, expression);
    tlv(&mut bytes, TYPEOF_CONTENT, content);
    bytes
}

fn typeof_field(field: FieldType) -> (u32, Vec<u8>) {
    /// `numgen random`
    const RANDOM: u32 = 1;
    /// `meta l4proto`
    const L4PROTO: u32 = 16;
    // Numbers of protocols and of their fields in nft.
    const TRANSPORT_DPORT: [u32; 2] = [11, 2];
    const IP_DADDR: [u32; 2] = [12, 12];
    const IP6_DADDR: [u32; 2] = [13, 9];

    let mut content = Vec::new();
    let mut numbers = |numbers: &[u32]| {
        for (kind, number) in (0..).zip(numbers) {
            tlv_u32(&mut content, kind, *number);
        }
    };
    let expression = match field {
        FieldType::Slot => {
            numbers(&[RANDOM, 1, 0]);
            EXPRESSION_NUMGEN
        }
        FieldType::InetProto => {
            numbers(&[L4PROTO]);
            EXPRESSION_META
        }
        FieldType::Ipv4Addr => {
            numbers(&IP_DADDR);
            EXPRESSION_PAYLOAD
        }
        FieldType::Ipv6Addr => {
            numbers(&IP6_DADDR);
            EXPRESSION_PAYLOAD
        }
        FieldType::InetService => {
            numbers(&TRANSPORT_DPORT);
            EXPRESSION_PAYLOAD
        }
    };
    (expression, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT_MAP: SetSpec = SetSpec {
        key: &[
            FieldType::Slot,
            FieldType::Ipv4Addr,
            FieldType::InetProto,
            FieldType::InetService,
        ],
        data: SetData::Fields(&[FieldType::Ipv4Addr, FieldType::InetService]),
        holds: Holds::Keys,
    };

    /// What `nft --debug=mnl` shows for `typeof numgen random mod 1 . ip daddr . meta l4proto . th dport : ip daddr . th
    /// dport`, on a little-endian machine.
    #[test]
    #[cfg(target_endian = "little")]
    fn a_slot_map_has_the_userdata_that_nft_writes() {
        let expected = "000400000000010400000000\
            036000040d0000000158001a00041700000001120004010000000104010000000204000000000114\
            00040700000001 0c00040c00000001040c000000\
            020e0004090000000106000410000000\
            031400040700000001 0c00040b000000010402000000\
            043400040d000000012c0014000407000000010c00040c00000001040c0000000114000407000000010c00040b000000010402000000\
            060400000000"
            .replace(' ', "");
        let expected: Vec<u8> = expected
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        assert_eq!(userdata(&SLOT_MAP), expected);
    }

    #[test]
    fn a_form_is_read_back() {
        let address: &[FieldType] = &[FieldType::Ipv6Addr];
        let source: &[FieldType] = &[
            FieldType::Ipv6Addr,
            FieldType::InetProto,
            FieldType::InetService,
            FieldType::Ipv6Addr,
        ];
        let specs = [
            SLOT_MAP,
            SetSpec {
                key: address,
                data: SetData::Nothing,
                holds: Holds::Learned,
            },
            SetSpec {
                key: address,
                data: SetData::Nothing,
                holds: Holds::Ranges,
            },
            SetSpec {
                key: source,
                data: SetData::Nothing,
                holds: Holds::Ranges,
            },
            SetSpec {
                key: &[FieldType::InetService],
                data: SetData::Verdict,
                holds: Holds::Keys,
            },
        ];
        for spec in specs {
            let mut writer = Writer::default();
            write(&mut writer, &spec);
            assert_eq!(read(Attributes(&writer.finish().unwrap())), Some(spec));
        }
    }
}
