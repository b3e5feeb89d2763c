//! Batches of the metadata log: records without keys, not compressed, no producer.

use wire::control::ControlRecord;
use wire::messages::{MetadataRecord, PartitionRecord};
use wire::records::{Batch, BatchBuilder, Codec};

use crate::controller::Decided;
use crate::image::MetadataVersion;

/// Kafka's limit for one batch, in bytes.
pub const BATCH_SIZE_MAX: usize = 8 << 20;

/// The version in which a record is written: the highest that every node of the cluster reads.
pub fn version_of(record: &MetadataRecord<'_>, metadata_version: MetadataVersion) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => metadata_version.register_broker_record_version(),
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => {
            metadata_version.partition_record_version()
        }
        MetadataRecord::BrokerRegistrationChange(change) => {
            if change.cordoned_log_dirs.is_some() {
                3
            } else if !change.log_dirs.is_empty() {
                2
            } else if change.in_controlled_shutdown != 0 {
                1
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// A record's value as the log has it. Fields that the version lacks are left out: the cluster's level says that nobody
/// relies on them.
pub fn encode(record: &MetadataRecord<'_>, metadata_version: MetadataVersion) -> Vec<u8> {
    let version = version_of(record, metadata_version);
    let encoded = match record {
        MetadataRecord::Partition(partition) if version < 2 => {
            MetadataRecord::Partition(without_newer_fields(partition, version)).encode_value(version)
        }
        record => record.encode_value(version),
    };
    match encoded {
        Ok(bytes) => bytes,
        Err(error) => panic!("a decided record cannot be written in version {version}: {error}"),
    }
}

fn without_newer_fields<'a>(partition: &PartitionRecord<'a>, version: i16) -> PartitionRecord<'a> {
    let mut older = partition.clone();
    older.eligible_leader_replicas = None;
    older.last_known_elr = None;
    if version < 1 {
        older.directories = Vec::new().into();
    }
    older
}

/// Whether these records are in the log together or not at all: a leader may end between two batches.
pub fn fit_one_batch(records: &[MetadataRecord<'_>], metadata_version: MetadataVersion) -> bool {
    let empty = BatchBuilder::new(Codec::None).size();
    let size = |record| record_size_max(&encode(record, metadata_version));
    empty + records.iter().map(size).sum::<usize>() <= BATCH_SIZE_MAX
}

fn record_size_max(value: &[u8]) -> usize {
    BatchBuilder::record_size_max(None, Some(value), &[])
}

/// Decisions as batches, each at most [`BATCH_SIZE_MAX`], from `base_offset` on. A decision is divided only where it is larger
/// than that ([`fit_one_batch`]).
pub fn data_batches(decisions: &[Decided], base_offset: i64, epoch: i32, timestamp_ms: i64) -> Vec<u8> {
    let mut writer = BatchWriter::new(base_offset, epoch, timestamp_ms);
    for Decided { records, metadata_version } in decisions {
        let values: Vec<Vec<u8>> = records.iter().map(|record| encode(record, *metadata_version)).collect();
        writer.make_room(values.iter().map(|value| record_size_max(value)).sum());
        values.iter().for_each(|value| writer.push(value));
    }
    writer.finish()
}

/// Puts record values into batches.
pub struct BatchWriter {
    builder: BatchBuilder,
    bytes: Vec<u8>,
    next_offset: i64,
    epoch: i32,
    timestamp_ms: i64,
}

impl BatchWriter {
    pub fn new(next_offset: i64, epoch: i32, timestamp_ms: i64) -> Self {
        BatchWriter { builder: BatchBuilder::new(Codec::None), bytes: Vec::new(), next_offset, epoch, timestamp_ms }
    }

    /// What is pushed next is `bytes` large at most, and belongs together.
    fn make_room(&mut self, bytes: usize) {
        if self.builder.size() + bytes > BATCH_SIZE_MAX {
            self.flush();
        }
    }

    pub fn push(&mut self, value: &[u8]) {
        self.make_room(record_size_max(value));
        self.builder.append(self.timestamp_ms, None, Some(value), &[]);
    }

    /// The offset after the last record that was pushed.
    pub fn next_offset(&self) -> i64 {
        self.next_offset + i64::from(self.builder.record_count())
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes
    }

    fn flush(&mut self) {
        if self.builder.is_empty() {
            return;
        }
        let count = i64::from(self.builder.record_count());
        self.bytes.extend(self.builder.build(self.next_offset, self.epoch));
        self.next_offset += count;
    }
}

/// What a batch of the log or of a snapshot holds.
pub enum Content<'a> {
    Control(ControlRecord<'a>),
    Data(MetadataRecord<'a>),
}

/// Hands each record of a batch to `visit`, with its offset.
///
/// # Errors
/// What is wrong: a checksum, a record of a type or version that this program does not know, or what `visit` said.
pub fn visit(batch: &Batch<'_>, visit: &mut dyn FnMut(i64, Content<'_>) -> Result<(), String>) -> Result<(), String> {
    if !batch.is_crc_valid() {
        return Err(format!("the checksum of the batch at offset {} is wrong", batch.base_offset()));
    }
    let at = |offset: i64, reason: String| format!("record at offset {offset}: {reason}");
    let records = batch.records().map_err(|error| at(batch.base_offset(), error.to_string()))?;
    for record in &records {
        let record = record.map_err(|error| at(batch.base_offset(), error.to_string()))?;
        let offset = record.offset;
        let Some(value) = record.value else { return Err(at(offset, "it has no value".to_owned())) };
        let content = if batch.is_control() {
            let key = record.key.unwrap_or_default();
            match ControlRecord::decode(key, value).map_err(|error| at(offset, error.to_string()))? {
                Some(control) => Content::Control(control),
                None => return Err(at(offset, "a control record of an unknown type".to_owned())),
            }
        } else {
            Content::Data(MetadataRecord::decode_value(value).map_err(|error| at(offset, error.to_string()))?)
        };
        visit(offset, content).map_err(|reason| at(offset, reason))?;
    }
    Ok(())
}
