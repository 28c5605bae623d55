//! Numbers of the kernel's netlink interface (`linux/netlink.h`, `linux/netfilter/*.h`) that libc does not have.

/// Messages every netlink protocol has.
pub(super) mod netlink {
    pub(in crate::netlink) const ERROR: u16 = 2;
    pub(in crate::netlink) const DONE: u16 = 3;
    pub(in crate::netlink) const OVERRUN: u16 = 4;

    pub(in crate::netlink) const REQUEST: u16 = 0x01;
    pub(in crate::netlink) const ACK: u16 = 0x04;
    pub(in crate::netlink) const ECHO: u16 = 0x08;
    pub(in crate::netlink) const DUMP_INTERRUPTED: u16 = 0x10;
    pub(in crate::netlink) const DUMP: u16 = 0x300;
    pub(in crate::netlink) const EXCLUSIVE: u16 = 0x200;
    pub(in crate::netlink) const CREATE: u16 = 0x400;
    pub(in crate::netlink) const APPEND: u16 = 0x800;

    pub(in crate::netlink) const CAPPED: u16 = 0x100;
    pub(in crate::netlink) const ACK_TLVS: u16 = 0x200;

    pub(in crate::netlink) const ACK_MESSAGE: u16 = 1;
    pub(in crate::netlink) const ACK_OFFSET: u16 = 2;
}

/// nfnetlink: the subsystem is the upper byte of a message's type.
pub(super) mod nfnetlink {
    pub(in crate::netlink) const CONNTRACK: u16 = 1 << 8;
    pub(in crate::netlink) const NFTABLES: u16 = 10 << 8;
    /// Bytes of `struct nfgenmsg`.
    pub(in crate::netlink) const HEADER_LEN: usize = 4;

    pub(in crate::netlink) const BATCH_BEGIN: u16 = 0x10;
    pub(in crate::netlink) const BATCH_END: u16 = 0x11;
    pub(in crate::netlink) const BATCH_GENERATION: u16 = 1;
    pub(in crate::netlink) const GROUP_NFTABLES: u32 = 7;
}

/// Message types of `nf_tables`.
pub(super) mod nft {
    use super::nfnetlink::NFTABLES;

    pub(in crate::netlink) const NEW_TABLE: u16 = NFTABLES;
    pub(in crate::netlink) const GET_TABLE: u16 = NFTABLES | 0x1;
    pub(in crate::netlink) const DELETE_TABLE: u16 = NFTABLES | 0x2;
    pub(in crate::netlink) const NEW_CHAIN: u16 = NFTABLES | 0x3;
    pub(in crate::netlink) const GET_CHAIN: u16 = NFTABLES | 0x4;
    pub(in crate::netlink) const DELETE_CHAIN: u16 = NFTABLES | 0x5;
    pub(in crate::netlink) const NEW_RULE: u16 = NFTABLES | 0x6;
    pub(in crate::netlink) const GET_RULE: u16 = NFTABLES | 0x7;
    pub(in crate::netlink) const DELETE_RULE: u16 = NFTABLES | 0x8;
    pub(in crate::netlink) const NEW_SET: u16 = NFTABLES | 0x9;
    pub(in crate::netlink) const GET_SET: u16 = NFTABLES | 0xa;
    pub(in crate::netlink) const DELETE_SET: u16 = NFTABLES | 0xb;
    pub(in crate::netlink) const NEW_ELEMENTS: u16 = NFTABLES | 0xc;
    pub(in crate::netlink) const GET_ELEMENTS: u16 = NFTABLES | 0xd;
    pub(in crate::netlink) const DELETE_ELEMENTS: u16 = NFTABLES | 0xe;
    pub(in crate::netlink) const NEW_GENERATION: u16 = NFTABLES | 0xf;
    pub(in crate::netlink) const GET_GENERATION: u16 = NFTABLES | 0x10;
}

