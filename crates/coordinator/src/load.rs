//! Builds a shard from what is in the log.

use std::fmt;

use metadata::machine::State;
use wire::codec::DecodeError;
use wire::records::Batch;

use crate::store::{Change, Store};
use crate::{Config, Now, Shard, records};

/// Reads a partition of `__consumer_offsets` from its start, batch by batch, and becomes its [`Shard`].
#[derive(Debug, Default)]
pub struct Loader {
    store: Store,
    next_offset: i64,
    skipped: u64,
}

/// The log has something that this version does not understand, or that is damaged. The partition cannot be served.
#[derive(Debug)]
pub struct LoadError {
    /// Of the record, or of the batch that cannot be read at all.
    pub offset: i64,
    pub problem: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record at offset {} of __consumer_offsets cannot be read: {}", self.offset, self.problem)
    }
}

impl std::error::Error for LoadError {}

impl Loader {
    pub fn new() -> Self {
        Loader::default()
    }

    /// Takes one batch, in the order of the log.
    ///
    /// # Errors
    /// When the batch, or a record that it must understand, cannot be read.
    pub fn batch(&mut self, batch: &Batch<'_>) -> Result<(), LoadError> {
        let failed = |offset, problem: &dyn fmt::Display| LoadError { offset, problem: problem.to_string() };
        let records = batch.records().map_err(|error| failed(batch.base_offset(), &error))?;
        for record in records.iter() {
            let record = record.map_err(|error| failed(batch.base_offset(), &error))?;
            let Some(key) = record.key else {
                self.skipped += 1;
                continue;
            };
            if batch.is_control() {
                // A marker's key: version, then 0 for abort and 1 for commit. Others end no transaction.
                if let [_, _, 0, outcome @ (0 | 1)] = *key {
                    self.transaction_ended(batch.producer_id(), outcome == 1);
                }
                continue;
            }
            let producer_id = batch.is_transactional().then_some(batch.producer_id());
            self.record(record.offset, producer_id, key, record.value)
                .map_err(|error| failed(record.offset, &error))?;
        }
        self.next_offset = batch.next_offset();
        Ok(())
    }

    /// Takes one record; `producer_id` when it is part of a transaction, and counts only with its marker.
    ///
    /// # Errors
    /// When the record cannot be read. Records of unknown types are skipped, as in Kafka.
    pub fn record(
        &mut self,
        offset: i64,
        producer_id: Option<i64>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), DecodeError> {
        self.next_offset = offset + 1;
        let Some(change) = records::decode(key, value)? else {
            self.skipped += 1;
            return Ok(());
        };
        let change = match (producer_id, change) {
            (Some(producer_id), Change::Offset { key, value: Some(value) }) => {
                Change::PendingOffset { producer_id, key, value }
            }
            (_, change) => change,
        };
        let Ok(()) = self.store.apply(offset, &change, &mut ());
        Ok(())
    }

    /// Takes the marker that ends a producer's transaction.
    pub fn transaction_ended(&mut self, producer_id: i64, committed: bool) {
        let Ok(()) = self.store.apply(self.next_offset, &Change::TransactionEnd { producer_id, committed }, &mut ());
    }

    /// Records that were passed over, for the log's reader to tell.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The shard, at a log that ends at `end_offset`. Members of stable groups have a whole session from now.
    pub fn finish(self, config: Config, end_offset: i64, now: Now) -> Shard {
        Shard::new(config, self.store, end_offset.max(self.next_offset), now)
    }
}
