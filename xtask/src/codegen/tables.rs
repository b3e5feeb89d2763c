//! What lists the messages: the index of modules, API keys, error codes, metadata records.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    Files, HEADER, names,
    schema::{Kind, Message},
    structs::borrows,
};

pub fn generate(schemas: &Path, messages: &[Message], files: &mut Files) -> Result<(), String> {
    files.insert("messages/mod.rs".into(), index(messages));
    files.insert("messages/metadata_record.rs".into(), metadata_record(messages)?);
    files.insert("messages/testing.rs".into(), testing(messages));
    files.insert("messages/api_key.rs".into(), api_key(messages)?);
    let read = |name: &str| {
        let path = schemas.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    files.insert("messages/error_code.rs".into(), error_code(&read("errors.tsv")?, &read("error_messages.tsv")?)?);
    Ok(())
}

fn index(messages: &[Message]) -> String {
    let mut out = format!(
        "{HEADER}//! Kafka's messages and records, one module each. The message itself can also be named without its module.\n\n"
    );
    for message in messages {
        let _ = writeln!(out, "pub mod {};", names::snake(&message.name));
    }
    out += "\nmod api_key;\nmod error_code;\nmod metadata_record;\n#[cfg(feature = \"testing\")]\npub mod testing;\n\n";
    for message in messages {
        let _ = writeln!(out, "pub use {}::{};", names::snake(&message.name), message.name);
    }
    out += "pub use api_key::{ApiKey, Listener, UnknownApiKey};\npub use error_code::ErrorCode;\npub use metadata_record::MetadataRecord;\n";
    out
}

fn metadata_record(messages: &[Message]) -> Result<String, String> {
    let mut records: Vec<(i16, &Message)> = Vec::new();
    for message in messages.iter().filter(|message| message.kind == Kind::Metadata) {
        records.push((message.api_key.ok_or_else(|| format!("{} has no type", message.name))?, message));
    }
    records.sort_by_key(|(key, _)| *key);
    let variant = |message: &Message| message.name.trim_end_matches("Record").to_owned();
    let mut out = format!(
        "{HEADER}use super::*;
        use crate::codec::{{DecodeError, DecodeProblem, Decoder, EncodeError, Encoder, Message}};

        /// A record of the metadata log, whichever it is.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = \"records are handled one at a time\")]
        pub enum MetadataRecord<'a> {{\n"
    );
    for (_, message) in &records {
        let lifetime = if borrows(message, &message.structs[0]) { "<'a>" } else { "" };
        let _ = writeln!(out, "{}({}{lifetime}),", variant(message), message.name);
    }
    out += "}\n\nimpl<'a> MetadataRecord<'a> {
        /// The frame around a record: the only version there is.
        const FRAME_VERSION: u32 = 1;

        /// The number that tells what kind of record it is.
        pub fn record_type(&self) -> i16 { match self {\n";
    for (key, message) in &records {
        let _ = writeln!(out, "Self::{}(_) => {key},", variant(message));
    }
    out += "} }\n\n/// Kafka's name of it, as in `TopicRecord`.
        pub fn name(&self) -> &'static str { match self {\n";
    for (_, message) in &records {
        let _ = writeln!(out, "Self::{}(_) => {:?},", variant(message), message.name);
    }
    out += "} }\n\n/// The highest version that is known of it.
        pub fn highest_version(&self) -> i16 { match self {\n";
    for (_, message) in &records {
        let _ = writeln!(out, "Self::{}(_) => {},", variant(message), message.versions.high);
    }
    out += "} }\n\n/// Reads a record's value: frame version, type, version, then the record.
        ///
        /// A frame version, type or version that is not known is an error that says which.
        pub fn decode_value(bytes: &'a [u8]) -> Result<Self, DecodeError> {
            let mut d = Decoder::new(bytes);
            let named = |error: DecodeError| DecodeError { message: \"MetadataRecord\", ..error };
            let frame = d.uvarint().map_err(named)?;
            if frame != Self::FRAME_VERSION {
                return Err(named(d.error(DecodeProblem::Frame(frame))));
            }
            let record_type = d.uvarint().map_err(named)?;
            let version = d.uvarint().map_err(named)?;
            // Beyond int16 there is no version: any that no record has will do.
            let version = i16::try_from(version).unwrap_or(i16::MAX);
            Ok(match record_type {\n";
    for (key, message) in &records {
        let _ = writeln!(out, "{key} => Self::{}(Message::decode(&mut d, version)?),", variant(message));
    }
    out += "other => return Err(named(d.error(DecodeProblem::Type(i64::from(other))))),
            })
        }

        /// The record's value as the metadata log has it.
        pub fn encode_value(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
            let mut e = Encoder::new();
            e.uvarint(Self::FRAME_VERSION);
            e.uvarint(self.record_type() as u32);
            e.uvarint(version.max(0) as u32);
            match self {\n";
    for (_, message) in &records {
        let _ = writeln!(out, "Self::{}(record) => record.encode(&mut e, version)?,", variant(message));
    }
    out += "}\nOk(e.into_bytes())\n}\n}\n";
    for (_, message) in &records {
        let (of, lifetime) = if borrows(message, &message.structs[0]) { ("<'a>", "<'a>") } else { ("", "<'_>") };
        let parameters = if of.is_empty() { "" } else { "<'a>" };
        let _ = writeln!(
            out,
            "\nimpl{parameters} From<{name}{of}> for MetadataRecord{lifetime} {{
                fn from(record: {name}{of}) -> Self {{ Self::{}(record) }}
            }}",
            variant(message),
            name = message.name,
        );
    }
    Ok(out)
}

/// An index of all messages for tests and fuzzers.
fn testing(messages: &[Message]) -> String {
    let mut out = format!(
        "{HEADER}//! All messages by name, for tests and fuzzers only.

        use super::*;
        use crate::codec::{{Element, Message}};

        /// What a test does with every message.
        pub trait Visitor {{
            fn visit<'a, M: Message<'a> + PartialEq + std::fmt::Debug + Default>(&mut self, bytes: &'a [u8]);
        }}

        /// The names of all messages.
        pub const NAMES: [&str; {}] = [\n",
        messages.len()
    );
    for message in messages {
        let _ = writeln!(out, "{:?},", message.name);
    }
    out += "];\n\n/// Shows a visitor the message of that name. Panics when there is none.
        pub fn visit<V: Visitor>(name: &str, bytes: &[u8], visitor: &mut V) {
            match name {\n";
    for message in messages {
        let lifetime = if borrows(message, &message.structs[0]) { "<'_>" } else { "" };
        let _ = writeln!(out, "{:?} => visitor.visit::<{}{lifetime}>(bytes),", message.name, message.name);
    }
    out += "_ => panic!(\"no message {name}\"),\n}\n}\n\n";
    out += "/// What a test does with every structure inside of messages.
        pub trait StructVisitor {
            fn visit<'a, T: Element<'a> + Default>(&mut self, flexible_from: i16);
        }

        /// Shows a visitor a structure of a message. Panics when there is none.
        pub fn visit_struct<V: StructVisitor>(message: &str, name: &str, visitor: &mut V) {
            match (message, name) {\n";
    for message in messages {
        let module = names::snake(&message.name);
        for inner in &message.structs[1..] {
            let lifetime = if borrows(message, inner) { "<'_>" } else { "" };
            let _ = writeln!(
                out,
                "({:?}, {:?}) => visitor.visit::<{module}::{}{lifetime}>({}::FLEXIBLE_FROM),",
                message.name, inner.name, inner.name, message.name
            );
        }
    }
    out += "_ => panic!(\"no structure {name} in {message}\"),\n}\n}\n";
    out
}

fn api_key(messages: &[Message]) -> Result<String, String> {
    let mut apis: Vec<(i16, &str, &Message)> = Vec::new();
    for message in messages.iter().filter(|message| message.kind == Kind::Request) {
        let key = message.api_key.ok_or_else(|| format!("{} has no key", message.name))?;
        apis.push((key, message.name.trim_end_matches("Request"), message));
    }
    apis.sort_by_key(|(key, ..)| *key);
    let mut out = format!(
        "{HEADER}use std::{{fmt, ops::RangeInclusive}};

        /// The APIs of Kafka 4.3, by the key that a request's header names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {{\n"
    );
    for (key, name, _) in &apis {
        let _ = writeln!(out, "{name} = {key},");
    }
    out += "}

        /// Who serves an API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Listener { Broker, Controller }

        /// No API has this key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct UnknownApiKey(pub i16);

        impl fmt::Display for UnknownApiKey {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, \"no API has key {}\", self.0) }
        }

        impl std::error::Error for UnknownApiKey {}

        impl fmt::Display for ApiKey {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.name()) }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = UnknownApiKey;

            fn try_from(key: i16) -> Result<Self, UnknownApiKey> {
                usize::try_from(key)
                    .ok()
                    .and_then(|key| BY_KEY.get(key).copied().flatten())
                    .ok_or(UnknownApiKey(key))
            }
        }

        /// What the schemas say of an API.
        struct Facts {
            name: &'static str,
            versions: (i16, i16),
            flexible_from: i16,
            latest_unstable: bool,
            listeners: &'static [Listener],
        }

        impl ApiKey {\n";
    let _ = writeln!(out, "/// All of them, by key.\npub const ALL: [Self; {}] = [", apis.len());
    for (_, name, _) in &apis {
        let _ = writeln!(out, "Self::{name},");
    }
    out += "];

        /// Kafka's name, as in `Produce`.
        pub fn name(self) -> &'static str { self.facts().name }

        /// The versions that can be read and written, an unstable last one included.
        pub fn valid_versions(self) -> RangeInclusive<i16> {
            let (low, high) = self.facts().versions;
            low..=high
        }

        /// Whether the last of the valid versions is not to be advertised.
        pub fn latest_unstable(self) -> bool { self.facts().latest_unstable }

        /// The valid versions without an unstable last one.
        pub fn stable_versions(self) -> RangeInclusive<i16> {
            let (low, high) = self.facts().versions;
            low..=high - i16::from(self.latest_unstable())
        }

        /// Whether the version has compact lengths and tagged fields (KIP-482).
        pub fn is_flexible(self, version: i16) -> bool { version >= self.facts().flexible_from }

        /// The version of the header of a request: 2 with tagged fields, else 1.
        pub fn request_header_version(self, version: i16) -> i16 { if self.is_flexible(version) { 2 } else { 1 } }

        /// The version of the header of a response: 1 with tagged fields, else 0. ApiVersions always has 0, so that a
        /// client can read the answer to a version that the broker does not know.
        pub fn response_header_version(self, version: i16) -> i16 {
            i16::from(self != Self::ApiVersions && self.is_flexible(version))
        }

        /// Who serves it: brokers, controllers, or both.
        pub fn listeners(self) -> &'static [Listener] { self.facts().listeners }

        fn facts(self) -> &'static Facts {
            match self {\n";
    for (_, name, message) in &apis {
        let flexible =
            if message.flexible.is_empty() { "i16::MAX".to_owned() } else { message.flexible.low.to_string() };
        let mut listeners = Vec::new();
        for listener in ["broker", "controller"] {
            if message.listeners.iter().any(|l| l == listener) {
                listeners.push(format!("Listener::{}", names::camel(listener)));
            }
        }
        let _ = writeln!(
            out,
            "Self::{name} => &Facts {{
                name: {name:?},
                versions: ({}, {}),
                flexible_from: {flexible},
                latest_unstable: {},
                listeners: &[{}],
            }},",
            message.versions.low,
            message.versions.high,
            message.latest_unstable,
            listeners.join(", ")
        );
    }
    out += "}\n}\n}\n\n";
    let highest = apis.last().map_or(0, |(key, ..)| *key);
    let _ = writeln!(out, "const BY_KEY: [Option<ApiKey>; {}] = [", highest + 1);
    for key in 0..=highest {
        match apis.iter().find(|(k, ..)| *k == key) {
            Some((_, name, _)) => {
                let _ = writeln!(out, "Some(ApiKey::{name}),");
            }
            None => out += "None,\n",
        }
    }
    out += "];\n";
    Ok(out)
}

fn error_code(codes: &str, messages: &str) -> Result<String, String> {
    let mut errors: Vec<(i16, &str, bool, &str)> = Vec::new();
    for line in codes.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut cells = line.split('\t');
        let (Some(code), Some(name)) = (cells.next(), cells.next()) else { return Err(format!("error {line:?}")) };
        let code = code.parse().map_err(|_| format!("error {line:?}"))?;
        let retriable = cells.next() == Some("retriable");
        let message = messages.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        errors.push((code, name, retriable, message.ok_or_else(|| format!("{name} has no message"))?));
    }
    let mut out = format!(
        "{HEADER}use std::fmt;

        /// Kafka's error codes, as responses carry them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {{\n"
    );
    for (code, name, _, message) in &errors {
        let default = if *code == 0 { "#[default]\n" } else { "" };
        let _ = writeln!(out, "/// {message}\n{default}{} = {code},", names::camel(name));
    }
    out += "}\n\nimpl ErrorCode {\n";
    let _ = writeln!(out, "/// All of them, by code.\npub const ALL: [Self; {}] = [", errors.len());
    for (_, name, ..) in &errors {
        let _ = writeln!(out, "Self::{},", names::camel(name));
    }
    out += "];

        /// The number on the wire.
        pub const fn code(self) -> i16 { self as i16 }

        /// The error with that number; `UnknownServerError` for a number that is not known, as Kafka's clients take it.
        pub fn from_code(code: i16) -> Self {
            usize::try_from(i32::from(code) + 1)
                .ok()
                .and_then(|index| Self::ALL.get(index).copied())
                .unwrap_or(Self::UnknownServerError)
        }

        /// Whether it is no error.
        pub const fn is_none(self) -> bool { matches!(self, Self::None) }

        /// Kafka's name, as in `UNKNOWN_TOPIC_OR_PARTITION`.
        pub const fn name(self) -> &'static str { match self {\n";
    for (_, name, ..) in &errors {
        let _ = writeln!(out, "Self::{} => {name:?},", names::camel(name));
    }
    out += "} }\n\n/// Whether the same request may succeed later.
        pub const fn is_retriable(self) -> bool { matches!(self, ";
    let retriable: Vec<_> = errors
        .iter()
        .filter(|(.., retriable, _)| *retriable)
        .map(|(_, n, ..)| format!("Self::{}", names::camel(n)))
        .collect();
    out += &retriable.join(" | ");
    out += ") }\n\n/// What Kafka says where nothing more particular is known.
        pub const fn message(self) -> &'static str { match self {\n";
    for (_, name, _, message) in &errors {
        let _ = writeln!(out, "Self::{} => {message:?},", names::camel(name));
    }
    out += "} }\n}\n
        impl fmt::Display for ErrorCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.name()) }
        }\n";
    let dense = errors.iter().enumerate().all(|(i, (code, ..))| i32::from(*code) == i as i32 - 1);
    if dense { Ok(out) } else { Err("error codes have gaps".into()) }
}
