//! Produce: what is wrong with batches and requests, and what a producer is told.

use wire::messages::*;
use wire::records::{BatchBuilder, Codec};

use crate::batches::*;
use crate::harness::{Answer, Broker, Client, now_ms, unique};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A broker, a client of it and a topic of this test's own.
fn topic(configs: &[(&str, &str)]) -> (Broker, Client, String) {
    let broker = Broker::start();
    let mut client = broker.connect();
    let name = unique("bad-batch");
    client.create_topic(&name, configs);
    (broker, client, name)
}

#[test]
fn sound_batches_are_taken_in_every_codec() {
    let (_broker, mut client, name) = topic(&[]);
    for (i, codec) in CODECS.into_iter().enumerate() {
        let told = client.produce(&name, &batch(codec, 3));
        assert_eq!(told, Told { error: "NONE", base_offset: 3 * i as i64 }, "{codec:?}");
    }
}

#[test]
fn no_records_at_all_are_an_invalid_record() {
    // Apache Kafka 4.3.1 closes the connection when they are null.
    let (_broker, mut client, name) = topic(&[]);
    let told_of_null = client.call(12, &request(&name, -1, None), told);
    assert_eq!(told_of_null.error, "INVALID_RECORD");
    client.refuses(&name, &[], "INVALID_RECORD");
}

#[test]
fn two_batches_in_one_partition_are_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    let two = [batch(Codec::None, 1), batch(Codec::None, 1)].concat();
    client.refuses(&name, &two, "INVALID_RECORD");
}

#[test]
fn other_magic_than_2_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    for magic in [0u8, 1] {
        // A message of the old format: offset, size, CRC, magic, attributes, (timestamp,) null key, value.
        let mut body = vec![0, 0, 0, 0, magic, 0];
        body.resize(body.len() + 8 * usize::from(magic), 0);
        body.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'x']);
        let mut set = vec![0; 8];
        set.extend_from_slice(&(body.len() as i32).to_be_bytes());
        set.extend_from_slice(&body);
        client.refuses(&name, &set, "INVALID_RECORD");
    }
}