/// Element of any list.
pub(super) const LIST_ELEMENT: u16 = 1;

pub(super) mod generation {
    pub(in crate::netlink) const ID: u16 = 1;
}

pub(super) mod table {
    pub(in crate::netlink) const NAME: u16 = 1;
    pub(in crate::netlink) const FLAGS: u16 = 2;
    pub(in crate::netlink) const OWNER: u16 = 7;

    pub(in crate::netlink) const FLAG_DORMANT: u32 = 1;
    pub(in crate::netlink) const FLAG_OWNER: u32 = 2;
    pub(in crate::netlink) const FLAG_PERSIST: u32 = 4;
}

pub(super) mod chain {
    pub(in crate::netlink) const TABLE: u16 = 1;
    pub(in crate::netlink) const NAME: u16 = 3;
    pub(in crate::netlink) const HOOK: u16 = 4;
    pub(in crate::netlink) const POLICY: u16 = 5;
    pub(in crate::netlink) const TYPE: u16 = 7;
    pub(in crate::netlink) const FLAGS: u16 = 10;

    pub(in crate::netlink) const FLAG_BASE: u32 = 1;
    pub(in crate::netlink) const HOOK_NUMBER: u16 = 1;
    pub(in crate::netlink) const HOOK_PRIORITY: u16 = 2;
    pub(in crate::netlink) const HOOK_DEVICES: u16 = 4;
}

pub(super) mod rule {
    pub(in crate::netlink) const TABLE: u16 = 1;
    pub(in crate::netlink) const CHAIN: u16 = 2;
    pub(in crate::netlink) const EXPRESSIONS: u16 = 4;
}

pub(super) mod set {
    pub(in crate::netlink) const TABLE: u16 = 1;
    pub(in crate::netlink) const NAME: u16 = 2;
    pub(in crate::netlink) const FLAGS: u16 = 3;
    pub(in crate::netlink) const KEY_TYPE: u16 = 4;
    pub(in crate::netlink) const KEY_LEN: u16 = 5;
    pub(in crate::netlink) const DATA_TYPE: u16 = 6;
    pub(in crate::netlink) const DATA_LEN: u16 = 7;
    pub(in crate::netlink) const DESCRIPTION: u16 = 9;
    pub(in crate::netlink) const ID: u16 = 10;
    pub(in crate::netlink) const TIMEOUT: u16 = 11;
    pub(in crate::netlink) const USERDATA: u16 = 13;
    pub(in crate::netlink) const OBJECT_TYPE: u16 = 15;
    pub(in crate::netlink) const EXPRESSION: u16 = 17;
    pub(in crate::netlink) const EXPRESSIONS: u16 = 18;
    /// How many elements there are; only newer kernels tell.
    pub(in crate::netlink) const COUNT: u16 = 20;

    pub(in crate::netlink) const DESCRIPTION_SIZE: u16 = 1;
    pub(in crate::netlink) const DESCRIPTION_FIELDS: u16 = 2;
    pub(in crate::netlink) const FIELD_LEN: u16 = 1;

    pub(in crate::netlink) const FLAG_INTERVAL: u32 = 0x04;
    pub(in crate::netlink) const FLAG_MAP: u32 = 0x08;
    pub(in crate::netlink) const FLAG_TIMEOUT: u32 = 0x10;
    pub(in crate::netlink) const FLAG_DYNAMIC: u32 = 0x20;
    pub(in crate::netlink) const FLAG_CONCATENATION: u32 = 0x80;

    /// The type of a verdict map's data.
    pub(in crate::netlink) const DATA_VERDICT: u32 = 0xffff_ff00;
}

pub(super) mod elements {
    pub(in crate::netlink) const TABLE: u16 = 1;
    pub(in crate::netlink) const SET: u16 = 2;
    pub(in crate::netlink) const LIST: u16 = 3;
}

