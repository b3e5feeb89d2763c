use std::{fmt, str::FromStr};

/// Kafka's 16-byte id: of topics, log directories, clusters, share-group members.
///
/// Shown in Kafka's form: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// No id.
    pub const ZERO: Self = Self([0; 16]);
    /// The one that Kafka reserves: topic id of the metadata log; as a directory, "not yet assigned".
    pub const ONE: Self = Self::from_u128(1);

    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// A random (version 4) id from 128 random bits; the caller brings the chance.
    pub const fn from_random(bits: u128) -> Self {
        let cleared = bits & !(0xf << 76) & !(0b11 << 62);
        Self::from_u128(cleared | (4 << 76) | (0b10 << 62))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits as 21 sixes and a last character with two bits in its upper end.
        let value = self.as_u128();
        let mut text = [0; 22];
        for (i, c) in text.iter_mut().enumerate() {
            let six = if i == 21 { value << 4 } else { value >> (122 - 6 * i) };
            *c = ALPHABET[(six & 63) as usize];
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// The text is not an id in Kafka's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of 22 URL-safe base64 characters")
    }
}

impl std::error::Error for InvalidUuid {}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    /// Takes padding (`==`) too, as Kafka does.
    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let text = text.strip_suffix("==").unwrap_or(text);
        if text.len() != 22 {
            return Err(InvalidUuid);
        }
        let mut value = 0u128;
        for (i, c) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|&a| a == c).ok_or(InvalidUuid)? as u128;
            // The last character's lower four bits are beyond the 16 bytes.
            value = if i == 21 { value << 2 | six >> 4 } else { value << 6 | six };
        }
        Ok(Self::from_u128(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas_and_comes_back() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        for value in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677] {
            let id = Uuid::from_u128(value);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(format!("{id}==").parse(), Ok(id));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAAA", "ÄÄÄÄÄÄÄÄÄÄÄ"] {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text}");
        }
    }

    #[test]
    fn random_ids_are_of_version_4() {
        let id = Uuid::from_random(u128::MAX);
        assert_eq!((id.0[6], id.0[8]), (0x4f, 0xbf));
        let id = Uuid::from_random(0);
        assert_eq!((id.0[6], id.0[8]), (0x40, 0x80));
    }
}
