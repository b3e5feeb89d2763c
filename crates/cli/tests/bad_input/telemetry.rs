//! Client telemetry from clients that push what they should not, when they should not (KIP-714). Apache Kafka serves these
//! APIs only with a plugin that takes the metrics; the codes are those of its `ClientMetricsManager`.

use wire::Uuid;
use wire::messages::*;
use wire::records::{Codec, Compressor};

use crate::harness::{Broker, Client, name_of};

const CLIENT_METRICS: i8 = 16;

fn subscribe(client: &mut Client, interval_ms: &str) {
    let set = |name: &'static str, value: &str| incremental_alter_configs_request::AlterableConfig {
        name: name.into(),
        config_operation: 0,
        value: Some(value.to_owned().into()),
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource {
        resource_type: CLIENT_METRICS,
        resource_name: "all".into(),
        configs: vec![set("metrics", "*"), set("interval.ms", interval_ms)].into(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource].into(), validate_only: false };
    let error = client.call(1, &request, |r| r.responses.first().map(|r| name_of(r.error_code)));
    assert_eq!(error, Some("NONE"));
}

/// The error, and the ids of client and subscription.
fn get(client: &mut Client, id: Uuid) -> (&'static str, Uuid, i32) {
    let request = GetTelemetrySubscriptionsRequest { client_instance_id: id };
    client.call(0, &request, |r| (name_of(r.error_code), r.client_instance_id, r.subscription_id))
}

fn push(client: &mut Client, id: Uuid, subscription_id: i32, codec: i8, metrics: &[u8]) -> &'static str {
    let request = PushTelemetryRequest {
        client_instance_id: id,
        subscription_id,
        terminating: false,
        compression_type: codec,
        metrics: metrics.to_vec().into(),
    };
    client.call(0, &request, |r| name_of(r.error_code))
}

fn compressed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new().compress(codec, None, bytes, &mut out);
    out
}

/// A new client and its subscription.
fn subscribed(client: &mut Client) -> (Uuid, i32) {
    let (error, id, subscription) = get(client, Uuid::ZERO);
    assert_eq!(error, "NONE");
    assert!(!id.is_zero());
    (id, subscription)
}

#[test]
fn a_client_without_an_id_gets_one_and_only_with_it_may_push() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let (one, two) = (subscribed(&mut client), subscribed(&mut client));
    assert_ne!(one.0, two.0);
    for id in [Uuid::ZERO, Uuid::ONE] {
        assert_eq!(push(&mut client, id, one.1, 0, b""), "INVALID_REQUEST");
    }
    // A push to a broker that never heard of the client: its subscription is told by its id alone.
    assert_eq!(push(&mut client, Uuid::from_u128(99), one.1, 0, b""), "UNKNOWN_SUBSCRIPTION_ID");
}

#[test]
fn what_comes_too_early_is_throttled() {
    let broker = Broker::start();
    let mut client = broker.connect();
    subscribe(&mut client, "3600000");
    let (id, subscription) = subscribed(&mut client);
    assert_eq!(get(&mut client, id).0, "THROTTLING_QUOTA_EXCEEDED");
    assert_eq!(push(&mut client, id, subscription, 0, b""), "NONE");
    assert_eq!(push(&mut client, id, subscription, 0, b""), "THROTTLING_QUOTA_EXCEEDED");
}

#[test]
fn metrics_that_cannot_be_read_are_refused_and_told_apart() {
    let broker = Broker::with(&[("telemetry.max.bytes", "65536")]);
    let mut client = broker.connect();
    let mut refused = |codec: i8, metrics: &[u8]| {
        let (id, subscription) = subscribed(&mut client);
        push(&mut client, id, subscription, codec, metrics)
    };
    assert_eq!(refused(0, &vec![0; 65_537]), "TELEMETRY_TOO_LARGE");
    assert_eq!(refused(7, b"x"), "UNSUPPORTED_COMPRESSION_TYPE");
    assert_eq!(refused(-1, b"x"), "UNSUPPORTED_COMPRESSION_TYPE");
    assert_eq!(refused(0, b"\x0a\xff"), "INVALID_RECORD");
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        assert_eq!(refused(codec.id() as i8, b"not compressed"), "INVALID_RECORD", "{codec}");
        // A few bytes that become many.
        let bomb = compressed(codec, &vec![0; 1 << 20]);
        assert!(bomb.len() <= 65_536, "{codec}: {}", bomb.len());
        assert_eq!(refused(codec.id() as i8, &bomb), "TELEMETRY_TOO_LARGE", "{codec}");
        assert_eq!(refused(codec.id() as i8, &compressed(codec, b"")), "NONE", "{codec}");
    }
}

#[test]
fn clients_without_end_do_not_take_memory_without_end() {
    let mut broker = Broker::start();
    let mut client = broker.connect();
    for _ in 0..20_000 {
        subscribed(&mut client);
    }
    broker.is_well();
}
