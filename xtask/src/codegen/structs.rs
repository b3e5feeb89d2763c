//! One module per message: its structures, how they are read and how they are written.

use std::fmt::Write as _;

use super::{
    HEADER,
    names::{self, snake},
    schema::{Field, Kind, Message, Struct, Type, Versions},
};

pub fn module(message: &Message, all: &[Message]) -> Result<String, String> {
    let mut out = String::from(HEADER);
    let mut body = String::new();
    for item in &message.structs {
        Writer { message, item, out: &mut body }.all()?;
    }
    message_impl(message, all, &mut body);
    imports(&body, &mut out);
    out += &body;
    Ok(out)
}

/// Imports only what the module names.
fn imports(body: &str, out: &mut String) {
    let named = |name: &str| {
        body.match_indices(name).any(|(at, _)| {
            let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            !word(body[..at].chars().next_back())
                && !body[at + name.len()..].chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    let codec: Vec<&str> = [
        "Array",
        "Bytes",
        "CoordinatorKey",
        "DecodeError",
        "Decoder",
        "Element",
        "EncodeError",
        "Encoder",
        "Message",
        "Records",
        "Request",
        "Str",
    ]
    .into_iter()
    .filter(|name| named(name))
    .collect();
    let _ = write!(out, "use crate::{{");
    for name in ["ApiKey", "Uuid"] {
        if named(name) {
            let _ = write!(out, "{name}, ");
        }
    }
    let _ = write!(out, "codec::{{{}}}}};\n\n", codec.join(", "));
}

fn message_impl(message: &Message, all: &[Message], out: &mut String) {
    let top = &message.structs[0];
    let (name, lifetime) = (&top.name, lifetime(message, top));
    let flexible = if message.flexible.is_empty() { "i16::MAX".to_owned() } else { message.flexible.low.to_string() };
    let _ = write!(
        out,
        "impl<'a> Message<'a> for {name}{lifetime} {{
            const NAME: &'static str = {name:?};
            const VERSIONS: std::ops::RangeInclusive<i16> = {}..={};
            const FLEXIBLE_FROM: i16 = {flexible};
        }}\n",
        message.versions.low, message.versions.high,
    );
    let anonymous = if lifetime.is_empty() { "" } else { "<'_>" };
    match (message.kind, message.api_key) {
        (Kind::Request, Some(_)) => {
            let api = message.name.trim_end_matches("Request");
            let response = all.iter().find(|other| other.name == format!("{api}Response"));
            let of_response = response.map_or("", |response| match borrows(response, &response.structs[0]) {
                true => "<'r>",
                false => "",
            });
            let _ = write!(
                out,
                "\nimpl Request for {name}{anonymous} {{
                    const KEY: ApiKey = ApiKey::{api};
                    type Response<'r> = super::{api}Response{of_response};
                }}\n"
            );
        }
        (Kind::CoordinatorKey, Some(key)) => {
            let _ = write!(
                out,
                "\nimpl<'a> CoordinatorKey<'a> for {name}{lifetime} {{
                    const RECORD_TYPE: i16 = {key};
                }}\n"
            );
        }
        _ => {}
    }
}

/// Whether a structure borrows from the frame.
pub fn borrows(message: &Message, item: &Struct) -> bool {
    item.fields.iter().any(|field| match &field.type_ {
        Type::String | Type::Bytes | Type::Records | Type::Array(_) => true,
        Type::Struct(name) => find(message, name).is_some_and(|inner| borrows(message, inner)),
        _ => false,
    })
}

pub fn lifetime(message: &Message, item: &Struct) -> &'static str {
    if borrows(message, item) { "<'a>" } else { "" }
}

fn find<'m>(message: &'m Message, name: &str) -> Option<&'m Struct> {
    message.structs.iter().find(|item| item.name == name)
}

struct Writer<'m> {
    message: &'m Message,
    item: &'m Struct,
    out: &'m mut String,
}

