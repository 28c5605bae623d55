//! Walks the rule set for the first packet of one connection, as the kernel would.
//!
//! The walk follows the same [`Table`] that is loaded, hook by hook and rule by rule. Where the kernel chooses at random,
//! the evaluator follows every choice. What clients a `ClientIP` Service remembers is the kernel's own knowledge, so every
//! client counts as new.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use fairlead_model::{Family, Protocol};

use crate::table::{
    Chain, ChainKind, Datum, DatumBuilder, Field, FieldType, FieldValue, HookPoint, Name, Rule, Set, SetData,
    Statement, Table, Value, Verdict, element_text, range_text,
};

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from. One of the host's own addresses: the host sends it.
    pub source: IpAddr,
    /// Where it is sent to; of the same family.
    pub destination: SocketAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// The interface that it arrives at; unknown, or sent by the host: none.
    pub interface: Option<String>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The rule set does nothing with it.
    Untouched,
    /// It is dropped in silence.
    Dropped,
    /// It is refused: ICMP port unreachable.
    Rejected,
    /// It goes to one of these, each as likely as any other.
    Sent(BTreeSet<Endpoint>),
}

/// An endpoint that the packet may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it sees an address of the node in place of the client's.
    pub is_masqueraded: bool,
}

/// A rule that took part in the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The hook.
    pub hook: HookPoint,
    /// The chain.
    pub chain: Name,
    /// The rule, as nft text.
    pub rule: String,
    /// The elements of sets and maps that made it match, as nft text.
    pub elements: Vec<String>,
}

/// What becomes of a packet, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The rules that took part, in the order of the hooks; each once.
    pub steps: Vec<Step>,
}

/// Evaluates the packet. `is_local` says whether an address is the host's own, as `fib … type local` does.
pub fn evaluate(table: &Table, is_local: impl Fn(IpAddr) -> bool, packet: &Packet) -> Evaluation {
    let mut walk = Walk {
        table,
        is_local: &is_local,
        steps: Vec::new(),
        hook: HookPoint::Prerouting,
    };
    let start = State {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol,
        interface: packet.interface.as_deref(),
        original: packet.destination,
        is_dnatted: false,
        is_masqueraded: false,
    };
    let ends = walk.deliver(start);
    let sent: BTreeSet<_> = ends
        .iter()
        .filter_map(|end| match end {
            End::Delivered(state) if state.is_dnatted => Some(Endpoint {
                address: state.destination,
                is_masqueraded: state.is_masqueraded,
            }),
            _ => None,
        })
        .collect();
    let outcome = if !sent.is_empty() {
        Outcome::Sent(sent)
    } else if ends.iter().any(|end| matches!(end, End::Rejected)) {
        Outcome::Rejected
    } else if ends.iter().any(|end| matches!(end, End::Dropped)) {
        Outcome::Dropped
    } else {
        Outcome::Untouched
    };
    Evaluation {
        outcome,
        steps: walk.steps,
    }
}

#[derive(Debug, Clone, Copy)]
struct State<'a> {
    source: IpAddr,
    destination: SocketAddr,
    protocol: Protocol,
    interface: Option<&'a str>,
    original: SocketAddr,
    is_dnatted: bool,
    is_masqueraded: bool,
}

/// How a packet's way ends.
enum End<'a> {
    Delivered(State<'a>),
    Dropped,
    Rejected,
}

/// What a chain does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing that ends the hook: on with what comes after the chain.
    Passes,
    Drops,
    Rejects,
    Dnats(SocketAddr),
    Masquerades,
}

/// What a rule does with a packet.
enum Effect {
    /// On with the next rule.
    Next,
    /// The chain ends so; of several fates one comes true.
    Ends(Vec<Fate>),
    /// One of these comes true; passing means the next rule.
    Returns(Vec<Fate>),
}

struct Walk<'a> {
    table: &'a Table,
    is_local: &'a dyn Fn(IpAddr) -> bool,
    steps: Vec<Step>,
    hook: HookPoint,
}

