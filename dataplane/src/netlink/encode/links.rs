//! The table at the links to a batch: the old one goes and the new one comes in one transaction.

use std::net::IpAddr;

use fairlead_model::Family;

use super::batch::{Batch, Encoded, Operation};
use super::{RangeForm, add_rule, add_set, change_elements, create_table, delete_table};
use crate::links::{BUCKETS, Detour, Link, LinkTable, SEED, Spread, digit};
use crate::netlink::NfFamily;
use crate::netlink::error::NetlinkError;
use crate::netlink::expression::{Expression, Gives, Immediate, PayloadBase, Register, Source};
use crate::netlink::uapi::{self, LIST_ELEMENT, netlink, nft};
use crate::table::{Datum, FieldType, Holds, Name, SetData, SetSpec, TABLE, Value, Verdict};
use crate::transaction::SetChange;

const INGRESS: u32 = 0;
const EGRESS: u32 = 1;

/// Writes the table anew.
pub(in crate::netlink) fn encode_links(table: &LinkTable, flags: u32, batch: Batch) -> Result<Encoded, NetlinkError> {
    let mut batch = batch.of(NfFamily::NETDEV);
    // So that the deletion finds one.
    create_table(&mut batch, None);
    delete_table(&mut batch, NfFamily::NETDEV, TABLE);
    create_table(&mut batch, Some(flags));
    let mut writing = Writing { batch, sets: 0 };
    writing.steering(table);
    writing.detours(table);
    writing.batch.finish()
}

struct Writing {
    batch: Batch,
    /// Sets that the batch has made.
    sets: u32,
}

impl Writing {
    fn set(&mut self, name: &Name, spec: &SetSpec, elements: impl Iterator<Item = (Datum, Value)>) {
        self.sets += 1;
        add_set(&mut self.batch, name, spec, self.sets);
        let change = SetChange {
            add: elements.collect(),
            ..SetChange::default()
        };
        change_elements(&mut self.batch, name, &change, RangeForm::TwoElements);
    }

    fn steering(&mut self, table: &LinkTable) {
        let spreads = table.spreads();
        if spreads.is_empty() {
            return;
        }
        for (number, spread) in (1..).zip(&spreads) {
            let buckets = spread.steering.buckets.iter();
            let buckets = buckets.map(|(bucket, node)| {
                let key = Datum::from_bytes(&bucket.to_ne_bytes()).expect("a bucket has four bytes");
                (key, Value::Data(Datum::address(*node)))
            });
            let map = name(format!("to_{number}"));
            self.set(&map, to(spread.family), buckets);
            let chain = name(format!("steer_{number}"));
            super::add_chain(&mut self.batch, &chain, None);
            add_rule(&mut self.batch, &chain, 0, &hand_on(spread, &map));
        }
        let arrive = name("arrive");
        let links: Vec<_> = table.links.keys().map(String::as_str).collect();
        add_base_chain(&mut self.batch, &arrive, INGRESS, &links);
        for (place, family) in Family::ALL.into_iter().enumerate() {
            let ports = table
                .steered
                .iter()
                .filter(|(port, _)| Family::of(port.address) == family);
            let ports = ports.map(|(port, steering)| {
                let key = Datum::builder()
                    .address(port.address)
                    .protocol(port.protocol)
                    .port(port.number)
                    .finish();
                let number = LinkTable::number_of(&spreads, *port, steering);
                (key, Value::Verdict(Verdict::Goto(name(format!("steer_{number}")))))
            });
            let map = name(format!("steer{}", digit(family)));
            self.set(&map, steer(family), ports);
            add_rule(&mut self.batch, &arrive, place, &look_up_port(family, &map));
        }
    }

    fn detours(&mut self, table: &LinkTable) {
        let mut known = Vec::new();
        for (link, Link { index, .. }, detours) in table.detours() {
            for detour in &detours {
                let set = name(detour.set());
                if !known.contains(&set) {
                    let addresses = detour
                        .addresses()
                        .map(|address| (Datum::address(address), Value::Nothing));
                    self.set(&set, addresses_of(Family::of(detour.router)), addresses);
                    known.push(set);
                }
            }
            let chain = name(format!("leave_{index}"));
            add_base_chain(&mut self.batch, &chain, EGRESS, &[link]);
            for (place, detour) in detours.iter().enumerate() {
                add_rule(&mut self.batch, &chain, place, &leave_by(detour));
            }
        }
    }
}

fn name(text: impl Into<Name>) -> Name {
    text.into()
}

fn to(family: Family) -> &'static SetSpec {
    const fn spec(data: &'static [FieldType]) -> SetSpec {
        SetSpec {
            key: &[FieldType::Slot],
            data: SetData::Fields(data),
            holds: Holds::Keys,
        }
    }
    match family {
        Family::V4 => const { &spec(&[FieldType::Ipv4Addr]) },
        Family::V6 => const { &spec(&[FieldType::Ipv6Addr]) },
    }
}

fn steer(family: Family) -> &'static SetSpec {
    const fn spec(key: &'static [FieldType]) -> SetSpec {
        SetSpec {
            key,
            data: SetData::Verdict,
            holds: Holds::Keys,
        }
    }
    match family {
        Family::V4 => const { &spec(&[FieldType::Ipv4Addr, FieldType::InetProto, FieldType::InetService]) },
        Family::V6 => const { &spec(&[FieldType::Ipv6Addr, FieldType::InetProto, FieldType::InetService]) },
    }
}

