//! Whatever a file or a client says: it is read or refused, never a panic, and what was written comes back.

use std::collections::BTreeMap;

use metadata::config::properties::parse;
use metadata::config::value::{parse_duration_ms, parse_endpoint, parse_voter, split_list};
use metadata::config::{Layers, broker, client_metrics, describe, group, remarks, table, topic};
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

/// Text that is likely to hit a branch: signs, digits, separators, units, and anything else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[-+0-9.eEdDfxNaInity]{0,24}", "[a-z:,@\\[\\]*=/ .0-9]{0,40}", "P[0-9DTHMS.]{0,20}", ".{0,20}"]
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
    fn any_value_is_taken_or_refused_and_what_is_taken_prints_as_itself(value in text(), at in any::<prop::sample::Index>()) {
        let all: Vec<_> = [table::broker_keys(), table::topic_keys(), table::group_keys(), table::quota_keys()].concat();
        let key = all[at.index(all.len())];
        match key.parse(&value) {
            Ok(parsed) => prop_assert_eq!(key.parse(&parsed.to_string()), Ok(parsed)),
            Err(message) => prop_assert!(message.contains(key.name), "{}", message),
        }
    }

    #[test]
    fn any_settings_are_checked_and_described(settings in btree_map(name(), text(), 0..6)) {
        let settings: BTreeMap<String, String> = settings;
        let layers = Layers { dynamic_broker: &settings, dynamic_default: &settings, fixed: &settings };
        let _ = topic::validate_all(&settings, &(), &layers);
        let _ = group::validate_all(&settings, &layers);
        let _ = client_metrics::validate_all("s", &settings);
        let _ = broker::validate_dynamic(&settings, true, &settings);
        let _ = remarks::remarks(&settings);
        topic::TopicConfig::new(&settings, &layers);
        let shown = describe::broker(&layers, &|_| true);
        prop_assert!(settings.keys().all(|name| shown.iter().any(|entry| entry.name == *name)));
    }

    #[test]
    fn any_text_is_an_address_a_duration_a_list_or_none(text in text()) {
        let _ = (parse_voter(&text), parse_endpoint(&text));
        prop_assert!(parse_duration_ms(&text).is_none_or(|ms| ms >= 0));
        prop_assert!(split_list(&text).len() <= text.matches(',').count() + 1);
    }
}

fn name() -> impl Strategy<Value = String> {
    let known: Vec<&str> =
        [table::broker_keys(), table::topic_keys(), table::group_keys(), table::client_metrics_keys()]
            .into_iter()
            .flatten()
            .map(|key| key.name)
            .collect();
    prop_oneof![
        4 => prop::sample::select(known).prop_map(str::to_owned),
        1 => "listener\\.name\\.[a-z]{0,3}\\.(max\\.connections|ssl\\.key\\.password|x)".boxed(),
        1 => ".{0,12}".boxed(),
    ]
}
