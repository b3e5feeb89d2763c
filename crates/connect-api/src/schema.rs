//! What a value looks like.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::{Error, ErrorKind, Result, Value};

/// Schemas are shared: every record of a source has the same.
pub type SchemaRef = Arc<Schema>;

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
    String,
    Bytes,
    Array,
    Map,
    Struct,
}

impl Type {
    const COUNT: usize = Type::Struct as usize + 1;

    /// As Kafka prints it, in upper case.
    pub fn name(self) -> &'static str {
        match self {
            Type::Int8 => "INT8",
            Type::Int16 => "INT16",
            Type::Int32 => "INT32",
            Type::Int64 => "INT64",
            Type::Float32 => "FLOAT32",
            Type::Float64 => "FLOAT64",
            Type::Boolean => "BOOLEAN",
            Type::String => "STRING",
            Type::Bytes => "BYTES",
            Type::Array => "ARRAY",
            Type::Map => "MAP",
            Type::Struct => "STRUCT",
        }
    }

    /// Neither a collection nor a struct.
    pub fn is_primitive(self) -> bool {
        !matches!(self, Type::Array | Type::Map | Type::Struct)
    }
}

/// The names of schemas whose values mean more than their type says.
pub mod logical {
    pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
    pub const DATE: &str = "org.apache.kafka.connect.data.Date";
    pub const TIME: &str = "org.apache.kafka.connect.data.Time";
    pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
}

/// What a value looks like: its type, whether it may be missing, and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    kind: Type,
    optional: bool,
    default: Option<Value>,
    name: Option<String>,
    version: Option<i32>,
    doc: Option<String>,
    parameters: Vec<(String, String)>,
    fields: Vec<Field>,
    key_schema: Option<SchemaRef>,
    value_schema: Option<SchemaRef>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    /// Where it stands in the struct.
    pub index: usize,
    pub schema: SchemaRef,
}

/// A schema that says nothing but its type. A thread makes each only once: converters ask for one with every record.
fn plain(kind: Type, optional: bool) -> SchemaRef {
    thread_local! {
        static PLAIN: RefCell<[Option<SchemaRef>; 2 * Type::COUNT]> = const { RefCell::new([const { None }; 2 * Type::COUNT]) };
    }
    let make = || {
        let builder = SchemaBuilder::new(kind);
        if optional { builder.optional().shared() } else { builder.shared() }
    };
    let at = 2 * kind as usize + usize::from(optional);
    PLAIN.with_borrow_mut(|plain| plain[at].get_or_insert_with(make).clone())
}

impl Schema {
    /// A schema of this type that must have a value.
    pub fn of(kind: Type) -> SchemaRef {
        plain(kind, false)
    }

    /// A schema of this type whose value may be missing.
    pub fn optional_of(kind: Type) -> SchemaRef {
        plain(kind, true)
    }