#[test]
fn a_magic_that_does_not_exist_is_refused() {
    let (_broker, mut client, name) = topic(&[]);
    for magic in [3u8, 127, 255] {
        let told = client.produce(&name, &bend(batch(Codec::None, 1), MAGIC_AT, &[magic]));
        assert!(["INVALID_RECORD", "CORRUPT_MESSAGE"].contains(&told.error), "{magic}: {told:?}");
    }
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn a_wrong_crc_is_a_corrupt_message() {
    let (_broker, mut client, name) = topic(&[]);
    for codec in CODECS {
        let mut bent = batch(codec, 3);
        *bent.last_mut().unwrap() ^= 1;
        client.refuses(&name, &bent, "CORRUPT_MESSAGE");
    }
}

#[test]
fn lengths_that_do_not_match_the_bytes_are_refused() {
    // Apache Kafka 4.3.1 calls some of these, and some of the garbage below, an unknown server error.
    let (_broker, mut client, name) = topic(&[]);
    let sound = batch(Codec::None, 3);
    for length in [-1i32, 0, 13, 48, 49, i32::MAX, i32::MIN] {
        let mut bent = sound.clone();
        bent[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        let told = client.produce(&name, &bent);
        assert!(["INVALID_RECORD", "CORRUPT_MESSAGE"].contains(&told.error), "{length}: {told:?}");
    }
    for kept in [1, 11, 12, 16, 17, 60, sound.len() - 1] {
        let told = client.produce(&name, &sound[..kept]);
        assert!(["INVALID_RECORD", "CORRUPT_MESSAGE"].contains(&told.error), "{kept} bytes: {told:?}");
    }
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn a_batch_over_max_message_bytes_is_too_large() {
    let (_broker, mut client, name) = topic(&[("max.message.bytes", "1000")]);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(now_ms(), None, Some(&[7; 2000]), &[]);
    client.refuses(&name, &builder.build(0, -1), "MESSAGE_TOO_LARGE");
}

#[test]
fn a_batch_over_the_segment_size_is_a_list_too_large() {
    let (_broker, mut client, name) = topic(&[("max.message.bytes", "3000000"), ("segment.bytes", "1048576")]);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(now_ms(), None, Some(&vec![7; 2_000_000]), &[]);
    client.refuses(&name, &builder.build(0, -1), "RECORD_LIST_TOO_LARGE");
}

#[test]
fn a_base_offset_other_than_zero_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    for base in [1i64, -1, i64::MAX] {
        let mut bent = batch(Codec::None, 2);
        bent[..8].copy_from_slice(&base.to_be_bytes());
        client.refuses(&name, &bent, "INVALID_RECORD");
    }
}

#[test]
fn counts_that_contradict_each_other_are_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    for codec in [Codec::None, Codec::Lz4] {
        for delta in [0i32, 1, 3, -1, i32::MAX, i32::MIN] {
            client.refuses(&name, &bend(batch(codec, 3), LAST_OFFSET_DELTA_AT, &delta.to_be_bytes()), "INVALID_RECORD");
        }
        for count in [0i32, 2, 4, -1, i32::MAX, i32::MIN] {
            client.refuses(&name, &bend(batch(codec, 3), RECORD_COUNT_AT, &count.to_be_bytes()), "INVALID_RECORD");
        }
    }
}

#[test]
fn more_records_than_bytes_can_hold_are_refused_without_reserving_for_them() {
    let (mut broker, mut client, name) = topic(&[]);
    broker.growth_mib = 16.0;
    let count = 2_000_000_000i32;
    let bent = bend(batch(Codec::Gzip, 3), RECORD_COUNT_AT, &count.to_be_bytes());
    client.refuses(&name, &bend(bent, LAST_OFFSET_DELTA_AT, &(count - 1).to_be_bytes()), "INVALID_RECORD");
}

#[test]
fn a_batch_without_records_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    let empty = with_records(&batch(Codec::None, 1), &[]);
    let empty = bend(empty, RECORD_COUNT_AT, &0i32.to_be_bytes());
    client.refuses(&name, &bend(empty, LAST_OFFSET_DELTA_AT, &(-1i32).to_be_bytes()), "INVALID_RECORD");
}

#[test]
fn control_batches_from_a_client_are_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    client.refuses(&name, &bend(batch(Codec::None, 1), ATTRIBUTES_AT, &0x20i16.to_be_bytes()), "INVALID_RECORD");
}

#[test]
fn a_producer_id_without_sequence_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    for sequence in [-1i32, -2, i32::MIN] {
        let mut fields = 4000i64.to_be_bytes().to_vec();
        fields.extend_from_slice(&0i16.to_be_bytes());
        fields.extend_from_slice(&sequence.to_be_bytes());
        client.refuses(&name, &bend(batch(Codec::None, 1), PRODUCER_ID_AT, &fields), "INVALID_RECORD");
    }
}

#[test]
fn an_unknown_codec_is_refused() {
    let (_broker, mut client, name) = topic(&[]);
    for codec in [5i16, 6, 7] {
        let told = client.produce(&name, &bend(batch(Codec::None, 1), ATTRIBUTES_AT, &codec.to_be_bytes()));
        assert!(told.error != "NONE" && told.base_offset == -1, "{codec}: {told:?}");
    }
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn garbage_where_records_should_be_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    let varint_without_end = [0xff; 20];
    let record_longer_than_batch = [0xfe, 0x7f, 0, 0, 0, 0, 0, 0];
    let negative_length = [0x01, 0, 0, 0, 1, 1, 0];
    let key_longer_than_record = [14, 0, 0, 0, 0xc8, 0x01, 0, 0];
    let headers_without_end = [14, 0, 0, 0, 1, 1, 0xfe, 0x7f];
    let negative_header_count = [14, 0, 0, 0, 1, 1, 1, 0];
    let null_header_key = [18, 0, 0, 0, 1, 1, 2, 1, 1, 0];
    let bytes_behind_the_record = [12, 0, 0, 0, 1, 1, 0, 9, 9, 9];
    let cases: [&[u8]; 8] = [
        &varint_without_end,
        &record_longer_than_batch,
        &negative_length,
        &key_longer_than_record,
        &headers_without_end,
        &negative_header_count,
        &null_header_key,
        &bytes_behind_the_record,
    ];
    for records in cases {
        client.refuses(&name, &with_records(&batch(Codec::None, 1), records), "INVALID_RECORD");
    }
}

