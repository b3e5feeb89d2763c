//! A batch on its way: filled, sealed, sent, maybe sent again, and in the end delivered or failed.

use std::sync::Arc;

use tokio::time::Instant;
use wire::records::BatchBuilder;

use super::{Delivered, Delivery, Tally, Told};
use crate::Error;

/// Who sealed a batch, so that a broker can tell a repeated one: producer id, epoch and the first record's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub producer_id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

/// Who is to be told.
enum Waiter {
    One {
        /// The record's place in the batch.
        index: i64,
        timestamp: i64,
        delivery: Delivery,
    },
    /// Of so many records in a row.
    Tally { tally: Arc<dyn Tally>, count: usize },
}

pub(super) struct Batch {
    /// Grows with every batch of the producer: what flushing waits for.
    pub number: u64,
    pub created: Instant,
    pub attempts: u32,
    /// Not before this moment again.
    pub not_before: Option<Instant>,
    pub stamp: Option<Stamp>,
    /// It may have been written: an attempt ended in another way than with a refusal of its numbers.
    pub doubtful: bool,
    /// Bytes taken from the producer's memory.
    pub reserved: usize,
    builder: Option<BatchBuilder>,
    bytes: Vec<u8>,
    count: i32,
    waiters: Vec<Waiter>,
}

impl Batch {
    pub fn new(number: u64, builder: BatchBuilder) -> Batch {
        Batch {
            number,
            created: Instant::now(),
            attempts: 0,
            not_before: None,
            stamp: None,
            doubtful: false,
            reserved: 0,
            builder: Some(builder),
            bytes: Vec::new(),
            count: 0,
            waiters: Vec::new(),
        }
    }

    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes, as far as known: before compression until it is sealed.
    pub fn size(&self) -> usize {
        self.builder.as_ref().map_or(self.bytes.len(), BatchBuilder::size)
    }

    /// Adds a record; only before the batch is sealed.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
        told: Told<'_>,
    ) {
        let Some(builder) = &mut self.builder else { return };
        builder.append(timestamp, key, value, headers);
        match (told, self.waiters.last_mut()) {
            (Told::Nobody, _) => {}
            (Told::One(delivery), _) => {
                self.waiters.push(Waiter::One { index: i64::from(self.count), timestamp, delivery });
            }
            (Told::Tally(tally), Some(Waiter::Tally { tally: last, count })) if Arc::ptr_eq(tally, last) => *count += 1,
            (Told::Tally(tally), _) => self.waiters.push(Waiter::Tally { tally: tally.clone(), count: 1 }),
        }
        self.count += 1;
    }

    /// Compresses and seals the batch under its stamp; gives the emptied builder back. A batch that was sealed under
    /// another stamp gets the new one.
    pub fn seal(&mut self) -> Option<BatchBuilder> {
        match self.builder.take() {
            Some(mut builder) => {
                let stamp = self.stamp.unwrap_or(Stamp { producer_id: -1, epoch: -1, sequence: -1 });
                builder.set_producer(stamp.producer_id, stamp.epoch, stamp.sequence);
                self.bytes = builder.build(0, -1);
                Some(builder)
            }
            None => {
                if let Some(stamp) = self.stamp {
                    restamp(&mut self.bytes, stamp);
                }
                None
            }
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reports to every waiter.
    pub fn finish(self, partition: i32, result: Result<Written, Error>) {
        for waiter in self.waiters {
            match waiter {
                Waiter::One { index, timestamp, delivery } => delivery(match &result {
                    Ok(written) => Ok(Delivered {
                        partition,
                        offset: written.base_offset.map(|base| base + index),
                        timestamp: written.log_append_time.unwrap_or(timestamp),
                    }),
                    Err(error) => Err(error.clone()),
                }),
                Waiter::Tally { tally, count } => tally.settled(count, result.as_ref().map(|_| ())),
            }
        }
    }
}

/// Where a batch was written. The offset is not known when nobody acknowledges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub base_offset: Option<i64>,
    pub log_append_time: Option<i64>,
}

/// Puts a producer's id, epoch and sequence number into a sealed batch, whose checksum covers them.
fn restamp(bytes: &mut [u8], stamp: Stamp) {
    const CRC: usize = 17;
    const CRC_FROM: usize = 21;
    const PRODUCER_ID: usize = 43;
    const EPOCH: usize = 51;
    const SEQUENCE: usize = 53;
    let old: [u8; 14] = bytes[PRODUCER_ID..SEQUENCE + 4].try_into().unwrap_or_default();
    bytes[PRODUCER_ID..EPOCH].copy_from_slice(&stamp.producer_id.to_be_bytes());
    bytes[EPOCH..SEQUENCE].copy_from_slice(&stamp.epoch.to_be_bytes());
    bytes[SEQUENCE..SEQUENCE + 4].copy_from_slice(&stamp.sequence.to_be_bytes());
    if old != bytes[PRODUCER_ID..SEQUENCE + 4] {
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[CRC..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::records::Codec;

    #[test]
    fn a_sealed_batch_takes_a_new_stamp_and_stays_valid() {
        let mut batch = Batch::new(1, BatchBuilder::new(Codec::Lz4));
        batch.push(5, Some(b"k"), Some(b"v"), &[], Told::Nobody);
        batch.stamp = Some(Stamp { producer_id: 7, epoch: 0, sequence: 9 });
        assert!(batch.seal().is_some());
        batch.stamp = Some(Stamp { producer_id: 7, epoch: 1, sequence: 0 });
        assert!(batch.seal().is_none());
        let parsed = wire::records::Batch::parse(batch.bytes()).unwrap();
        assert!(parsed.is_crc_valid());
        assert_eq!((parsed.producer_id(), parsed.producer_epoch(), parsed.base_sequence()), (7, 1, 0));
    }

    /// Writes down what it is told.
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<(usize, bool)>>);

    impl Tally for Heard {
        fn settled(&self, count: usize, result: Result<(), &Error>) {
            self.0.lock().unwrap().push((count, result.is_ok()));
        }
    }

    #[test]
    fn records_in_a_row_are_told_of_together() {
        for result in [Ok(Written { base_offset: Some(7), log_append_time: None }), Err(Error::Closed)] {
            let (first, second) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
            let (one, two): (Arc<dyn Tally>, Arc<dyn Tally>) = (first.clone(), second.clone());
            let mut batch = Batch::new(1, BatchBuilder::new(Codec::None));
            for tally in [&one, &one, &two, &one] {
                batch.push(5, None, Some(b"v"), &[], Told::Tally(tally));
            }
            let ok = result.is_ok();
            batch.finish(0, result);
            assert_eq!(*first.0.lock().unwrap(), [(2, ok), (1, ok)]);
            assert_eq!(*second.0.lock().unwrap(), [(1, ok)]);
        }
    }
}