fn addresses_of(family: Family) -> &'static SetSpec {
    const fn spec(key: &'static [FieldType]) -> SetSpec {
        SetSpec {
            key,
            data: SetData::Nothing,
            holds: Holds::Keys,
        }
    }
    match family {
        Family::V4 => const { &spec(&[FieldType::Ipv4Addr]) },
        Family::V6 => const { &spec(&[FieldType::Ipv6Addr]) },
    }
}

fn add_base_chain(batch: &mut Batch, name: &Name, hook: u32, links: &[&str]) {
    let flags = netlink::CREATE | netlink::EXCLUSIVE;
    batch.operation(Operation::AddChain(Name::clone(name)), nft::NEW_CHAIN, flags, |w| {
        w.string(uapi::chain::TABLE, TABLE);
        w.string(uapi::chain::NAME, name);
        w.string(uapi::chain::TYPE, "filter");
        w.be32(uapi::chain::POLICY, uapi::data::ACCEPT.cast_unsigned());
        w.nest(uapi::chain::HOOK, |w| {
            w.be32(uapi::chain::HOOK_NUMBER, hook);
            w.be32(uapi::chain::HOOK_PRIORITY, 0);
            w.nest(uapi::chain::HOOK_DEVICES, |w| {
                for link in links {
                    w.string(LIST_ELEMENT, link);
                }
            });
        });
    });
}

const fn load(source: Source, to: u8) -> Expression {
    Expression::Load {
        source,
        to: Register(to),
    }
}

fn set(to: u8, bytes: &[u8]) -> Expression {
    Expression::Set {
        to: Register(to),
        value: Immediate::new(bytes).expect("an address has at most 16 bytes"),
    }
}

/// In this family the frame says what it carries.
fn is_of(family: Family) -> [Expression; 2] {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    let kind = match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    };
    let value = Immediate::new(&kind.to_be_bytes()).expect("two bytes fit");
    let compare = Expression::Compare {
        register: Register::FIRST,
        is_equal: true,
        value,
    };
    [load(Source::Protocol, 0), compare]
}

const fn saddr(family: Family) -> (Source, u32) {
    match family {
        Family::V4 => (Source::Payload(PayloadBase::Network, 12, 4), 4),
        Family::V6 => (Source::Payload(PayloadBase::Network, 8, 16), 16),
    }
}

/// `ip daddr . meta l4proto . th dport vmap @map`
fn look_up_port(family: Family, map: &Name) -> Vec<Expression> {
    let (daddr, rest) = match family {
        Family::V4 => (Source::Payload(PayloadBase::Network, 16, 4), 1),
        Family::V6 => (Source::Payload(PayloadBase::Network, 24, 16), 4),
    };
    let mut rule = is_of(family).to_vec();
    rule.extend([
        load(daddr, 0),
        load(Source::L4Proto, rest),
        load(Source::Payload(PayloadBase::Transport, 2, 2), rest + 1),
        Expression::Lookup {
            set: Name::clone(map),
            key: Register::FIRST,
            is_negated: false,
            gives: Gives::Verdict,
        },
    ]);
    rule
}

/// `fwd ip to jhash ip saddr . th sport mod … map @map device "eth0"`
fn hand_on(spread: &Spread<'_>, map: &Name) -> Vec<Expression> {
    // nft gives each of them a register of 16 bytes.
    const DEVICE: u8 = 0;
    const BUCKET: u8 = 4;
    const CLIENT: u8 = 8;
    let (saddr, width) = saddr(spread.family);
    let mut rule = is_of(spread.family).to_vec();
    rule.extend([set(DEVICE, &spread.steering.by.1.to_ne_bytes()), load(saddr, CLIENT)]);
    let mut len = width;
    if !spread.steering.is_by_client {
        let sport = CLIENT + u8::try_from(width / 4).expect("an address has at most 16 bytes");
        rule.push(load(Source::Payload(PayloadBase::Transport, 0, 2), sport));
        len += 4;
    }
    rule.extend([
        Expression::Hash {
            from: Register(CLIENT),
            len,
            modulus: BUCKETS,
            seed: SEED,
            to: Register(BUCKET),
        },
        Expression::Lookup {
            set: Name::clone(map),
            key: Register(BUCKET),
            is_negated: false,
            gives: Gives::Data(Register(BUCKET)),
        },
        Expression::Forward {
            family: spread.family,
            device: Register(DEVICE),
            address: Register(BUCKET),
        },
    ]);
    rule
}

/// `ip saddr @set fwd ip to 198.51.100.1 device "eth1"`
fn leave_by(detour: &Detour<'_>) -> Vec<Expression> {
    const DEVICE: u8 = 0;
    const ROUTER: u8 = 4;
    let family = Family::of(detour.router);
    let mut rule = is_of(family).to_vec();
    rule.extend([
        load(saddr(family).0, 0),
        Expression::Lookup {
            set: name(detour.set()),
            key: Register::FIRST,
            is_negated: false,
            gives: Gives::Match,
        },
        set(DEVICE, &detour.by.1.index.to_ne_bytes()),
        match detour.router {
            IpAddr::V4(router) => set(ROUTER, &router.octets()),
            IpAddr::V6(router) => set(ROUTER, &router.octets()),
        },
        Expression::Forward {
            family,
            device: Register(DEVICE),
            address: Register(ROUTER),
        },
    ]);
    rule
}
