//! What is built can be read, stamped and recompressed, and `validate` accepts it and nothing that breaks a rule.

use wire::ErrorCode;
use wire::records::{
    Batch, BatchBuilder, BatchError, Codec, Compressor, Refusal, Rules, Scratch, TimestampType, batches, recompress,
    stamp, stamp_log_append_time, stamp_max_timestamp, validate,
};

const NOW: i64 = 1_760_000_000_000;

fn builder(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec).producer(4000, 3, 17);
    builder.append(NOW, Some(b"a"), Some(b"one"), &[]);
    builder.append(NOW + 5, None, Some(b"two"), &[("trace", Some(b"\x01")), ("empty", None)]);
    builder.append(NOW + 2, Some(b"c"), None, &[]);
    builder
}

fn sound(codec: Codec) -> Vec<u8> {
    builder(codec).build(0, -1)
}

fn check(bytes: &[u8], rules: &Rules) -> Result<wire::records::BatchInfo, Refusal> {
    validate(bytes, rules, &mut Scratch::new())
}

fn code(bytes: &[u8], rules: &Rules) -> Option<ErrorCode> {
    check(bytes, rules).err().map(|refusal| refusal.code)
}

/// The batch with `change` made to it and the checksum made right again.
fn with(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A batch around these bytes as records.
fn around(count: i32, codec: Codec, records: &[u8]) -> Vec<u8> {
    let mut bytes = sound(Codec::None);
    bytes.truncate(61);
    Compressor::new().compress(codec, None, records, &mut bytes);
    with(bytes, |bytes| {
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[22] = codec.id();
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
    })
}

#[test]
fn what_is_built_is_read_back() {
    for codec in Codec::ALL {
        let bytes = builder(codec).build(100, 7);
        let batch = Batch::parse(&bytes).unwrap();
        assert!(batch.is_crc_valid());
        assert_eq!((batch.base_offset(), batch.last_offset(), batch.next_offset()), (100, 102, 103));
        assert_eq!((batch.leader_epoch(), batch.magic(), batch.codec()), (7, 2, Ok(codec)));
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (NOW, NOW + 5));
        assert_eq!((batch.producer_id(), batch.producer_epoch()), (4000, 3));
        assert_eq!((batch.base_sequence(), batch.last_sequence()), (17, 19));
        assert_eq!((batch.size(), batch.record_count()), (bytes.len(), 3));
        let records = batch.records().unwrap();
        let records: Vec<_> = records.iter().map(|record| record.unwrap()).collect();
        assert_eq!(
            records.iter().map(|r| (r.offset, r.timestamp)).collect::<Vec<_>>(),
            [(100, NOW), (101, NOW + 5), (102, NOW + 2)]
        );
        assert_eq!(records[0].key, Some(b"a".as_slice()));
        assert_eq!(records[1].key, None);
        assert_eq!(records[2].value, None);
        let headers: Vec<_> = records[1].headers.iter().map(|h| (h.key_str().into_owned(), h.value)).collect();
        assert_eq!(headers, [("trace".to_string(), Some(b"\x01".as_slice())), ("empty".to_string(), None)]);
        assert!(records[0].headers.is_empty());
    }
}

#[test]
fn a_builder_can_be_used_again() {
    let mut builder = builder(Codec::Zstd);
    let first = builder.build(0, -1);
    assert!(builder.is_empty());
    builder.set_producer(4000, 3, 20);
    builder.append(NOW + 9, None, None, &[]);
    let second = builder.build(0, -1);
    assert_eq!(Batch::parse(&first).unwrap().last_sequence() + 1, Batch::parse(&second).unwrap().base_sequence());
    assert_eq!(Batch::parse(&second).unwrap().base_timestamp(), NOW + 9);
    assert!(check(&second, &Rules::new(NOW)).is_ok());
}

#[test]
fn validate_says_what_is_in_a_sound_batch() {
    for codec in Codec::ALL {
        let bytes = sound(codec);
        let info = check(&bytes, &Rules::new(NOW)).unwrap();
        assert_eq!((info.size, info.codec, info.record_count, info.last_offset_delta), (bytes.len(), codec, 3, 2));
        assert_eq!((info.base_timestamp, info.max_timestamp, info.offset_of_max_timestamp_delta), (NOW, NOW + 5, 1));
        assert_eq!(
            (info.producer_id, info.producer_epoch, info.base_sequence, info.last_sequence()),
            (4000, 3, 17, 19)
        );
        assert!(!info.max_timestamp_differs && !info.is_control && !info.is_transactional);
    }
}

