//! Appending: as the leader, with offsets given here, or as a follower, with the leader's.

use super::Log;
use crate::disk::{Context, Fault};
use crate::planted::Bug;
use crate::producers::{DataBatch, Marker, Verdict};
use crate::txn_index;
use std::io::IoSlice;
use wire::ErrorCode;
use wire::records::{Batch, BatchInfo, TimestampType, stamp};

/// Parts of a vectored write that are kept on the stack.
const PARTS_ON_STACK: usize = 32;

/// A validated batch on its way into the log, and what became of it.
#[derive(Debug)]
pub struct Append<'a> {
    /// The whole batch; offset and leader epoch are stamped in place.
    pub bytes: &'a mut [u8],
    pub info: BatchInfo,
    pub outcome: Result<Appended, ErrorCode>,
}

impl<'a> Append<'a> {
    pub fn new(bytes: &'a mut [u8], info: BatchInfo) -> Append<'a> {
        Append { bytes, info, outcome: Err(ErrorCode::UnknownServerError) }
    }
}

/// A batch that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// It was there before: the producer sent it again.
    pub duplicate: bool,
    /// Ms since the epoch where the broker's clock counts, -1 otherwise.
    pub log_append_time_ms: i64,
}

/// What [`Log::append_as_follower`] took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicated {
    pub batches: u32,
    /// Bytes taken; fewer than given when the last batch is cut.
    pub bytes: usize,
}

/// What the log keeps of a batch, whoever sent it.
struct Noted {
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
    size: u32,
    leader_epoch: i32,
    records: i64,
}

