//! Names: what is documented, drawn and alerted on is what the broker has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::page::Measured;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The words of a text that can only be names of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let begins = |word: &&str| ["kafka_", "klamm_", "process_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(begins).map(str::to_owned).collect()
}

/// A name without what a histogram's samples add to it.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[test]
fn the_documentation_names_every_metric_and_no_other() {
    let measured = Measured::start();
    measured.broker.create("named", &["--partitions", "1"]);
    measured.broker.feed("kafka-console-producer", &["--topic", "named"], "a\n").ok();
    let words = ["--topic", "named", "--group", "g", "--from-beginning", "--max-messages", "1"];
    measured.broker.run("kafka-console-consumer", &words).ok();
    let page = measured.wait_for("lag in seconds", |page| {
        page.text.contains("kafka_consumergroup_lag_seconds{").then(|| page.clone())
    });
    let documented: BTreeMap<String, (String, BTreeSet<String>)> = file("docs/metrics.md")
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, kind, labels, ..] = cells[..] else { return None };
            let name = name.strip_prefix('`')?.strip_suffix('`')?;
            let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Some((name.to_owned(), (kind.to_owned(), labels)))
        })
        .collect();
    let kinds: BTreeMap<String, String> =
        documented.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    assert_eq!(kinds, page.families());
    for line in page.text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_once(['{', ' ']).unwrap();
        let name = if documented.contains_key(name) { name } else { family(name) };
        let (_, documented) = &documented[name];
        let is_labelled = line[line.find(['{', ' ']).unwrap()..].starts_with('{');
        if !is_labelled {
            continue;
        }
        // Values here hold no quotes, so that labels are every other piece.
        let labels = labels.split('"').step_by(2).filter_map(|piece| piece.trim_start_matches(',').strip_suffix('='));
        let unknown: Vec<&str> = labels.filter(|label| *label != "le" && !documented.contains(*label)).collect();
        assert!(unknown.is_empty(), "{unknown:?} of {name} are not documented");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_is_there() {
    let there = Measured::start().page().families();
    for path in ["contrib/grafana/klamm.json", "contrib/prometheus/alerts.yml"] {
        let asked = named(&file(path));
        assert!(asked.len() > 10, "{path}: {asked:?}");
        for name in asked {
            let known = there.contains_key(&name) || there.get(family(&name)).is_some_and(|kind| kind == "histogram");
            assert!(known, "{path} asks for {name}, which is not on the page");
        }
    }
}
