//! How Kafka's messages are read and written.
//!
//! [`Decoder`] walks over the bytes of one frame, [`Encoder`] builds one. Both carry the version of the message they are
//! in, and whether that version is a *flexible* one (KIP-482: compact lengths, a section of tagged fields after every
//! structure), so that generated code names only fields. [`Element`] is one value of a message: a scalar, a string or a
//! generated structure; [`Message`] is a structure that stands on its own, with its range of versions.
//!
//! Invariant: nothing is reserved because of a length or a count that the bytes claim. A count is first held against the
//! bytes that are left; what multiplies in memory (structures, strings, tagged fields) is charged to the decoder's
//! budget; and an [`Array`] stays as the bytes it was, checked once and decoded again as it is iterated.

mod array;
mod decoder;
mod encoder;
mod error;
mod message;
mod region;
#[cfg(test)]
mod tests;
pub mod varint;

use std::borrow::Cow;

pub use array::{Array, IntoIter, Item, Iter};
pub use decoder::{Decoder, OBJECT_BUDGET, TagSection};
pub use encoder::{Encoder, Frame, TagMark};
pub use error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
pub use message::{CoordinatorKey, Element, Message, Request};
pub use region::{FileRegion, Records};

/// A string field: borrowed from the frame, or owned by whoever builds the message.
pub type Str<'a> = Cow<'a, str>;
/// A bytes field: borrowed from the frame, or owned by whoever builds the message.
pub type Bytes<'a> = Cow<'a, [u8]>;
