//! Idempotent producers: gaps, repetitions, epochs.

use wire::messages::*;
use wire::records::{BatchBuilder, Codec};

use crate::batches::Told;
use crate::harness::{Broker, Client, name_of, now_ms, unique};

struct Producer {
    client: Client,
    topic: String,
    id: i64,
    _broker: Broker,
}

impl Producer {
    fn new() -> Producer {
        let broker = Broker::start();
        let mut client = broker.connect();
        let topic = unique("sequence");
        client.create_topic(&topic, &[]);
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let (error, id, epoch) = client.call(4, &request, |r| (r.error_code, r.producer_id, r.producer_epoch));
        assert_eq!((name_of(error), epoch), ("NONE", 0));
        Producer { client, topic, id, _broker: broker }
    }

    /// Two records with these sequence numbers.
    fn send(&mut self, epoch: i16, sequence: i32) -> Told {
        let mut builder = BatchBuilder::new(Codec::None).producer(self.id, epoch, sequence);
        builder.append(now_ms(), None, Some(b"one"), &[]);
        builder.append(now_ms(), None, Some(b"two"), &[]);
        self.client.produce(&self.topic, &builder.build(0, -1))
    }

    fn takes(&mut self, epoch: i16, sequence: i32, base_offset: i64) {
        assert_eq!(self.send(epoch, sequence), Told { error: "NONE", base_offset }, "sequence {sequence}");
    }
}

#[test]
fn a_gap_in_the_sequence_is_out_of_order() {
    let mut producer = Producer::new();
    producer.takes(0, 0, 0);
    for sequence in [1, 4, 3, i32::MAX] {
        assert_eq!(producer.send(0, sequence).error, "OUT_OF_ORDER_SEQUENCE_NUMBER", "sequence {sequence}");
    }
    producer.takes(0, 2, 2);
    assert_eq!(producer.client.end_offset(&producer.topic), Some(4));
}

#[test]
fn a_repeated_batch_among_the_last_five_gets_its_first_offset_again() {
    let mut producer = Producer::new();
    for i in 0..5 {
        producer.takes(0, 2 * i, 2 * i64::from(i));
    }
    for i in (0..5).rev() {
        producer.takes(0, 2 * i, 2 * i64::from(i));
    }
    assert_eq!(producer.client.end_offset(&producer.topic), Some(10), "nothing was stored twice");
}

#[test]
fn a_repetition_older_than_five_batches_is_refused() {
    let mut producer = Producer::new();
    for i in 0..6 {
        producer.takes(0, 2 * i, 2 * i64::from(i));
    }
    let told = producer.send(0, 0);
    assert!(["DUPLICATE_SEQUENCE_NUMBER", "OUT_OF_ORDER_SEQUENCE_NUMBER"].contains(&told.error), "{told:?}");
    assert_eq!(producer.client.end_offset(&producer.topic), Some(12));
}

#[test]
fn an_old_epoch_is_invalid() {
    let mut producer = Producer::new();
    producer.takes(3, 0, 0);
    assert_eq!(producer.send(2, 2).error, "INVALID_PRODUCER_EPOCH");
    producer.takes(3, 2, 2);
}

#[test]
fn a_new_epoch_begins_at_sequence_0() {
    let mut producer = Producer::new();
    producer.takes(0, 0, 0);
    assert_eq!(producer.send(1, 7).error, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    producer.takes(1, 0, 2);
}

#[test]
fn sequences_wrap_around_after_the_largest_number() {
    let mut producer = Producer::new();
    // A producer that the broker has never seen may begin anywhere.
    producer.takes(0, i32::MAX - 1, 0);
    producer.takes(0, 0, 2);
    assert_eq!(producer.send(0, 0).base_offset, 2, "a repetition");
}