impl<'a> Walk<'a> {
    fn deliver(&mut self, start: State<'a>) -> Vec<End<'a>> {
        let mut ends = Vec::new();
        if (self.is_local)(start.source) {
            let left = self.hooks(&[HookPoint::Output, HookPoint::Postrouting], vec![start], &mut ends);
            let (to_self, away): (Vec<_>, Vec<_>) = left.into_iter().partition(|state| self.is_for_us(state));
            ends.extend(away.into_iter().map(End::Delivered));
            // Over the loopback interface it comes in again; NAT has been decided by then.
            self.hook = HookPoint::Prerouting;
            let left = self.hook(Some(ChainKind::Filter), to_self, &mut ends);
            let left = self.hooks(&[HookPoint::Input], left, &mut ends);
            ends.extend(left.into_iter().map(End::Delivered));
        } else {
            let arrived = self.hooks(&[HookPoint::Prerouting], vec![start], &mut ends);
            let (to_self, onward): (Vec<_>, Vec<_>) = arrived.into_iter().partition(|state| self.is_for_us(state));
            let left = self.hooks(&[HookPoint::Input], to_self, &mut ends);
            ends.extend(left.into_iter().map(End::Delivered));
            let left = self.hooks(&[HookPoint::Forward, HookPoint::Postrouting], onward, &mut ends);
            ends.extend(left.into_iter().map(End::Delivered));
        }
        ends
    }

    fn is_for_us(&self, state: &State<'_>) -> bool {
        (self.is_local)(state.destination.ip())
    }

    fn hooks(&mut self, points: &[HookPoint], states: Vec<State<'a>>, ends: &mut Vec<End<'a>>) -> Vec<State<'a>> {
        points.iter().fold(states, |states, point| {
            self.hook = *point;
            self.hook(None, states, ends)
        })
    }

