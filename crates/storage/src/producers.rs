//! What a log knows of its idempotent and transactional producers: their epochs, their last five batches, their open
//! transactions. It is derived from the log and kept in `.snapshot` files only to save reading the log again.
//!
//! **Invariant:** checks never change anything; [`Producers::apply`] is the only place that does, for appends, for
//! replication and for recovery alike.

use crate::planted::{self, Bug};
use crate::txn_index::AbortedTxn;
use std::collections::BTreeMap;
use wire::ErrorCode;
use wire::records::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, increment_sequence};

/// Batches remembered for each producer, as many as a client has in flight.
pub const BATCHES_KEPT: usize = 5;

/// A data batch with a producer id, as far as the checks need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataBatch {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub base_offset: i64,
    pub last_offset_delta: i32,
    pub max_timestamp: i64,
    pub is_transactional: bool,
}

impl DataBatch {
    pub fn of(header: &BatchHeader<'_>) -> DataBatch {
        DataBatch {
            producer_id: header.producer_id(),
            producer_epoch: header.producer_epoch(),
            base_sequence: header.base_sequence(),
            base_offset: header.base_offset(),
            last_offset_delta: header.last_offset_delta(),
            max_timestamp: header.max_timestamp(),
            is_transactional: header.is_transactional(),
        }
    }

    fn last_sequence(&self) -> i32 {
        // The group coordinator's transactional commits have producer ids but no sequence numbers.
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }
}

/// The end of a transaction: a control batch of type COMMIT or ABORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub is_commit: bool,
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl Remembered {
    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn base_sequence(&self) -> i32 {
        let base = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        // Sequence numbers wrap to 0 after i32::MAX.
        (base & 0x7fff_ffff) as i32
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    pub coordinator_epoch: i32,
    /// Of its last batch, which may be of any age: what is replayed from elsewhere keeps its records' times.
    pub last_timestamp: i64,
    /// When that was written, roughly, where it is known; `i64::MIN` otherwise. Not in snapshots.
    pub seen_ms: i64,
    pub txn_first_offset: Option<i64>,
    /// Oldest first.
    pub batches: Batches,
}

/// At most [`BATCHES_KEPT`] batches, without an allocation of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batches {
    kept: [Remembered; BATCHES_KEPT],
    count: u8,
}

impl Default for Batches {
    fn default() -> Batches {
        let none = Remembered { last_sequence: NO_SEQUENCE, last_offset: -1, offset_delta: 0, timestamp: -1 };
        Batches { kept: [none; BATCHES_KEPT], count: 0 }
    }
}

impl Batches {
    pub fn push(&mut self, batch: Remembered) {
        if usize::from(self.count) == BATCHES_KEPT {
            self.kept.rotate_left(1);
            self.count -= 1;
        }
        self.kept[usize::from(self.count)] = batch;
        self.count += 1;
    }

    pub fn as_slice(&self) -> &[Remembered] {
        &self.kept[..usize::from(self.count)]
    }

    pub fn last(&self) -> Option<&Remembered> {
        self.as_slice().last()
    }
}

impl Producer {
    pub fn new() -> Producer {
        Producer {
            epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            seen_ms: i64::MIN,
            txn_first_offset: None,
            batches: Batches::default(),
        }
    }

    pub fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// A new epoch starts its sequence numbers afresh.
    fn meet_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches = Batches::default();
        }
    }
}

/// A producer as DescribeProducers shows it (KIP-664).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// -1 after a marker of a new epoch.
    pub last_sequence: i32,
    /// Ms since the epoch.
    pub last_timestamp: i64,
    /// -1 when no marker was seen.
    pub coordinator_epoch: i32,
    pub current_txn_start_offset: Option<i64>,
}

/// What the check of a batch found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// New: append it.
    Append,
    /// One of the producer's last batches, sent again.
    Duplicate(Remembered),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: BTreeMap<i64, Box<Producer>>,
    /// First offsets of open transactions, with their producers.
    ongoing: BTreeMap<i64, i64>,
    /// First offset and marker offset of transactions whose marker may be above the high watermark.
    unreplicated: BTreeMap<i64, i64>,
}

