//! Converters: between values and the bytes in a topic.

mod boolean;
mod byte_array;
mod json;
mod number;
mod simple_header;

mod string;

use connect_api::{ConfigKey, Importance, Kind, Plugins, Properties, Validator};

pub use boolean::BooleanConverter;
pub use byte_array::ByteArrayConverter;
pub use json::JsonConverter;
pub use number::{DoubleConverter, FloatConverter, IntegerConverter, LongConverter, ShortConverter};

pub use simple_header::SimpleHeaderConverter;
pub use string::StringConverter;

/// Adds Kafka's converters, in the order in which Kafka lists them.
pub fn register(plugins: &mut Plugins, version: &'static str) {
    macro_rules! both {
        ($($converter:ident = $class:literal),* $(,)?) => {
            $(
                plugins.converter($class, version, || Box::new($converter::default()));
                plugins.header_converter($class, version, || Box::new($converter::default()));
            )*
        };
    }
    both! {
        BooleanConverter = "org.apache.kafka.connect.converters.BooleanConverter",
        ByteArrayConverter = "org.apache.kafka.connect.converters.ByteArrayConverter",
        DoubleConverter = "org.apache.kafka.connect.converters.DoubleConverter",
        FloatConverter = "org.apache.kafka.connect.converters.FloatConverter",
        IntegerConverter = "org.apache.kafka.connect.converters.IntegerConverter",
        LongConverter = "org.apache.kafka.connect.converters.LongConverter",
        ShortConverter = "org.apache.kafka.connect.converters.ShortConverter",
        JsonConverter = "org.apache.kafka.connect.json.JsonConverter",
    }
    let class = "org.apache.kafka.connect.storage.SimpleHeaderConverter";
    plugins.header_converter(class, version, || Box::new(SimpleHeaderConverter));
    let class = "org.apache.kafka.connect.storage.StringConverter";
    plugins.converter(class, version, || Box::new(StringConverter::default()));
    plugins.header_converter(class, version, || Box::new(StringConverter::default()));
}

/// `converter.type`, which Kafka declares for every converter and the worker sets.
fn converter_type() -> ConfigKey {
    ConfigKey::required("converter.type", Kind::String, Importance::Low, "What this converter is used for.")
        .validator(Validator::OneOf(&["key", "value", "header"]))
}

/// The settings with `converter.type` among them; a header converter may have it set already.
fn typed(properties: &Properties, kind: &str) -> Properties {
    let mut properties = properties.clone();
    match kind {
        "header" => properties.entry("converter.type".to_owned()).or_insert_with(|| kind.to_owned()),
        kind => properties.entry("converter.type".to_owned()).insert_entry(kind.to_owned()).into_mut(),
    };
    properties
}
