use super::*;
use crate::{
    ApiKey, Uuid,
    messages::{
        fetch_request::*, fetch_response::*, metadata_request::*, offset_commit_key::OffsetCommitKey,
        produce_request::*, *,
    },
};

fn problem<T: std::fmt::Debug>(outcome: Result<T, DecodeError>) -> DecodeProblem {
    outcome.expect_err("bytes that are no message").problem
}

#[test]
fn counts_are_held_against_the_bytes_that_are_left() {
    // A Metadata request of version 1 with 2^31 - 1 topics, in four bytes.
    let bytes = i32::MAX.to_be_bytes();
    let outcome = MetadataRequest::decode(&mut Decoder::new(&bytes), 1);
    assert_eq!(problem(outcome), DecodeProblem::Length(i64::from(i32::MAX)));
    // Two strings of at least two bytes do not fit into three.
    let mut d = Decoder::new(&[0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(problem(OffsetFetchRequest::decode(&mut d, 1)), DecodeProblem::Length(131_072));
    for (bytes, length) in [(&[0xff, 0xff, 0xff, 0xfe][..], -2), (&[0x80, 0, 0, 0], i64::from(i32::MIN))] {
        assert_eq!(problem(MetadataRequest::decode(&mut Decoder::new(bytes), 1)), DecodeProblem::Length(length));
    }
}

#[test]
fn null_is_an_error_where_a_version_has_none() {
    let null = [0xff; 4];
    assert_eq!(problem(MetadataRequest::decode(&mut Decoder::new(&null), 0)), DecodeProblem::Null);
    assert_eq!(MetadataRequest::decode(&mut Decoder::new(&null), 1).expect("null").topics, None);
    let error = MetadataRequest { topics: None, ..Default::default() }.to_bytes(0).expect_err("null");
    assert_eq!((error.field, error.problem), ("Topics", EncodeProblem::Null));
    assert_eq!(error.to_string(), "Topics of MetadataRequest version 0 cannot be null");
}

#[test]
fn objects_have_a_budget_that_numbers_do_not_take() {
    let topics = |count: usize| {
        let topics = vec![MetadataRequestTopic { name: Some("t".into()), ..Default::default() }; count];
        MetadataRequest { topics: Some(topics.into()), ..Default::default() }.to_bytes(1).expect("topics")
    };
    assert!(MetadataRequest::decode(&mut Decoder::with_budget(&topics(10), 10), 1).is_ok());
    let over = topics(11);
    assert_eq!(problem(MetadataRequest::decode(&mut Decoder::with_budget(&over, 10), 1)), DecodeProblem::Budget);
    let over = topics(OBJECT_BUDGET + 1);
    assert_eq!(problem(MetadataRequest::decode(&mut Decoder::new(&over), 1)), DecodeProblem::Budget);

    let mut e = Encoder::new();
    e.array(&Array::from(vec![7i32; 1000])).expect("numbers");
    let array = Decoder::with_budget(e.bytes(), 0).array::<i32>().expect("numbers");
    assert_eq!((array.len(), array.values().sum::<i32>()), (1000, 7000));
}

#[test]
fn tagged_fields_are_charged_before_they_are_walked() {
    // KAFKA CVE-2026-111115: millions of empty tagged fields, two bytes each.
    let mut bytes = Vec::new();
    varint::write_u32(&mut bytes, 1_000_000);
    for tag in 0..1_000_000 {
        varint::write_u32(&mut bytes, tag);
        bytes.push(0);
    }
    let mut d = Decoder::new(&bytes);
    d.set_version(0, true);
    assert_eq!(problem(d.skip_tags()), DecodeProblem::Budget);
    let mut d = Decoder::new(&bytes[..1000]);
    d.set_version(0, true);
    assert_eq!(problem(d.skip_tags()), DecodeProblem::Length(1_000_000));
}

/// A Fetch request of version 12 whose section of tagged fields is `tags`.
fn fetch_with_tags(tags: &[u8]) -> Result<Option<String>, DecodeProblem> {
    let mut bytes = FetchRequest::default().to_bytes(12).expect("defaults");
    assert_eq!(bytes.pop(), Some(0));
    bytes.extend(tags);
    let mut d = Decoder::new(&bytes);
    let request = FetchRequest::decode(&mut d, 12).map_err(|error| error.problem)?;
    assert_eq!(d.remaining(), 0);
    Ok(request.cluster_id.map(|id| id.into_owned()))
}

#[test]
fn tagged_fields_are_read_skipped_or_refused() {
    assert_eq!(fetch_with_tags(&[0]), Ok(None));
    assert_eq!(fetch_with_tags(&[1, 0, 3, 3, b'a', b'b']), Ok(Some("ab".into())));
    // Unknown ones, and one that only later versions have (ReplicaState, tag 1), are passed over.
    assert_eq!(fetch_with_tags(&[3, 0, 2, 2, b'a', 1, 2, 9, 9, 0x80, 1, 1, 0]), Ok(Some("a".into())));
    assert_eq!(fetch_with_tags(&[2, 9, 0, 0, 1, 0]), Err(DecodeProblem::TagOrder(0)));
    assert_eq!(fetch_with_tags(&[2, 0, 1, 0, 0, 1, 0]), Err(DecodeProblem::TagOrder(0)));
    // A value that is shorter than its size, one that is longer, a size beyond the end.
    assert_eq!(fetch_with_tags(&[1, 0, 4, 3, b'a', b'b', 0]), Err(DecodeProblem::TagSize(0)));
    assert_eq!(fetch_with_tags(&[1, 0, 2, 3, b'a', b'b']), Err(DecodeProblem::Length(2)));
    assert_eq!(fetch_with_tags(&[1, 9, 200, 1, 1]), Err(DecodeProblem::Truncated));
    assert_eq!(fetch_with_tags(&[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0]), Err(DecodeProblem::Varint));
}

#[test]
fn a_tagged_field_of_any_size_gets_its_size_in_front() {
    for length in [0, 1, 100, 126, 127, 128, 16_000, 16_383, 16_384, 32_767] {
        let host = "h".repeat(length);
        let node = NodeEndpoint { host: host.as_str().into(), ..Default::default() };
        let nodes = [node.clone(), node];
        let response = FetchResponse { node_endpoints: Array::from(&nodes[..]), ..Default::default() };
        let bytes = response.to_bytes(16).expect("endpoints");
        assert_eq!(response.size(16), Ok(bytes.len()));
        assert_eq!(FetchResponse::decode(&mut Decoder::new(&bytes), 16), Ok(response), "{length}");
    }
}

#[test]
fn fields_that_a_version_lacks_are_dropped_or_refused() {
    let partition = FetchPartition { log_start_offset: 5, ..Default::default() };
    let topic = FetchTopic { partitions: [partition].into(), ..Default::default() };
    let request = FetchRequest { topics: [topic].into(), ..Default::default() };
    let bytes = request.to_bytes(4).expect("LogStartOffset is ignorable");
    let back = FetchRequest::decode(&mut Decoder::new(&bytes), 4).expect("what was written");
    let topic = back.topics.first().expect("a topic").into_owned();
    assert_eq!(topic.partitions.first().map(|p| p.log_start_offset), Some(-1));

    let response = FetchResponse { session_id: 9, ..Default::default() };
    let error = response.to_bytes(6).expect_err("SessionId is not ignorable");
    assert_eq!(
        (error.message, error.field, error.problem),
        ("FetchResponse", "SessionId", EncodeProblem::NotInVersion)
    );
    assert_eq!(response.size(6), Err(error));
    assert!(response.to_bytes(7).is_ok());
    assert_eq!(response.to_bytes(19).expect_err("no such version").problem, EncodeProblem::Version);
}

#[test]
fn strings_have_kafkas_limit_and_what_is_not_utf8_is_replaced() {
    let long = "x".repeat(32_768);
    let request = FetchRequest { rack_id: long.as_str().into(), ..Default::default() };
    assert_eq!(request.to_bytes(11).expect_err("too long").problem, EncodeProblem::TooLong);
    assert_eq!(request.to_bytes(12).expect_err("too long").problem, EncodeProblem::TooLong);

    let mut e = Encoder::new();
    e.uvarint(32_769);
    e.put(long.as_bytes());
    let mut d = Decoder::new(e.bytes());
    d.set_version(0, true);
    assert_eq!(problem(d.string()), DecodeProblem::Length(32_768));

    assert_eq!(Decoder::new(&[0, 3, b'a', 0xff, b'b']).string().as_deref(), Ok("a\u{fffd}b"));
    assert!(matches!(Decoder::new(&[0, 1, b'a']).string(), Ok(std::borrow::Cow::Borrowed("a"))));
    // Three bytes stand for each: what was decided on such a string could not be written.
    let no_utf8 = [&[0x4e, 0x20][..], &[0xff; 20_000]].concat();
    assert_eq!(problem(Decoder::new(&no_utf8).string()), DecodeProblem::Length(60_000));
    assert_eq!(problem(Decoder::new(&[0xff, 0xfe]).string()), DecodeProblem::Length(-2));
    assert_eq!(problem(Decoder::new(&[0xff, 0xff]).string()), DecodeProblem::Null);
}

#[test]
fn an_error_says_where_and_in_what() {
    let error = FetchRequest::decode(&mut Decoder::new(&[0; 10]), 4).expect_err("too short");
    assert_eq!(error, DecodeError { message: "FetchRequest", problem: DecodeProblem::Truncated, offset: 8 });
    assert_eq!(error.to_string(), "cannot read FetchRequest at byte 8: the bytes end within a value");
    let error = FetchRequest::decode(&mut Decoder::new(&[]), 3).expect_err("no such version");
    assert_eq!(error.to_string(), "cannot read FetchRequest at byte 0: version 3 is not known");
}

#[test]
fn arrays_are_the_same_however_they_came_about() {
    let built: Array<Str> = ["a", "b"].into_iter().map(Str::from).collect();
    let mut e = Encoder::new();
    e.array(&built).expect("strings");
    let decoded = Decoder::new(e.bytes()).array::<Str>().expect("strings");
    let lent = [Str::from("a"), Str::from("b")];
    let lent = Array::from(&lent[..]);
    for array in [&built, &decoded, &lent] {
        assert_eq!((array.len(), array.is_empty(), array.iter().len()), (2, false, 2));
        assert_eq!(*array, built);
        assert_eq!(array.to_vec(), ["a", "b"]);
        assert_eq!(array.clone().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(array.first().as_deref().map(|first| &**first), Some("a"));
        assert_eq!(format!("{array:?}"), r#"["a", "b"]"#);
    }
    assert_ne!(built, Array::from([Str::from("a")]));
    assert!(Array::<Str>::default().first().is_none());
}

#[test]
fn file_regions_are_counted_at_their_place() {
    let file = std::sync::Arc::new(std::fs::File::open("/dev/null").expect("/dev/null"));
    let region = FileRegion { file, position: 4096, length: 1000, prefer_copy: false };
    let partition = |records: Records<'static>| PartitionData { records: Some(records), ..Default::default() };
    let partitions =
        [partition(region.clone().into()), partition(Records::from(&b"abc"[..])), partition(region.into())];
    let topic = FetchableTopicResponse { partitions: partitions.into(), ..Default::default() };
    let response = FetchResponse { responses: [topic].into(), ..Default::default() };
    for version in FetchResponse::VERSIONS {
        let mut e = Encoder::with_buffer(vec![1, 2, 3]);
        let frame = e.begin_frame();
        response.encode(&mut e, version).expect("regions");
        e.end_frame(frame).expect("a frame");
        let size = response.size(version).expect("regions");
        assert_eq!(e.len(), 3 + 4 + size, "{version}");
        assert_eq!(e.bytes().len(), 3 + 4 + size - 2000);
        assert_eq!(e.bytes()[3..7], (size as i32).to_be_bytes());
        // With the files' bytes in their places it is the same message.
        let mut whole = e.bytes().to_vec();
        for (at, region) in e.regions().iter().rev() {
            whole.splice(at..at, vec![7; region.length as usize]);
        }
        let back = FetchResponse::decode(&mut Decoder::new(&whole[7..]), version).expect("a whole frame");
        let lengths: Vec<usize> = back
            .responses
            .first()
            .expect("a topic")
            .partitions
            .iter()
            .filter_map(|p| Some(p.records.as_ref()?.len()))
            .collect();
        assert_eq!(lengths, [1000, 3, 1000]);
        e.clear();
        assert!(e.is_empty() && e.regions().is_empty());
    }
}

#[test]
fn records_borrow_from_the_frame() {
    let partition = PartitionProduceData { index: 1, records: Some(vec![5; 100].into()) };
    let topic = TopicProduceData { name: "t".into(), partition_data: [partition].into(), ..Default::default() };
    let bytes = ProduceRequest { topic_data: [topic].into(), ..Default::default() }.to_bytes(12).expect("a request");
    let request = ProduceRequest::decode(&mut Decoder::new(&bytes), 12).expect("a request");
    let mut found = Vec::new();
    for topic in &request.topic_data {
        for partition in &topic.partition_data {
            found.extend(partition.records.as_ref().and_then(Records::borrowed));
        }
    }
    let range = bytes.as_ptr_range();
    assert_eq!(found.len(), 1);
    assert!(found[0] == [5; 100] && range.contains(&found[0].as_ptr()));
}

#[test]
fn coordinators_keys_and_values_carry_type_and_version() {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 2 };
    let bytes = key.encode_key().expect("a key");
    assert_eq!(bytes, [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
    assert_eq!(OffsetCommitKey::decode_key(&bytes), Ok(key));
    assert_eq!(problem(GroupMetadataKey::decode_key(&bytes)), DecodeProblem::Type(1));

    let value = OffsetCommitValue { offset: 3, ..Default::default() };
    for version in OffsetCommitValue::VERSIONS {
        let bytes = value.encode_value(version).expect("a value");
        assert_eq!(bytes[..2], version.to_be_bytes());
        assert_eq!(OffsetCommitValue::decode_value(&bytes).map(|value| value.offset), Ok(3));
    }
    assert_eq!(problem(OffsetCommitValue::decode_value(&[0, 99])), DecodeProblem::Version(99));
    assert_eq!(problem(OffsetCommitValue::decode_value(&[0])), DecodeProblem::Truncated);
}

#[test]
fn metadata_records_are_framed_by_type_and_version() {
    let record = MetadataRecord::from(TopicRecord { name: "foo".into(), topic_id: Uuid::from_u128(7) });
    let bytes = record.encode_value(0).expect("a record");
    let mut expected = vec![1, 2, 0, 4, b'f', b'o', b'o'];
    expected.extend(Uuid::from_u128(7).0);
    expected.push(0);
    assert_eq!(bytes, expected);
    assert_eq!(MetadataRecord::decode_value(&bytes), Ok(record.clone()));
    assert_eq!((record.record_type(), record.name(), record.highest_version()), (2, "TopicRecord", 0));

    for (bytes, expected) in [
        (&[2, 2, 0][..], DecodeProblem::Frame(2)),
        (&[1, 99, 0], DecodeProblem::Type(99)),
        (&[1, 2, 1], DecodeProblem::Version(1)),
        (&[1, 2, 0xff, 0xff, 0xff, 0xff, 0x0f], DecodeProblem::Version(i16::MAX)),
        (&[1, 2, 0, 9], DecodeProblem::Length(8)),
        (&[], DecodeProblem::Varint),
    ] {
        assert_eq!(problem(MetadataRecord::decode_value(bytes)), expected, "{bytes:?}");
    }
    assert_eq!(record.encode_value(1).expect_err("no version 1").problem, EncodeProblem::Version);
}

#[test]
fn api_keys_know_their_versions() {
    assert_eq!(ApiKey::try_from(0), Ok(ApiKey::Produce));
    assert_eq!(ApiKey::try_from(4), Err(crate::UnknownApiKey(4)));
    assert!(ApiKey::try_from(-1).is_err() && ApiKey::try_from(i16::MAX).is_err());
    for api in ApiKey::ALL {
        assert_eq!(ApiKey::try_from(api as i16), Ok(api));
    }
    assert_eq!(ApiKey::Fetch.valid_versions(), 4..=18);
    assert_eq!((ApiKey::InitProducerId.latest_unstable(), ApiKey::InitProducerId.stable_versions()), (true, 0..=5));
    assert_eq!((ApiKey::Produce.request_header_version(8), ApiKey::Produce.request_header_version(9)), (1, 2));
    assert_eq!((ApiKey::ApiVersions.request_header_version(3), ApiKey::ApiVersions.response_header_version(3)), (2, 0));
    assert_eq!(ApiKey::OffsetDelete.request_header_version(0), 1);
    assert_eq!(<ProduceRequest as Request>::KEY, ApiKey::Produce);
}

#[test]
fn error_codes_that_are_not_known_are_unknown_server_errors() {
    use crate::ErrorCode;
    for error in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_code(error.code()), error);
    }
    for code in [-2, i16::MIN, 134, i16::MAX] {
        assert_eq!(ErrorCode::from_code(code), ErrorCode::UnknownServerError);
    }
    assert_eq!(ErrorCode::NotLeaderOrFollower.to_string(), "NOT_LEADER_OR_FOLLOWER");
    assert!(ErrorCode::NotLeaderOrFollower.is_retriable() && !ErrorCode::InvalidConfig.is_retriable());
}