impl Log {
    /// Appends as the leader: checks each batch against its producer's state, gives offsets, stamps, and writes all that
    /// is accepted with one call a segment. Each batch's fate is in its `outcome`.
    ///
    /// # Errors
    /// A [`Fault`] takes the log offline; then no batch of this call counts as appended.
    pub fn append(&mut self, batches: &mut [Append<'_>], leader_epoch: i32, now_ms: i64) -> Result<(), Fault> {
        let appended = self.online().and_then(|()| self.append_all(batches, leader_epoch, now_ms));
        if appended.is_err() {
            for batch in batches {
                batch.outcome = Err(ErrorCode::KafkaStorageError);
            }
        }
        self.note(appended)
    }

    fn append_all(&mut self, batches: &mut [Append<'_>], leader_epoch: i32, now_ms: i64) -> Result<(), Fault> {
        // Batches before `written` are in the file, which ends at `end`; the others are accounted for already.
        let (mut written, mut end) = (0, self.active().size);
        for at in 0..batches.len() {
            let batch = &mut batches[at];
            let marker = match self.judge(batch) {
                Ok(Judged::Data) => None,
                Ok(Judged::Marker(marker)) => Some(marker),
                Ok(Judged::Duplicate(old)) => {
                    batch.outcome = Ok(old);
                    continue;
                }
                Err(refusal) => {
                    batch.outcome = Err(refusal);
                    continue;
                }
            };
            let info = &batch.info;
            let base_offset = self.log_end_offset;
            let noted = Noted {
                base_offset,
                last_offset: base_offset + i64::from(info.last_offset_delta),
                max_timestamp: info.max_timestamp,
                size: batch.bytes.len() as u32,
                leader_epoch,
                records: i64::from(info.record_count),
            };
            let shape = (noted.size, noted.max_timestamp, noted.last_offset);
            if self.must_roll(shape, now_ms)? {
                self.write_accepted(&batches[written..at], end)?;
                self.roll_for(noted.base_offset, noted.last_offset, now_ms)?;
                (written, end) = (at, 0);
            }
            let batch = &mut batches[at];
            stamp(batch.bytes, base_offset, leader_epoch);
            let info = &batch.info;
            let producer_id = info.producer_id;
            self.snapshots.is_stale |= producer_id >= 0;
            match marker {
                Some(marker) => self.apply_marker(&Marker { offset: base_offset, ..marker })?,
                None if producer_id >= 0 => {
                    self.producers.apply(&DataBatch { base_offset, ..data_batch(info) }, now_ms);
                }
                None => {}
            }
            let log_append_time_ms = match info.timestamp_type {
                TimestampType::LogAppendTime => info.max_timestamp,
                TimestampType::CreateTime => -1,
            };
            let last_offset = noted.last_offset;
            batch.outcome = Ok(Appended { base_offset, last_offset, duplicate: false, log_append_time_ms });
            self.note_appended(noted)?;
        }
        self.write_accepted(&batches[written..], end)?;
        self.snapshot_if_due()
    }

    /// Whether a batch may be appended at all.
    fn judge(&self, batch: &Append<'_>) -> Result<Judged, ErrorCode> {
        let info = &batch.info;
        if batch.bytes.len() > self.config.segment_bytes as usize {
            return Err(ErrorCode::RecordListTooLarge);
        }
        if info.producer_id < 0 {
            return Ok(Judged::Data);
        }
        if info.is_control {
            let marker = Batch::parse(batch.bytes).ok().as_ref().and_then(marker_of);
            return match marker {
                Some(marker) => self.producers.check_marker(&marker).map(|()| Judged::Marker(marker)),
                None => Ok(Judged::Data),
            };
        }
        match self.producers.check(&data_batch(info), self.config.bug)? {
            Verdict::Append => Ok(Judged::Data),
            Verdict::Duplicate(_) if self.has(Bug::AppendDuplicates) => Ok(Judged::Data),
            Verdict::Duplicate(old) => Ok(Judged::Duplicate(Appended {
                base_offset: old.base_offset(),
                last_offset: old.last_offset,
                duplicate: true,
                log_append_time_ms: old.timestamp,
            })),
        }
    }

    /// Writes the accepted ones of `batches` at `position`, in one call.
    fn write_accepted(&mut self, batches: &[Append<'_>], position: u32) -> Result<(), Fault> {
        let accepted = |batch: &&Append<'_>| matches!(&batch.outcome, Ok(appended) if !appended.duplicate);
        let mut on_stack = [IoSlice::new(&[]); PARTS_ON_STACK];
        let mut on_heap = Vec::new();
        let mut count = 0;
        for batch in batches.iter().filter(accepted) {
            if count < PARTS_ON_STACK {
                on_stack[count] = IoSlice::new(batch.bytes);
            } else {
                if on_heap.is_empty() {
                    on_heap.reserve(batches.len());
                    on_heap.extend_from_slice(&on_stack);
                }
                on_heap.push(IoSlice::new(batch.bytes));
            }
            count += 1;
        }
        let parts = if on_heap.is_empty() { &mut on_stack[..count] } else { &mut on_heap[..] };
        if count == 0 { Ok(()) } else { self.write_at(parts, position) }
    }

    fn write_at(&mut self, parts: &mut [IoSlice<'_>], position: u32) -> Result<(), Fault> {
        let file = self.active().file()?;
        let written = file.write_at(parts, u64::from(position));
        if written.is_err() {
            // The log is offline from here on; this spares the next start from finding a torn tail.
            let _ = file.truncate(u64::from(position));
        }
        written.context("append to", &self.active().log)
    }

    /// Takes a batch into account that is in the file, or will be before this call of the log ends.
    fn note_appended(&mut self, batch: Noted) -> Result<(), Fault> {
        if self.epochs.assign(batch.leader_epoch, batch.base_offset) {
            self.store_epochs()?;
        }
        let last = self.segments.len() - 1;
        let active = &mut self.segments[last];
        self.hints.note(active.base_offset, batch.base_offset, batch.last_offset, active.size);
        active.note_batch(batch.last_offset, batch.max_timestamp, batch.size, &self.config)?;
        self.log_end_offset = batch.last_offset + 1;
        self.snapshots.bytes_since += u64::from(batch.size);
        self.sync.note(batch.records);
        Ok(())
    }

    pub(super) fn apply_marker(&mut self, marker: &Marker) -> Result<(), Fault> {
        let Some(aborted) = self.producers.apply_marker(marker) else { return Ok(()) };
        self.sync.txn_index_changed();
        let path = self.folder.path(self.active().base_offset, crate::segment::TXN_INDEX_SUFFIX);
        txn_index::append(self.disk(), &path, &aborted).context("append to", &path)
    }

    /// Appends batches that a leader has given offsets to. A last batch that is cut off is left out.
    ///
    /// # Errors
    /// In the inner result, CorruptMessage for bytes that are no batch or have a wrong CRC, and
    /// OffsetOutOfRange for offsets that the log has already; what came before in `bytes` is appended. A [`Fault`]
    /// takes the log offline.
    pub fn append_as_follower(&mut self, bytes: &[u8], now_ms: i64) -> Result<Result<Replicated, ErrorCode>, Fault> {
        let appended = self.online().and_then(|()| self.replicate(bytes, now_ms));
        self.note(appended)
    }

    fn replicate(&mut self, bytes: &[u8], now_ms: i64) -> Result<Result<Replicated, ErrorCode>, Fault> {
        let (mut written, mut end, mut taken) = (0, self.active().size, Replicated::default());
        let mut refusal = None;
        for batch in wire::records::batches(bytes) {
            let batch = match batch {
                // The CRC says nothing of the offsets.
                Ok(batch) if batch.is_crc_valid() && batch.next_offset() > batch.base_offset() => batch,
                _ => {
                    refusal = Some(ErrorCode::CorruptMessage);
                    break;
                }
            };
            if batch.base_offset() < self.log_end_offset {
                refusal = Some(ErrorCode::OffsetOutOfRange);
                break;
            }
            let noted = Noted {
                base_offset: batch.base_offset(),
                last_offset: batch.last_offset(),
                max_timestamp: batch.max_timestamp(),
                size: batch.size() as u32,
                leader_epoch: batch.leader_epoch(),
                records: i64::from(batch.record_count()),
            };
            if self.must_roll((noted.size, noted.max_timestamp, noted.last_offset), now_ms)? {
                self.write_range(&bytes[written..taken.bytes], end)?;
                self.roll_for(noted.base_offset, noted.last_offset, now_ms)?;
                (written, end) = (taken.bytes, 0);
            }
            self.apply_replicated(&batch, now_ms)?;
            self.note_appended(noted)?;
            taken.bytes += batch.size();
            taken.batches += 1;
        }
        self.write_range(&bytes[written..taken.bytes], end)?;
        self.snapshot_if_due()?;
        Ok(refusal.map_or(Ok(taken), Err))
    }

    fn write_range(&mut self, bytes: &[u8], position: u32) -> Result<(), Fault> {
        if bytes.is_empty() { Ok(()) } else { self.write_at(&mut [IoSlice::new(bytes)], position) }
    }

    /// Takes the producer of a batch that is in the log into account, unchecked: its leader checked it.
    pub(super) fn apply_replicated(&mut self, batch: &Batch<'_>, now_ms: i64) -> Result<(), Fault> {
        if !batch.has_producer_id() {
            return Ok(());
        }
        self.snapshots.is_stale = true;
        if batch.is_control() {
            return marker_of(batch).map_or(Ok(()), |marker| self.apply_marker(&marker));
        }
        self.producers.apply(&DataBatch::of(batch), now_ms);
        Ok(())
    }
}

enum Judged {
    Data,
    Marker(Marker),
    Duplicate(Appended),
}

fn data_batch(info: &BatchInfo) -> DataBatch {
    DataBatch {
        producer_id: info.producer_id,
        producer_epoch: info.producer_epoch,
        base_sequence: info.base_sequence,
        base_offset: info.base_offset,
        last_offset_delta: info.last_offset_delta,
        max_timestamp: info.max_timestamp,
        is_transactional: info.is_transactional,
    }
}

/// The transaction marker in a control batch; `None` for other control records and for a batch that compaction emptied.
pub(super) fn marker_of(batch: &Batch<'_>) -> Option<Marker> {
    let records = batch.records().ok()?;
    let record = records.iter().next()?.ok()?;
    // Key: version i16, type i16. Value: version i16, coordinator epoch i32.
    let kind = i16::from_be_bytes(*record.key?.get(2..)?.first_chunk()?);
    let is_commit = match kind {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(Marker {
        producer_id: batch.producer_id(),
        producer_epoch: batch.producer_epoch(),
        coordinator_epoch: i32::from_be_bytes(*record.value?.get(2..)?.first_chunk()?),
        offset: batch.base_offset(),
        timestamp: record.timestamp,
        is_commit,
    })
}

/// Whether a control batch commits a transaction or aborts it; `None` for control records of another kind.
pub(crate) fn is_commit(batch: &Batch<'_>) -> Option<bool> {
    marker_of(batch).map(|marker| marker.is_commit)
}