pub(super) mod element {
    pub(in crate::netlink) const KEY: u16 = 1;
    pub(in crate::netlink) const DATA: u16 = 2;
    pub(in crate::netlink) const FLAGS: u16 = 3;
    pub(in crate::netlink) const KEY_END: u16 = 10;

    pub(in crate::netlink) const FLAG_INTERVAL_END: u32 = 1;
}

/// `NFTA_DATA_*`: a value or a verdict.
pub(super) mod data {
    pub(in crate::netlink) const VALUE: u16 = 1;
    pub(in crate::netlink) const VERDICT: u16 = 2;
    pub(in crate::netlink) const VERDICT_CODE: u16 = 1;
    pub(in crate::netlink) const VERDICT_CHAIN: u16 = 2;

    pub(in crate::netlink) const DROP: i32 = 0;
    pub(in crate::netlink) const ACCEPT: i32 = 1;
    pub(in crate::netlink) const JUMP: i32 = -3;
    pub(in crate::netlink) const GOTO: i32 = -4;
    pub(in crate::netlink) const RETURN: i32 = -5;
}

/// Attributes of each kind of expression.
pub(super) mod expression {
    pub(in crate::netlink) const NAME: u16 = 1;
    pub(in crate::netlink) const BODY: u16 = 2;

    pub(in crate::netlink) const META_DREG: u16 = 1;
    pub(in crate::netlink) const META_KEY: u16 = 2;
    pub(in crate::netlink) const META_PROTOCOL: u32 = 1;
    pub(in crate::netlink) const META_IIFNAME: u32 = 6;
    pub(in crate::netlink) const META_NFPROTO: u32 = 15;
    pub(in crate::netlink) const META_L4PROTO: u32 = 16;

    pub(in crate::netlink) const PAYLOAD_DREG: u16 = 1;
    pub(in crate::netlink) const PAYLOAD_BASE: u16 = 2;
    pub(in crate::netlink) const PAYLOAD_OFFSET: u16 = 3;
    pub(in crate::netlink) const PAYLOAD_LEN: u16 = 4;
    pub(in crate::netlink) const PAYLOAD_NETWORK: u32 = 1;
    pub(in crate::netlink) const PAYLOAD_TRANSPORT: u32 = 2;

    pub(in crate::netlink) const CT_DREG: u16 = 1;
    pub(in crate::netlink) const CT_KEY: u16 = 2;
    pub(in crate::netlink) const CT_DIRECTION: u16 = 3;
    pub(in crate::netlink) const CT_STATE: u32 = 0;
    pub(in crate::netlink) const CT_STATUS: u32 = 2;
    pub(in crate::netlink) const CT_PROTO_DST: u32 = 12;
    pub(in crate::netlink) const CT_DST_IP: u32 = 20;
    pub(in crate::netlink) const CT_DST_IP6: u32 = 22;
    pub(in crate::netlink) const CT_DIRECTION_ORIGINAL: u8 = 0;
    pub(in crate::netlink) const CT_STATE_NEW: u32 = 8;
    pub(in crate::netlink) const CT_STATUS_DNAT: u32 = 0x20;

    pub(in crate::netlink) const FIB_DREG: u16 = 1;
    pub(in crate::netlink) const FIB_RESULT: u16 = 2;
    pub(in crate::netlink) const FIB_FLAGS: u16 = 3;
    pub(in crate::netlink) const FIB_RESULT_TYPE: u32 = 3;
    pub(in crate::netlink) const FIB_FLAG_SADDR: u32 = 1;
    /// `RTN_LOCAL`
    pub(in crate::netlink) const FIB_LOCAL: u32 = 2;

    pub(in crate::netlink) const NUMGEN_DREG: u16 = 1;
    pub(in crate::netlink) const NUMGEN_MODULUS: u16 = 2;
    pub(in crate::netlink) const NUMGEN_TYPE: u16 = 3;
    pub(in crate::netlink) const NUMGEN_OFFSET: u16 = 4;
    pub(in crate::netlink) const NUMGEN_RANDOM: u32 = 1;

