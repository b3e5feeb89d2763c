//! Frames: lengths, headers, other protocols, and peers that stop in the middle.

use std::time::{Duration, Instant};

use wire::ApiKey;
use wire::codec::{Decoder, Message};
use wire::messages::*;

use crate::harness::{Answer, Broker};

#[test]
fn a_length_below_zero_or_over_the_limit_closes_before_anything_is_allocated() {
    let mut broker = Broker::start();
    broker.growth_mib = 8.0;
    for length in [-1, i32::MIN, i32::MAX, (100 << 20) + 1, 0x4745_5420] {
        let mut client = broker.connect();
        client.send_bytes(&length.to_be_bytes());
        client.is_closed();
    }
}

#[test]
fn a_length_below_the_headers_closes() {
    let broker = Broker::start();
    for length in 0..8 {
        let mut client = broker.connect();
        client.send_frame(&[0, 18, 0, 0, 0, 0, 0, 1][..length]);
        client.is_closed();
    }
}

#[test]
fn a_client_id_longer_than_its_frame_closes() {
    let broker = Broker::start();
    for length in [1i16, 100, i16::MAX] {
        let mut client = broker.connect();
        let mut content = vec![0, 18, 0, 0, 0, 0, 0, 1];
        content.extend_from_slice(&length.to_be_bytes());
        client.send_frame(&content);
        client.is_closed();
    }
}

#[test]
fn an_unknown_api_closes_without_an_answer() {
    let broker = Broker::start();
    for key in [-1i16, i16::MIN, 93, 999, i16::MAX] {
        let mut client = broker.connect();
        let mut content = key.to_be_bytes().to_vec();
        content.extend_from_slice(&[0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        client.send_frame(&content);
        client.is_closed();
    }
}

#[test]
fn a_known_api_in_an_unknown_version_closes_without_an_answer() {
    let broker = Broker::start();
    for (key, version) in [(3i16, 99i16), (3, -1), (0, 14), (0, 2), (1, 3), (1, i16::MAX), (19, 1), (60, -32768)] {
        let mut client = broker.connect();
        let mut content = key.to_be_bytes().to_vec();
        content.extend_from_slice(&version.to_be_bytes());
        content.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        client.send_frame(&content);
        client.is_closed();
    }
}

#[test]
fn api_versions_in_an_unknown_version_is_answered_in_version_0() {
    let broker = Broker::start();
    for version in [5i16, 99, i16::MAX] {
        let mut client = broker.connect();
        let mut content = vec![0, 18];
        content.extend_from_slice(&version.to_be_bytes());
        content.extend_from_slice(&[0, 0, 0, 7, 0xff, 0xff, 0]);
        client.send_frame(&content);
        let Answer::Frame(frame) = client.answer() else { panic!("no answer to version {version}") };
        assert_eq!(frame[..4], [0, 0, 0, 7], "the correlation id");
        let response = ApiVersionsResponse::decode(&mut Decoder::new(&frame[4..]), 0).unwrap();
        assert_eq!(response.error_code, 35);
        let own =
            response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions as i16).expect("its own range");
        assert_eq!((own.min_version, own.max_version), (0, 4));
        assert!(client.is_served(), "the client may ask again on the same connection");
    }
}

#[test]
fn a_client_software_name_that_is_none_is_refused() {
    let broker = Broker::start();
    for (name, version) in [("", "1"), ("-name", "1"), ("na me", "1"), ("name", ""), ("name", "1\u{0}"), ("näme", "1")]
    {
        let request = ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: version.into(),
            ..Default::default()
        };
        let mut client = broker.connect();
        assert_eq!(client.call(3, &request, |r| r.error_code), 42, "{name:?} {version:?}");
    }
}

#[test]
fn other_protocols_and_garbage_close() {
    let broker = Broker::start();
    let tls_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x61; 600]].concat();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &tls_hello, &[0xff; 4096], b"\0\0\0\x04ruok"] {
        let mut client = broker.connect();
        client.send_bytes(bytes);
        client.is_closed();
    }
}

#[test]
fn zeroes_without_end_close() {
    let broker = Broker::start();
    let mut client = broker.connect();
    client.send_bytes(&[0; 4096]);
    client.is_closed();
}

#[test]
fn a_frame_that_stops_in_the_middle_is_given_up() {
    // Apache Kafka waits for ten minutes here.
    let broker = Broker::start();
    let mut quiet = broker.connect();
    let mut partial = broker.connect();
    let started = Instant::now();
    partial.send_bytes(&[0, 0, 0, 100, 0, 18, 0]);
    partial.is_closed();
    assert!(started.elapsed() < Duration::from_secs(30), "closed only after {:?}", started.elapsed());
    assert!(quiet.is_served(), "a connection without a frame underway is idle, not slow");
}

#[test]
fn many_claimed_frames_take_only_the_memory_that_came() {
    let mut broker = Broker::start();
    broker.growth_mib = 32.0;
    let mut clients: Vec<_> = (0..50).map(|_| broker.connect()).collect();
    for client in &mut clients {
        client.send_bytes(&(99i32 << 20).to_be_bytes());
        client.send_bytes(&[0, 0, 0, 12]);
    }
    broker.is_well();
}

#[test]
fn a_request_byte_by_byte_is_still_a_request() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let content = client.encode(
        3,
        &ApiVersionsRequest {
            client_software_name: "slow".into(),
            client_software_version: "1".into(),
            ..Default::default()
        },
    );
    for byte in (content.len() as i32).to_be_bytes().iter().chain(&content) {
        client.send_bytes(&[*byte]);
    }
    assert!(matches!(client.answer(), Answer::Frame(_)));
}

#[test]
fn a_thousand_connections_are_no_reason_not_to_serve_the_next() {
    let broker = Broker::start();
    let flood: Vec<_> = (0..1000).map(|_| broker.connect()).collect();
    assert!(broker.connect().is_served());
    drop(flood);
}
