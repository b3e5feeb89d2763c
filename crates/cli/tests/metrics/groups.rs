//! What groups have left to read.

use std::time::Instant;

use super::page::Measured;

const SAMPLE: &str = "{consumergroup=\"readers\",topic=\"read\",partition=\"0\"}";

fn sample(name: &str) -> String {
    format!("{name}{SAMPLE}")
}

/// Has the group stand at an offset.
fn stand_at(measured: &Measured, offset: &str) {
    let words = ["--group", "readers", "--topic", "read", "--reset-offsets", "--to-offset", offset, "--execute"];
    measured.broker.run("kafka-consumer-groups", &words).ok();
}

#[test]
fn lag_is_told_in_records_and_in_seconds_also_after_a_restart() {
    let mut measured = Measured::start();
    measured.broker.create("read", &["--partitions", "1"]);
    measured.broker.feed("kafka-console-producer", &["--topic", "read"], "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").ok();
    let written = Instant::now();
    stand_at(&measured, "4");
    let lag_seconds = sample("kafka_consumergroup_lag_seconds");
    let seconds = |measured: &Measured| {
        let at_least = written.elapsed().as_secs_f64();
        let page = measured.page();
        (page.value(&lag_seconds), at_least, page)
    };
    measured.wait_for("lag", |page| page.value(&sample("kafka_consumergroup_lag")).filter(|lag| *lag == 6.0));
    measured.wait_for("lag in seconds", |page| page.value(&lag_seconds).filter(|seconds| *seconds > 0.0));

    // Nobody but the log knows how old the records are.
    measured.broker.kill_and_restart();
    measured.wait_for("lag in seconds", |_| {
        let (told, at_least, _) = seconds(&measured);
        told.filter(|told| *told >= at_least)
    });
    let (_, _, page) = seconds(&measured);
    assert_eq!(page.value(&sample("kafka_consumergroup_current_offset")), Some(4.0));
    assert_eq!(page.value(&sample("kafka_consumergroup_lag")), Some(6.0));

    stand_at(&measured, "10");
    measured.wait_for("no lag", |page| page.value(&lag_seconds).filter(|seconds| *seconds == 0.0));
    let page = measured.page();
    assert_eq!(page.value(&sample("kafka_consumergroup_lag")), Some(0.0));
    assert_eq!(page.value("kafka_coordinator_group_groupmetadatamanager_numgroups"), Some(1.0));
    assert_eq!(page.value("kafka_coordinator_group_groupmetadatamanager_numgroupsempty"), Some(1.0));
    assert_eq!(page.value("kafka_coordinator_group_groupmetadatamanager_numoffsets"), Some(1.0));
}
