use connect_api::{Schema, SchemaBuilder, Struct, Type, logical};

use super::*;

fn converter(settings: &[(&str, &str)]) -> JsonConverter {
    let mut converter = JsonConverter::default();
    Converter::configure(&mut converter, &properties(settings), false).expect("settings");
    converter
}

fn properties(settings: &[(&str, &str)]) -> Properties {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const PLAIN: &[(&str, &str)] = &[("schemas.enable", "false")];

/// What reading and then writing gives, or the error's message.
fn round(converter: &JsonConverter, json: &str) -> std::result::Result<String, String> {
    let read = converter.read(Some(json.as_bytes())).map_err(|e| e.message)?;
    let written = converter.write(read.schema.as_ref(), &read.value).map_err(|e| e.message)?;
    Ok(written.map_or_else(|| "none".to_owned(), |bytes| String::from_utf8(bytes).expect("UTF-8")))
}

#[test]
fn plain_json_comes_back_in_the_order_of_javas_maps() {
    let c = converter(PLAIN);
    for (json, expected) in [
        (r#"{"b":1,"a":[1.50,true,null,"x\u00e9"]}"#, r#"{"a":[1.5,true,null,"xé"],"b":1}"#),
        (r#"{"zeta":1,"alpha":2,"Aa":6,"BB":7,"k1":4}"#, r#"{"zeta":1,"Aa":6,"BB":7,"k1":4,"alpha":2}"#),
        ("1e400", "\"Infinity\""),
        ("123456789012345678901234567890", "-4362896299872285998"),
        ("", "none"),
        ("null", "none"),
    ] {
        assert_eq!(round(&c, json).as_deref(), Ok(expected), "{json}");
    }
    let broken = "Converting byte[] to Kafka Connect data failed due to serialization error: ";
    assert_eq!(round(&c, "nope"), Err(broken.to_owned()));
}

#[test]
fn schemas_come_back_with_their_members_in_kafkas_order() {
    let c = converter(&[]);
    for (json, expected) in [
        (
            r#"{"payload":{"a":1},"schema":{"fields":[{"field":"a","type":"int32","doc":"d"},{"field":"b","optional":true,"type":"bytes"}],"type":"struct","version":3,"name":"n"}}"#,
            r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"doc":"d","field":"a"},{"type":"bytes","optional":true,"field":"b"}],"optional":false,"name":"n","version":3},"payload":{"a":1,"b":null}}"#,
        ),
        (
            r#"{"schema":{"type":"map","keys":{"type":"int32"},"values":{"type":"string"}},"payload":[[1,"a"]]}"#,
            r#"{"schema":{"type":"map","keys":{"type":"int32","optional":false},"values":{"type":"string","optional":false},"optional":false},"payload":[[1,"a"]]}"#,
        ),
        (
            r#"{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},"payload":"AQ=="}"#,
            r#"{"schema":{"type":"bytes","optional":false,"name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},"payload":"AQ=="}"#,
        ),
        (
            r#"{"schema":{"type":"int32","name":"org.apache.kafka.connect.data.Date","version":1,"default":5},"payload":null}"#,
            r#"{"schema":{"type":"int32","optional":false,"name":"org.apache.kafka.connect.data.Date","version":1,"default":5},"payload":5}"#,
        ),
        (r#"{"schema":{"type":"int8"},"payload":300}"#, r#"{"schema":{"type":"int8","optional":false},"payload":44}"#),
        (r#"{"schema":null,"payload":{"a":1}}"#, r#"{"schema":null,"payload":{"a":1}}"#),
    ] {
        // The second time the schema comes from the cache.
        assert_eq!(round(&c, json).as_deref(), Ok(expected), "{json}");
        assert_eq!(round(&c, json).as_deref(), Ok(expected), "{json}");
    }
}

#[test]
fn what_is_not_as_the_schema_says_is_refused_in_kafkas_words() {
    let c = converter(&[]);
    for (json, expected) in [
        (r#"{"schema":{"type":"int32"},"payload":null}"#, "Invalid null value for required INT32 field"),
        (r#"{"schema":{"type":"foo"},"payload":null}"#, "Unknown schema type: foo"),
        (r#"{"schema":{},"payload":5}"#, "Schema must contain 'type' field"),
        (r#"{"schema":{"type":"bytes"},"payload":"a"}"#, "Invalid bytes field"),
        (r#"{"schema":{"type":"string","default":5},"payload":null}"#, "Invalid default value"),
        (
            r#"{"schema":{"type":"map","keys":{"type":"string"},"values":{"type":"string"}},"payload":[]}"#,
            "Maps with string fields should be encoded as JSON objects, but found ARRAY",
        ),
        (
            r#"{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}},"payload":1.5}"#,
            "Decimal value has mismatching scale for given Decimal schema. Schema has scale 2, value has scale 1.",
        ),
    ] {
        assert_eq!(round(&c, json), Err(expected.to_owned()), "{json}");
    }
    for no_envelope in [r#"{"a":1}"#, "5", r#"{"schema":null,"payload":1,"more":2}"#] {
        assert!(round(&c, no_envelope).unwrap_err().starts_with("JsonConverter with schemas.enable requires"));
    }
}

#[test]
fn decimals_may_be_numbers() {
    let schema =
        SchemaBuilder::new(Type::Bytes).name(logical::DECIMAL).parameter("scale", "2").version(1).build().unwrap();
    let number = Value::Decimal(connect_api::Decimal::parse("-1.50").unwrap());
    let c = converter(&[("schemas.enable", "false"), ("decimal.format", "numeric")]);
    assert_eq!(c.write(Some(&schema), &number).unwrap().as_deref(), Some(&b"-1.50"[..]));
    let c = converter(PLAIN);
    assert_eq!(c.write(Some(&schema), &number).unwrap().as_deref(), Some(&b"\"/2o=\""[..]));
}

#[test]
fn a_missing_field_takes_its_default_unless_told_otherwise() {
    let field = SchemaBuilder::new(Type::Int32).optional().default(7.into()).build().unwrap();
    let schema = SchemaBuilder::structure().field("a", field).build().unwrap();
    let value = Value::Struct(Box::new(Struct::new(schema.clone()).unwrap()));
    let c = converter(PLAIN);
    assert_eq!(c.write(Some(&schema), &value).unwrap().as_deref(), Some(&br#"{"a":7}"#[..]));
    let c = converter(&[("schemas.enable", "false"), ("replace.null.with.default", "false")]);
    assert_eq!(c.write(Some(&schema), &value).unwrap().as_deref(), Some(&br#"{"a":null}"#[..]));
}

#[test]
fn nothing_with_a_schema_is_null_and_without_one_is_a_tombstone() {
    let c = converter(PLAIN);
    assert_eq!(c.write(Some(&Schema::optional_of(Type::String)), &Value::Null).unwrap().as_deref(), Some(&b"null"[..]));
    assert_eq!(c.write(None, &Value::Null).unwrap(), None);
    assert_eq!(c.read(None).unwrap(), SchemaAndValue::default());
}

#[test]
fn a_schema_in_the_settings_is_that_of_everything_read() {
    let c = converter(&[("schema.content", r#"{"type":"struct","fields":[{"field":"a","type":"int32"}]}"#)]);
    let read = c.read(Some(br#"{"a":5}"#)).unwrap();
    assert_eq!(read.value.to_string(), "Struct{a=5}");
    let mut broken = JsonConverter::default();
    let error = Converter::configure(&mut broken, &properties(&[("schema.content", "{")]), false).unwrap_err();
    assert_eq!(error.message, "Failed to parse schema in converter config due to serialization error: ");
}

#[test]
fn depth_up_to_the_bound_fits_a_threads_stack() {
    let deep = "[".repeat(250) + &"]".repeat(250);
    let done =
        std::thread::Builder::new().stack_size(2 << 20).spawn(move || round(&converter(PLAIN), &deep).map(|s| s.len()));
    assert_eq!(done.unwrap().join().unwrap(), Ok(500));
}

#[test]
fn settings_are_checked_in_kafkas_words() {
    let refused = |name: &str, value: &str| {
        let mut c = JsonConverter::default();
        Converter::configure(&mut c, &properties(&[(name, value)]), false).map_err(|e| e.message)
    };
    assert_eq!(
        refused("decimal.format", "x"),
        Err("Invalid value x for configuration decimal.format: String must be one of (case insensitive): NUMERIC, BASE64".into())
    );
    assert_eq!(
        refused("schemas.cache.size", "x"),
        Err("Invalid value x for configuration schemas.cache.size: Not a number of type INT".into())
    );
    assert_eq!(refused("schemas.cache.size", "-1"), Ok(()));
}
