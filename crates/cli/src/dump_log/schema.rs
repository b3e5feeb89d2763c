//! Reads a message by its schema into JSON, as Kafka's generated JSON converters write it: fields in the schema's order,
//! those that the version lacks left out, tagged fields only where they differ from their default.

use wire::codec::{DecodeError, Decoder};

use crate::json::{Json, quote, quote_bytes};

/// A range of versions; none is empty.
#[derive(Clone, Copy, Debug)]
struct Versions(i16, i16);

impl Versions {
    fn parse(text: &str) -> Option<Versions> {
        Some(match text.trim() {
            "none" => Versions(1, 0),
            text => match (text.strip_suffix('+'), text.split_once('-')) {
                (Some(low), _) => Versions(low.parse().ok()?, i16::MAX),
                (None, Some((low, high))) => Versions(low.parse().ok()?, high.parse().ok()?),
                (None, None) => Versions(text.parse().ok()?, text.parse().ok()?),
            },
        })
    }

    fn contain(self, version: i16) -> bool {
        self.0 <= version && version <= self.1
    }
}

#[derive(Clone, Debug)]
enum Type {
    Bool,
    Int(u8),
    Unsigned(u8),
    Float,
    Uuid,
    Text,
    Bytes,
    Struct(String),
    List(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Type {
        match text {
            "bool" => Type::Bool,
            "int8" => Type::Int(1),
            "int16" => Type::Int(2),
            "int32" => Type::Int(4),
            "int64" => Type::Int(8),
            "uint16" => Type::Unsigned(2),
            "uint32" => Type::Unsigned(4),
            "float64" => Type::Float,
            "uuid" => Type::Uuid,
            "string" => Type::Text,
            "bytes" | "records" => Type::Bytes,
            other => match other.strip_prefix("[]") {
                Some(item) => Type::List(Box::new(Type::parse(item))),
                None => Type::Struct(other.to_owned()),
            },
        }
    }
}

#[derive(Clone, Debug)]
struct Field {
    /// As JSON has it: the first letter small.
    name: String,
    kind: Type,
    versions: Versions,
    nullable: Versions,
    /// Versions in which it is a tagged field, and its tag.
    tagged: (Versions, u32),
    default: Option<String>,
}

/// A message's schema.
#[derive(Clone, Debug)]
pub struct Schema {
    pub name: String,
    /// The number of a metadata record, or of a coordinator's record.
    pub number: i64,
    pub is_key: bool,
    versions: Versions,
    flexible: Versions,
    fields: Vec<Field>,
    structs: Vec<(String, Vec<Field>)>,
}

impl Schema {
    /// Reads a schema; none when it is not one.
    pub fn parse(text: &str) -> Option<Schema> {
        let json = Json::parse(text)?;
        let text = |name: &str| json.get(name).and_then(Json::text);
        let mut structs = Vec::new();
        for common in json.get("commonStructs").map_or(&[][..], Json::list) {
            let fields = fields(common.get("fields")?, &mut structs)?;
            structs.push((common.get("name")?.text()?.to_owned(), fields));
        }
        let fields = fields(json.get("fields")?, &mut structs)?;
        Some(Schema {
            name: text("name")?.to_owned(),
            number: text("apiKey").and_then(|k| k.parse().ok()).unwrap_or(-1),
            is_key: text("type") == Some("coordinator-key"),
            versions: Versions::parse(text("validVersions")?)?,
            flexible: Versions::parse(text("flexibleVersions")?)?,
            fields,
            structs,
        })
    }

    pub fn knows(&self, version: i16) -> bool {
        self.versions.contain(version)
    }

