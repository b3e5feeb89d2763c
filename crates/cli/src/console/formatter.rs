//! How a record is printed: Kafka's `DefaultMessageFormatter` with its properties, and its two simple companions.

use std::io::{self, Write};

use client::Properties;
use client::consumer::ConsumerRecord;
use wire::records::TimestampType;

use crate::tool::{Exception, Stop};
use crate::{complain, term, text};

/// What prints records.
#[derive(Debug)]
pub enum Formatter {
    Default(Fields),
    /// The fields, and all of the record in the log.
    Logging(Fields),
    Nothing,
}

impl Formatter {
    /// By Kafka's class name.
    pub fn new(class: &str, properties: &Properties) -> Result<Formatter, Stop> {
        let name = class.strip_prefix("org.apache.kafka.tools.consumer.").or(class.strip_prefix("kafka.tools."));
        Ok(match name.unwrap_or_default() {
            "DefaultMessageFormatter" => Formatter::Default(Fields::new(properties)),
            "LoggingMessageFormatter" => Formatter::Logging(Fields::new(properties)),
            "NoOpMessageFormatter" => Formatter::Nothing,
            _ => return Err(Stop::Usage(class.to_owned())),
        })
    }

    /// Prints a record.
    pub fn write(&self, record: &ConsumerRecord<'_>, out: &mut impl Write) -> Result<(), Trouble> {
        match self {
            Formatter::Default(fields) => fields.write(record, out),
            Formatter::Logging(fields) => {
                fields.write(record, out)?;
                let shown = |b: Option<&[u8]>| b.map_or_else(|| "null".into(), |b| text::decode(b).into_owned());
                let message = format!(
                    "{}:{}, key:{}, value:{}",
                    type_name(record.timestamp_type),
                    record.timestamp,
                    shown(record.key),
                    shown(record.value)
                );
                term::log("INFO", &message, "org.apache.kafka.tools.consumer.LoggingMessageFormatter");
                Ok(())
            }
            Formatter::Nothing => Ok(()),
        }
    }
}

/// Why a record could not be printed.
#[derive(Debug)]
pub enum Trouble {
    /// Standard output is closed.
    Output,
    /// The record is not what the deserializer expects.
    Record(Exception),
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Trouble {
        Trouble::Output
    }
}

/// Which fields of a record are printed, in this order, and what stands between them.
#[derive(Debug)]
pub struct Fields {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    separator: String,
    line_end: String,
    headers_separator: String,
    null: String,
    key_type: Option<Type>,
    value_type: Option<Type>,
    header_type: Option<Type>,
}

