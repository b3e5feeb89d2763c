//! What an image costs. Alone in its process, for it looks at the process's resident memory.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, create, topic};

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_thousand_topics_cost_well_under_two_megabytes() {
    let mut cluster = Decider::new(&[]).with_brokers(1);
    cluster.records = Vec::new();
    let before = resident();
    for n in 0..10_000 {
        cluster.ask(create(vec![topic(&format!("a-topic-with-some-name-{n}"), 1, 1)]));
        cluster.records.clear();
    }
    let per_thousand = (resident() - before) / 10;
    assert_eq!(cluster.image().topics.partition_count(), 10_000);
    println!("{per_thousand} bytes per 1,000 topics");
    assert!(per_thousand < 1_500_000, "{per_thousand} bytes per 1,000 topics");
}
