//! Elements of one set.

use super::Names;
use crate::netlink::attribute::{Attribute, Attributes};
use crate::netlink::message::Message;
use crate::netlink::uapi::{data, element, elements, nfnetlink, nft};
use crate::table::{Datum, Holds, Set, SetData, SetSpec, Value};

/// Reads the elements of one set.
#[derive(Debug)]
pub(in crate::netlink) struct Elements {
    set: Set,
    /// Where ranges of one field begin, and where they have ended.
    bounds: Vec<(Datum, Bound)>,
    is_readable: bool,
}

/// In the order that bounds at the same key have: a range ends there before the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    End,
    Start,
}

impl Elements {
    pub(in crate::netlink) fn new(spec: SetSpec) -> Self {
        Self {
            set: Set::new(spec),
            bounds: Vec::new(),
            is_readable: true,
        }
    }

    /// Takes the elements of a message in.
    pub(in crate::netlink) fn message(&mut self, message: &Message<'_>, names: &mut Names) {
        if message.kind != nft::NEW_ELEMENTS {
            return;
        }
        let Some(list) = message.attributes(nfnetlink::HEADER_LEN).find(elements::LIST) else {
            return;
        };
        for element in list.nested() {
            self.is_readable &= self.element(element.nested(), names).is_some();
        }
    }

    fn element(&mut self, attributes: Attributes<'_>, names: &mut Names) -> Option<()> {
        let datum = |kind| Datum::from_bytes(attributes.find(kind)?.nested().find(data::VALUE)?.value);
        let flags = attributes.find(element::FLAGS).map_or(Some(0), Attribute::be32)?;
        let is_end = flags & element::FLAG_INTERVAL_END != 0;
        if flags & !element::FLAG_INTERVAL_END != 0 {
            return None;
        }
        let key = datum(element::KEY)?;
        match self.set.spec.holds {
            Holds::Ranges if self.set.spec.key.len() > 1 => {
                self.set.ranges.insert((key, datum(element::KEY_END).unwrap_or(key)));
            }
            Holds::Ranges => self.bounds.push((key, if is_end { Bound::End } else { Bound::Start })),
            Holds::Keys => {
                let value = match self.set.spec.data {
                    SetData::Nothing => Value::Nothing,
                    SetData::Verdict => Value::Verdict(names.verdict(attributes.find(element::DATA)?.nested())?),
                    SetData::Fields(_) => Value::Data(datum(element::DATA)?),
                };
                self.set.elements.insert(key, value);
            }
            Holds::Learned => {}
        }
        Some(())
    }

    /// The set with everything that was read; `None` if some of it cannot be an element of ours.
    pub(in crate::netlink) fn finish(mut self) -> Option<Set> {
        self.bounds.sort_unstable();
        let mut start = None;
        for (key, bound) in self.bounds {
            match (bound, start) {
                (Bound::Start, None) => start = Some(key),
                (Bound::End, Some(first)) => {
                    self.set.ranges.insert((first, predecessor(&key)?));
                    start = None;
                }
                // nft writes an end at the lowest key, before all ranges.
                (Bound::End, None) => {}
                (Bound::Start, Some(_)) => return None,
            }
        }
        if let Some(first) = start {
            // Without an end it reaches the last key.
            let last = Datum::from_bytes(&vec![u8::MAX; first.as_bytes().len()])?;
            self.set.ranges.insert((first, last));
        }
        self.is_readable.then_some(self.set)
    }
}

/// The key before; `None` before the first.
fn predecessor(key: &Datum) -> Option<Datum> {
    let mut bytes = key.as_bytes().to_vec();
    let place = bytes.iter().rposition(|byte| *byte != 0)?;
    bytes[place] -= 1;
    bytes[place + 1..].fill(u8::MAX);
    Datum::from_bytes(&bytes)
}