impl Writer<'_> {
    fn all(mut self) -> Result<(), String> {
        self.definition();
        self.default()?;
        self.element()?;
        Ok(())
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn type_name(&self, type_: &Type) -> String {
        match type_ {
            Type::Bool => "bool".into(),
            Type::Int8 => "i8".into(),
            Type::Int16 => "i16".into(),
            Type::Uint16 => "u16".into(),
            Type::Int32 => "i32".into(),
            Type::Uint32 => "u32".into(),
            Type::Int64 => "i64".into(),
            Type::Float64 => "f64".into(),
            Type::Uuid => "Uuid".into(),
            Type::String => "Str<'a>".into(),
            Type::Bytes => "Bytes<'a>".into(),
            Type::Records => "Records<'a>".into(),
            Type::Array(element) => format!("Array<'a, {}>", self.type_name(element)),
            Type::Struct(name) => {
                format!("{name}{}", find(self.message, name).map_or("", |inner| lifetime(self.message, inner)))
            }
        }
    }

    fn field_type(&self, field: &Field) -> String {
        let inner = self.type_name(&field.type_);
        if field.nullable.is_empty() { inner } else { format!("Option<{inner}>") }
    }

    fn definition(&mut self) {
        let (item, message) = (self.item, self.message);
        if item.places.is_empty() {
            let flexible = match message.flexible {
                v if v.is_empty() => "none of them flexible".to_owned(),
                v if v.low == message.versions.low => "all flexible".to_owned(),
                v => format!("flexible from {}", v.low),
            };
            self.line(format!("/// Versions {}, {flexible}.", shown(message.versions, i16::MAX)));
        } else {
            let mut places = Vec::new();
            for (of, field) in &item.places {
                places.push(format!("[`{of}::{}`]", snake(field)));
            }
            self.line(format!("/// In {}.", places.join(", ")));
        }
        let derive_default = if self.plain_default() { ", Default" } else { "" };
        self.line(format!("#[derive(Clone, Debug{derive_default}, PartialEq)]"));
        self.line(format!("pub struct {}{} {{", item.name, lifetime(message, item)));
        for field in &item.fields {
            if let Some(note) = self.note(field) {
                self.line(format!("/// {note}"));
            }
            self.line(format!("pub {}: {},", names::field(&field.name), self.field_type(field)));
        }
        self.line("}\n");
    }

    /// What the type does not tell: versions, null, default.
    fn note(&self, field: &Field) -> Option<String> {
        let mut notes = Vec::new();
        if field.versions != self.item.versions {
            let dropped = if field.ignorable { ", dropped in others" } else { "" };
            notes.push(format!("versions {}{dropped}", shown(field.versions, self.message.versions.high)));
        }
        if !field.nullable.is_empty() && field.nullable != field.versions {
            notes.push(format!("null in versions {}", shown(field.nullable, self.message.versions.high)));
        }
        if let Some(tag) = field.tag {
            notes.push(format!("tag {tag}"));
        }
        if field.map_key {
            notes.push("key of its array".to_owned());
        }
        if !field.nullable.is_empty() && !self.default_is_null(field) {
            notes.push("default empty, not null".to_owned());
        } else if let Some(default) = &field.default
            && !matches!(default.as_str(), "" | "0" | "null")
            && !default.eq_ignore_ascii_case("false")
        {
            notes.push(format!("default {default}"));
        }
        if notes.is_empty() {
            return None;
        }
        let mut text = notes.join("; ");
        text[..1].make_ascii_uppercase();
        Some(text + ".")
    }

    /// Whether every default is Rust's own.
    fn plain_default(&self) -> bool {
        self.item.fields.iter().all(|field| self.default_value(field).is_ok_and(|value| value.is_none()))
    }

    fn default_is_null(&self, field: &Field) -> bool {
        // Kafka: a records field starts as null whenever it can be.
        !field.nullable.is_empty() && (field.default.as_deref() == Some("null") || field.type_ == Type::Records)
    }

    /// The default as an expression, `None` when it is Rust's own.
    fn default_value(&self, field: &Field) -> Result<Option<String>, String> {
        if self.default_is_null(field) {
            return Ok(None);
        }
        if !field.nullable.is_empty() {
            return Ok(Some("Some(Default::default())".into()));
        }
        let text = field.default.as_deref().unwrap_or("");
        let wrong = || format!("default {text:?} of {}", field.name);
        match &field.type_ {
            Type::Bool => match text.to_ascii_lowercase().as_str() {
                "" | "false" => Ok(None),
                "true" => Ok(Some("true".into())),
                _ => Err(wrong()),
            },
            Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => {
                let number = match text.strip_prefix("0x") {
                    Some(digits) => i64::from_str_radix(digits, 16).map_err(|_| wrong())?,
                    None if text.is_empty() => 0,
                    None => text.parse().map_err(|_| wrong())?,
                };
                Ok((number != 0).then(|| match (number, &field.type_) {
                    (n, Type::Int64) if n == i64::MAX => "i64::MAX".into(),
                    (n, Type::Int32) if n == i64::from(i32::MAX) => "i32::MAX".into(),
                    (n, Type::Int32) if n == i64::from(i32::MIN) => "i32::MIN".into(),
                    (n, _) => n.to_string(),
                }))
            }
            _ if text.is_empty() => Ok(None),
            _ => Err(wrong()),
        }
    }

    fn default(&mut self) -> Result<(), String> {
        if self.plain_default() {
            return Ok(());
        }
        let anonymous = if borrows(self.message, self.item) { "<'_>" } else { "" };
        self.line(format!("impl Default for {}{anonymous} {{\nfn default() -> Self {{\nSelf {{", self.item.name));
        for field in &self.item.fields {
            let value = self.default_value(field)?.unwrap_or_else(|| self.zero(field).into());
            self.line(format!("{}: {value},", names::field(&field.name)));
        }
        self.line("}\n}\n}\n");
        Ok(())
    }

    /// Rust's own default of the field's type, as briefly as it can be written.
    fn zero(&self, field: &Field) -> &'static str {
        if !field.nullable.is_empty() {
            return "None";
        }
        match field.type_ {
            Type::Bool => "false",
            Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => "0",
            Type::Float64 => "0.0",
            Type::Uuid => "Uuid::ZERO",
            _ => "Default::default()",
        }
    }

    fn element(&mut self) -> Result<(), String> {
        let (item, message) = (self.item, self.message);
        let (name, lifetime) = (&item.name, lifetime(message, item));
        let min_size = item_min_size(message, item);
        let inner = !item.places.is_empty();
        if inner && min_size == 0 {
            return Err(format!("{name} can be empty, so that a count of it could not be checked"));
        }
        self.line(format!("impl<'a> Element<'a> for {name}{lifetime} {{"));
        self.line(format!("const MIN_SIZE: usize = {min_size};\n"));
        self.read()?;
        self.line("");
        self.write()?;
        self.line("}\n");
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let body = self.read_body()?;
        let d = if body.contains("d.") || body.contains("(d)") { "d" } else { "_" };
        self.line(format!("fn read({d}: &mut Decoder<'a>) -> Result<Self, DecodeError> {{"));
        if names_v(&body) {
            self.line("let v = d.version();");
        }
        self.line(body + "}");
        Ok(())
    }

    fn read_body(&self) -> Result<String, String> {
        let item = self.item;
        let mut body = String::new();
        let tagged: Vec<&Field> = item.fields.iter().filter(|field| field.tag.is_some()).collect();
        let flexible = !self.message.flexible.and(item.versions).is_empty();
        let bind = flexible || !tagged.is_empty();
        let mutable = if tagged.is_empty() { "" } else { "mut " };
        if item.fields.is_empty() {
            if flexible {
                body += "d.skip_tags()?;\n";
            }
            body += "Ok(Self {})\n";
            return Ok(body);
        }
        body += &if bind { format!("let {mutable}m = Self {{\n") } else { "Ok(Self {\n".into() };
        for field in &item.fields {
            let name = names::field(&field.name);
            let default = self.default_value(field)?.unwrap_or_else(|| self.zero(field).into());
            let value = match (field.tag, condition(field.versions, item.versions)) {
                (Some(_), _) => default,
                (None, Some(when)) => format!("if {when} {{ {} }} else {{ {default} }}", self.read_value(field)),
                (None, None) => self.read_value(field),
            };
            let _ = writeln!(body, "{name}: {value},");
        }
        if !bind {
            body += "})\n";
            return Ok(body);
        }
        body += "};\n";
        if tagged.is_empty() {
            body += "d.skip_tags()?;\n";
        } else {
            body += "let mut tags = d.tags()?;\nwhile let Some(tag) = d.next_tag(&mut tags)? {\nmatch tag {\n";
            for field in tagged {
                let guard = condition(field.versions, item.versions.and(self.message.flexible))
                    .map_or(String::new(), |when| format!(" if {when}"));
                let tag = field.tag.unwrap_or_default();
                let value = self.read_value(field);
                let _ = writeln!(body, "{tag}{guard} => m.{} = {value},", names::field(&field.name));
            }
            body += "_ => d.skip_tag(),\n}\n}\n";
        }
        body += "Ok(m)\n";
        Ok(body)
    }

    fn read_value(&self, field: &Field) -> String {
        let plain = match &field.type_ {
            Type::Bool => "bool",
            Type::Int8 => "i8",
            Type::Int16 => "i16",
            Type::Uint16 => "u16",
            Type::Int32 => "i32",
            Type::Uint32 => "u32",
            Type::Int64 => "i64",
            Type::Float64 => "f64",
            Type::Uuid => "uuid",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Records => "records",
            Type::Array(_) => "array",
            Type::Struct(name) if field.nullable.is_empty() => return format!("{name}::read(d)?"),
            // Within a tagged field null is told from a structure in another way.
            Type::Struct(_) if field.tag.is_some() => "tagged_struct",
            Type::Struct(_) => "struct",
        };
        if field.nullable.is_empty() {
            return format!("d.{plain}()?");
        }
        match condition(field.nullable, field.versions) {
            None => format!("d.nullable_{plain}()?"),
            Some(when) => format!("if {when} {{ d.nullable_{plain}()? }} else {{ Some(d.{plain}()?) }}"),
        }
    }

    fn write(&mut self) -> Result<(), String> {
        let item = self.item;
        let mut body = String::new();
        let tagged = item.fields.iter().any(|field| field.tag.is_some());
        for field in item.fields.iter().filter(|field| field.tag.is_none()) {
            let value = self.write_value(field);
            match condition(field.versions, item.versions) {
                None => body += &value,
                Some(when) => {
                    let _ = write!(body, "if {when} {{ {value} }}");
                    if !field.ignorable {
                        let _ = write!(body, " else {{ e.absent({}, {:?})?; }}", self.is_default(field)?, field.name);
                    }
                    body.push('\n');
                }
            }
        }
        let flexible = !self.message.flexible.and(item.versions).is_empty();
        if tagged {
            body += "let tags = e.begin_tags();\n";
            for field in item.fields.iter().filter(|field| field.tag.is_some()) {
                self.write_tag(field, &mut body)?;
            }
        } else if flexible {
            body += "e.no_tags();\n";
        }
        let e = if body.is_empty() { "_" } else { "e" };
        self.line(format!("fn write(&self, {e}: &mut Encoder) -> Result<(), EncodeError> {{"));
        if names_v(&body) {
            self.line("let v = e.version();");
        }
        self.line(body + "Ok(())\n}");
        Ok(())
    }

    fn write_tag(&self, field: &Field, body: &mut String) -> Result<(), String> {
        let is_default = self.is_default(field)?;
        let value = self.write_value(field);
        let tag = field.tag.unwrap_or_default();
        let put = format!("let tag = e.begin_tag(tags, {tag});\n{value}e.end_tag(tag);\n");
        let differs = negate(&is_default);
        match condition(field.versions, self.item.versions) {
            None => {
                let _ = writeln!(body, "if {differs} {{ {put} }}");
            }
            Some(when) if field.ignorable => {
                let _ = writeln!(body, "if {when} && {differs} {{ {put} }}");
            }
            Some(when) => {
                let _ = writeln!(body, "if {differs} {{ e.absent({when}, {:?})?; {put} }}", field.name);
            }
        }
        Ok(())
    }

    /// An expression that tells whether the field has its default.
    fn is_default(&self, field: &Field) -> Result<String, String> {
        let name = format!("self.{}", names::field(&field.name));
        if self.default_is_null(field) {
            return Ok(format!("{name}.is_none()"));
        }
        if !field.nullable.is_empty() {
            return Ok(match field.type_ {
                Type::Struct(_) => format!("{name} == Some(Default::default())"),
                _ => format!("{name}.as_ref().is_some_and(|value| value.is_empty())"),
            });
        }
        let default = self.default_value(field)?;
        Ok(match (&field.type_, default) {
            (Type::Bool, None) => format!("!{name}"),
            (Type::Bool, Some(_)) => name,
            (Type::Uuid, None) => format!("{name}.is_zero()"),
            (Type::String | Type::Bytes | Type::Records | Type::Array(_), None) => format!("{name}.is_empty()"),
            (Type::Struct(of), None) => format!("{name} == {of}::default()"),
            (Type::Float64, None) => format!("{name} == 0.0"),
            (_, None) => format!("{name} == 0"),
            (_, Some(default)) => format!("{name} == {default}"),
        })
    }

    /// Statements that write the field.
    fn write_value(&self, field: &Field) -> String {
        let name = format!("self.{}", names::field(&field.name));
        let (method, fallible) = match &field.type_ {
            Type::Bool => ("bool", false),
            Type::Int8 => ("i8", false),
            Type::Int16 => ("i16", false),
            Type::Uint16 => ("u16", false),
            Type::Int32 => ("i32", false),
            Type::Uint32 => ("u32", false),
            Type::Int64 => ("i64", false),
            Type::Float64 => ("f64", false),
            Type::Uuid => ("uuid", false),
            Type::String => ("string", true),
            Type::Bytes => ("byte_string", true),
            Type::Records => ("records", true),
            Type::Array(_) => ("array", true),
            Type::Struct(_) if field.tag.is_some() => ("tagged_struct", true),
            Type::Struct(_) => ("struct", true),
        };
        if field.nullable.is_empty() {
            return match &field.type_ {
                Type::Struct(_) => format!("{name}.write(e)?;\n"),
                _ if fallible => format!("e.{method}(&{name})?;\n"),
                _ => format!("e.{method}({name});\n"),
            };
        }
        let reference = match field.type_ {
            Type::String | Type::Bytes => "as_deref",
            _ => "as_ref",
        };
        let nullable = format!("e.nullable_{method}({name}.{reference}())?;\n");
        match condition(field.nullable, field.versions) {
            None => nullable,
            Some(when) => {
                format!("if {when} {{ {nullable} }} else {{ e.{method}(e.non_null(&{name}, {:?})?)?; }}\n", field.name)
            }
        }
    }
}