    pub(in crate::netlink) const BITWISE_SREG: u16 = 1;
    pub(in crate::netlink) const BITWISE_DREG: u16 = 2;
    pub(in crate::netlink) const BITWISE_LEN: u16 = 3;
    pub(in crate::netlink) const BITWISE_MASK: u16 = 4;
    pub(in crate::netlink) const BITWISE_XOR: u16 = 5;
    pub(in crate::netlink) const BITWISE_OPERATION: u16 = 6;

    pub(in crate::netlink) const BYTEORDER_SREG: u16 = 1;
    pub(in crate::netlink) const BYTEORDER_DREG: u16 = 2;
    pub(in crate::netlink) const BYTEORDER_LEN: u16 = 4;

    pub(in crate::netlink) const COMPARE_SREG: u16 = 1;
    pub(in crate::netlink) const COMPARE_OPERATION: u16 = 2;
    pub(in crate::netlink) const COMPARE_DATA: u16 = 3;
    pub(in crate::netlink) const COMPARE_EQUAL: u32 = 0;
    pub(in crate::netlink) const COMPARE_NOT_EQUAL: u32 = 1;

    pub(in crate::netlink) const IMMEDIATE_DREG: u16 = 1;
    pub(in crate::netlink) const IMMEDIATE_DATA: u16 = 2;

    pub(in crate::netlink) const LOOKUP_SET: u16 = 1;
    pub(in crate::netlink) const LOOKUP_SREG: u16 = 2;
    pub(in crate::netlink) const LOOKUP_DREG: u16 = 3;
    pub(in crate::netlink) const LOOKUP_FLAGS: u16 = 5;
    pub(in crate::netlink) const LOOKUP_FLAG_INVERT: u32 = 1;

    pub(in crate::netlink) const DYNSET_SET: u16 = 1;
    pub(in crate::netlink) const DYNSET_OPERATION: u16 = 3;
    pub(in crate::netlink) const DYNSET_SREG_KEY: u16 = 4;
    pub(in crate::netlink) const DYNSET_SREG_DATA: u16 = 5;
    pub(in crate::netlink) const DYNSET_TIMEOUT: u16 = 6;
    pub(in crate::netlink) const DYNSET_EXPRESSION: u16 = 7;
    pub(in crate::netlink) const DYNSET_FLAGS: u16 = 9;
    pub(in crate::netlink) const DYNSET_EXPRESSIONS: u16 = 10;
    pub(in crate::netlink) const DYNSET_UPDATE: u32 = 1;

    pub(in crate::netlink) const NAT_TYPE: u16 = 1;
    pub(in crate::netlink) const NAT_FAMILY: u16 = 2;
    pub(in crate::netlink) const NAT_ADDRESS_MIN: u16 = 3;
    pub(in crate::netlink) const NAT_ADDRESS_MAX: u16 = 4;
    pub(in crate::netlink) const NAT_PORT_MIN: u16 = 5;
    pub(in crate::netlink) const NAT_PORT_MAX: u16 = 6;
    pub(in crate::netlink) const NAT_FLAGS: u16 = 7;
    pub(in crate::netlink) const NAT_DNAT: u32 = 1;
    /// The flags that say that the range has addresses and ports; the kernel sets them by itself.
    pub(in crate::netlink) const NAT_FLAGS_RANGE: u32 = 3;
    pub(in crate::netlink) const NAT_FLAG_PORTS: u32 = 2;

    pub(in crate::netlink) const HASH_SREG: u16 = 1;
    pub(in crate::netlink) const HASH_DREG: u16 = 2;
    pub(in crate::netlink) const HASH_LEN: u16 = 3;
    pub(in crate::netlink) const HASH_MODULUS: u16 = 4;
    pub(in crate::netlink) const HASH_SEED: u16 = 5;
    pub(in crate::netlink) const HASH_TYPE: u16 = 7;
    pub(in crate::netlink) const HASH_JENKINS: u32 = 0;