impl Fields {
    fn new(properties: &Properties) -> Fields {
        let flag =
            |name: &str, default: bool| properties.get(name).map_or(default, |v| v.trim().eq_ignore_ascii_case("true"));
        let text = |name: &str, default: &str| properties.get(name).map_or(default, String::as_str).to_owned();
        Fields {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            delivery: flag("print.delivery", false),
            epoch: flag("print.epoch", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            separator: text("key.separator", "\t"),
            line_end: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null: text("null.literal", "null"),
            key_type: Type::named(properties.get("key.deserializer")),
            value_type: Type::named(properties.get("value.deserializer")),
            header_type: Type::named(properties.get("headers.deserializer")),
        }
    }

    fn write(&self, r: &ConsumerRecord<'_>, out: &mut impl Write) -> Result<(), Trouble> {
        let shown = [
            self.timestamp,
            self.partition,
            self.offset,
            self.delivery,
            self.epoch,
            self.headers,
            self.key,
            self.value,
        ];
        let last = shown.iter().rposition(|s| *s);
        for (i, _) in shown.iter().enumerate().filter(|(_, s)| **s) {
            match i {
                0 => write!(out, "{}:{}", type_name(r.timestamp_type), r.timestamp)?,
                1 => write!(out, "Partition:{}", r.partition)?,
                2 => write!(out, "Offset:{}", r.offset)?,
                // Only share groups count deliveries.
                3 => write!(out, "Delivery:NOT_PRESENT")?,
                4 => match r.leader_epoch {
                    -1 => write!(out, "Epoch:NOT_PRESENT")?,
                    epoch => write!(out, "Epoch:{epoch}")?,
                },
                5 => self.write_headers(r, out)?,
                6 => self.write_bytes(r.key, self.key_type, out)?,
                _ => self.write_bytes(r.value, self.value_type, out)?,
            }
            let end = if Some(i) == last { &self.line_end } else { &self.separator };
            out.write_all(end.as_bytes())?;
        }
        Ok(())
    }

    fn write_headers(&self, r: &ConsumerRecord<'_>, out: &mut impl Write) -> Result<(), Trouble> {
        if r.headers().len() == 0 {
            out.write_all(b"NO_HEADERS")?;
        }
        for (i, (key, value)) in r.headers().enumerate() {
            if i > 0 {
                out.write_all(self.headers_separator.as_bytes())?;
            }
            out.write_all(key)?;
            out.write_all(b":")?;
            self.write_bytes(value, self.header_type, out)?;
        }
        Ok(())
    }

    fn write_bytes(&self, bytes: Option<&[u8]>, kind: Option<Type>, out: &mut impl Write) -> Result<(), Trouble> {
        match (bytes, kind) {
            (None, _) => out.write_all(self.null.as_bytes())?,
            (Some(bytes), None) => out.write_all(bytes)?,
            (Some(bytes), Some(kind)) => out.write_all(kind.read(bytes)?.as_bytes())?,
        }
        Ok(())
    }
}

fn type_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// Kafka's own deserializers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Type {
    /// A class that is not known is told and means no deserializer, as in Kafka.
    fn named(class: Option<&String>) -> Option<Type> {
        let class = class?.trim();
        Some(match class.strip_prefix("org.apache.kafka.common.serialization.").unwrap_or(class) {
            "StringDeserializer" => Type::Text,
            "ShortDeserializer" => Type::Short,
            "IntegerDeserializer" => Type::Integer,
            "LongDeserializer" => Type::Long,
            "FloatDeserializer" => Type::Float,
            "DoubleDeserializer" => Type::Double,
            "BooleanDeserializer" => Type::Boolean,
            "UUIDDeserializer" => Type::Uuid,
            "ByteArrayDeserializer" | "BytesDeserializer" | "ByteBufferDeserializer" => return None,
            _ => {
                let message = format!("Unable to instantiate a deserializer from {class}");
                term::log("ERROR", &message, "org.apache.kafka.tools.consumer.DefaultMessageFormatter");
                complain!("java.lang.ClassNotFoundException: {class}");
                return None;
            }
        })
    }

    fn read(self, bytes: &[u8]) -> Result<String, Trouble> {
        let wrong = |size: usize, name: &str| {
            let message = format!("Size of data received by {name} is not {size}");
            Trouble::Record(Exception::new("org.apache.kafka.common.errors.SerializationException", message))
        };
        Ok(match self {
            Type::Text => text::decode(bytes).into_owned(),
            Type::Short => i16::from_be_bytes(bytes.try_into().map_err(|_| wrong(2, "ShortDeserializer"))?).to_string(),
            Type::Integer => {
                i32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4, "IntegerDeserializer"))?).to_string()
            }
            Type::Long => i64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8, "LongDeserializer"))?).to_string(),
            Type::Float => {
                format!("{:?}", f32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4, "FloatDeserializer"))?))
            }
            Type::Double => {
                format!("{:?}", f64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8, "DoubleDeserializer"))?))
            }
            Type::Boolean => match bytes {
                [b @ (0 | 1)] => (*b == 1).to_string(),
                _ => return Err(wrong(1, "BooleanDeserializer")),
            },
            Type::Uuid => text::decode(bytes).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_java_reads_them() {
        assert_eq!(Type::Long.read(&7i64.to_be_bytes()).unwrap(), "7");
        assert_eq!(Type::Double.read(&1f64.to_be_bytes()).unwrap(), "1.0");
        let Err(Trouble::Record(exception)) = Type::Long.read(b"abc") else { panic!("refused") };
        assert_eq!(exception.message, "Size of data received by LongDeserializer is not 8");
    }
}
