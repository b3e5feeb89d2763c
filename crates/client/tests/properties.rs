//! Whatever bytes a properties file has: it is read or refused, never a panic, and what Java wrote is read back.

use client::properties::parse;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// A setting as `java.util.Properties` stores it.
fn stored(name: &str, value: &str) -> String {
    let escape = |text: &str, is_name: bool| {
        let mut out = String::new();
        for (at, c) in text.chars().enumerate() {
            match c {
                ' ' if is_name || at == 0 => out.push_str("\\ "),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\x0c' => out.push_str("\\f"),
                '=' | ':' | '#' | '!' | '\\' => out.extend(['\\', c]),
                ' '..='~' => out.push(c),
                c => {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
                }
            }
        }
        out
    };
    format!("{}={}\n", escape(name, true), escape(value, false))
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn what_java_stores_is_read_back(settings in btree_map(".{1,20}", ".{0,40}", 0..8)) {
        let file: String = settings.iter().map(|(name, value)| stored(name, value)).collect();
        prop_assert_eq!(parse(file.as_bytes()), Ok(settings));
    }

    #[test]
    fn any_value_is_filled_in_without_a_panic(value in "[${}:a\u{e9}]{0,24}") {
        let settings = client::Properties::from([
            ("config.providers".to_owned(), "a".to_owned()),
            ("config.providers.a.class".to_owned(), "org.apache.kafka.common.config.provider.FileConfigProvider".to_owned()),
            ("config.providers.a.param.allowed.paths".to_owned(), "/proc/self/fd".to_owned()),
            ("x".to_owned(), value.clone()),
        ]);
        // Nothing may be read, so nothing is replaced.
        prop_assert_eq!(&client::config_providers::resolve(&settings).unwrap()["x"], &value);
    }
}