    pub(in crate::netlink) const FORWARD_SREG_DEVICE: u16 = 1;
    pub(in crate::netlink) const FORWARD_SREG_ADDRESS: u16 = 2;
    pub(in crate::netlink) const FORWARD_NFPROTO: u16 = 3;

    pub(in crate::netlink) const MASQUERADE_FLAGS: u16 = 1;
    pub(in crate::netlink) const MASQUERADE_PORT_MIN: u16 = 2;
    pub(in crate::netlink) const MASQUERADE_FULLY_RANDOM: u32 = 0x10;

    pub(in crate::netlink) const REJECT_TYPE: u16 = 1;
    pub(in crate::netlink) const REJECT_CODE: u16 = 2;
    pub(in crate::netlink) const REJECT_TCP_RESET: u32 = 1;
    pub(in crate::netlink) const REJECT_ICMPX: u32 = 2;
    pub(in crate::netlink) const REJECT_PORT_UNREACHABLE: u8 = 1;
}

/// ctnetlink.
pub(super) mod conntrack {
    use super::nfnetlink::CONNTRACK;

    pub(in crate::netlink) const NEW: u16 = CONNTRACK;
    pub(in crate::netlink) const GET: u16 = CONNTRACK | 0x1;
    pub(in crate::netlink) const DELETE: u16 = CONNTRACK | 0x2;

    pub(in crate::netlink) const TUPLE_ORIGINAL: u16 = 1;
    pub(in crate::netlink) const TUPLE_REPLY: u16 = 2;
    pub(in crate::netlink) const STATUS: u16 = 3;
    pub(in crate::netlink) const ID: u16 = 12;
    pub(in crate::netlink) const ZONE: u16 = 18;
    pub(in crate::netlink) const FILTER: u16 = 25;

    pub(in crate::netlink) const TUPLE_IP: u16 = 1;
    pub(in crate::netlink) const TUPLE_PROTO: u16 = 2;
    pub(in crate::netlink) const TUPLE_ZONE: u16 = 3;
    pub(in crate::netlink) const IP_V4_SRC: u16 = 1;
    pub(in crate::netlink) const IP_V4_DST: u16 = 2;
    pub(in crate::netlink) const IP_V6_SRC: u16 = 3;
    pub(in crate::netlink) const IP_V6_DST: u16 = 4;
    pub(in crate::netlink) const PROTO_NUMBER: u16 = 1;
    pub(in crate::netlink) const PROTO_SRC_PORT: u16 = 2;
    pub(in crate::netlink) const PROTO_DST_PORT: u16 = 3;

    pub(in crate::netlink) const FILTER_ORIGINAL_FLAGS: u16 = 1;
    pub(in crate::netlink) const FILTER_REPLY_FLAGS: u16 = 2;
    /// Compare `PROTO_NUMBER` of the original tuple.
    pub(in crate::netlink) const FILTER_FLAG_PROTO_NUMBER: u32 = 1 << 3;
}

/// rtnetlink, addresses only.
pub(super) mod route {
    pub(in crate::netlink) const NEW_ADDRESS: u16 = 20;
    pub(in crate::netlink) const DELETE_ADDRESS: u16 = 21;
    pub(in crate::netlink) const GET_ADDRESS: u16 = 22;
    /// Bytes of `struct ifaddrmsg`.
    pub(in crate::netlink) const ADDRESS_HEADER_LEN: usize = 8;

    pub(in crate::netlink) const ADDRESS: u16 = 1;
    pub(in crate::netlink) const LOCAL: u16 = 2;
    pub(in crate::netlink) const FLAGS: u16 = 8;

    pub(in crate::netlink) const GROUP_IPV4_ADDRESSES: u32 = 5;
    pub(in crate::netlink) const GROUP_IPV6_ADDRESSES: u32 = 9;
}