    /// The message in the decoder, as JSON. `replace` may give other JSON for a field of bytes, by its name.
    pub fn read(
        &self,
        d: &mut Decoder<'_>,
        version: i16,
        replace: &dyn Fn(&str, &[u8]) -> Option<String>,
    ) -> Result<String, DecodeError> {
        let reader = Reader { schema: self, version, replace };
        d.set_version(version, self.flexible.contain(version));
        let mut out = String::new();
        reader.object(&self.fields, d, &mut out)?;
        Ok(out)
    }
}

fn fields(list: &Json, structs: &mut Vec<(String, Vec<Field>)>) -> Option<Vec<Field>> {
    let mut all = Vec::new();
    for item in list.list() {
        let text = |name: &str| item.get(name).and_then(Json::text);
        let kind = text("type")?;
        if let Some(own) = item.get("fields") {
            let own = fields(own, structs)?;
            structs.push((kind.trim_start_matches("[]").to_owned(), own));
        }
        let none = Versions(1, 0);
        let tag = text("tag").and_then(|t| t.parse().ok());
        let mut name = text("name")?.to_owned();
        name[..1].make_ascii_lowercase();
        all.push(Field {
            name,
            kind: Type::parse(kind),
            // A tagged field may name only the versions in which it is one.
            versions: Versions::parse(text("versions").or(text("taggedVersions"))?)?,
            nullable: text("nullableVersions").and_then(Versions::parse).unwrap_or(none),
            tagged: (text("taggedVersions").and_then(Versions::parse).unwrap_or(none), tag.unwrap_or(0)),
            default: text("default").map(str::to_owned),
        });
    }
    Some(all)
}

struct Reader<'s> {
    schema: &'s Schema,
    version: i16,
    replace: &'s dyn Fn(&str, &[u8]) -> Option<String>,
}

impl Reader<'_> {
    fn object(&self, fields: &[Field], d: &mut Decoder<'_>, out: &mut String) -> Result<(), DecodeError> {
        let mut values: Vec<Option<String>> = vec![None; fields.len()];
        let is_tagged = |f: &Field| f.tagged.0.contain(self.version);
        for (field, value) in fields.iter().zip(&mut values) {
            if field.versions.contain(self.version) && !is_tagged(field) {
                let mut text = String::new();
                self.value(&field.kind, field, d, &mut text)?;
                *value = Some(text);
            }
        }
        let mut section = d.tags()?;
        while let Some(tag) = d.next_tag(&mut section)? {
            let Some(i) = fields.iter().position(|f| is_tagged(f) && f.tagged.1 == tag) else {
                d.skip_tag();
                continue;
            };
            let mut text = String::new();
            self.value(&fields[i].kind, &fields[i], d, &mut text)?;
            if text != default(&fields[i]) {
                values[i] = Some(text);
            }
        }
        out.push('{');
        for (field, value) in fields.iter().zip(values) {
            if let Some(value) = value {
                if !out.ends_with('{') {
                    out.push(',');
                }
                out.push_str(&format!("\"{}\":{value}", field.name));
            }
        }
        out.push('}');
        Ok(())
    }

    fn value(&self, kind: &Type, field: &Field, d: &mut Decoder<'_>, out: &mut String) -> Result<(), DecodeError> {
        let nullable = field.nullable.contain(self.version);
        match kind {
            Type::Bool => out.push_str(if d.bool()? { "true" } else { "false" }),
            Type::Int(1) => out.push_str(&d.i8()?.to_string()),
            Type::Int(2) => out.push_str(&d.i16()?.to_string()),
            Type::Int(4) => out.push_str(&d.i32()?.to_string()),
            Type::Int(_) => out.push_str(&d.i64()?.to_string()),
            Type::Unsigned(2) => out.push_str(&d.u16()?.to_string()),
            Type::Unsigned(_) => out.push_str(&d.u32()?.to_string()),
            Type::Float => out.push_str(&format!("{:?}", d.f64()?)),
            Type::Uuid => quote(&d.uuid()?.to_string(), out),
            Type::Text => match d.nullable_string()? {
                Some(text) => quote(&text, out),
                None => out.push_str("null"),
            },
            Type::Bytes => match d.nullable_bytes()? {
                Some(bytes) => match (self.replace)(&field.name, &bytes) {
                    Some(json) => out.push_str(&json),
                    None => quote_bytes(&bytes, out),
                },
                None => out.push_str("null"),
            },
            Type::Struct(name) => {
                if nullable && d.i8()? < 0 {
                    out.push_str("null");
                    return Ok(());
                }
                self.object(self.fields_of(name), d, out)?;
            }
            Type::List(item) => {
                let count = if d.flexible() { i64::from(d.uvarint()?) - 1 } else { i64::from(d.i32()?) };
                if count < 0 {
                    out.push_str("null");
                    return Ok(());
                }
                out.push('[');
                for i in 0..count {
                    if i > 0 {
                        out.push(',');
                    }
                    // An empty element would make the count cost nothing; every read fails where the bytes end.
                    if d.remaining() == 0 {
                        d.i8()?;
                    }
                    match &**item {
                        Type::Struct(name) => self.object(self.fields_of(name), d, out)?,
                        item => self.value(item, field, d, out)?,
                    }
                }
                out.push(']');
            }
        }
        Ok(())
    }

    fn fields_of(&self, name: &str) -> &[Field] {
        self.schema.structs.iter().find(|(n, _)| n == name).map_or(&[], |(_, fields)| fields)
    }
}

