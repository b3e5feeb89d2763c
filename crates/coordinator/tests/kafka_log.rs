//! A `__consumer_offsets` partition that Apache Kafka 4.3.1 wrote: classic groups with dynamic and static members, one of
//! them deleted; offsets committed, reset, deleted, and committed and aborted in transactions; a consumer and a share
//! group. What is expected here is what Kafka's `kafka-consumer-groups.sh` and `kafka-groups.sh` printed.

use coordinator::{Config, GroupKind, GroupState, Loader, Now, Shard};

const LOG: &[u8] = include_bytes!("fixtures/consumer-offsets-4.3.1.log");

fn loaded() -> Shard {
    let mut loader = Loader::new();
    for batch in wire::records::batches(LOG) {
        let batch = batch.unwrap_or_else(|error| panic!("{error}"));
        assert!(batch.is_crc_valid());
        loader.batch(&batch).unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(loader.skipped(), 0);
    loader.finish(Config::default(), 0, Now::default())
}

#[test]
fn the_groups_that_kafka_wrote_are_there_with_their_kinds() {
    let mut listed = loaded().list();
    listed.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    let listed: Vec<_> = listed.iter().map(|g| (&*g.group_id, g.kind, &*g.protocol_type, g.state)).collect();
    let (classic, empty) = (GroupKind::Classic, GroupState::Empty);
    assert_eq!(
        listed,
        [
            ("classic-g", classic, "consumer", empty),
            ("modern-g", GroupKind::Consumer, "consumer", empty),
            ("share-g", GroupKind::Share, "share", empty),
            ("simple-g", classic, "", empty),
            ("static-g", classic, "consumer", empty),
            ("txn-g", classic, "", empty),
        ]
    );
}

#[test]
fn the_offsets_that_kafka_committed_are_there_and_those_of_aborted_transactions_are_not() {
    let shard = loaded();
    let offsets: Vec<_> =
        shard.store().offsets().map(|(key, value)| (&*key.group, &*key.topic, key.partition, value.offset)).collect();
    assert_eq!(
        offsets,
        [
            ("classic-g", "in", 1, 5),
            ("modern-g", "in", 0, 0),
            ("modern-g", "in", 1, 10),
            ("simple-g", "in", 1, 5),
            ("static-g", "in", 0, 0),
            ("static-g", "in", 1, 10),
            ("txn-g", "in", 1, 63),
        ]
    );
    assert_eq!(shard.store().pending().count(), 0, "every transaction had ended");
}

#[test]
fn the_log_is_read_to_any_cut_without_a_panic() {
    for cut in (0..LOG.len()).step_by(7) {
        let mut loader = Loader::new();
        for batch in wire::records::batches(&LOG[..cut]).flatten() {
            loader.batch(&batch).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn classic_records_are_written_as_kafka_wrote_them() {
    let mut compared = 0;
    for batch in wire::records::batches(LOG).flatten().filter(|batch| !batch.is_control()) {
        let records = batch.records().unwrap_or_else(|error| panic!("{error}"));
        for record in records.iter().flatten() {
            let (Some(key), value) = (record.key, record.value) else { continue };
            let change = coordinator::records::decode(key, value).unwrap_or_else(|error| panic!("{error}"));
            let Some(change) = change.filter(|change| !matches!(change, coordinator::store::Change::Foreign { .. }))
            else {
                continue;
            };
            let written = coordinator::records::encode(&change).unwrap_or_else(|error| panic!("{error}"));
            let written = written.map(|record| (record.key, record.value));
            assert_eq!(written, Some((key.to_vec(), value.map(<[u8]>::to_vec))), "at {}", record.offset);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} records compared");
}
