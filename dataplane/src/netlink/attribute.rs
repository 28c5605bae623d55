//! Attributes: writing them with every length checked, reading them without a panic on any input.

/// Type flag of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The type without its flags.
const TYPE_MASK: u16 = 0x3fff;
/// Bytes of an attribute's header.
const HEADER_LEN: usize = 4;

/// A growing run of messages and attributes.
///
/// A length that does not fit its 16 bits is noted instead of cut off; [`Writer::finish`] then refuses.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    is_oversized: bool,
}

/// An attribute was longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oversized;

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            is_oversized: false,
        }
    }

    /// How much has been written.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, if every length was in range.
    pub(super) fn finish(self) -> Result<Vec<u8>, Oversized> {
        if self.is_oversized {
            Err(Oversized)
        } else {
            Ok(self.bytes)
        }
    }

    /// Appends bytes without a header; they must keep the alignment to four bytes.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Overwrites bytes that were written before.
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A byte that was written before.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// Opens an attribute whose content follows; [`Writer::close`] fills in its length.
    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => self.patch(start, &len.to_ne_bytes()),
            Err(_) => self.is_oversized = true,
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    pub(super) fn string(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    pub(super) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(super) fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds what `content` writes.
    pub(super) fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.open_nest(kind);
        content(self);
        self.close(start);
    }

    /// Like [`Writer::nest`], for content that is not written in one piece.
    pub(super) fn open_nest(&mut self, kind: u16) -> usize {
        self.open(kind | NESTED)
    }

    pub(super) fn close_nest(&mut self, start: usize) {
        self.close(start);
    }
}

/// One attribute as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    pub(super) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes within.
    pub(super) const fn nested(self) -> Attributes<'a> {
        Attributes(self.value)
    }

    pub(super) fn be16(self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.try_into().ok()?))
    }

    pub(super) fn be32(self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    pub(super) fn be64(self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }

    pub(super) fn u8(self) -> Option<u8> {
        match self.value {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// A string, with or without its NUL.
    pub(super) fn str(self) -> Option<&'a str> {
        let end = self
            .value
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.value.len());
        std::str::from_utf8(self.value.get(..end)?).ok()
    }
}

/// Attributes one after the other. Ends at the first that is cut off or malformed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The first attribute of this kind.
    pub(super) fn find(self, kind: u16) -> Option<Attribute<'a>> {
        self.into_iter().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = Attribute<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        Iter(self.0)
    }
}

/// Goes through attributes.
#[derive(Debug, Clone)]
pub(super) struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (header, _) = self.0.split_first_chunk::<HEADER_LEN>()?;
        let [len0, len1, kind0, kind1] = *header;
        let len = usize::from(u16::from_ne_bytes([len0, len1]));
        let kind = u16::from_ne_bytes([kind0, kind1]) & TYPE_MASK;
        let Some(value) = self.0.get(HEADER_LEN..len) else {
            self.0 = &[];
            return None;
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nest_of_more_than_16_bits_is_refused() {
        let mut writer = Writer::default();
        writer.nest(1, |w| w.bytes(2, &vec![0; 0xffff - 8 - 3]));
        assert_eq!(writer.len(), 0xfffc + 4 - 4);
        assert!(writer.finish().is_ok());

        let mut writer = Writer::default();
        writer.nest(1, |w| {
            w.bytes(2, &vec![0; 40000]);
            w.bytes(2, &vec![0; 30000]);
        });
        assert_eq!(writer.finish(), Err(Oversized));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        writer.u8(1, 7);
        writer.nest(2, |w| w.string(3, "chain"));
        writer.be64(4, 9);
        let bytes = writer.finish().unwrap();
        let attributes = Attributes(&bytes);
        assert_eq!(attributes.find(1).unwrap().u8(), Some(7));
        assert_eq!(
            attributes.find(2).unwrap().nested().find(3).unwrap().str(),
            Some("chain")
        );
        assert_eq!(attributes.find(4).unwrap().be64(), Some(9));
        assert_eq!(attributes.into_iter().count(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_end(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Attributes(&bytes).into_iter().count() <= bytes.len() / HEADER_LEN);
        }
    }
}