    pub fn kind(&self) -> Type {
        self.kind
    }

    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// What stands for a missing value.
    pub fn default(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub fn version(&self) -> Option<i32> {
        self.version
    }

    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// What else is said about it, in the order it was said.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// One of the parameters.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The fields of a struct, in their order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A field of a struct.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// What the keys of a map look like.
    pub fn key_schema(&self) -> Option<&SchemaRef> {
        self.key_schema.as_ref()
    }

    /// What the values of a map or the items of an array look like.
    pub fn value_schema(&self) -> Option<&SchemaRef> {
        self.value_schema.as_ref()
    }

    /// Whether the schema is of this logical type.
    pub fn is_logical(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// A builder that begins with everything this schema says but its fields.
    pub fn to_builder(&self) -> SchemaBuilder {
        SchemaBuilder { schema: Schema { fields: Vec::new(), ..self.clone() }, error: None }
    }

    /// Whether a value is what this schema says, all the way down.
    pub fn validate(&self, value: &Value) -> Result<()> {
        self.validate_as(None, value)
    }

    /// As [`validate`](Self::validate), naming the field in the error.
    pub(crate) fn validate_as(&self, field: Option<&str>, value: &Value) -> Result<()> {
        let location = || field.map_or_else(|| "value".to_owned(), |field| format!("field: \"{field}\""));
        self.validate_at(value, &location)
    }

    /// As [`validate`](Self::validate); `location` is where the value stands, for the error.
    fn validate_at(&self, value: &Value, location: &dyn Fn() -> String) -> Result<()> {
        if value.is_null() {
            return match self.optional {
                true => Ok(()),
                false => Err(Error::data(format!(
                    "Invalid value: null used for required {}, schema type: {}",
                    location(),
                    self.kind.name()
                ))),
            };
        }
        let fits = match (self.name.as_deref(), value) {
            (Some(logical::DECIMAL), value) => self.kind == Type::Bytes && matches!(value, Value::Decimal(_)),
            (Some(logical::DATE | logical::TIME), value) => {
                self.kind == Type::Int32 && matches!(value, Value::Instant(_))
            }
            (Some(logical::TIMESTAMP), value) => self.kind == Type::Int64 && matches!(value, Value::Instant(_)),
            (_, Value::Decimal(_) | Value::Instant(_)) => false,
            (_, value) => value.kind() == Some(self.kind),
        };
        if !fits {
            return Err(Error::data(format!(
                "Invalid Java object for schema {}with type {}: {} for {}",
                self.name.as_deref().map_or_else(String::new, |n| format!("\"{n}\" ")),
                self.kind.name(),
                value.class(),
                location()
            )));
        }
        match value {
            Value::Struct(value) if !std::ptr::eq(value.schema().as_ref(), self) && value.schema().as_ref() != self => {
                Err(Error::data("Struct schemas do not match."))
            }
            Value::Struct(value) => value.validate(),
            Value::Array(items) => {
                let location = || format!("element of array {}", location());
                let schema = part(&self.value_schema, &location)?;
                items.iter().try_for_each(|item| schema.validate_at(item, &location))
            }
            Value::Map(pairs) => {
                let (keys_at, values_at) =
                    (|| format!("key of map {}", location()), || format!("value of map {}", location()));
                let (keys, values) = (part(&self.key_schema, &keys_at)?, part(&self.value_schema, &values_at)?);
                pairs.iter().try_for_each(|(key, value)| {
                    keys.validate_at(key, &keys_at)?;
                    values.validate_at(value, &values_at)
                })
            }
            _ => Ok(()),
        }
    }
}

/// The schema of a collection's parts, which is missing where nobody could say what they look like.
fn part<'s>(schema: &'s Option<SchemaRef>, location: &dyn Fn() -> String) -> Result<&'s SchemaRef> {
    schema.as_ref().ok_or_else(|| Error::data(format!("No schema defined for {}", location())))
}

/// As Kafka prints it in messages: `Schema{INT32}`, with its name if it has one.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "Schema{{{name}:{}}}", self.kind.name()),
            None => write!(f, "Schema{{{}}}", self.kind.name()),
        }
    }
}

/// Puts a schema together; what contradicts itself is told by [`build`](Self::build).
#[derive(Clone, Debug)]
pub struct SchemaBuilder {
    schema: Schema,
    error: Option<Error>,
}

impl SchemaBuilder {
    pub fn new(kind: Type) -> SchemaBuilder {
        let schema = Schema {
            kind,
            optional: false,
            default: None,
            name: None,
            version: None,
            doc: None,
            parameters: Vec::new(),
            fields: Vec::new(),
            key_schema: None,
            value_schema: None,
        };
        SchemaBuilder { schema, error: None }
    }

    /// A struct, to which fields are added.
    pub fn structure() -> SchemaBuilder {
        SchemaBuilder::new(Type::Struct)
    }

    pub fn array(items: SchemaRef) -> SchemaBuilder {
        let mut builder = SchemaBuilder::new(Type::Array);
        builder.schema.value_schema = Some(items);
        builder
    }

    pub fn map(keys: SchemaRef, values: SchemaRef) -> SchemaBuilder {
        let mut builder = SchemaBuilder::new(Type::Map);
        builder.schema.key_schema = Some(keys);
        builder.schema.value_schema = Some(values);
        builder
    }

