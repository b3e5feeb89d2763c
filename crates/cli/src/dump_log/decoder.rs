//! What the key and the value of a record mean, by the kind of log they are in.

use wire::codec::Decoder;

use super::schema::Schema;
use super::schemas;
use crate::text;
use crate::tool::Exception;

/// How records are read.
pub enum RecordDecoder {
    /// Keys and values as Kafka's simple decoders give them.
    Plain { key: Plain, value: Plain },
    /// `__cluster_metadata`: a number for the type, a version, the message.
    Metadata(Vec<Schema>),
    /// `__remote_log_metadata`: the same without the frame's own version.
    Tiered(Vec<Schema>),
    /// A coordinator's topic: keys begin with their type, values with their version.
    Coordinator { schemas: Vec<Schema>, consumers: Vec<Schema> },
}

/// Kafka's decoders for `--key-decoder-class` and `--value-decoder-class`.
#[derive(Clone, Copy, Debug)]
pub enum Plain {
    Text,
    Integer,
    Long,
    Bytes,
}

impl Plain {
    /// By Kafka's class name, the older ones included.
    pub fn named(class: &str) -> Result<Plain, Exception> {
        let names = ["org.apache.kafka.tools.api.", "kafka.serializer.", "kafka.tools."];
        let name = names.iter().find_map(|p| class.strip_prefix(p)).unwrap_or(class);
        Ok(match name {
            "StringDecoder" => Plain::Text,
            "IntegerDecoder" => Plain::Integer,
            "LongDecoder" => Plain::Long,
            "DefaultDecoder" => Plain::Bytes,
            _ => return Err(Exception::new("java.lang.ClassNotFoundException", class)),
        })
    }

    fn read(self, bytes: &[u8]) -> String {
        match self {
            Plain::Text => text::decode(bytes).into_owned(),
            Plain::Integer => match bytes.try_into() {
                Ok(bytes) => i32::from_be_bytes(bytes).to_string(),
                Err(_) => format!("<{} bytes, not an integer>", bytes.len()),
            },
            Plain::Long => match bytes.try_into() {
                Ok(bytes) => i64::from_be_bytes(bytes).to_string(),
                Err(_) => format!("<{} bytes, not a long>", bytes.len()),
            },
            Plain::Bytes => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        }
    }
}

fn parsed(list: &[&str]) -> Vec<Schema> {
    list.iter().filter_map(|text| Schema::parse(text)).collect()
}

impl RecordDecoder {
    pub fn metadata() -> RecordDecoder {
        RecordDecoder::Metadata(parsed(schemas::METADATA))
    }

    pub fn tiered() -> RecordDecoder {
        RecordDecoder::Tiered(parsed(schemas::TIERED))
    }

    pub fn groups() -> RecordDecoder {
        RecordDecoder::Coordinator { schemas: parsed(schemas::GROUPS), consumers: parsed(schemas::CONSUMERS) }
    }

    pub fn transactions() -> RecordDecoder {
        RecordDecoder::Coordinator { schemas: parsed(schemas::TRANSACTIONS), consumers: Vec::new() }
    }

    pub fn share_state() -> RecordDecoder {
        RecordDecoder::Coordinator { schemas: parsed(schemas::SHARE_STATE), consumers: Vec::new() }
    }

    /// What is shown as key and as payload.
    pub fn read(
        &self,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(Option<String>, Option<String>), Exception> {
        match self {
            RecordDecoder::Plain { key: k, value: v } => Ok((key.map(|b| k.read(b)), value.map(|b| v.read(b)))),
            RecordDecoder::Metadata(schemas) => {
                let shown = framed(schemas, value.unwrap_or_default(), true);
                Ok((None, Some(shown.unwrap_or_else(|why| format!("Error at {offset}, skipping. {why}")))))
            }
            RecordDecoder::Tiered(schemas) => {
                let shown = framed(schemas, value.unwrap_or_default(), false);
                Ok((None, Some(shown.unwrap_or_else(|why| format!("Error at {offset}, skipping. {why}")))))
            }
            RecordDecoder::Coordinator { schemas, consumers } => coordinator(schemas, consumers, offset, key, value),
        }
    }
}

/// A message behind its frame version (in the metadata log), type and version, all variable-length integers.
fn framed(schemas: &[Schema], bytes: &[u8], has_frame_version: bool) -> Result<String, String> {
    const FRAME: u32 = 1;
    let mut d = Decoder::new(bytes);
    if has_frame_version {
        match d.uvarint().map_err(|_| "Error while reading frame version")? {
            FRAME => {}
            0 => {
                return Err("Could not deserialize metadata record with frame version 0. Note that upgrades from the preview release of KRaft in 2.8 to newer versions are not supported.".into());
            }
            other => {
                return Err(format!(
                    "Could not deserialize metadata record due to unknown frame version {other}(only frame version 1 is supported)"
                ));
            }
        }
    }
    let number = d.uvarint().map_err(|_| "Error while reading type")?;
    let version = d.uvarint().map_err(|_| "Error while reading version")?;
    let schema = schemas
        .iter()
        .find(|s| s.number == i64::from(number))
        .ok_or_else(|| format!("Unknown metadata id {number}"))?;
    let known = i16::try_from(version).ok().filter(|v| schema.knows(*v));
    let version = known.ok_or_else(|| format!("Unknown version {version} of {}", schema.name))?;
    let json = schema.read(&mut d, version, &|_, _| None).map_err(|e| e.to_string())?;
    if d.remaining() > 0 {
        return Err(format!("Found {} byte(s) of garbage after {}", d.remaining(), schema.name));
    }
    Ok(format!("{{\"type\":\"{}\",\"version\":{version},\"data\":{json}}}", constant_name(&schema.name)))
}

/// `NoOpRecord` is `NO_OP_RECORD` to Kafka's enums.
fn constant_name(name: &str) -> String {
    let mut constant = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_ascii_uppercase() {
            constant.push('_');
        }
        constant.push(c.to_ascii_uppercase());
    }
    constant
}