#[test]
fn garbage_inside_compressed_records_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[]);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        // A batch of one record whose bytes are compressed, under a header that promises two.
        let one = batch(codec, 1);
        let bent = bend(one.clone(), RECORD_COUNT_AT, &2i32.to_be_bytes());
        client.refuses(&name, &bend(bent, LAST_OFFSET_DELTA_AT, &1i32.to_be_bytes()), "INVALID_RECORD");
        // What calls itself compressed and is not.
        let told = client.produce(&name, &with_records(&one, &[0xa5; 64]));
        assert!(
            ["INVALID_RECORD", "CORRUPT_MESSAGE", "UNKNOWN_SERVER_ERROR"].contains(&told.error),
            "{codec:?}: {told:?}"
        );
        // Compressed data that breaks off.
        let told = client.produce(&name, &with_records(&one, &one[RECORDS_AT..one.len() - 3]));
        assert!(
            ["INVALID_RECORD", "CORRUPT_MESSAGE", "UNKNOWN_SERVER_ERROR"].contains(&told.error),
            "{codec:?}: {told:?}"
        );
    }
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn a_decompression_bomb_is_refused_in_bounded_memory() {
    // Apache Kafka streams through it, and takes it when the records are sound.
    let (mut broker, mut client, name) = topic(&[]);
    broker.growth_mib = 64.0;
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        let zeroes = vec![0; 32 << 20];
        for _ in 0..10 {
            builder.append(now_ms(), None, Some(&zeroes), &[]);
        }
        let bomb = builder.build(0, -1);
        assert!(bomb.len() < 1_000_000, "the bomb is small on the wire: {} bytes", bomb.len());
        let told = client.produce(&name, &bomb);
        assert!(["INVALID_RECORD", "MESSAGE_TOO_LARGE"].contains(&told.error), "{codec:?}: {told:?}");
        broker.is_well();
    }
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn zstd_before_version_7_is_an_unsupported_compression_type() {
    let (_broker, mut client, name) = topic(&[]);
    for version in 3..7 {
        let told = client.produce_as(version, &name, &batch(Codec::Zstd, 1));
        assert_eq!(told.error, "UNSUPPORTED_COMPRESSION_TYPE", "version {version}");
    }
    assert_eq!(client.produce_as(7, &name, &batch(Codec::Zstd, 1)).error, "NONE");
}

