use super::{Array, Element, EncodeError, EncodeProblem, FileRegion, Records, varint};
use crate::Uuid;

/// Writes values into a buffer, or only counts what they would take.
///
/// File regions are not in the buffer: [`regions`](Self::regions) tells where each belongs. One encoder can hold several
/// frames, one after another, and is reused for the next ones after [`clear`](Self::clear).
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    regions: Vec<(usize, FileRegion)>,
    /// Length of all regions.
    region_bytes: u64,
    /// When set, nothing is written: `counted` grows instead.
    counting: bool,
    counted: usize,
    version: i16,
    flexible: bool,
}

/// The start of a frame whose length is not known yet.
#[derive(Debug)]
#[must_use = "the frame's length is written by end_frame"]
pub struct Frame {
    start: usize,
    region_bytes: u64,
}

/// The start of a tagged field's value, whose size is not known yet.
#[derive(Debug)]
#[must_use = "the value's size is written by end_tag"]
pub struct TagMark {
    start: usize,
}

impl Encoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on writing at the end of `bytes`.
    pub fn with_buffer(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// One that writes nothing, but tells in [`len`](Self::len) how much it would have been.
    pub(super) fn counter() -> Self {
        Self { counting: true, ..Self::default() }
    }

    /// Forgets everything written, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.regions.clear();
        self.region_bytes = 0;
        self.counted = 0;
    }

    /// What was written, without the file regions.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer, for writing past the codec. Removing bytes from it breaks the positions of regions.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// File regions in ascending order, each with the position in [`bytes`](Self::bytes) before which it goes out.
    pub fn regions(&self) -> &[(usize, FileRegion)] {
        &self.regions
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes and regions.
    pub fn into_parts(self) -> (Vec<u8>, Vec<(usize, FileRegion)>) {
        (self.bytes, self.regions)
    }

    /// Length of everything, file regions included, in bytes.
    pub fn len(&self) -> usize {
        self.counted + self.bytes.len() + self.region_bytes as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version of the message that is being written.
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

    /// Starts a frame: four bytes for the length of what follows.
    pub fn begin_frame(&mut self) -> Frame {
        let start = self.bytes.len();
        self.i32(0);
        Frame { start, region_bytes: self.region_bytes }
    }

    /// Writes the length of the frame, its file regions included. Fails beyond 2,147,483,647 bytes.
    pub fn end_frame(&mut self, frame: Frame) -> Result<(), EncodeError> {
        let length = (self.bytes.len() - frame.start - 4) as u64 + (self.region_bytes - frame.region_bytes);
        let length = i32::try_from(length).map_err(|_| self.error(EncodeProblem::TooLong, ""))?;
        self.bytes[frame.start..frame.start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    #[cold]
    pub fn error(&self, problem: EncodeProblem, field: &'static str) -> EncodeError {
        EncodeError { message: "", field, version: self.version, problem }
    }

    /// Refuses a field that the version lacks, unless it has its default.
    #[inline]
    pub fn absent(&self, is_default: bool, field: &'static str) -> Result<(), EncodeError> {
        if is_default { Ok(()) } else { Err(self.error(EncodeProblem::NotInVersion, field)) }
    }

    /// Refuses null.
    #[inline]
    pub fn non_null<'x, T>(&self, value: &'x Option<T>, field: &'static str) -> Result<&'x T, EncodeError> {
        value.as_ref().ok_or_else(|| self.error(EncodeProblem::Null, field))
    }

    /// Bytes as they are, without a length.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if self.counting {
            self.counted += bytes.len();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.put(&value.0);
    }

    /// An unsigned variable-length integer.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        if self.counting {
            self.counted += varint::size_u32(value);
        } else {
            varint::write_u32(&mut self.bytes, value);
        }
    }

    /// A length or count as a flexible version has it: one more than it is, 0 for null.
    fn compact(&mut self, length: Option<i32>) {
        self.uvarint(length.map_or(0, |n| n as u32 + 1));
    }

    fn wide_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let length = match length {
            Some(n) => Some(i32::try_from(n).map_err(|_| self.error(EncodeProblem::TooLong, ""))?),
            None => None,
        };
        if self.flexible {
            self.compact(length);
        } else {
            self.i32(length.unwrap_or(-1));
        }
        Ok(())
    }

    pub fn string(&mut self, value: &str) -> Result<(), EncodeError> {
        self.nullable_string(Some(value))
    }

    pub fn nullable_string(&mut self, value: Option<&str>) -> Result<(), EncodeError> {
        let length = match value {
            Some(s) => Some(i16::try_from(s.len()).map_err(|_| self.error(EncodeProblem::TooLong, ""))?),
            None => None,
        };
        if self.flexible {
            self.compact(length.map(i32::from));
        } else {
            self.i16(length.unwrap_or(-1));
        }
        self.put(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    pub fn byte_string(&mut self, value: &[u8]) -> Result<(), EncodeError> {
        self.nullable_byte_string(Some(value))
    }

    pub fn nullable_byte_string(&mut self, value: Option<&[u8]>) -> Result<(), EncodeError> {
        self.wide_length(value.map(<[u8]>::len))?;
        self.put(value.unwrap_or_default());
        Ok(())
    }

    pub fn records(&mut self, value: &Records<'_>) -> Result<(), EncodeError> {
        self.nullable_records(Some(value))
    }

    /// A file region is noted at its place and counted; its bytes are the caller's to send.
    pub fn nullable_records(&mut self, value: Option<&Records<'_>>) -> Result<(), EncodeError> {
        match value {
            Some(Records::File(region)) => {
                self.wide_length(Some(region.length as usize))?;
                if self.counting {
                    self.counted += region.length as usize;
                } else if region.length > 0 {
                    self.region_bytes += u64::from(region.length);
                    self.regions.push((self.bytes.len(), region.clone()));
                }
                Ok(())
            }
            Some(Records::Bytes(bytes)) => self.nullable_byte_string(Some(bytes)),
            None => self.nullable_byte_string(None),
        }
    }

    /// A structure or null, told apart by a byte before it.
    pub fn nullable_struct<'a, T: Element<'a>>(&mut self, value: Option<&T>) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                value.write(self)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// A structure or null as the value of a tagged field: there an unsigned varint tells them apart, 0 for null.
    pub fn nullable_tagged_struct<'a, T: Element<'a>>(&mut self, value: Option<&T>) -> Result<(), EncodeError> {
        self.uvarint(u32::from(value.is_some()));
        value.map_or(Ok(()), |value| value.write(self))
    }

    pub fn array<'a, T: Element<'a>>(&mut self, value: &Array<'a, T>) -> Result<(), EncodeError> {
        self.nullable_array(Some(value))
    }

    pub fn nullable_array<'a, T: Element<'a>>(&mut self, value: Option<&Array<'a, T>>) -> Result<(), EncodeError> {
        self.wide_length(value.map(Array::len))?;
        match value {
            Some(array) => array.iter().try_for_each(|element| element.write(self)),
            None => Ok(()),
        }
    }

    /// Opens the tagged fields that end a structure; writes nothing in versions that are not flexible.
    /// Returns where to count them.
    pub fn begin_tags(&mut self) -> usize {
        let at = self.bytes.len();
        if self.flexible {
            self.i8(0);
        }
        at
    }

    /// A section of tagged fields with nothing in it.
    #[inline]
    pub fn no_tags(&mut self) {
        if self.flexible {
            self.i8(0);
        }
    }

    /// Starts a tagged field. Fields of a section come in ascending order, no more than 127.
    pub fn begin_tag(&mut self, section: usize, tag: u32) -> TagMark {
        if !self.counting {
            self.bytes[section] += 1;
        }
        self.uvarint(tag);
        let start = self.counted + self.bytes.len();
        if !self.counting {
            self.bytes.push(0);
        }
        TagMark { start }
    }

    /// Ends a tagged field: puts the size of its value before it.
    pub fn end_tag(&mut self, mark: TagMark) {
        if self.counting {
            self.counted += varint::size_u64((self.counted - mark.start) as u64);
            return;
        }
        let value = mark.start + 1;
        let size = (self.bytes.len() - value) as u64;
        // One byte was left for the size; a value of more than 127 bytes moves up to make room.
        let more = varint::size_u64(size) - 1;
        if more > 0 {
            let end = self.bytes.len();
            self.bytes.resize(end + more, 0);
            self.bytes.copy_within(value..end, value + more);
        }
        let mut left = size;
        for byte in &mut self.bytes[mark.start..mark.start + more] {
            *byte = left as u8 | 0x80;
            left >>= 7;
        }
        self.bytes[mark.start + more] = left as u8;
    }
}