#[test]
fn anything_but_one_whole_batch_is_refused() {
    let rules = Rules::new(NOW);
    let bytes = sound(Codec::None);
    assert_eq!(code(&[], &rules), Some(ErrorCode::InvalidRecord));
    assert_eq!(code(&[bytes.clone(), bytes.clone()].concat(), &rules), Some(ErrorCode::InvalidRecord));
    for cut in 1..bytes.len() {
        assert_eq!(code(&bytes[..cut], &rules), Some(ErrorCode::InvalidRecord), "{cut}");
    }
    assert_eq!(code(&[bytes.as_slice(), b"x"].concat(), &rules), Some(ErrorCode::InvalidRecord));
    for length in [i32::MIN, -1, 0, 14, 48] {
        let bytes = with(bytes.clone(), |bytes| bytes[8..12].copy_from_slice(&length.to_be_bytes()));
        assert_eq!(code(&bytes, &rules), Some(ErrorCode::CorruptMessage), "{length}");
    }
    let bytes = with(bytes, |bytes| bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes()));
    assert_eq!(code(&bytes, &rules), Some(ErrorCode::InvalidRecord));
}

#[test]
fn other_formats_are_refused() {
    for magic in [0, 1, 3, 0x7f, 0xff] {
        let mut bytes = sound(Codec::None);
        bytes[16] = magic;
        assert_eq!(code(&bytes, &Rules::new(NOW)), Some(ErrorCode::InvalidRecord), "{magic}");
    }
}

#[test]
fn every_flipped_bit_under_the_checksum_is_a_corrupt_message() {
    let sound = sound(Codec::Snappy);
    for at in 21..sound.len() {
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            let code = code(&bytes, &Rules::new(NOW));
            // The codec is looked at before the checksum: the version of the request decides about it.
            let expected = if at == 22 && bytes[22] & 7 > 4 {
                ErrorCode::UnsupportedCompressionType
            } else {
                ErrorCode::CorruptMessage
            };
            assert_eq!(code, Some(expected), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn header_rules_are_kept() {
    type Change = (&'static str, usize, &'static [u8], ErrorCode);
    let cases: &[Change] = &[
        ("base offset 1", 7, &[1], ErrorCode::InvalidRecord),
        ("negative base offset", 0, &[0xff], ErrorCode::InvalidRecord),
        ("last offset delta -1", 23, &[0xff, 0xff, 0xff, 0xff], ErrorCode::InvalidRecord),
        ("last offset delta max", 23, &[0x7f, 0xff, 0xff, 0xff], ErrorCode::InvalidRecord),
        ("last offset delta too small", 26, &[1], ErrorCode::InvalidRecord),
        ("count 0", 60, &[0], ErrorCode::InvalidRecord),
        ("count 2", 60, &[2], ErrorCode::InvalidRecord),
        ("count 4", 60, &[4], ErrorCode::InvalidRecord),
        ("negative count", 57, &[0xff], ErrorCode::InvalidRecord),
        ("control batch", 22, &[0x20], ErrorCode::InvalidRecord),
        ("delete horizon", 22, &[0x40], ErrorCode::InvalidRecord),
        ("unknown attribute 7", 22, &[0x80], ErrorCode::InvalidRecord),
        ("unknown attribute 15", 21, &[0x80], ErrorCode::InvalidRecord),
        ("log append time", 22, &[0x08], ErrorCode::InvalidTimestamp),
        ("codec 5", 22, &[5], ErrorCode::UnsupportedCompressionType),
        ("codec 7", 22, &[7], ErrorCode::UnsupportedCompressionType),
        ("compressed in name only", 22, &[4], ErrorCode::InvalidRecord),
        ("producer id -2", 43, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], ErrorCode::InvalidRecord),
        ("producer id without epoch", 51, &[0xff, 0xff], ErrorCode::InvalidRecord),
        ("producer id without sequence", 53, &[0xff, 0xff, 0xff, 0xff], ErrorCode::InvalidRecord),
        ("sequence below -1", 53, &[0x80, 0, 0, 0], ErrorCode::InvalidRecord),
    ];
    for (what, at, new, expected) in cases {
        let bytes = with(sound(Codec::None), |bytes| bytes[*at..at + new.len()].copy_from_slice(new));
        assert_eq!(code(&bytes, &Rules::new(NOW)), Some(*expected), "{what}");
    }
    let mut bare = BatchBuilder::new(Codec::None).transactional();
    bare.append(NOW, None, None, &[]);
    assert_eq!(code(&bare.build(0, -1), &Rules::new(NOW)), Some(ErrorCode::InvalidRecord));
    let mut transactional = BatchBuilder::new(Codec::None).transactional().producer(1, 0, 0);
    transactional.append(NOW, None, None, &[]);
    assert!(check(&transactional.build(0, -1), &Rules::new(NOW)).unwrap().is_transactional);
}

#[test]
fn control_batches_are_for_the_broker() {
    let mut marker = BatchBuilder::new(Codec::None).control().transactional().producer(9, 1, -1);
    marker.append(NOW, Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 0]), &[]);
    let bytes = marker.build(0, -1);
    assert_eq!(code(&bytes, &Rules::new(NOW)), Some(ErrorCode::InvalidRecord));
    let info = check(&bytes, &Rules { allow_control: true, ..Rules::new(NOW) }).unwrap();
    assert!(info.is_control);
}