/// Whether code names the variable `v`, the version.
fn names_v(code: &str) -> bool {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "v")
}

fn negate(condition: &str) -> String {
    if let Some(rest) = condition.strip_prefix('!') {
        return rest.to_owned();
    }
    if let Some(rest) = condition.strip_suffix(".is_none()") {
        return format!("{rest}.is_some()");
    }
    if condition.contains(" == ") {
        return condition.replace(" == ", " != ");
    }
    format!("!{condition}")
}

/// `None` when `versions` holds in all of `within`.
fn condition(versions: Versions, within: Versions) -> Option<String> {
    let Versions { low, high } = versions.and(within);
    match (low <= within.low, high >= within.high) {
        (true, true) => None,
        (false, true) => Some(format!("v >= {low}")),
        (true, false) if low == high => Some(format!("v == {low}")),
        (true, false) => Some(format!("v <= {high}")),
        (false, false) if low == high => Some(format!("v == {low}")),
        (false, false) => Some(format!("({low}..={high}).contains(&v)")),
    }
}

fn shown(versions: Versions, highest: i16) -> String {
    match versions {
        Versions { low, high } if high == highest => format!("{low}+"),
        Versions { low, high } if low == high => format!("{low}"),
        Versions { low, high } => format!("{low} to {high}"),
    }
}

/// The fewest bytes that a structure takes in any version it occurs in.
fn item_min_size(message: &Message, item: &Struct) -> usize {
    let Versions { low, high } = item.versions;
    (low..=high).map(|version| min_size(message, item, version)).min().unwrap_or(0)
}

fn min_size(message: &Message, item: &Struct, version: i16) -> usize {
    let flexible = message.flexible.contains(version);
    let fields = item.fields.iter().filter(|field| field.tag.is_none() && field.versions.contains(version));
    let sizes = fields.map(|field| match &field.type_ {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 => 2,
        Type::Int32 | Type::Uint32 => 4,
        Type::Int64 | Type::Float64 => 8,
        Type::Uuid => 16,
        Type::String if !flexible => 2,
        Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
        Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
        Type::Struct(_) if field.nullable.contains(version) => 1,
        Type::Struct(name) => find(message, name).map_or(0, |inner| min_size(message, inner, version)),
    });
    sizes.sum::<usize>() + usize::from(flexible)
}