#[test]
fn acks_that_do_not_exist_are_invalid_required_acks() {
    let (_broker, mut client, name) = topic(&[]);
    let sound = batch(Codec::None, 1);
    for acks in [2i16, -2, 100, i16::MIN, i16::MAX] {
        let told = client.call(12, &request(&name, acks, Some(&sound)), told);
        assert_eq!(told.error, "INVALID_REQUIRED_ACKS", "acks {acks}");
    }
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn an_error_under_acks_0_closes_the_connection() {
    let (broker, mut client, name) = topic(&[]);
    let mut bent = batch(Codec::None, 1);
    *bent.last_mut().unwrap() ^= 1;
    client.send(12, &request(&name, 0, Some(&bent)));
    client.is_closed();
    assert_eq!(broker.connect().end_offset(&name), Some(0));
}

#[test]
fn a_record_without_key_in_a_compacted_topic_is_an_invalid_record() {
    let (_broker, mut client, name) = topic(&[("cleanup.policy", "compact")]);
    for codec in [Codec::None, Codec::Gzip] {
        let mut builder = BatchBuilder::new(codec);
        builder.append(now_ms(), Some(b"key"), Some(b"value"), &[]);
        builder.append(now_ms(), None, Some(b"value"), &[]);
        client.refuses(&name, &builder.build(0, -1), "INVALID_RECORD");
    }
}

#[test]
fn timestamps_out_of_the_topics_range_are_invalid() {
    let (_broker, mut client, name) = topic(&[("message.timestamp.before.max.ms", "1000000")]);
    for at in [now_ms() + 7_200_000, now_ms() - 2_000_000, i64::MAX] {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(at, None, Some(b"value"), &[]);
        client.refuses(&name, &builder.build(0, -1), "INVALID_TIMESTAMP");
    }
}

#[test]
fn transactional_batches_without_a_transaction_are_refused() {
    let (_broker, mut client, name) = topic(&[]);
    let mut builder = BatchBuilder::new(Codec::None).producer(4001, 0, 0).transactional();
    builder.append(now_ms(), None, Some(b"value"), &[]);
    let bytes = builder.build(0, -1);
    let mut request = request(&name, -1, Some(&bytes));
    request.transactional_id = Some("nobody".into());
    let told = client.call(11, &request, told);
    assert!(told.error != "NONE" && told.base_offset == -1, "{told:?}");
    assert_eq!(client.end_offset(&name), Some(0));
}

#[test]
fn a_partition_or_topic_that_is_not_there_is_unknown() {
    let (_broker, mut client, name) = topic(&[]);
    let sound = batch(Codec::None, 1);
    assert_eq!(client.produce("no-such-topic-here", &sound).error, "UNKNOWN_TOPIC_OR_PARTITION");
    for index in [1, -1, i32::MAX, i32::MIN] {
        let mut request = request(&name, -1, Some(&sound));
        let mut topics = request.topic_data.to_vec();
        let mut partitions = topics[0].partition_data.to_vec();
        partitions[0].index = index;
        topics[0].partition_data = partitions.into();
        request.topic_data = topics.into();
        assert_eq!(client.call(12, &request, told).error, "UNKNOWN_TOPIC_OR_PARTITION", "partition {index}");
    }
}

#[test]
fn a_request_without_topics_is_answered_with_none() {
    let (_broker, mut client, _) = topic(&[]);
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, ..Default::default() };
    for version in 3..=13 {
        assert!(client.call(version, &request, |r| r.responses.is_empty()), "version {version}");
    }
}

/// A connection learns how much a client has under way while it waits for acknowledgements, and reads accordingly: it must not
/// wait for what does not come.
#[test]
fn requests_under_way_are_answered_whether_more_follow_or_not() {
    let (_broker, mut client, name) = topic(&[("flush.messages", "1")]);
    let sound = batch(Codec::None, 3);
    let request = request(&name, -1, Some(&sound));
    let mut base_offset = 0;
    for under_way in [5, 2, 8, 1] {
        for _ in 0..under_way {
            client.send(12, &request);
        }
        let rounds = 200;
        for round in 0..rounds {
            let later = (under_way - 1).min(rounds - 1 - round);
            let told = client.receive::<ProduceRequest<'_>, _>(12, later, told);
            assert_eq!(told, Told { error: "NONE", base_offset });
            base_offset += 3;
            if round + under_way < rounds {
                client.send(12, &request);
            }
        }
    }
}

#[test]
fn the_same_partition_twice_in_a_request_harms_nobody() {
    let (_broker, mut client, name) = topic(&[]);
    let sound = batch(Codec::None, 1);
    let mut request = request(&name, -1, Some(&sound));
    let mut topics = request.topic_data.to_vec();
    let mut partitions = topics[0].partition_data.to_vec();
    partitions.push(partitions[0].clone());
    topics[0].partition_data = partitions.into();
    topics.push(topics[0].clone());
    request.topic_data = topics.into();
    client.send(12, &request);
    assert_ne!(client.answer(), Answer::Silence);
}