#[test]
fn size_and_codec_limits_come_from_the_rules() {
    let bytes = sound(Codec::Zstd);
    let exact = Rules { max_message_bytes: bytes.len(), ..Rules::new(NOW) };
    assert!(check(&bytes, &exact).is_ok());
    let short = Rules { max_message_bytes: bytes.len() - 1, ..Rules::new(NOW) };
    assert_eq!(code(&bytes, &short), Some(ErrorCode::MessageTooLarge));
    let old = Rules { zstd_allowed: false, ..Rules::new(NOW) };
    assert_eq!(code(&bytes, &old), Some(ErrorCode::UnsupportedCompressionType));
    assert!(check(&sound(Codec::Gzip), &old).is_ok());
}

#[test]
fn records_without_a_key_are_named_on_compacted_topics() {
    let compacted = Rules { compacted: true, ..Rules::new(NOW) };
    for codec in Codec::ALL {
        let refusal = check(&sound(codec), &compacted).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord);
        assert_eq!(refusal.record_errors.iter().map(|e| e.batch_index).collect::<Vec<_>>(), [1]);
    }
    let mut keyed = BatchBuilder::new(Codec::None);
    keyed.append(NOW, Some(b""), None, &[]);
    assert!(check(&keyed.build(0, -1), &compacted).is_ok());
}

#[test]
fn timestamps_out_of_range_are_named() {
    let rules = Rules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 500, ..Rules::new(NOW) };
    let times = [NOW - 1001, NOW - 1000, NOW, NOW + 500, NOW + 501, -1, i64::MIN, i64::MAX];
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        for time in times {
            builder.append(time, None, None, &[]);
        }
        let bytes = builder.build(0, -1);
        let refusal = check(&bytes, &rules).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidTimestamp);
        assert_eq!(refusal.record_errors.iter().map(|e| e.batch_index).collect::<Vec<_>>(), [0, 4, 6, 7]);
        let by_broker = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules };
        assert!(check(&bytes, &by_broker).is_ok());
    }
}

#[test]
fn many_bad_records_do_not_make_a_huge_answer() {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..10_000 {
        builder.append(NOW, None, Some(b"x"), &[]);
    }
    let compacted = Rules { compacted: true, ..Rules::new(NOW) };
    let refusal = check(&builder.build(0, -1), &compacted).unwrap_err();
    assert_eq!(refusal.record_errors.len(), wire::records::RECORD_ERRORS_MAX);
    assert!(refusal.message.contains("10000"), "{}", refusal.message);
}