    /// Runs the base chains of the current hook, by priority; only those of one kind if `kind` names it.
    fn hook(&mut self, kind: Option<ChainKind>, states: Vec<State<'a>>, ends: &mut Vec<End<'a>>) -> Vec<State<'a>> {
        let point = self.hook;
        let chains = self.table.chains.iter().filter_map(|(name, chain)| {
            let hook = chain
                .hook
                .filter(|hook| hook.point == point && kind.is_none_or(|kind| kind == hook.kind))?;
            Some((hook.priority, name, chain))
        });
        let mut chains: Vec<_> = chains.collect();
        chains.sort_by_key(|(priority, name, _)| (*priority, *name));
        chains.into_iter().fold(states, |states, (_, name, chain)| {
            let mut left = Vec::new();
            for state in states {
                for fate in self.chain(name, chain, &state) {
                    match fate {
                        Fate::Passes => left.push(state),
                        Fate::Drops => ends.push(End::Dropped),
                        Fate::Rejects => ends.push(End::Rejected),
                        Fate::Dnats(destination) => left.push(State {
                            destination,
                            is_dnatted: true,
                            ..state
                        }),
                        Fate::Masquerades => left.push(State {
                            is_masqueraded: true,
                            ..state
                        }),
                    }
                }
            }
            left
        })
    }

    fn chain(&mut self, name: &Name, chain: &'a Chain, state: &State<'_>) -> Vec<Fate> {
        let mut fates = Vec::new();
        for rule in &chain.rules {
            match self.rule(name, rule, state) {
                Effect::Next => {}
                Effect::Ends(last) => {
                    fates.extend(last);
                    return fates;
                }
                Effect::Returns(some) => {
                    let passes = some.contains(&Fate::Passes);
                    fates.extend(some.into_iter().filter(|fate| *fate != Fate::Passes));
                    if !passes {
                        return fates;
                    }
                }
            }
        }
        fates.push(Fate::Passes);
        fates
    }

    fn rule(&mut self, chain: &Name, rule: &'a Rule, state: &State<'_>) -> Effect {
        let mut elements = Vec::new();
        let mut is_certain = true;
        for statement in &rule.0 {
            let verdict = match statement {
                Statement::L4Proto(protocol) if *protocol == state.protocol => continue,
                Statement::IifName(pattern) if state.interface.is_some_and(|name| pattern.matches(name)) => continue,
                Statement::SaddrIsLocal if (self.is_local)(state.source) => continue,
                Statement::CtStatusDnat if state.is_dnatted => continue,
                // The first packet of a connection is new, and remembering a client changes nothing for it.
                Statement::CtStateNew | Statement::Update { .. } => continue,
                // What is followed here is no ICMP.
                Statement::L4Proto(_)
                | Statement::Icmp(_)
                | Statement::IifName(_)
                | Statement::SaddrIsLocal
                | Statement::CtStatusDnat => {
                    return Effect::Next;
                }
                Statement::OneIn(_) => {
                    is_certain = false;
                    continue;
                }
                Statement::Lookup { key, set, is_negated } => match self.look_up(key, set, state) {
                    Found::Element(text) if !is_negated => {
                        elements.push(text);
                        continue;
                    }
                    Found::Missing if *is_negated => continue,
                    _ => return Effect::Next,
                },
                Statement::VerdictMap { key, map } => match self.verdict(key, map, state) {
                    Some((text, verdict)) => {
                        elements.push(text);
                        verdict
                    }
                    None => return Effect::Next,
                },
                Statement::DnatMap { key, map, .. } => {
                    let found = self.endpoints(key, map, state);
                    if found.is_empty() {
                        return Effect::Next;
                    }
                    let (texts, fates) = found.into_iter().map(|(text, to)| (text, Fate::Dnats(to))).unzip();
                    self.note(chain, rule, texts);
                    return Effect::Ends(fates);
                }
                Statement::Dnat(to) if Family::of(to.ip()) == Family::of(state.source) => {
                    self.note(chain, rule, elements);
                    return Effect::Ends(vec![Fate::Dnats(*to)]);
                }
                Statement::Dnat(_) => return Effect::Next,
                Statement::Masquerade => {
                    self.note(chain, rule, elements);
                    return Effect::Ends(vec![Fate::Masquerades]);
                }
                Statement::Reject | Statement::Reset => {
                    self.note(chain, rule, elements);
                    return Effect::Ends(vec![Fate::Rejects]);
                }
                Statement::Verdict(verdict) => verdict,
            };
            return self.verdict_effect(chain, rule, elements, verdict, is_certain, state);
        }
        Effect::Next
    }

    fn verdict_effect(
        &mut self,
        chain: &Name,
        rule: &Rule,
        elements: Vec<String>,
        verdict: &Verdict,
        is_certain: bool,
        state: &State<'_>,
    ) -> Effect {
        let (target, is_jump) = match verdict {
            Verdict::Drop => {
                self.note(chain, rule, elements);
                return Effect::Ends(vec![Fate::Drops]);
            }
            Verdict::Return => {
                self.note(chain, rule, elements);
                return Effect::Ends(vec![Fate::Passes]);
            }
            Verdict::Jump(target) => (target, true),
            Verdict::Goto(target) => (target, false),
        };
        let Some((name, target)) = self.table.chains.get_key_value(target) else {
            return Effect::Next;
        };
        let place = self.steps.len();
        let fates = self.chain(name, target, state);
        // A jump that came to nothing explains nothing.
        if self.steps.len() > place || !is_jump {
            self.note_at(place, chain, rule, elements);
        }
        if is_jump {
            return Effect::Returns(fates);
        }
        if is_certain {
            Effect::Ends(fates)
        } else {
            Effect::Returns([fates, vec![Fate::Passes]].concat())
        }
    }

    fn note(&mut self, chain: &Name, rule: &Rule, elements: Vec<String>) {
        self.note_at(self.steps.len(), chain, rule, elements);
    }

    fn note_at(&mut self, place: usize, chain: &Name, rule: &Rule, elements: Vec<String>) {
        let step = Step {
            hook: self.hook,
            chain: Name::clone(chain),
            rule: rule.to_string(),
            elements,
        };
        if !self.steps.contains(&step) {
            self.steps.insert(place, step);
        }
    }

    fn look_up(&self, key: &[Field], set: &Name, state: &State<'_>) -> Found {
        let (Some(set), Some(key)) = (self.table.sets.get(set), key_of(key, state, 0)) else {
            return Found::NoSuchField;
        };
        if let Some(value) = set.elements.get(&key) {
            return Found::Element(element_text(&set.spec, &key, value));
        }
        match set.ranges.iter().find(|range| is_within(set.spec.key, &key, range)) {
            Some(range) => Found::Element(range_text(&set.spec, range)),
            None => Found::Missing,
        }
    }

    fn verdict(&self, key: &[Field], map: &Name, state: &State<'_>) -> Option<(String, &'a Verdict)> {
        let map = self.table.sets.get(map)?;
        let key = key_of(key, state, 0)?;
        match map.elements.get(&key)? {
            value @ Value::Verdict(verdict) => Some((element_text(&map.spec, &key, value), verdict)),
            Value::Nothing | Value::Data(_) => None,
        }
    }

    /// What a map to endpoints holds for the packet, under every slot that the key may choose.
    fn endpoints(&self, key: &[Field], map: &Name, state: &State<'_>) -> Vec<(String, SocketAddr)> {
        let Some(map) = self.table.sets.get(map) else {
            return Vec::new();
        };
        let slots = key.iter().find_map(|field| match field {
            Field::RandomSlot(count) => Some(*count),
            _ => None,
        });
        (0..slots.unwrap_or(1))
            .filter_map(|slot| endpoint(map, key_of(key, state, slot)?))
            .collect()
    }
}