    /// A map about whose values nobody knows anything; there is an array and a map of the same kind, too, from `new`.
    pub fn map_with_unknown_values(keys: SchemaRef) -> SchemaBuilder {
        let mut builder = SchemaBuilder::new(Type::Map);
        builder.schema.key_schema = Some(keys);
        builder
    }

    #[must_use]
    pub fn optional(self) -> SchemaBuilder {
        self.set_optional(true)
    }

    #[must_use]
    pub fn set_optional(mut self, optional: bool) -> SchemaBuilder {
        self.schema.optional = optional;
        self
    }

    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> SchemaBuilder {
        self.schema.name = Some(name.into());
        self
    }

    #[must_use]
    pub fn version(mut self, version: i32) -> SchemaBuilder {
        self.schema.version = Some(version);
        self
    }

    #[must_use]
    pub fn doc(mut self, doc: impl Into<String>) -> SchemaBuilder {
        self.schema.doc = Some(doc.into());
        self
    }

    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> SchemaBuilder {
        let (name, value) = (name.into(), value.into());
        match self.schema.parameters.iter_mut().find(|(n, _)| *n == name) {
            Some(parameter) => parameter.1 = value,
            None => self.schema.parameters.push((name, value)),
        }
        self
    }

    /// What stands for a missing value; checked against the schema by [`build`](Self::build).
    #[must_use]
    pub fn default(mut self, value: Value) -> SchemaBuilder {
        self.schema.default = Some(value);
        self
    }

    /// Takes the default away again.
    #[must_use]
    pub fn without_default(mut self) -> SchemaBuilder {
        self.schema.default = None;
        self
    }

    #[must_use]
    pub fn field(mut self, name: impl Into<String>, schema: SchemaRef) -> SchemaBuilder {
        let (name, index) = (name.into(), self.schema.fields.len());
        let trouble = match self.schema.kind {
            Type::Struct if name.is_empty() => Some("fieldName cannot be null.".to_owned()),
            Type::Struct if self.schema.field(&name).is_some() => {
                Some(format!("Cannot create field because of field name duplication {name}"))
            }
            Type::Struct => None,
            kind => Some(format!("Cannot create fields on type {}", kind.name())),
        };
        if let Some(message) = trouble {
            self.error.get_or_insert(Error::new(ErrorKind::SchemaBuilder, message));
        }
        self.schema.fields.push(Field { name, index, schema });
        self
    }

    /// The schema, or what is wrong with it.
    pub fn build(self) -> Result<SchemaRef> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if let Some(default) = &self.schema.default {
            self.schema
                .validate(default)
                .map_err(|e| Error::new(ErrorKind::SchemaBuilder, "Invalid default value").caused_by(e))?;
        }
        Ok(Arc::new(self.schema))
    }

    /// A schema without fields or default, with which nothing can be wrong.
    fn shared(self) -> SchemaRef {
        Arc::new(self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_held_against_its_schema_all_the_way_down() {
        let schema = SchemaBuilder::map(Schema::of(Type::String), Schema::of(Type::Int32)).build().unwrap();
        let map = |v| Value::Map(vec![(Value::String("a".into()), v)]);
        assert!(schema.validate(&map(Value::Int32(1))).is_ok());
        let error = schema.validate(&map(Value::Int64(1))).unwrap_err();
        assert_eq!(
            error.message,
            "Invalid Java object for schema with type INT32: class java.lang.Long for value of map value"
        );
        assert!(schema.validate(&map(Value::Null)).is_err());
        assert!(schema.validate(&Value::Null).is_err());
    }

    #[test]
    fn a_schema_that_contradicts_itself_is_refused() {
        let twice = SchemaBuilder::structure().field("a", Schema::of(Type::Int8)).field("a", Schema::of(Type::Int8));
        assert_eq!(twice.build().unwrap_err().kind, ErrorKind::SchemaBuilder);
        assert!(SchemaBuilder::new(Type::Int8).field("a", Schema::of(Type::Int8)).build().is_err());
        assert!(SchemaBuilder::new(Type::Int8).default(Value::Int16(1)).build().is_err());
    }
}
