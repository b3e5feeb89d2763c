//! Whatever a file or a client says: it is read or refused, never a panic, and what was written comes back.

use std::collections::BTreeMap;

use metadata::config::value::{parse_duration_ms, parse_endpoint, parse_voter, split_list};
use metadata::config::{Layers, broker, client_metrics, describe, group, remarks, table, topic};
use proptest::collection::btree_map;
use proptest::prelude::*;

/// Text that is likely to hit a branch: signs, digits, separators, units, and anything else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[-+0-9.eEdDfxNaInity]{0,24}", "[a-z:,@\\[\\]*=/ .0-9]{0,40}", "P[0-9DTHMS.]{0,20}", ".{0,20}"]
}

proptest! {
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
        let _ = broker::validate_dynamic(&settings, true, &Layers::of_file(&settings));
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
