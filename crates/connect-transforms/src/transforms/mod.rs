//! Transforms: each changes the key, the value, the topic or the headers of a record.

mod cast;
mod extract_field;
mod field_path;
mod filter;
mod flatten;
mod header_from;
mod headers;
mod hoist_field;
mod insert_field;
mod mask_field;
mod regex_router;
mod replace_field;
mod requirements;
mod set_schema_metadata;
mod side;
mod timestamp_converter;
mod timestamp_router;
mod value_to_key;

use connect_api::{ConfigKey, Importance, Kind, Plugins, Setting, Validator};

use side::Side;

/// The documentation of `replace.null.with.default`.
pub(crate) const REPLACE_NULL_DOC: &str = "Whether a field without a value takes the default of its schema (true), or \
                                           stays without one.";

/// Adds Kafka's transforms.
pub fn register(plugins: &mut Plugins, version: &'static str) {
    macro_rules! both {
        ($($class:literal = $transform:path),* $(,)?) => {
            $(
                let class = concat!("org.apache.kafka.connect.transforms.", $class, "$Key");
                plugins.transform(class, version, || Box::new(<$transform>::new(Side::Key)));
                let class = concat!("org.apache.kafka.connect.transforms.", $class, "$Value");
                plugins.transform(class, version, || Box::new(<$transform>::new(Side::Value)));
            )*
        };
    }
    macro_rules! whole {
        ($($class:literal = $transform:path),* $(,)?) => {
            $(
                let class = concat!("org.apache.kafka.connect.transforms.", $class);
                plugins.transform(class, version, || Box::new(<$transform>::default()));
            )*
        };
    }
    both! { "Cast" = cast::Cast }
    whole! { "DropHeaders" = headers::DropHeaders }
    both! { "ExtractField" = extract_field::ExtractField }
    whole! { "Filter" = filter::Filter }
    both! {
        "Flatten" = flatten::Flatten,
        "HeaderFrom" = header_from::HeaderFrom,
        "HoistField" = hoist_field::HoistField,
        "InsertField" = insert_field::InsertField,
    }
    whole! { "InsertHeader" = headers::InsertHeader }
    both! { "MaskField" = mask_field::MaskField }
    whole! { "RegexRouter" = regex_router::RegexRouter }
    both! {
        "ReplaceField" = replace_field::ReplaceField,
        "SetSchemaMetadata" = set_schema_metadata::SetSchemaMetadata,
        "TimestampConverter" = timestamp_converter::TimestampConverter,
    }
    whole! {
        "TimestampRouter" = timestamp_router::TimestampRouter,
        "ValueToKey" = value_to_key::ValueToKey,
    }
}

/// How many schemas a transform remembers what it made of.
const SCHEMAS: usize = 16;

const REPLACE_NULL: &str = "replace.null.with.default";

/// The declaration of `replace.null.with.default`.
fn replace_null() -> ConfigKey {
    ConfigKey::with_default(REPLACE_NULL, Kind::Boolean, "true", Importance::Medium, REPLACE_NULL_DOC)
}

/// Refuses a list without items or with an empty one (KIP-1161).
fn filled(name: &'static str) -> Validator {
    Validator::refuse(move |value| match value {
        Setting::List(items) if items.is_empty() => {
            Err(format!("Configuration '{name}' must not be empty. Valid values include: any non-empty value"))
        }
        Setting::List(items) if items.iter().any(String::is_empty) => {
            Err(format!("Configuration '{name}' values must not be empty."))
        }
        _ => Ok(()),
    })
}

/// As Java splits: parts at the end that are empty are left out.
fn split(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(':').collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}