impl Producers {
    /// Checks a client's batch against what its producer sent before.
    ///
    /// # Errors
    /// InvalidProducerEpoch for an epoch below the known one; OutOfOrderSequenceNumber for a gap, or a new epoch that
    /// does not begin at 0; InvalidTxnState for a plain batch inside a transaction. A producer that is not known (any
    /// more) may begin with any sequence number, as in Kafka.
    pub fn check(&self, batch: &DataBatch, bug: Bug) -> Result<Verdict, ErrorCode> {
        let Some(producer) = self.by_id.get(&batch.producer_id) else { return Ok(Verdict::Append) };
        let same_epoch = batch.producer_epoch == producer.epoch;
        // Without a sequence number (the group coordinator's transactional commits) there is only the epoch to check.
        let in_sequence = batch.base_sequence != NO_SEQUENCE;
        if same_epoch && in_sequence {
            let last_sequence = batch.last_sequence();
            let repeats =
                |kept: &&Remembered| kept.last_sequence == last_sequence && kept.base_sequence() == batch.base_sequence;
            let known = if planted::is(bug, Bug::RememberOneBatch) { 1 } else { BATCHES_KEPT };
            if let Some(kept) = producer.batches.as_slice().iter().rev().take(known).find(repeats) {
                return Ok(Verdict::Duplicate(*kept));
            }
        }
        if batch.producer_epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let expected = match same_epoch {
            true => increment_sequence(producer.last_sequence(), 1),
            false if producer.epoch == NO_PRODUCER_EPOCH => batch.base_sequence,
            false => 0,
        };
        if in_sequence && batch.base_sequence != expected && !planted::is(bug, Bug::AcceptGaps) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        if producer.txn_first_offset.is_some() && !batch.is_transactional {
            return Err(ErrorCode::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    /// Checks a transaction coordinator's marker.
    ///
    /// # Errors
    /// InvalidProducerEpoch and TransactionCoordinatorFenced for what an older coordinator or producer epoch sends.
    pub fn check_marker(&self, marker: &Marker) -> Result<(), ErrorCode> {
        match self.by_id.get(&marker.producer_id) {
            Some(producer) if marker.producer_epoch < producer.epoch => Err(ErrorCode::InvalidProducerEpoch),
            Some(producer) if marker.coordinator_epoch < producer.coordinator_epoch => {
                Err(ErrorCode::TransactionCoordinatorFenced)
            }
            _ => Ok(()),
        }
    }

    /// Takes a batch that is in the log into account, where it was written at `written_ms`.
    pub fn apply(&mut self, batch: &DataBatch, written_ms: i64) {
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Box::new(Producer::new()));
        producer.meet_epoch(batch.producer_epoch);
        producer.batches.push(Remembered {
            last_sequence: batch.last_sequence(),
            last_offset: batch.base_offset + i64::from(batch.last_offset_delta),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        producer.last_timestamp = batch.max_timestamp;
        producer.seen_ms = producer.seen_ms.max(written_ms);
        if batch.is_transactional && producer.txn_first_offset.is_none() {
            producer.txn_first_offset = Some(batch.base_offset);
            self.ongoing.insert(batch.base_offset, batch.producer_id);
        }
    }

    /// Takes a marker that is in the log into account. An aborted transaction is returned for the transaction index.
    pub fn apply_marker(&mut self, marker: &Marker) -> Option<AbortedTxn> {
        let producer = self.by_id.entry(marker.producer_id).or_insert_with(|| Box::new(Producer::new()));
        producer.meet_epoch(marker.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.last_timestamp = marker.timestamp;
        let first_offset = producer.txn_first_offset.take()?;
        self.ongoing.remove(&first_offset);
        self.unreplicated.insert(first_offset, marker.offset);
        let last_stable_offset = self.ongoing.keys().next().copied().unwrap_or(marker.offset + 1);
        (!marker.is_commit).then_some(AbortedTxn {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: marker.offset,
            last_stable_offset,
        })
    }

    /// The first offset of a transaction that is open, or whose marker is not below `high_watermark`.
    pub fn first_unstable_offset(&self, high_watermark: i64) -> Option<i64> {
        let undecided = self.ongoing.keys().next().copied();
        let unreplicated = self.unreplicated.iter().find(|(_, marker)| **marker >= high_watermark).map(|(f, _)| *f);
        match (undecided, unreplicated) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Forgets decided transactions whose markers are below `high_watermark`.
    pub fn forget_replicated(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// Forgets producers that were silent for `expiration_ms`, unless they have a transaction open. Old records do not make
    /// a producer silent: what it sends again would be taken for new.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_id.retain(|_, producer| {
            let last_ms = producer.last_timestamp.max(producer.seen_ms);
            producer.txn_first_offset.is_some() || now_ms.saturating_sub(last_ms) < expiration_ms
        });
    }

    /// Puts back a producer as a snapshot has it.
    pub fn restore(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first_offset) = producer.txn_first_offset {
            self.ongoing.insert(first_offset, producer_id);
        }
        self.by_id.insert(producer_id, Box::new(producer));
    }

    /// Takes over the batches of `window` that lead to the last batch which is known of a producer.
    pub fn remember(&mut self, window: &Producers) {
        for (id, producer) in &mut self.by_id {
            let Some(found) = window.by_id.get(id).filter(|found| found.epoch == producer.epoch) else { continue };
            if found.batches.last() != producer.batches.last() {
                continue;
            }
            let kept = found.batches.as_slice();
            let gap = |pair: &[Remembered]| increment_sequence(pair[0].last_sequence, 1) != pair[1].base_sequence();
            let first = kept.windows(2).rposition(gap).map_or(0, |before| before + 1);
            producer.batches = Batches::default();
            kept[first..].iter().for_each(|batch| producer.batches.push(*batch));
        }
    }

    pub fn clear(&mut self) {
        *self = Producers::default();
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, &**producer))
    }

    pub fn active(&self) -> Vec<ActiveProducer> {
        let describe = |(producer_id, producer): (i64, &Producer)| ActiveProducer {
            producer_id,
            producer_epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            current_txn_start_offset: producer.txn_first_offset,
        };
        self.iter().map(describe).collect()
    }
}