fn coordinator(
    schemas: &[Schema],
    consumers: &[Schema],
    offset: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(Option<String>, Option<String>), Exception> {
    let Some(key) = key else {
        return Err(Exception::new(
            "java.lang.RuntimeException",
            format!(
                "Failed to decode message at offset {offset} using the specified decoder (message had a missing key)"
            ),
        ));
    };
    let broken = |why: &dyn std::fmt::Display| (Some(format!("Error at offset {offset}, skipping. {why}")), None);
    let mut d = Decoder::new(key);
    let Ok(number) = d.i16() else { return Ok(broken(&"Could not read record with key's version.")) };
    let of = |is_key: bool| schemas.iter().find(|s| s.is_key == is_key && s.number == i64::from(number));
    let (Some(key_schema), Some(value_schema)) = (of(true), of(false)) else {
        return Ok((Some(format!("Unknown record type {number} at offset {offset}, skipping.")), None));
    };
    let shown_key = match key_schema.read(&mut d, 0, &|_, _| None) {
        Ok(json) => format!("{{\"type\":\"{number}\",\"data\":{json}}}"),
        Err(error) => return Ok(broken(&error)),
    };
    let Some(value) = value else { return Ok((Some(shown_key), Some("<DELETE>".to_owned()))) };
    let mut d = Decoder::new(value);
    let version = match d.i16() {
        Ok(version) if value_schema.knows(version) => version,
        Ok(version) => return Ok(broken(&format!("Unknown version {version} of {}", value_schema.name))),
        Err(error) => return Ok(broken(&error)),
    };
    // Members of consumer groups say in bytes of their own what they want and got.
    let consumer_group = value.windows(8).any(|w| w == b"consumer");
    let replace = |field: &str, bytes: &[u8]| -> Option<String> {
        let name = match field {
            "subscription" => "ConsumerProtocolSubscription",
            "assignment" => "ConsumerProtocolAssignment",
            _ => return None,
        };
        let schema = consumers.iter().find(|s| s.name == name).filter(|_| consumer_group)?;
        let mut d = Decoder::new(bytes);
        let version = d.i16().ok()?.min(3);
        schema.read(&mut d, version, &|_, _| None).ok()
    };
    match value_schema.read(&mut d, version, &replace) {
        Ok(json) => Ok((Some(shown_key), Some(format!("{{\"version\":\"{version}\",\"data\":{json}}}")))),
        Err(error) => Ok(broken(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::codec::{CoordinatorKey, Message};
    use wire::messages::{OffsetCommitKey, OffsetCommitValue};

    #[test]
    fn a_committed_offset_is_shown_as_kafka_shows_it() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2, ..Default::default() };
        let value = OffsetCommitValue { offset: 7, metadata: "".into(), commit_timestamp: 9, ..Default::default() };
        let (key, value) = (key.encode_key().unwrap(), value.encode_value(3).unwrap());
        let (k, v) = RecordDecoder::groups().read(0, Some(&key), Some(&value)).unwrap();
        assert_eq!(k.unwrap(), r#"{"type":"1","data":{"group":"g","topic":"t","partition":2}}"#);
        assert_eq!(
            v.unwrap(),
            r#"{"version":"3","data":{"offset":7,"leaderEpoch":-1,"metadata":"","commitTimestamp":9}}"#
        );
        let (_, v) = RecordDecoder::groups().read(0, Some(&key), None).unwrap();
        assert_eq!(v.unwrap(), "<DELETE>");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_offset() {
        let read = |bytes: &[u8]| RecordDecoder::metadata().read(5, None, Some(bytes)).unwrap().1.unwrap();
        assert_eq!(read(b""), "Error at 5, skipping. Error while reading frame version");
        assert!(read(&[118]).contains("unknown frame version 118"));
        assert!(read(&[1, 99, 0]).contains("Unknown metadata id 99"));
        let (key, _) = RecordDecoder::groups().read(5, Some(&[0x6b, 0x31]), Some(b"x")).unwrap();
        assert_eq!(key.unwrap(), "Unknown record type 27441 at offset 5, skipping.");
        assert!(RecordDecoder::groups().read(5, None, Some(b"x")).is_err());
    }
}
