//! Kafka's message schemas, as the JSON files have them, with names resolved.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// A range of versions, empty when `low > high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

impl Versions {
    pub const NONE: Self = Self { low: 0, high: -1 };

    /// `"3"`, `"3+"`, `"0-12"` or `"none"`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<i16>().map_err(|_| format!("versions {text:?}"));
        if text == "none" {
            Ok(Self::NONE)
        } else if let Some(low) = text.strip_suffix('+') {
            Ok(Self { low: number(low)?, high: i16::MAX })
        } else if let Some((low, high)) = text.split_once('-') {
            Ok(Self { low: number(low)?, high: number(high)? })
        } else {
            Ok(Self { low: number(text)?, high: number(text)? })
        }
    }

    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub fn contains(self, version: i16) -> bool {
        (self.low..=self.high).contains(&version)
    }

    pub fn and(self, other: Self) -> Self {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.low <= other.low && other.high <= self.high)
    }

    /// The smallest range with both in it.
    fn or(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { low: self.low.min(other.low), high: self.high.max(other.high) },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Array(Box<Type>),
    /// By its name within the message.
    Struct(String),
}

impl Type {
    fn parse(text: &str) -> Self {
        if let Some(element) = text.strip_prefix("[]") {
            return Self::Array(Box::new(Self::parse(element)));
        }
        match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name => Self::Struct(name.to_owned()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub type_: Type,
    pub versions: Versions,
    pub nullable: Versions,
    /// The default as the schema writes it; the text "null" is null.
    pub default: Option<String>,
    pub tag: Option<u32>,
    pub ignorable: bool,
    pub map_key: bool,
}

#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    /// Fields before tagged ones in the order of the wire, tagged ones by tag.
    pub fields: Vec<Field>,
    /// The versions in which it can occur.
    pub versions: Versions,
    /// Where it stands, as `field` of `Struct`; nothing for the message itself.
    pub places: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    /// A record of the metadata log.
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
    Data,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub name: String,
    pub kind: Kind,
    pub api_key: Option<i16>,
    pub versions: Versions,
    pub flexible: Versions,
    pub latest_unstable: bool,
    pub listeners: Vec<String>,
    /// The message itself first, then its inner structures.
    pub structs: Vec<Struct>,
}

/// All messages by name. Headers are written by hand, and messages without versions are not there.
pub fn load(folder: &Path) -> Result<Vec<Message>, String> {
    let mut messages = BTreeMap::new();
    for room in list(folder)? {
        if !room.is_dir() {
            continue;
        }
        for path in list(&room)? {
            let named = |error: String| format!("{}: {error}", path.display());
            let text = fs::read_to_string(&path).map_err(|error| named(error.to_string()))?;
            let json = serde_json::from_str(&text).map_err(|error| named(error.to_string()))?;
            let in_metadata_log = room.ends_with("metadata");
            if let Some(message) = message(&json, in_metadata_log).map_err(named)? {
                messages.insert(message.name.clone(), message);
            }
        }
    }
    Ok(messages.into_values().collect())
}

fn list(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn text<'j>(json: &'j Value, key: &str) -> Option<&'j str> {
    json.get(key).and_then(Value::as_str)
}

fn required<'j>(json: &'j Value, key: &str) -> Result<&'j str, String> {
    text(json, key).ok_or_else(|| format!("no {key} in {json}"))
}

fn versions(json: &Value, key: &str) -> Result<Versions, String> {
    text(json, key).map_or(Ok(Versions::NONE), Versions::parse)
}

