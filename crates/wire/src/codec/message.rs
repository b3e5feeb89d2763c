use std::ops::RangeInclusive;

use super::{Array, DecodeError, DecodeProblem, Decoder, EncodeError, EncodeProblem, Encoder, Str};
use crate::{ApiKey, Uuid};

/// One value within a message: a scalar, a string, or a generated structure. What an [`Array`] can hold.
///
/// Version and flexibility are those of the decoder or encoder.
pub trait Element<'a>: Clone {
    /// The fewest bytes one takes in any version; what counts are held against.
    const MIN_SIZE: usize;
    /// Whether it always takes exactly that.
    const FIXED_SIZE: bool = false;

    fn read(d: &mut Decoder<'a>) -> Result<Self, DecodeError>;
    fn write(&self, e: &mut Encoder) -> Result<(), EncodeError>;
}

macro_rules! scalar_element {
    ($($type:ty, $size:literal, $method:ident;)*) => {$(
        impl<'a> Element<'a> for $type {
            const MIN_SIZE: usize = $size;
            const FIXED_SIZE: bool = true;

            #[inline]
            fn read(d: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                d.$method()
            }

            #[inline]
            fn write(&self, e: &mut Encoder) -> Result<(), EncodeError> {
                e.$method(*self);
                Ok(())
            }
        }
    )*};
}

scalar_element! {
    bool, 1, bool;
    i8, 1, i8;
    i16, 2, i16;
    u16, 2, u16;
    i32, 4, i32;
    u32, 4, u32;
    i64, 8, i64;
    f64, 8, f64;
    Uuid, 16, uuid;
}

impl<'a> Element<'a> for Str<'a> {
    const MIN_SIZE: usize = 1;

    fn read(d: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        d.string()
    }

    fn write(&self, e: &mut Encoder) -> Result<(), EncodeError> {
        e.string(self)
    }
}

/// A message that stands on its own: a request, a response, a record's key or value.
pub trait Message<'a>: Element<'a> {
    /// Kafka's name, as in `ProduceRequest`.
    const NAME: &'static str;
    /// The versions it can be read and written in.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version (KIP-482), `i16::MAX` when there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads the message; bytes that follow it stay in the decoder.
    fn decode(d: &mut Decoder<'a>, version: i16) -> Result<Self, DecodeError> {
        let named = |error: DecodeError| DecodeError { message: Self::NAME, ..error };
        if !Self::VERSIONS.contains(&version) {
            return Err(named(d.error(DecodeProblem::Version(version))));
        }
        let (outer, outer_flexible) = d.set_version(version, version >= Self::FLEXIBLE_FROM);
        let message = Self::read(d).map_err(named);
        d.set_version(outer, outer_flexible);
        message
    }

    /// Appends the message. When it fails, what it wrote by then stays in the encoder.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        let named = |error: EncodeError| EncodeError { message: Self::NAME, version, ..error };
        if !Self::VERSIONS.contains(&version) {
            return Err(named(e.error(EncodeProblem::Version, "")));
        }
        let (outer, outer_flexible) = e.set_version(version, version >= Self::FLEXIBLE_FROM);
        let done = self.write(e).map_err(named);
        e.set_version(outer, outer_flexible);
        done
    }

    /// Exactly the bytes that [`encode`](Self::encode) adds, file regions included.
    fn size(&self, version: i16) -> Result<usize, EncodeError> {
        let mut counter = Encoder::counter();
        self.encode(&mut counter, version)?;
        Ok(counter.len())
    }

    /// The message alone, in a buffer of its own.
    fn to_bytes(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut e = Encoder::new();
        self.encode(&mut e, version)?;
        Ok(e.into_bytes())
    }

    /// The message after its version as an int16: how coordinators store values, and how members of a group exchange
    /// subscriptions and assignments.
    fn encode_value(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut e = Encoder::new();
        e.i16(version);
        self.encode(&mut e, version)?;
        Ok(e.into_bytes())
    }

    /// Reads what [`encode_value`](Self::encode_value) wrote. A version that is not known is an error that says which.
    fn decode_value(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let version = d.i16().map_err(|error| DecodeError { message: Self::NAME, ..error })?;
        Self::decode(&mut d, version)
    }
}

/// A request, with the message that answers it.
pub trait Request {
    const KEY: ApiKey;
    type Response<'r>: Message<'r>;
}

/// The key of a record in a coordinator's log: its type as an int16, then the message in version 0.
pub trait CoordinatorKey<'a>: Message<'a> {
    const RECORD_TYPE: i16;

    fn encode_key(&self) -> Result<Vec<u8>, EncodeError> {
        let mut e = Encoder::new();
        e.i16(Self::RECORD_TYPE);
        self.encode(&mut e, 0)?;
        Ok(e.into_bytes())
    }

    /// Fails when the key is of another type; read the int16 in front to learn which.
    fn decode_key(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let record_type = d.i16().map_err(|error| DecodeError { message: Self::NAME, ..error })?;
        if record_type != Self::RECORD_TYPE {
            let problem = DecodeProblem::Type(i64::from(record_type));
            return Err(DecodeError { message: Self::NAME, problem, offset: 0 });
        }
        Self::decode(&mut d, 0)
    }
}

impl<'a, T: Element<'a>> Array<'a, T> {
    /// The first element.
    pub fn first(&self) -> Option<super::Item<'_, T>> {
        self.iter().next()
    }
}