/// A field's default as JSON.
fn default(field: &Field) -> String {
    let given = field.default.as_deref();
    match &field.kind {
        _ if given == Some("null") => "null".to_owned(),
        Type::Bool => given.unwrap_or("false").to_owned(),
        Type::Int(_) | Type::Unsigned(_) => given.unwrap_or("0").to_owned(),
        Type::Float => given.unwrap_or("0.0").to_owned(),
        Type::Uuid => format!("\"{}\"", wire::Uuid::ZERO),
        Type::Text => format!("\"{}\"", given.unwrap_or_default()),
        Type::Bytes => "\"\"".to_owned(),
        Type::List(_) => "[]".to_owned(),
        Type::Struct(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump_log::schemas;
    use wire::Uuid;
    use wire::codec::Message;
    use wire::messages::PartitionRecord;

    fn schema(list: &[&str], name: &str) -> Schema {
        list.iter().filter_map(|t| Schema::parse(t)).find(|s| s.name == name).expect("there is such a schema")
    }

    #[test]
    fn every_schema_can_be_read() {
        for list in [
            schemas::METADATA,
            schemas::GROUPS,
            schemas::TRANSACTIONS,
            schemas::SHARE_STATE,
            schemas::TIERED,
            schemas::CONTROL,
            schemas::CONSUMERS,
        ] {
            for text in list {
                assert!(Schema::parse(text).is_some(), "{text}");
            }
        }
    }

    #[test]
    fn tagged_fields_appear_only_where_they_differ_from_their_default() {
        let schema = schema(schemas::METADATA, "PartitionRecord");
        let mut record = PartitionRecord {
            partition_id: 3,
            topic_id: Uuid::ZERO,
            replicas: vec![1, 2].into(),
            leader: 1,
            ..Default::default()
        };
        let json = |record: &PartitionRecord<'_>| {
            let bytes = record.to_bytes(2).unwrap();
            schema.read(&mut Decoder::new(&bytes), 2, &|_, _| None).unwrap()
        };
        let plain = json(&record);
        assert!(
            plain
                .starts_with("{\"partitionId\":3,\"topicId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"replicas\":[1,2],\"isr\":[]")
        );
        assert!(!plain.contains("leaderRecoveryState") && !plain.contains("eligibleLeaderReplicas"), "{plain}");
        record.leader_recovery_state = 1;
        record.eligible_leader_replicas = Some(vec![2].into());
        let tagged = json(&record);
        assert!(tagged.contains("\"leader\":1,\"leaderRecoveryState\":1,"), "{tagged}");
        assert!(tagged.contains("\"eligibleLeaderReplicas\":[2]"), "{tagged}");
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let schema = schema(schemas::METADATA, "PartitionRecord");
        for bytes in [&[0xff; 8][..], &[], &[0; 20]] {
            assert!(schema.read(&mut Decoder::new(bytes), 2, &|_, _| None).is_err());
        }
    }
}
