//! The reference page in `docs` is what the table says.

use metadata::config::{Effect, reference, table};

#[test]
fn the_page_in_docs_is_as_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let there = std::fs::read_to_string(path).unwrap_or_default();
    let page = reference::page();
    let differs = there.lines().zip(page.lines()).position(|(a, b)| a != b);
    assert!(there == page, "docs/configuration.md is stale (line {differs:?}); run `cargo xtask reference`");
}

#[test]
fn every_key_is_on_the_page_and_every_one_without_effect_says_why() {
    let page = reference::page();
    let row = |name: &str| page.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).map(str::to_owned);
    let all = [table::broker_keys(), table::group_keys(), table::client_metrics_keys(), table::quota_keys()].concat();
    for key in all {
        let row = row(key.name).unwrap_or_else(|| panic!("{} is missing", key.name));
        assert!(!key.doc.is_empty() && row.contains(key.doc), "{row}");
        if let Effect::Ignored(reason) | Effect::Later(reason) | Effect::Refused(reason) = key.effect {
            assert!(!reason.is_empty() && row.contains(reason), "{row}");
        }
    }
    for key in table::topic_keys().iter().filter(|key| !key.internal) {
        assert!(row(key.name).is_some_and(|row| row.contains(key.name)), "{}", key.name);
    }
}