#[test]
fn broken_records_are_refused_in_every_codec() {
    // Length 7: attributes, timestamp, offset, key, value, no headers, and then what each case changes.
    let sound: &[u8] = &[0x0c, 0, 0, 0, 1, 1, 0];
    let cases: &[(&str, i32, Vec<u8>)] = &[
        ("no bytes", 1, vec![]),
        ("a record too few", 2, sound.to_vec()),
        ("bytes after the last", 1, [sound, &[0]].concat()),
        ("a record too many", 1, [sound, sound].concat()),
        ("length below zero", 1, vec![0x0d, 0, 0, 0, 1, 1, 0]),
        ("length of endless varint", 1, vec![0xff; 20]),
        ("length 0", 1, vec![0, 0, 0, 0, 1, 1, 0]),
        ("length too small", 1, vec![0x0a, 0, 0, 0, 1, 1, 0]),
        ("length too large", 1, vec![0x0e, 0, 0, 0, 1, 1, 0]),
        ("length beyond", 1, vec![0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0]),
        ("offset delta 1 at 0", 1, vec![0x0c, 0, 0, 2, 1, 1, 0]),
        ("key length -2", 1, vec![0x0c, 0, 0, 0, 3, 1, 0]),
        ("key longer than the record", 1, vec![0x0c, 0, 0, 0, 8, 1, 0]),
        ("value length -2", 1, vec![0x0c, 0, 0, 0, 1, 3, 0]),
        ("value longer than the record", 1, vec![0x0c, 0, 0, 0, 1, 4, 0]),
        ("header count -1", 1, vec![0x0c, 0, 0, 0, 1, 1, 1]),
        ("header count 1, no header", 1, vec![0x0c, 0, 0, 0, 1, 1, 2]),
        ("header count max", 1, vec![0x14, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("null header key", 1, vec![0x10, 0, 0, 0, 1, 1, 2, 1, 1]),
        ("header value length -2", 1, vec![0x10, 0, 0, 0, 1, 1, 2, 0, 3]),
        ("bytes after the headers", 1, vec![0x12, 0, 0, 0, 1, 1, 2, 0, 1, 0]),
        ("offset delta of endless varint", 1, vec![0x12, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ];
    for codec in Codec::ALL {
        assert!(check(&around(1, codec, sound), &Rules::new(NOW)).is_ok());
        for (what, count, records) in cases {
            let bytes = around(*count, codec, records);
            assert_eq!(code(&bytes, &Rules::new(NOW)), Some(ErrorCode::InvalidRecord), "{what} in {codec}");
            let batch = Batch::parse(&bytes).unwrap();
            let read = batch.records().unwrap().iter().collect::<Result<Vec<_>, _>>().map(|records| records.len());
            if *what == "offset delta 1 at 0" {
                assert_eq!(read, Ok(1), "compaction leaves such batches");
            } else {
                assert!(read.is_err(), "{what} in {codec}");
            }
        }
    }
}

#[test]
fn bombs_are_refused_by_size_and_by_ratio() {
    let rules = Rules::new(NOW);
    let mut builder = BatchBuilder::new(Codec::Zstd);
    builder.append(NOW, None, Some(&vec![0; 40 << 20]), &[]);
    let bytes = builder.build(0, -1);
    assert!(bytes.len() < 8000);
    assert_eq!(code(&bytes, &rules), Some(ErrorCode::MessageTooLarge));

    let mut builder = BatchBuilder::new(Codec::Gzip);
    builder.append(NOW, None, Some(&vec![0; 2 << 20]), &[]);
    let bytes = builder.build(0, -1);
    assert!(check(&bytes, &rules).is_ok(), "a small batch may reach any ratio");
    let small = Rules { max_decompressed_bytes: 1 << 20, ..rules };
    assert_eq!(code(&bytes, &small), Some(ErrorCode::MessageTooLarge));
}

#[test]
fn a_wrong_maximum_timestamp_is_found_and_can_be_corrected() {
    for size in [10, 100_000] {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW, None, Some(&vec![7; size]), &[]);
        builder.append(NOW + 1, None, None, &[]);
        let sound = builder.build(0, -1);
        let mut bytes = with(sound.clone(), |bytes| bytes[35..43].copy_from_slice(&NOW.to_be_bytes()));
        let info = check(&bytes, &Rules::new(NOW)).unwrap();
        assert!(info.max_timestamp_differs);
        assert_eq!((info.max_timestamp, info.offset_of_max_timestamp_delta), (NOW + 1, 1));
        stamp_max_timestamp(&mut bytes, info.max_timestamp);
        assert_eq!(bytes, sound);
    }
}

#[test]
fn stamps_change_what_they_name_and_keep_the_checksum_right() {
    for size in [10, 31_000, 33_000, 1_000_000] {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.append(NOW, None, Some(&vec![7; size]), &[]);
        let mut bytes = builder.build(0, -1);
        stamp(&mut bytes, 1 << 40, 12);
        assert!(Batch::parse(&bytes).unwrap().is_crc_valid());
        stamp_log_append_time(&mut bytes, NOW + 77);
        let batch = Batch::parse(&bytes).unwrap();
        assert!(batch.is_crc_valid(), "{size}");
        assert_eq!((batch.base_offset(), batch.leader_epoch()), (1 << 40, 12));
        assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, NOW + 77));
        let records = batch.records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        assert_eq!((record.offset, record.timestamp), (1 << 40, NOW + 77));
    }
}

#[test]
fn batches_step_to_the_last_whole_one() {
    let two = [builder(Codec::None).build(5, 0), builder(Codec::Lz4).build(8, 0)].concat();
    let first = Batch::parse(&two).unwrap().size();
    for cut in 0..=two.len() {
        let mut steps = batches(&two[..cut]);
        let offsets: Vec<_> = steps.by_ref().map(|batch| batch.unwrap().base_offset()).collect();
        let whole = [first, two.len()].into_iter().filter(|end| *end <= cut).count();
        assert_eq!(offsets, [5, 8][..whole]);
        assert_eq!(steps.rest().len(), cut - [0, first, two.len()][whole]);
    }
    let garbage = [two.as_slice(), &[0; 100]].concat();
    let steps: Vec<_> = batches(&garbage).collect();
    assert_eq!(steps.len(), 3);
    assert_eq!(steps[2], Err(BatchError::Magic(0)));
}

#[test]
fn recompressed_batches_hold_the_same_records() {
    let mut compressor = Compressor::new();
    for from in Codec::ALL {
        let bytes = builder(from).build(40, 2);
        let batch = Batch::parse(&bytes).unwrap();
        for to in Codec::ALL {
            let again = recompress(&bytes, to, None, &mut compressor, 1 << 20).unwrap();
            let other = Batch::parse(&again).unwrap();
            assert!(other.is_crc_valid());
            assert_eq!((other.size(), other.codec()), (again.len(), Ok(to)));
            assert_eq!((other.base_offset(), other.leader_epoch(), other.last_sequence()), (40, 2, 19));
            let (one, two) = (batch.records().unwrap(), other.records().unwrap());
            assert!(one.iter().eq(two.iter()));
        }
        assert!(recompress(&bytes, Codec::None, None, &mut compressor, 10).is_err() == (from != Codec::None));
    }
}

#[test]
fn compaction_keeps_offsets_and_empty_batches() {
    let mut builder = BatchBuilder::new(Codec::Gzip).producer(1, 0, 50).delete_horizon(NOW + 1000);
    builder.append_at(3, NOW, Some(b"k"), None, &[]);
    builder.append_at(7, NOW + 1, Some(b"l"), None, &[]);
    builder.set_last_offset_delta(9);
    let bytes = builder.build(100, 4);
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!((batch.delete_horizon_ms(), batch.last_offset(), batch.record_count()), (Some(NOW + 1000), 109, 2));
    assert_eq!(batch.last_sequence(), 59);
    let records = batch.records().unwrap();
    let records: Vec<_> = records.iter().map(|record| record.map(|r| (r.offset, r.timestamp)).unwrap()).collect();
    assert_eq!(records, [(103, NOW), (107, NOW + 1)]);

    builder.set_last_offset_delta(9);
    let bytes = builder.build(100, 4);
    let batch = Batch::parse(&bytes).unwrap();
    assert!(batch.is_empty() && batch.is_crc_valid());
    assert_eq!((batch.codec(), batch.last_offset(), bytes.len()), (Ok(Codec::None), 109, 61));
    assert_eq!(batch.records().unwrap().iter().count(), 0);
}

#[test]
fn a_scratch_serves_one_batch_after_the_other() {
    let mut scratch = Scratch::new();
    let bomb = {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.append(NOW, None, Some(&vec![0; 40 << 20]), &[]);
        builder.build(0, -1)
    };
    for _ in 0..3 {
        for codec in Codec::ALL {
            let bytes = sound(codec);
            assert!(validate(&bytes, &Rules::new(NOW), &mut scratch).is_ok());
            let batch = Batch::parse(&bytes).unwrap();
            assert_eq!(batch.records_in(&mut scratch, 1000).unwrap().iter().count(), 3);
            assert!(batch.records_in(&mut scratch, 10).is_err() == (codec != Codec::None));
            assert!(validate(&bomb, &Rules::new(NOW), &mut scratch).is_err());
            let broken = with(bytes, |bytes| bytes[70] ^= 0x55);
            let _ = validate(&broken, &Rules::new(NOW), &mut scratch);
        }
    }
}
