//! The way to a field: its name, or by KIP-821 the names of the fields that it lies in, with dots between them.

use connect_api::{Config, ConfigKey, Error, Field, Importance, Kind, Result, Schema, Struct, Validator, Value};

use super::requirements;

const SYNTAX: &str = "field.syntax.version";
const PURPOSE: &str = "nested field access";

/// The names from the outermost to the field's own; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldPath {
    outer: Vec<String>,
    name: String,
}

/// The declaration of `field.syntax.version`.
pub fn syntax() -> ConfigKey {
    let doc = "How fields are named: V1 means the fields of the struct or map itself. V2 means fields within fields as \
               well, with dots between the names; a name that has dots in it stands in backticks, as in `foo.bar`.baz.";
    ConfigKey::with_default(SYNTAX, Kind::String, "V1", Importance::High, doc)
        .validator(Validator::OneOfIgnoringCase(&["V1", "V2"]))
}

impl FieldPath {
    /// Reads a path in the syntax that the settings say.
    pub fn new(path: &str, config: &Config) -> Result<FieldPath> {
        match config.string(SYNTAX) {
            Some(version) if version.eq_ignore_ascii_case("V2") => FieldPath::nested(path),
            _ => Ok(FieldPath { outer: Vec::new(), name: path.to_owned() }),
        }
    }

    fn nested(path: &str) -> Result<FieldPath> {
        let mut names = Vec::new();
        let mut at = 0;
        loop {
            let rest = &path[at..];
            let taken = match rest.strip_prefix('`') {
                Some(quoted) => {
                    let (name, length) = unquote(quoted).ok_or_else(|| incomplete(path, at))?;
                    names.push(name);
                    length + 1
                }
                None => {
                    let name = rest.split('.').next().unwrap_or_default();
                    names.push(name.to_owned());
                    name.len()
                }
            };
            at += taken;
            if at >= path.len() {
                break;
            }
            // The dot.
            at += 1;
        }
        let name = names.pop().unwrap_or_default();
        Ok(FieldPath { outer: names, name })
    }

    /// The field that the path leads to, if there is one.
    pub fn field<'s>(&self, schema: &'s Schema) -> Result<Option<&'s Field>> {
        let mut schema = schema;
        for name in &self.outer {
            match look_up(schema, name)? {
                Some(field) => schema = &field.schema,
                None => return Ok(None),
            }
        }
        look_up(schema, &self.name)
    }

    /// The value that the path leads to, or nothing.
    pub fn in_struct<'v>(&self, value: &'v Struct, or_default: bool) -> Result<&'v Value> {
        let mut current = value;
        for name in &self.outer {
            let Some(field) = current.schema().field(name) else { return Ok(&Value::Null) };
            match requirements::field(current, field, true) {
                Value::Null => return Ok(&Value::Null),
                value => current = requirements::structure(value, PURPOSE)?,
            }
        }
        Ok(current.schema().field(&self.name).map_or(&Value::Null, |f| requirements::field(current, f, or_default)))
    }

    /// The value that the path leads to, or nothing.
    pub fn in_map<'v>(&self, map: &'v Value) -> Result<&'v Value> {
        let mut current = map;
        for name in &self.outer {
            current = current.get(name).unwrap_or(&Value::Null);
            if current.is_null() {
                return Ok(current);
            }
            requirements::map(current, PURPOSE)?;
        }
        Ok(current.get(&self.name).unwrap_or(&Value::Null))
    }
}

fn look_up<'s>(schema: &'s Schema, name: &str) -> Result<Option<&'s Field>> {
    match schema.kind() {
        connect_api::Type::Struct => Ok(schema.field(name)),
        _ => Err(Error::data("Cannot look up fields on non-struct type")),
    }
}

/// A name up to its closing backtick, and how far that went. The backtick closes before a dot or at the end, unless there
/// is a backslash before it.
fn unquote(quoted: &str) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut start = 0;
    for (at, _) in quoted.match_indices('`') {
        let escaped = at > 0 && quoted.as_bytes()[at - 1] == b'\\';
        let ends = at + 1 == quoted.len();
        if !ends && quoted.as_bytes()[at + 1] != b'.' {
            continue;
        }
        if !escaped {
            name.push_str(&quoted[start..at]);
            return Some((name, at + 1));
        }
        if ends {
            return None;
        }
        name.push_str(&quoted[start..at - 1]);
        name.push('`');
        start = at + 1;
    }
    None
}

fn incomplete(path: &str, at: usize) -> Error {
    Error::config(format!(
        "Incomplete backtick pair in path: [{path}], consider adding a backslash before backtick at position {at} to escape \
         it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_backticks() {
        for (path, expected) in [
            ("a", "a"),
            ("a.b.c", "a|b|c"),
            ("`a.b`.c", "a.b|c"),
            ("a.`b.c`", "a|b.c"),
            ("`a`b`.c", "a`b|c"),
            ("a.", "a|"),
            (".a", "|a"),
            ("`a\\`.b`.c", "a`.b|c"),
            ("a`b.c", "a`b|c"),
            ("``.a", "|a"),
        ] {
            let path = FieldPath::nested(path).expect(path);
            assert_eq!([path.outer, vec![path.name]].concat().join("|"), expected);
        }
        for (path, at) in [("`a", 0), ("a.`b", 2), ("`a\\`", 0), ("`", 0)] {
            assert!(FieldPath::nested(path).unwrap_err().message.contains(&format!("at position {at} to")), "{path}");
        }
    }
}
