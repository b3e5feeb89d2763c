//! Schemas as JSON.

use connect_api::{Error, ErrorKind, Result, Schema, SchemaBuilder, SchemaRef, Type};

use super::{Options, from_connect, to_connect};
use crate::json::{Json, Writer};

/// The types and their names in JSON.
const TYPES: [(Type, &str); 12] = [
    (Type::Boolean, "boolean"),
    (Type::Int8, "int8"),
    (Type::Int16, "int16"),
    (Type::Int32, "int32"),
    (Type::Int64, "int64"),
    (Type::Float32, "float"),
    (Type::Float64, "double"),
    (Type::Bytes, "bytes"),
    (Type::String, "string"),
    (Type::Array, "array"),
    (Type::Map, "map"),
    (Type::Struct, "struct"),
];

/// A schema as JSON.
pub(super) fn to_json(schema: &SchemaRef, options: Options) -> Result<String> {
    let mut w = Writer::default();
    write(&mut w, schema, None, options)?;
    Ok(w.finish())
}

/// Writes a schema; that of a struct's field has the field's name in it.
fn write(w: &mut Writer, schema: &SchemaRef, field: Option<&str>, options: Options) -> Result<()> {
    w.object();
    let name = TYPES.iter().find(|(kind, _)| *kind == schema.kind()).map_or("", |(_, name)| *name);
    member(w, "type", name);
    let part = |w: &mut Writer, name: &str, part: Option<&SchemaRef>| {
        w.name(name);
        match part {
            Some(part) => write(w, part, None, options),
            None => {
                w.null();
                Ok(())
            }
        }
    };
    match schema.kind() {
        Type::Array => part(w, "items", schema.value_schema())?,
        Type::Map => {
            part(w, "keys", schema.key_schema())?;
            part(w, "values", schema.value_schema())?;
        }
        Type::Struct => {
            w.name("fields");
            w.list();
            for field in schema.fields() {
                write(w, &field.schema, Some(&field.name), options)?;
            }
            w.list_end();
        }
        _ => {}
    }
    w.name("optional");
    w.bool(schema.is_optional());
    if let Some(name) = schema.name() {
        member(w, "name", name);
    }
    if let Some(version) = schema.version() {
        w.name("version");
        w.integer(version.into());
    }
    if let Some(doc) = schema.doc() {
        member(w, "doc", doc);
    }
    if !schema.parameters().is_empty() {
        w.name("parameters");
        w.object();
        for (name, value) in schema.parameters() {
            member(w, name, value);
        }
        w.object_end();
    }
    if let Some(default) = schema.default() {
        w.name("default");
        from_connect::write(w, Some(schema), default, options)?;
    }
    if let Some(field) = field {
        member(w, "field", field);
    }
    w.object_end();
    Ok(())
}

fn member(w: &mut Writer, name: &str, value: &str) {
    w.name(name);
    w.text(value);
}

/// The schema that JSON describes; null is none.
pub(super) fn from_json(json: &Json, options: Options) -> Result<Option<SchemaRef>> {
    if *json == Json::Null {
        return Ok(None);
    }
    let text = |name: &str| json.get(name).and_then(Json::text);
    let kind = text("type").ok_or_else(|| Error::data("Schema must contain 'type' field"))?;
    let kind = match TYPES.iter().find(|(_, name)| *name == kind) {
        Some((kind, _)) => *kind,
        None => return Err(Error::data(format!("Unknown schema type: {kind}"))),
    };
    let mut builder = match kind {
        Type::Array => SchemaBuilder::array(items(json, options)?),
        Type::Map => {
            let keys = part(json, "keys", "Map schema did not specify the key type", "keySchema", options)?;
            let values = part(json, "values", "Map schema did not specify the value type", "valueSchema", options)?;
            SchemaBuilder::map(keys, values)
        }
        Type::Struct => fields(json, options)?,
        kind => SchemaBuilder::new(kind),
    };
    builder = builder.set_optional(json.get("optional") == Some(&Json::Bool(true)));
    if let Some(name) = text("name") {
        builder = builder.name(name);
    }
    if let Some(version @ Json::Integer(_)) = json.get("version") {
        builder = builder.version(version.wrapping_i64() as i32);
    }
    if let Some(doc) = text("doc") {
        builder = builder.doc(doc);
    }
    if let Some(Json::Object(parameters)) = json.get("parameters") {
        for (name, value) in parameters {
            let value = value.text().ok_or_else(|| Error::data("Schema parameters must have string values."))?;
            builder = builder.parameter(name, value);
        }
    }
    if let Some(default) = json.get("default") {
        // The default is read by the schema that it becomes a part of.
        let plain = builder.clone().build()?;
        let value = to_connect::convert(Some(&plain), Some(default), options)?;
        match value.is_null() {
            true if plain.is_optional() => {}
            true => return Err(invalid_default(&plain, &value)),
            false => builder = builder.default(value),
        }
    }
    builder.build().map(Some)
}

fn invalid_default(schema: &Schema, value: &connect_api::Value) -> Error {
    let error = Error::new(ErrorKind::SchemaBuilder, "Invalid default value");
    match schema.validate(value) {
        Err(cause) => error.caused_by(cause),
        Ok(()) => error,
    }
}

fn items(json: &Json, options: Options) -> Result<SchemaRef> {
    let items = json.get("items").map(|items| from_json(items, options)).transpose()?.flatten();
    items.ok_or_else(|| Error::data("Array schema did not specify the element type"))
}

fn part(json: &Json, member: &str, missing: &str, part: &str, options: Options) -> Result<SchemaRef> {
    let described = json.get(member).ok_or_else(|| Error::data(missing))?;
    from_json(described, options)?
        .ok_or_else(|| Error::new(ErrorKind::SchemaBuilder, format!("{part} cannot be null.")))
}

fn fields(json: &Json, options: Options) -> Result<SchemaBuilder> {
    let Some(Json::List(fields)) = json.get("fields") else {
        return Err(Error::data("Struct schema's \"fields\" argument is not an array."));
    };
    let mut builder = SchemaBuilder::structure();
    for field in fields {
        let name = field.get("field").and_then(Json::text);
        let name = name.ok_or_else(|| Error::data("Struct schema's field name not specified properly"))?;
        // What has a name is an object, and so describes a schema or fails.
        if let Some(schema) = from_json(field, options)? {
            builder = builder.field(name, schema);
        }
    }
    Ok(builder)
}