/// What a look-up finds.
enum Found {
    Element(String),
    Missing,
    /// The packet has no such field, so that the rule ends whether negated or not.
    NoSuchField,
}

fn endpoint(map: &Set, key: Datum) -> Option<(String, SocketAddr)> {
    let value = map.elements.get(&key)?;
    let (Value::Data(data), SetData::Fields(fields)) = (value, map.spec.data) else {
        return None;
    };
    match data.fields(fields).collect::<Vec<_>>()[..] {
        [FieldValue::Address(address), FieldValue::Port(port)] => {
            Some((element_text(&map.spec, &key, value), SocketAddr::new(address, port)))
        }
        _ => None,
    }
}

/// The packet's key; `None` if it is not of the family that a field needs.
fn key_of(fields: &[Field], state: &State<'_>, slot: u32) -> Option<Datum> {
    if fields
        .iter()
        .filter_map(|field| field.family())
        .any(|family| family != Family::of(state.source))
    {
        return None;
    }
    if let [Field::OriginalDport] = fields {
        return Some(Datum::port(state.original.port()));
    }
    let key = fields.iter().try_fold(Datum::builder(), |key, field| {
        Some(match field {
            Field::Saddr(_) => key.address(state.source),
            Field::Daddr(_) => key.address(state.destination.ip()),
            Field::L4Proto => key.protocol(state.protocol),
            Field::Dport => key.port(state.destination.port()),
            Field::IcmpKind => return None,
            Field::OriginalDaddr(_) => key.address(state.original.ip()),
            Field::OriginalDport => key.port(state.original.port()),
            Field::RandomSlot(_) => key.slot(slot),
        })
    });
    key.map(DatumBuilder::finish)
}

/// Whether each field of the key is within the range's.
fn is_within(types: &[FieldType], key: &Datum, (first, last): &(Datum, Datum)) -> bool {
    let mut offset = 0;
    types.iter().all(|kind| {
        let field = offset..offset + kind.padded_width().min(key.as_bytes().len());
        offset = field.end;
        let slice = |datum: &Datum| datum.as_bytes().get(field.clone()).map(<[u8]>::to_vec);
        slice(first) <= slice(key) && slice(key) <= slice(last)
    })
}
