use std::borrow::Cow;

use super::{Array, Bytes, DecodeError, DecodeProblem, Element, Records, Str, varint};
use crate::Uuid;

/// How many structures, strings in arrays and tagged fields one message may have, unless said otherwise.
pub const OBJECT_BUDGET: usize = 500_000;

/// Reads values from the front of a byte slice.
///
/// It knows the version of the message it is in (see [`Message::decode`](super::Message::decode)). After an error it is
/// of no further use.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    /// Address of the first byte, to tell in errors how far we came.
    start: usize,
    objects_left: usize,
    version: i16,
    flexible: bool,
}

/// Where the reader is within a section of tagged fields.
#[derive(Debug)]
pub struct TagSection<'a> {
    left: u32,
    /// The tag being read.
    tag: Option<u32>,
    /// What follows the value being read.
    after: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// With [`OBJECT_BUDGET`]: right for what comes from the network.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_budget(bytes, OBJECT_BUDGET)
    }

    /// `objects`: how many structures in arrays, strings in arrays and tagged fields it may come across.
    /// Numbers in arrays do not count: they take no more memory than they took in the frame.
    pub fn with_budget(bytes: &'a [u8], objects: usize) -> Self {
        Self { rest: bytes, start: bytes.as_ptr().addr(), objects_left: objects, version: 0, flexible: false }
    }

    /// For bytes that were checked before: no budget.
    pub(super) fn checked(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { version, flexible, ..Self::with_budget(bytes, usize::MAX) }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The version of the message that is being read.
    #[inline]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether that version has compact lengths and tagged fields.
    #[inline]
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Sets the version of what follows; returns what was set before.
    pub fn set_version(&mut self, version: i16, flexible: bool) -> (i16, bool) {
        (std::mem::replace(&mut self.version, version), std::mem::replace(&mut self.flexible, flexible))
    }

    /// An error at the present position.
    #[cold]
    pub fn error(&self, problem: DecodeProblem) -> DecodeError {
        DecodeError { message: "", problem, offset: self.rest.as_ptr().addr() - self.start }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(self.error(DecodeProblem::Truncated)),
        }
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(length) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(self.error(DecodeProblem::Truncated)),
        }
    }

    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid)
    }

    /// An unsigned variable-length integer.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        match varint::read_u32(self.rest) {
            Some((value, n)) => {
                self.rest = &self.rest[n..];
                Ok(value)
            }
            None => Err(self.error(DecodeProblem::Varint)),
        }
    }

    /// A length before a value: `None` for null. `wide`: four bytes rather than two where lengths are not compact.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, DecodeError> {
        let length = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else if wide {
            i64::from(self.i32()?)
        } else {
            i64::from(self.i16()?)
        };
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            _ => Err(self.error(DecodeProblem::Length(length))),
        }
    }

    /// A string. What is not UTF-8 in it is replaced, as Kafka does.
    pub fn string(&mut self) -> Result<Str<'a>, DecodeError> {
        self.nullable_string()?.ok_or_else(|| self.error(DecodeProblem::Null))
    }

    /// A string or null. No string is longer than 32,767 bytes, compact or not, also after replacements, so that whatever
    /// was read can be written.
    pub fn nullable_string(&mut self) -> Result<Option<Str<'a>>, DecodeError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        let too_long = |length: usize| length > i16::MAX as usize;
        if too_long(length) {
            return Err(self.error(DecodeProblem::Length(length as i64)));
        }
        let text = String::from_utf8_lossy(self.take(length)?);
        if too_long(text.len()) {
            return Err(self.error(DecodeProblem::Length(text.len() as i64)));
        }
        Ok(Some(text))
    }

    pub fn bytes(&mut self) -> Result<Bytes<'a>, DecodeError> {
        self.nullable_bytes()?.ok_or_else(|| self.error(DecodeProblem::Null))
    }

    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes<'a>>, DecodeError> {
        match self.length(true)? {
            Some(length) => Ok(Some(Cow::Borrowed(self.take(length)?))),
            None => Ok(None),
        }
    }

    pub fn records(&mut self) -> Result<Records<'a>, DecodeError> {
        Ok(Records::Bytes(self.bytes()?))
    }

    pub fn nullable_records(&mut self) -> Result<Option<Records<'a>>, DecodeError> {
        Ok(self.nullable_bytes()?.map(Records::Bytes))
    }

    /// A structure or null, told apart by a byte before it.
    pub fn nullable_struct<T: Element<'a>>(&mut self) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { T::read(self).map(Some) }
    }

    /// A structure or null as the value of a tagged field: there an unsigned varint tells them apart, 0 for null.
    pub fn nullable_tagged_struct<T: Element<'a>>(&mut self) -> Result<Option<T>, DecodeError> {
        if self.uvarint()? == 0 { Ok(None) } else { T::read(self).map(Some) }
    }

    pub fn array<T: Element<'a>>(&mut self) -> Result<Array<'a, T>, DecodeError> {
        self.nullable_array()?.ok_or_else(|| self.error(DecodeProblem::Null))
    }

    /// An array or null: every element is read once, to check it, and none is kept.
    pub fn nullable_array<T: Element<'a>>(&mut self) -> Result<Option<Array<'a, T>>, DecodeError> {
        let Some(count) = self.count(T::MIN_SIZE)? else { return Ok(None) };
        let before = self.rest;
        if T::FIXED_SIZE {
            self.take(count * T::MIN_SIZE)?;
        } else {
            self.charge(count)?;
            for _ in 0..count {
                T::read(self)?;
            }
        }
        let bytes = &before[..before.len() - self.rest.len()];
        Ok(Some(Array::encoded(bytes, count, self.version, self.flexible)))
    }

    /// The count before an array, held against what is left.
    fn count(&mut self, min_size: usize) -> Result<Option<usize>, DecodeError> {
        let count = if self.flexible { i64::from(self.uvarint()?) - 1 } else { i64::from(self.i32()?) };
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() / min_size.max(1) => Ok(Some(count)),
            Err(_) if count == -1 => Ok(None),
            _ => Err(self.error(DecodeProblem::Length(count))),
        }
    }

    fn charge(&mut self, objects: usize) -> Result<(), DecodeError> {
        match self.objects_left.checked_sub(objects) {
            Some(left) => {
                self.objects_left = left;
                Ok(())
            }
            None => Err(self.error(DecodeProblem::Budget)),
        }
    }

    /// Opens the tagged fields that end a structure; there are none in versions that are not flexible.
    ///
    /// Then call [`next_tag`](Self::next_tag) until it gives `None`; for each tag read the value, or call
    /// [`skip_tag`](Self::skip_tag).
    pub fn tags(&mut self) -> Result<TagSection<'a>, DecodeError> {
        let left = if self.flexible { self.uvarint()? } else { 0 };
        // A tagged field has a tag and a size, one byte each at least.
        if left as usize > self.rest.len() / 2 {
            return Err(self.error(DecodeProblem::Length(i64::from(left))));
        }
        self.charge(left as usize)?;
        Ok(TagSection { left, tag: None, after: self.rest })
    }

    /// The next tag. Until it is called again only the bytes of that tag's value can be read.
    pub fn next_tag(&mut self, section: &mut TagSection<'a>) -> Result<Option<u32>, DecodeError> {
        if let Some(tag) = section.tag {
            if !self.rest.is_empty() {
                return Err(self.error(DecodeProblem::TagSize(tag)));
            }
            self.rest = section.after;
        }
        if section.left == 0 {
            return Ok(None);
        }
        section.left -= 1;
        let tag = self.uvarint()?;
        if section.tag.is_some_and(|last| tag <= last) {
            return Err(self.error(DecodeProblem::TagOrder(tag)));
        }
        let size = self.uvarint()? as usize;
        let value = self.take(size)?;
        section.after = self.rest;
        section.tag = Some(tag);
        self.rest = value;
        Ok(Some(tag))
    }

    /// Passes over a tag's value that means nothing to us.
    pub fn skip_tag(&mut self) {
        self.rest = &self.rest[self.rest.len()..];
    }

    /// Passes over a whole section of tagged fields.
    pub fn skip_tags(&mut self) -> Result<(), DecodeError> {
        if self.flexible && self.rest.first() == Some(&0) {
            self.rest = &self.rest[1..];
            return Ok(());
        }
        let mut section = self.tags()?;
        while self.next_tag(&mut section)?.is_some() {
            self.skip_tag();
        }
        Ok(())
    }
}
