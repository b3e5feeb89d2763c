//! Records that were fetched, ready to be handed out.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use wire::control::ControlType;
use wire::records::{Batch, TimestampType, batches};

use crate::{Error, Reply};

/// A record as a consumer sees it.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerRecord<'r> {
    pub topic: &'r str,
    pub partition: i32,
    pub offset: i64,
    /// In ms; -1 when there is none.
    pub timestamp: i64,
    pub timestamp_type: TimestampType,
    /// -1 when it is not known.
    pub leader_epoch: i32,
    pub key: Option<&'r [u8]>,
    pub value: Option<&'r [u8]>,
    headers: &'r [HeaderAt],
    chunk: &'r Chunk,
}

impl<'r> ConsumerRecord<'r> {
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'r [u8], Option<&'r [u8]>)> + use<'r> {
        let chunk = self.chunk;
        self.headers.iter().map(move |(key, value)| (chunk.bytes(key), value.as_ref().map(|v| chunk.bytes(v))))
    }
}

type HeaderAt = (Range<u32>, Option<Range<u32>>);

/// The records of one batch, copied together.
#[derive(Debug)]
struct Chunk {
    timestamp_type: TimestampType,
    leader_epoch: i32,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<HeaderAt>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    timestamp: i64,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Range<u32>,
}

impl Chunk {
    fn bytes(&self, range: &Range<u32>) -> &[u8] {
        &self.arena[range.start as usize..range.end as usize]
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        start..self.arena.len() as u32
    }
}

/// Some records of one partition, in order.
#[derive(Clone, Debug)]
pub struct Records {
    pub topic: Arc<str>,
    pub partition: i32,
    chunk: Arc<Chunk>,
    range: Range<usize>,
}

impl Records {
    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = ConsumerRecord<'_>> {
        let chunk = &*self.chunk;
        chunk.entries[self.range.clone()].iter().map(|e| ConsumerRecord {
            topic: &self.topic,
            partition: self.partition,
            offset: e.offset,
            timestamp: e.timestamp,
            timestamp_type: chunk.timestamp_type,
            leader_epoch: chunk.leader_epoch,
            key: e.key.as_ref().map(|k| chunk.bytes(k)),
            value: e.value.as_ref().map(|v| chunk.bytes(v)),
            headers: &chunk.headers[e.headers.start as usize..e.headers.end as usize],
            chunk,
        })
    }
}

/// What a fetch brought for one partition: batches that are taken apart one at a time.
#[derive(Debug)]
pub(super) struct Fetched {
    frame: Arc<Reply>,
    /// Where the batches stand in the frame; shrinks from the front.
    range: Range<usize>,
    /// Aborted transactions by their first offset; none when everything may be read.
    aborted: Option<VecDeque<(i64, i64)>>,
    aborting: HashSet<i64>,
    current: Option<(Arc<Chunk>, usize)>,
    /// The offset after the batch that was taken apart last.
    next_offset: i64,
    /// The next offset that is wanted.
    position: i64,
    check_crcs: bool,
}

impl Fetched {
    /// `aborted` (first offset, producer id) only when reading committed records.
    pub fn new(
        frame: Arc<Reply>,
        range: Range<usize>,
        aborted: Option<Vec<(i64, i64)>>,
        position: i64,
        check_crcs: bool,
    ) -> Fetched {
        let aborted = aborted.map(|mut a| {
            a.sort_unstable();
            a.into()
        });
        Fetched {
            frame,
            range,
            aborted,
            aborting: HashSet::new(),
            current: None,
            next_offset: position,
            position,
            check_crcs,
        }
    }

    /// The offset after what was handed out, and after batches that had nothing to hand out.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// At most `max` records of the next batch that has any; none when nothing is left.
    pub fn take(&mut self, topic: &Arc<str>, partition: i32, max: usize) -> Result<Option<Records>, Error> {
        loop {
            if let Some((chunk, from)) = self.current.take() {
                let to = chunk.entries.len().min(from + max);
                if let Some(last) = chunk.entries[from..to].last() {
                    self.position = self.position.max(last.offset + 1);
                }
                let records = Records { topic: topic.clone(), partition, chunk: chunk.clone(), range: from..to };
                if to < chunk.entries.len() {
                    self.current = Some((chunk, to));
                } else {
                    self.position = self.position.max(self.next_offset);
                }
                return Ok(Some(records));
            }
            if !self.next_batch(topic, partition)? {
                return Ok(None);
            }
        }
    }

    /// Takes the next batch apart; says whether there was one. Batches without anything to hand out only move the
    /// position.
    fn next_batch(&mut self, topic: &Arc<str>, partition: i32) -> Result<bool, Error> {
        let frame = self.frame.clone();
        let Some(bytes) = frame.frame().get(self.range.clone()) else { return Ok(false) };
        let broken = |why: &dyn std::fmt::Display, offset: i64| {
            Error::refused(
                wire::ErrorCode::CorruptMessage,
                Some(&format!(
                    "Record batch for partition {topic}-{partition} at offset {offset} is invalid, cause: {why}"
                )),
            )
        };
        let batch = match batches(bytes).next() {
            None => return Ok(false),
            Some(batch) => batch.map_err(|e| broken(&e, self.position))?,
        };
        self.range.start += batch.size();
        if self.check_crcs {
            batch.check_crc().map_err(|e| broken(&e, batch.base_offset()))?;
        }
        self.next_offset = batch.next_offset();
        if batch.next_offset() <= self.position {
            return Ok(true);
        }
        let records = batch.records().map_err(|e| broken(&e, batch.base_offset()))?;
        if self.is_hidden(&batch, &records) {
            self.position = batch.next_offset();
            return Ok(true);
        }
        let mut chunk = Chunk {
            timestamp_type: batch.timestamp_type(),
            leader_epoch: batch.leader_epoch(),
            arena: Vec::with_capacity(records.size()),
            entries: Vec::with_capacity(records.len().min(records.size())),
            headers: Vec::new(),
        };
        for record in records.iter() {
            let record = record.map_err(|e| broken(&e, batch.base_offset()))?;
            if record.offset < self.position {
                continue;
            }
            let first = chunk.headers.len() as u32;
            for header in record.headers.iter() {
                let at = (chunk.keep(header.key), header.value.map(|v| chunk.keep(v)));
                chunk.headers.push(at);
            }
            let entry = Entry {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(|k| chunk.keep(k)),
                value: record.value.map(|v| chunk.keep(v)),
                headers: first..chunk.headers.len() as u32,
            };
            chunk.entries.push(entry);
        }
        match chunk.entries.is_empty() {
            true => self.position = batch.next_offset(),
            false => self.current = Some((Arc::new(chunk), 0)),
        }
        Ok(true)
    }

    /// Control records are for nobody, those of aborted transactions only for who reads uncommitted ones.
    fn is_hidden(&mut self, batch: &Batch<'_>, records: &wire::records::Records<'_>) -> bool {
        if let Some(aborted) = &mut self.aborted {
            while aborted.front().is_some_and(|(first, _)| *first <= batch.last_offset()) {
                self.aborting.extend(aborted.pop_front().map(|(_, producer)| producer));
            }
            if batch.is_control() {
                let marker = records.iter().next().and_then(Result::ok).and_then(|r| r.key.map(ControlType::of_key));
                if matches!(marker, Some(Ok(Some(ControlType::Abort)))) {
                    self.aborting.remove(&batch.producer_id());
                }
            } else if batch.is_transactional() && self.aborting.contains(&batch.producer_id()) {
                return true;
            }
        }
        batch.is_control()
    }
}