fn message(json: &Value, in_metadata_log: bool) -> Result<Option<Message>, String> {
    let kind = match required(json, "type")? {
        "header" => return Ok(None),
        "request" => Kind::Request,
        "response" => Kind::Response,
        "metadata" if in_metadata_log => Kind::Metadata,
        "coordinator-key" => Kind::CoordinatorKey,
        "coordinator-value" => Kind::CoordinatorValue,
        "data" | "metadata" => Kind::Data,
        other => return Err(format!("type {other}")),
    };
    let valid = versions(json, "validVersions")?;
    if valid.is_empty() {
        return Ok(None);
    }
    let name = required(json, "name")?.to_owned();
    let mut structs = Vec::new();
    collect(&name, json, &mut structs)?;
    for inner in array(json, "commonStructs") {
        collect(required(inner, "name")?, inner, &mut structs)?;
    }
    resolve_versions(&mut structs, valid)?;
    let listeners = array(json, "listeners").filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Some(Message {
        name,
        kind,
        api_key: json.get("apiKey").and_then(Value::as_i64).and_then(|key| i16::try_from(key).ok()),
        versions: valid,
        flexible: versions(json, "flexibleVersions")?.and(valid),
        latest_unstable: json.get("latestVersionUnstable").and_then(Value::as_bool).unwrap_or(false),
        listeners,
        structs,
    }))
}

fn array<'j>(json: &'j Value, key: &str) -> impl Iterator<Item = &'j Value> {
    json.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Adds the structure and those that its fields define.
fn collect(name: &str, json: &Value, structs: &mut Vec<Struct>) -> Result<(), String> {
    if structs.iter().any(|known| known.name == name) {
        return Err(format!("{name} is defined twice"));
    }
    let mut fields = Vec::new();
    let at = structs.len();
    structs.push(Struct { name: name.to_owned(), fields: Vec::new(), versions: Versions::NONE, places: Vec::new() });
    for json in array(json, "fields") {
        let field = field(json)?;
        if json.get("fields").is_some() {
            let mut element = &field.type_;
            while let Type::Array(inner) = element {
                element = inner;
            }
            let Type::Struct(inner) = element else { return Err(format!("fields in {name}.{}", field.name)) };
            collect(inner, json, structs)?;
        }
        fields.push(field);
    }
    fields.sort_by_key(|field| field.tag.map_or(-1, i64::from));
    structs[at].fields = fields;
    Ok(())
}

fn field(json: &Value) -> Result<Field, String> {
    let name = required(json, "name")?.to_owned();
    let tag = json.get("tag").and_then(Value::as_u64).and_then(|tag| u32::try_from(tag).ok());
    let tagged = versions(json, "taggedVersions")?;
    let mut present = versions(json, "versions")?;
    if tag.is_some() {
        if !present.is_empty() && !tagged.covers(present) {
            return Err(format!("{name} is tagged in some versions only"));
        }
        present = tagged;
    }
    let default = match json.get("default") {
        // Kafka's generator takes a JSON null (not the text "null") for no default at all.
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    Ok(Field {
        type_: Type::parse(required(json, "type")?),
        versions: present,
        nullable: versions(json, "nullableVersions")?,
        default,
        tag,
        ignorable: json.get("ignorable").and_then(Value::as_bool).unwrap_or(false),
        map_key: json.get("mapKey").and_then(Value::as_bool).unwrap_or(false),
        name,
    })
}

/// Limits every structure to the versions of the fields that lead to it, and every field to those of its structure.
fn resolve_versions(structs: &mut [Struct], valid: Versions) -> Result<(), String> {
    let mut open = vec![(structs[0].name.clone(), valid, None)];
    while let Some((name, reached, place)) = open.pop() {
        let Some(found) = structs.iter_mut().find(|s| s.name == name) else {
            return Err(format!("{name} is not defined"));
        };
        found.versions = found.versions.or(reached);
        found.places.extend(place);
        for field in &found.fields {
            let mut element = &field.type_;
            while let Type::Array(inner) = element {
                element = inner;
            }
            if let Type::Struct(inner) = element {
                let place = Some((name.clone(), field.name.clone()));
                open.push((inner.clone(), reached.and(field.versions), place));
            }
        }
    }
    for found in structs {
        let reached = found.versions;
        for field in &mut found.fields {
            field.versions = field.versions.and(reached);
            field.nullable = field.nullable.and(field.versions);
        }
        found.fields.retain(|field| !field.versions.is_empty());
        found.places.sort();
        found.places.dedup();
    }
    Ok(())
}
