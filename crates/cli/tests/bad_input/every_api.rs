//! Inputs that make sense for no API in particular, sent to all of them in all their versions.

use std::time::Duration;

use wire::ApiKey;
use wire::codec::{Decoder, Message};
use wire::messages::*;

use crate::harness::{Answer, Broker, Client};

/// Every API and version that the broker offers, besides Produce's that no longer exist.
fn offered(client: &mut Client) -> Vec<(ApiKey, i16)> {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let ranges: Vec<(i16, i16, i16)> =
        client.call(3, &request, |r| r.api_keys.iter().map(|a| (a.api_key, a.min_version, a.max_version)).collect());
    let known = |(key, low, high): (i16, i16, i16)| {
        let api = ApiKey::try_from(key).expect("an API that Kafka has");
        (low.max(*api.valid_versions().start())..=high).map(move |version| (api, version))
    };
    let all: Vec<_> = ranges.into_iter().flat_map(known).collect();
    assert!(all.len() > 50, "{all:?}");
    all
}

/// A request's frame with this body.
fn frame(api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut content = (api as i16).to_be_bytes().to_vec();
    content.extend_from_slice(&version.to_be_bytes());
    content.extend_from_slice(&[0, 0, 0, 9, 0xff, 0xff]);
    if api.request_header_version(version) >= 2 {
        content.push(0);
    }
    content.extend_from_slice(body);
    content
}

/// Sends one frame on a connection of its own: it is answered, closed, or waited on, and the broker is none the worse.
fn send(broker: &Broker, content: &[u8]) -> Answer {
    let mut client = broker.connect();
    client.send_frame(content);
    // Some of these are sound requests that wait for something, as JoinGroup does.
    client.answer_within(Duration::from_millis(300))
}

#[test]
fn a_body_that_ends_early_closes() {
    let mut broker = Broker::start();
    for (api, version) in offered(&mut broker.connect()) {
        // A few old requests have no fields at all, so that an empty body is a whole one.
        let whole = matches!((api, version), (ApiKey::ApiVersions, 0..=2) | (ApiKey::ListGroups, 0..=2));
        if !whole {
            let mut client = broker.connect();
            client.send_frame(&frame(api, version, &[]));
            assert_eq!(client.answer(), Answer::Closed, "{} v{version}", api.name());
        }
    }
    broker.is_well();
}

#[test]
fn counts_beyond_the_bytes_that_are_there_close_and_reserve_nothing() {
    let mut broker = Broker::start();
    broker.growth_mib = 24.0;
    for (api, version) in offered(&mut broker.connect()) {
        for filler in [[0x7f, 0xff, 0xff, 0xff], [0xff, 0xff, 0xff, 0x07], [0xff; 4]] {
            send(&broker, &frame(api, version, &filler.repeat(8)));
        }
    }
    broker.is_well();
}

#[test]
fn empty_arrays_are_answered_or_refused_by_every_api() {
    let mut broker = Broker::start();
    for (api, version) in offered(&mut broker.connect()) {
        // Zero is false, an empty string (or, flexible, a null one) and an empty (or null) array.
        for length in [1, 2, 4, 8, 13, 16, 24, 40, 64] {
            send(&broker, &frame(api, version, &vec![0; length]));
            send(&broker, &frame(api, version, &vec![1; length]));
        }
    }
    broker.is_well();
}

#[test]
fn bytes_changed_at_random_harm_nobody() {
    let mut broker = Broker::start();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        // xorshift64: the same frames in every run
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let all = offered(&mut broker.connect());
    for _ in 0..1500 {
        let (api, version) = all[random() as usize % all.len()];
        let length = random() as usize % 80;
        let body: Vec<u8> = (0..length)
            .map(|_| match random() % 4 {
                0 => 0,
                1 => 1,
                2 => 0xff,
                _ => random() as u8,
            })
            .collect();
        let mut client = broker.connect();
        client.send_frame(&frame(api, version, &body));
        client.answer_within(Duration::from_millis(5));
    }
    broker.is_well();
}

#[test]
fn a_request_with_millions_of_tagged_fields_takes_no_memory_beyond_its_own() {
    let mut broker = Broker::start();
    let tags = 5_000_000;
    // The frame itself has to be received, which is 10 MB; what is skipped must not be kept.
    broker.growth_mib = 40.0;
    let mut body = vec![2, b'a', 2, b'b'];
    let mut count = tags as u32;
    while count >= 0x80 {
        body.push(count as u8 | 0x80);
        count >>= 7;
    }
    body.push(count as u8);
    for tag in 0..tags {
        // Tags ascend, as they must; after 127 they take more than one byte.
        if tag < 128 {
            body.extend_from_slice(&[tag as u8, 0]);
        } else {
            break;
        }
    }
    body.resize(2 * tags, 1);
    let answer = send(&broker, &frame(ApiKey::ApiVersions, 3, &body));
    assert!(!matches!(&answer, Answer::Frame(f) if f.get(4..6) == Some(&[0, 0])), "{answer:?}");
    broker.is_well();
}

#[test]
fn an_array_of_many_tiny_elements_is_bounded() {
    let mut broker = Broker::start();
    broker.growth_mib = 100.0;
    // Metadata asks for topics by name: an element of two bytes, twenty million times.
    let count = 20_000_000u32;
    let mut body = Vec::with_capacity(2 * count as usize + 16);
    let mut rest = count + 1;
    while rest >= 0x80 {
        body.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    body.push(rest as u8);
    body.resize(body.len() + 2 * count as usize, 1);
    body.extend_from_slice(&[0, 0, 0, 0]);
    let mut client = broker.connect();
    client.send_frame(&frame(ApiKey::Metadata, 9, &body));
    client.is_closed();
    broker.is_well();
}

#[test]
fn what_follows_a_whole_body_closes_or_is_ignored() {
    let mut broker = Broker::start();
    let mut client = broker.connect();
    let mut content = client.encode(0, &ApiVersionsRequest::default());
    content.extend_from_slice(&[0xff; 100]);
    client.send_frame(&content);
    if let Answer::Frame(frame) = client.answer() {
        ApiVersionsResponse::decode(&mut Decoder::new(&frame[4..]), 0).unwrap();
    }
    broker.is_well();
}
