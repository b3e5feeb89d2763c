//! A case: words with tabs between them, and what our classes answer. `java/Oracle.java` reads the same.
//!
//! - `json SETTINGS TEXT`: JsonConverter reads the text and writes it again;
//! - `convert CLASS SETTINGS JSON`: a converter writes a value and reads it again;
//! - `bytes CLASS SETTINGS HEX`: a converter reads bytes;
//! - `header TEXT`: SimpleHeaderConverter reads the text and writes it again;
//! - `configure CLASS SETTINGS`: a transform, predicate or header converter takes its settings;
//! - `transform CLASS SETTINGS KEY VALUE`: a transform gets a record.
//!
//! Values are JSON with a schema, or `-` for nothing; settings are `name=value;name=value`; `\n`, `\t`, `\r` and `\\` are
//! escapes.

use connect_api::{
    Converter, Error, Header, HeaderConverter, Plugins, Properties, Record, Result, Schema, SchemaAndValue, SchemaRef,
    Type, Value,
};
use connect_transforms::{JsonConverter, SimpleHeaderConverter};

/// What our classes say to a case.
pub fn answer(case: &str) -> String {
    let fields: Vec<String> = case.split('\t').map(unescape).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let answer = run(&fields).unwrap_or_else(|error: Error| {
        let class = error.class();
        let name = class.rsplit('.').next().unwrap_or(class);
        // What Java says to a missing value is about its own code.
        match name {
            "NullPointerException" => format!("error {name}"),
            _ => format!("error {name}: {}", error.message),
        }
    });
    escape(&answer)
}

fn run(fields: &[&str]) -> Result<String> {
    let json = json_converter("")?;
    let mut plugins = Plugins::new();
    connect_transforms::register(&mut plugins, "1");
    Ok(match *fields {
        ["json", settings, input] => {
            let converter = json_converter(settings)?;
            let read = Converter::decode(&converter, "t", Some(input.as_bytes()))?;
            let written = Converter::encode(&converter, "t", read.schema.as_ref(), &read.value)?;
            let value = if matches!(read.value, Value::Bytes(_)) { "bytes".to_owned() } else { read.value.to_string() };
            format!("{value} | {}", text(written.as_deref()))
        }
        ["convert", class, settings, value] => {
            let mut converter = (plugins.find_converter(&full(class)).expect(class).new)();
            converter.configure(&properties(settings), false)?;
            let value = read(&json, value)?;
            let bytes = converter.encode("t", value.schema.as_ref(), &value.value)?;
            let back = converter.decode("t", bytes.as_deref())?;
            format!("{} | {}", hex(bytes.as_deref()), written(&json, back.schema.as_ref(), &back.value))
        }
        ["bytes", class, settings, bytes] => {
            let mut converter = (plugins.find_converter(&full(class)).expect(class).new)();
            converter.configure(&properties(settings), false)?;
            let back = converter.decode("t", unhex(bytes).as_deref())?;
            written(&json, back.schema.as_ref(), &back.value)
        }
        ["header", input] => {
            let converter = SimpleHeaderConverter;
            let read = converter.decode("t", "h", Some(input.as_bytes()))?;
            let back = converter.encode("t", "h", read.schema.as_ref(), &read.value)?;
            format!("{} | {}", text(back.as_deref()), written(&json, read.schema.as_ref(), &read.value))
        }
        ["configure", class, settings] => {
            let (class, settings) = (full(class), properties(settings));
            if let Some(plugin) = plugins.find_transform(&class) {
                (plugin.new)().configure(&settings)?;
            } else if let Some(plugin) = plugins.find_predicate(&class) {
                (plugin.new)().configure(&settings)?;
            } else {
                (plugins.find_header_converter(&class).expect(&class).new)().configure(&settings)?;
            }
            "fine".to_owned()
        }
        ["transform", class, settings, key, value] => {
            let mut transform = (plugins.find_transform(&full(class)).expect(class).new)();
            transform.configure(&properties(settings))?;
            let (key, value) = (read(&json, key)?, read(&json, value)?);
            let record = Record {
                topic: "topic-a".into(),
                partition: Some(3),
                key_schema: key.schema,
                key: key.value,
                value_schema: value.schema,
                value: value.value,
                timestamp: Some(1_709_211_909_007),
                headers: headers(),
                kafka_offset: Some(42),
            };
            match transform.apply(record)? {
                None => "dropped".to_owned(),
                Some(record) => {
                    let key = written(&json, record.key_schema.as_ref(), &record.key);
                    let value = written(&json, record.value_schema.as_ref(), &record.value);
                    let mut text = format!("{} | {key} | {value}", record.topic);
                    let changed = record.headers != headers();
                    for header in record.headers.iter().filter(|_| changed) {
                        let value = written(&json, header.schema.as_ref(), &header.value);
                        text.push_str(&format!(" | {}={value}", header.key));
                    }
                    text
                }
            }
        }
        _ => panic!("no such case: {fields:?}"),
    })
}

/// The headers of the record that transforms get; an answer has them only when they came out changed.
fn headers() -> Vec<Header> {
    let header =
        |key: &str, kind: Type, value: Value| Header { key: key.to_owned(), schema: Some(Schema::of(kind)), value };
    vec![
        header("h", Type::String, "1".into()),
        header("n", Type::Int32, 2.into()),
        header("h", Type::String, "3".into()),
    ]
}

fn full(class: &str) -> String {
    format!("org.apache.kafka.connect.{class}")
}

fn json_converter(settings: &str) -> Result<JsonConverter> {
    let mut converter = JsonConverter::default();
    Converter::configure(&mut converter, &properties(settings), false)?;
    Ok(converter)
}

fn properties(settings: &str) -> Properties {
    let pairs = settings.split(';').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').expect(pair))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn read(json: &JsonConverter, value: &str) -> Result<SchemaAndValue> {
    match value {
        "-" => Ok(SchemaAndValue::default()),
        value => Converter::decode(json, "t", Some(value.as_bytes())),
    }
}

/// As JSON. Kafka cannot write a map whose schema says nothing about its keys.
fn written(json: &JsonConverter, schema: Option<&SchemaRef>, value: &Value) -> String {
    if schema.is_some_and(|schema| schema.kind() == Type::Map && schema.key_schema().is_none()) {
        return value.to_string();
    }
    Converter::encode(json, "t", schema, value)
        .map_or_else(|error| format!("{value} ({})", error.message), |bytes| text(bytes.as_deref()))
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "none".to_owned(), |bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

fn hex(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (text != "none").then(|| (0..text.len()).step_by(2).map(byte).collect())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        plain.push(match character {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                other => other.expect("an escape"),
            },
            other => other,
        });
    }
    plain
}
