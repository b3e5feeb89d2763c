use std::{borrow::Cow, fs::File, sync::Arc};

use super::Bytes;

/// Record batches in a message: bytes in memory, or a part of a log segment that is sent from the file as it is.
///
/// Only bytes are ever decoded; a file region is what a Fetch answer is built with.
#[derive(Clone, Debug, PartialEq)]
pub enum Records<'a> {
    Bytes(Bytes<'a>),
    File(FileRegion),
}

impl<'a> Records<'a> {
    /// Length in bytes, whether they are in memory or in a file.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(region) => region.length as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, when they are in memory.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// The bytes with the lifetime of the frame they came with, when they were decoded from one.
    pub fn borrowed(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(Cow::Borrowed(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

impl Default for Records<'_> {
    fn default() -> Self {
        Self::Bytes(Cow::Borrowed(&[]))
    }
}

impl<'a> From<&'a [u8]> for Records<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Records<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl From<FileRegion> for Records<'_> {
    fn from(region: FileRegion) -> Self {
        Self::File(region)
    }
}

/// A part of an open file. Only a handle: this crate neither reads nor sends it.
#[derive(Clone, Debug)]
pub struct FileRegion {
    pub file: Arc<File>,
    /// Where it starts in the file, in bytes.
    pub position: u64,
    /// How long it is, in bytes.
    pub length: u32,
    /// A hint for the sender: these bytes were written moments ago, so that a copy is cheaper than `sendfile`.
    pub prefer_copy: bool,
}

impl PartialEq for FileRegion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.position == other.position && self.length == other.length
    }
}
