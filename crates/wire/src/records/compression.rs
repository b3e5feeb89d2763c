//! The two small enums of a batch's attributes: how its payload is compressed and whose clock its timestamps are from.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// How the records of a batch are compressed. The number is the one in the batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    /// KIP-110; allowed in Produce from version 7 and Fetch from version 10.
    Zstd = 4,
}

impl Codec {
    /// All of them, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The value of bits 0-2 of a batch's attributes.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// `None` for the ids 5 to 7, which fit the attributes but mean nothing.
    pub const fn from_id(id: u8) -> Option<Codec> {
        match id {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The name in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The levels that `compression.<codec>.level` accepts (KIP-390), `None` where a codec has no levels. For gzip -1 is
    /// allowed beside this range. Lz4 levels are accepted and have no effect: the encoder in use has one level.
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Codec::Gzip => Some(1..=9),
            Codec::Lz4 => Some(1..=17),
            Codec::Zstd => Some(-131_072..=22),
            Codec::None | Codec::Snappy => None,
        }
    }

    /// Kafka's default of `compression.<codec>.level`.
    pub const fn default_level(self) -> Option<i32> {
        match self {
            Codec::Gzip => Some(-1),
            Codec::Lz4 => Some(9),
            Codec::Zstd => Some(3),
            Codec::None | Codec::Snappy => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(name: &str) -> Result<Codec, String> {
        Codec::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| format!("Unknown compression name: {name}"))
    }
}

/// Whose clock the timestamps of a batch come from: the producer's or the broker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

impl TimestampType {
    /// The name in `message.timestamp.type`.
    pub const fn name(self) -> &'static str {
        match self {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        }
    }
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TimestampType {
    type Err = String;

    fn from_str(name: &str) -> Result<TimestampType, String> {
        match name {
            "CreateTime" => Ok(TimestampType::CreateTime),
            "LogAppendTime" => Ok(TimestampType::LogAppendTime),
            _ => Err(format!("Invalid timestamp type {name}")),
        }
    }
}
