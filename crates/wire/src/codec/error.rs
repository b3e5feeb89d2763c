use std::fmt;

/// Why bytes are not the message they should be, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The message that was being read, empty when none was.
    pub message: &'static str,
    /// What was found.
    pub problem: DecodeProblem,
    /// Distance in bytes from the start of what the decoder was given.
    pub offset: usize,
}

/// What can be wrong with the bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeProblem {
    /// The bytes end within a value.
    Truncated,
    /// A length or count is negative, or larger than what is left could hold.
    Length(i64),
    /// Null where the version allows none.
    Null,
    /// A variable-length integer that does not end where it must.
    Varint,
    /// A tagged field's number that is not above the one before it.
    TagOrder(u32),
    /// A tagged field whose value is shorter than the size it names.
    TagSize(u32),
    /// More structures, strings and tagged fields than the budget allows.
    Budget,
    /// A version that this message does not have.
    Version(i16),
    /// An API key, record type or key type that is not known (or not the expected one).
    Type(i64),
    /// A version of the frame around a metadata record that is not known.
    Frame(u32),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.message.is_empty() { "bytes" } else { self.message };
        write!(f, "cannot read {name} at byte {}: {}", self.offset, self.problem)
    }
}

impl fmt::Display for DecodeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end within a value"),
            Self::Length(n) => write!(f, "length or count {n} does not fit the bytes that are left"),
            Self::Null => f.write_str("null is not allowed here"),
            Self::Varint => f.write_str("malformed variable-length integer"),
            Self::TagOrder(tag) => write!(f, "tagged field {tag} is repeated or out of order"),
            Self::TagSize(tag) => write!(f, "tagged field {tag} is not as long as it says"),
            Self::Budget => f.write_str("too many structures, strings and tagged fields"),
            Self::Version(v) => write!(f, "version {v} is not known"),
            Self::Type(t) => write!(f, "type {t} is not known here"),
            Self::Frame(v) => write!(f, "frame version {v} is not known"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a message cannot be written in the version asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// The message that was being written, empty when none was.
    pub message: &'static str,
    /// The field, empty when the message as a whole is meant.
    pub field: &'static str,
    /// The version asked for.
    pub version: i16,
    /// What is in the way.
    pub problem: EncodeProblem,
}

/// What can keep a message from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeProblem {
    /// The message has no such version.
    Version,
    /// The field is set, the version lacks it, and it may not be dropped.
    NotInVersion,
    /// The field is null, and the version has no null for it.
    Null,
    /// A string of more than 32,767 bytes, or another value of more than 2,147,483,647.
    TooLong,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, field, version, problem } = self;
        match problem {
            EncodeProblem::Version => write!(f, "{message} has no version {version}"),
            EncodeProblem::NotInVersion => write!(f, "{message} version {version} cannot carry {field}"),
            EncodeProblem::Null => write!(f, "{field} of {message} version {version} cannot be null"),
            EncodeProblem::TooLong => write!(f, "a value in {message} version {version} is too long"),
        }
    }
}

impl std::error::Error for EncodeError {}
