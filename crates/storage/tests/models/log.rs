//! Random histories of a log against a model, with kills, power cuts and failing syncs: everything that is read is what was
//! written, nothing that was synced is lost, producers and epochs are what the batches say, and a batch that comes again, or
//! before its turn, is not appended.

use crate::common::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use storage::planted::Bug;
use storage::testing::{Failure, MemDisk, Operation};
use storage::{Disk, Log, LogConfig, OpenMode, Shutdown};
use wire::ErrorCode;
use wire::records::Batch;

const DIR: &str = "/logs/t-0";

#[derive(Clone, Debug)]
pub enum Step {
    /// Records and value sizes of batches, by producers (0: none).
    Append(Vec<(usize, usize, i64)>),
    Read {
        from: u64,
        upto: u64,
        max_bytes: u32,
    },
    Truncate(u64),
    DeleteRecords(u64),
    Retention(i64),
    Roll,
    Sync,
    /// Appends while a sync is under way.
    SyncMeanwhile(Vec<(usize, usize, i64)>),
    /// A sync that fails, and then the power does.
    FailedSync(Vec<(usize, usize, i64)>, u64),
    /// A producer sends one of its last batches again.
    Resend(i64, usize),
    /// A producer leaves sequence numbers out.
    Gap(i64),
    /// Writes the checkpoints of recovery point and log start.
    Checkpoint,
    Restart,
    Kill,
    PowerCut(u64),
    /// Killed in the middle of a write, of which so many bytes are in the file.
    Torn(Vec<(usize, usize, i64)>, usize),
    Rest,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = || (1..6usize, 0..300usize, 0..4i64);
    let step = prop_oneof![
        12 => prop::collection::vec(one(), 1..12).prop_map(Step::Append),
        6 => (any::<u64>(), any::<u64>(), 1..3000u32).prop_map(|(from, upto, max)| Step::Read { from, upto, max_bytes: max }),
        1 => any::<u64>().prop_map(Step::Truncate),
        1 => any::<u64>().prop_map(Step::DeleteRecords),
        1 => (0..20_000i64).prop_map(Step::Retention),
        1 => Just(Step::Roll),
        3 => Just(Step::Sync),
        2 => prop::collection::vec(one(), 1..6).prop_map(Step::SyncMeanwhile),
        1 => (prop::collection::vec(one(), 1..6), any::<u64>()).prop_map(|(batches, seed)| Step::FailedSync(batches, seed)),
        3 => (1..4i64, 0..5usize).prop_map(|(producer, back)| Step::Resend(producer, back)),
        1 => (1..4i64).prop_map(Step::Gap),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        2 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::PowerCut),
        2 => (prop::collection::vec(one(), 1..12), 0..3000usize).prop_map(|(batches, bytes)| Step::Torn(batches, bytes)),
        1 => Just(Step::Rest),
    ];
    prop::collection::vec(step, 1..60)
}

struct World {
    disk: MemDisk,
    config: LogConfig,
    log: Option<Log>,
    /// Every batch that was appended and not truncated, from the very first.
    history: Vec<Vec<u8>>,
    epoch: i32,
    /// Next sequence number by producer, as a client would have it.
    sequences: BTreeMap<i64, i32>,
    checkpoint: (i64, i64),
}

fn header(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).unwrap()
}

impl World {
    fn new(config: LogConfig) -> World {
        let disk = MemDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.sync_dir(Path::new("/logs")).unwrap();
        let log = open(disk.arc(), Path::new(DIR), config.clone(), OpenMode::default()).0;
        let (history, sequences) = (Vec::new(), BTreeMap::new());
        World { disk, config, log: Some(log), history, epoch: 0, sequences, checkpoint: (0, 0) }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn end(&self) -> i64 {
        self.history.last().map_or(0, |bytes| header(bytes).next_offset())
    }

    fn append(&mut self, wanted: &[(usize, usize, i64)]) {
        let made = self.make(wanted);
        let bytes = self.try_append(made).unwrap();
        self.history.extend(bytes);
        assert_eq!(self.log.as_ref().unwrap().log_end_offset(), self.end());
    }

    fn make(&mut self, wanted: &[(usize, usize, i64)]) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        for (records, size, producer) in wanted {
            bytes.push(match producer {
                0 => batch(&vec![NOW + self.end(); *records], *size),
                id => {
                    let sequence = self.sequences.entry(*id).or_insert(0);
                    let made = produced(*id, 0, *sequence, *records, false);
                    *sequence += *records as i32;
                    made
                }
            });
        }
        bytes
    }

    /// The batches as they are in the log; or as they were to be.
    fn try_append(&mut self, mut bytes: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Vec<Vec<u8>>> {
        let epoch = self.epoch;
        let log = self.log.as_mut().unwrap();
        let mut appends: Vec<_> = bytes
            .iter_mut()
            .map(|bytes| {
                let info = info(bytes);
                storage::Append::new(bytes, info)
            })
            .collect();
        let appended = log.append(&mut appends, epoch, NOW);
        if appended.is_ok() {
            assert!(appends.iter().all(|append| matches!(append.outcome, Ok(done) if !done.duplicate)), "{appends:?}");
        }
        drop(appends);
        if appended.is_ok() { Ok(bytes) } else { Err(bytes) }
    }

    /// Five batches of a producer are known when they come again.
    fn resend(&mut self, producer: i64, back: usize) {
        let (log, epoch) = (self.log.as_mut().unwrap(), self.epoch);
        let start = log.log_start_offset();
        let known = log.active_producers().iter().find(|p| p.producer_id == producer).map(|p| p.last_sequence);
        let of_producer = |bytes: &&Vec<u8>| {
            let batch = header(bytes);
            batch.has_producer_id() && batch.producer_id() == producer && batch.base_offset() >= start
        };
        let mut expected = known;
        let mut again = None;
        for bytes in self.history.iter().rev().filter(of_producer).take(back + 1) {
            let batch = header(bytes);
            if Some(batch.last_sequence()) != expected {
                return;
            }
            expected = Some(batch.base_sequence() - 1);
            again = Some(bytes.clone()).filter(|_| batch.base_sequence() >= 0);
        }
        let Some(bytes) = again.filter(|_| expected.is_some()) else { return };
        let (base_offset, end) = (header(&bytes).base_offset(), log.log_end_offset());
        let appended = append_one(log, bytes, epoch).unwrap();
        assert_eq!((appended.duplicate, appended.base_offset, log.log_end_offset()), (true, base_offset, end));
    }

    fn read(&mut self, from: u64, upto: u64, max_bytes: u32) {
        let end = self.end();
        let log = self.log.as_ref().unwrap();
        let start = log.log_start_offset();
        let from = start + (from % (end - start + 1) as u64) as i64;
        let upto = from + (upto % (end - from + 1) as u64) as i64;
        let bytes = log.read_bytes(from, max_bytes, upto).unwrap();
        let expected: Vec<&Vec<u8>> = self
            .history
            .iter()
            .filter(|bytes| header(bytes).last_offset() >= from && header(bytes).last_offset() < upto)
            .collect();
        let flat: Vec<u8> = expected.iter().flat_map(|bytes| bytes.iter().copied()).collect();
        assert!(flat.starts_with(&bytes), "read {from}..{upto}");
        if let Some(first) = expected.first() {
            assert!(bytes.len() >= first.len(), "the first batch is whole");
            assert!(bytes.len() <= first.len().max(max_bytes as usize));
        } else {
            assert!(bytes.is_empty());
        }
    }

    /// Opens the log again and holds it against the model.
    fn reopen(&mut self, shutdown: Shutdown, synced: i64) {
        let (recovery_point, log_start_offset) = self.checkpoint;
        let mode = OpenMode { shutdown, recovery_point, log_start_offset, ..OpenMode::default() };
        let config = Arc::new(self.config.clone());
        let (log, recovery) = Log::open(self.disk.arc(), Path::new(DIR), config, None, mode, NOW).unwrap();
        assert_eq!(recovery.damage, [], "{shutdown:?}");
        assert!(!recovery.restarted);
        let end = log.log_end_offset();
        assert!(end >= synced, "{shutdown:?}: {end} is left of {synced} synced offsets; {recovery:?}");
        assert!(end <= self.end());
        if shutdown != Shutdown::PowerCut {
            assert_eq!(end, self.end());
        }
        self.history.retain(|bytes| header(bytes).base_offset() < end);
        assert_eq!(self.end().max(log_start_offset), end, "the log ends with a whole batch");
        self.log = Some(log);
        self.sequences.clear();
        for bytes in &self.history {
            let batch = header(bytes);
            if batch.has_producer_id() {
                self.sequences.insert(batch.producer_id(), batch.last_sequence() + 1);
            }
        }
        self.compare();
    }

    fn compare(&self) {
        let log = self.log.as_ref().unwrap();
        let start = log.log_start_offset();
        let expected: Vec<(i64, Vec<u8>)> = self
            .history
            .iter()
            .filter(|bytes| header(bytes).last_offset() >= start)
            .map(|bytes| (header(bytes).base_offset(), bytes.clone()))
            .collect();
        assert_eq!(read_all(log), expected);
        let known: BTreeMap<i64, i32> =
            log.active_producers().iter().map(|producer| (producer.producer_id, producer.last_sequence)).collect();
        for (_, bytes) in &expected {
            let batch = header(bytes);
            if batch.has_producer_id() {
                let next = self.sequences[&batch.producer_id()];
                assert_eq!(known.get(&batch.producer_id()), Some(&(next - 1)));
            }
        }
        let mut epochs: Vec<(i32, i64)> = Vec::new();
        for (base, bytes) in &expected {
            let epoch = header(bytes).leader_epoch();
            if epochs.last().is_none_or(|last| epoch > last.0) {
                epochs.push((epoch, start.max(*base)));
            }
        }
        let noted: Vec<(i32, i64)> = log.epochs().iter().map(|entry| (entry.epoch, entry.start_offset)).collect();
        if !expected.is_empty() {
            assert_eq!(
                noted,
                epochs,
                "{start}..{} {:?}",
                log.log_end_offset(),
                expected.iter().map(|e| e.0).collect::<Vec<_>>()
            );
        }
        let max = expected.iter().map(|(_, bytes)| header(bytes).max_timestamp()).max();
        assert_eq!(log.offset_of_max_timestamp().unwrap().map(|found| found.timestamp), max);
    }

    fn sync(&mut self) {
        let log = self.log();
        if let Some(request) = log.sync_request() {
            request.run().unwrap();
            log.synced(request.offset());
        }
    }

    fn take(&mut self, step: &Step) {
        let end = self.end();
        match step {
            Step::Append(batches) => self.append(batches),
            Step::Read { from, upto, max_bytes } => self.read(*from, *upto, *max_bytes),
            Step::Truncate(to) => {
                let start = self.log().log_start_offset();
                let to = start + (to % (end - start + 1) as u64) as i64;
                self.log().truncate_to(to).unwrap();
                let end = self.log().log_end_offset();
                // A batch that reaches below the start goes as a whole.
                if end < start {
                    self.log().truncate_fully_and_start_at(start).unwrap();
                    self.history.clear();
                    self.sequences.clear();
                    *self = World::new(self.config.clone());
                    return;
                }
                self.history.retain(|bytes| header(bytes).base_offset() < end);
                self.epoch += 1;
                self.sequences.clear();
                for bytes in &self.history {
                    let batch = header(bytes);
                    if batch.has_producer_id() {
                        self.sequences.insert(batch.producer_id(), batch.last_sequence() + 1);
                    }
                }
                let known: Vec<i64> = self.log().active_producers().iter().map(|p| p.producer_id).collect();
                self.sequences.retain(|id, _| known.contains(id));
                self.checkpoint = (self.log().recovery_point(), self.log().log_start_offset());
                self.compare();
            }
            Step::DeleteRecords(before) => {
                let start = self.log().log_start_offset();
                let before = start + (before % (end - start + 1) as u64) as i64;
                // A log that lost records beyond its start begins anew there; that has a test of its own.
                self.sync();
                self.log().delete_records(before, NOW).unwrap();
                self.checkpoint.1 = self.log().log_start_offset();
                self.compare();
            }
            Step::Retention(bytes) => {
                self.sync();
                let config = LogConfig { retention_bytes: *bytes, ..self.config.clone() };
                self.log().set_config(Arc::new(config));
                self.log().retention(NOW, end).unwrap();
                let config = Arc::new(self.config.clone());
                self.log().set_config(config);
                if let Some(request) = self.log().remove_deleted(i64::MAX) {
                    request.run().unwrap();
                }
                self.compare();
            }
            Step::Roll => _ = self.log().roll_if_due(i64::MAX).unwrap(),
            Step::Sync => self.sync(),
            Step::SyncMeanwhile(batches) => {
                let request = self.log().sync_request();
                self.append(batches);
                if let Some(request) = request {
                    request.run().unwrap();
                    self.log().synced(request.offset());
                }
            }
            Step::FailedSync(batches, seed) => {
                let (path, error) = (".log".into(), std::io::ErrorKind::Other);
                self.disk.fail(Failure { operation: Operation::Sync, path, after: 0, error, torn_bytes: 0 });
                let failed = self.log().sync_request().and_then(|request| request.run().err());
                self.disk.clear_failures();
                let Some(fault) = failed else { return };
                self.log().fail(fault);
                assert!(self.log().sync_request().is_none(), "what the kernel forgot cannot be synced again");
                let made = self.make(batches);
                assert!(self.try_append(made).is_err(), "nothing is appended behind what may be lost");
                self.take(&Step::PowerCut(*seed));
            }
            Step::Resend(producer, back) => self.resend(*producer, *back),
            Step::Gap(producer) => {
                let known = self.log().active_producers().iter().find(|p| p.producer_id == *producer).copied();
                let Some(known) = known.filter(|known| known.last_sequence >= 0) else { return };
                let epoch = self.epoch;
                let early = produced(*producer, 0, known.last_sequence + 3, 2, false);
                let refused = append_one(self.log(), early, epoch);
                assert_eq!(refused, Err(ErrorCode::OutOfOrderSequenceNumber));
                assert_eq!(self.log().log_end_offset(), end);
            }
            Step::Checkpoint => self.checkpoint = (self.log().recovery_point(), self.log().log_start_offset()),
            Step::Restart => {
                self.log().close().unwrap();
                self.sync();
                self.take(&Step::Checkpoint);
                self.reopen(Shutdown::Clean, end);
            }
            Step::Kill => self.reopen(Shutdown::Killed, end),
            Step::Torn(batches, torn_bytes) => {
                let failure = |operation, torn_bytes| Failure {
                    operation,
                    path: ".log".into(),
                    after: 0,
                    error: std::io::ErrorKind::Other,
                    torn_bytes,
                };
                let made = self.make(batches);
                self.disk.fail(failure(Operation::Write, *torn_bytes));
                self.disk.fail(failure(Operation::Truncate, 0));
                let bytes = self.try_append(made).unwrap_err();
                self.disk.clear_failures();
                // Whole batches of the torn write are in the log, though nobody was told so.
                let mut whole = 0;
                for bytes in bytes {
                    whole += bytes.len();
                    if whole > *torn_bytes || header(&bytes).leader_epoch() < 0 {
                        break;
                    }
                    self.history.push(bytes);
                }
                self.reopen(Shutdown::Killed, end);
            }
            Step::PowerCut(seed) => {
                let synced = self.log().recovery_point();
                self.log = None;
                let mut state = *seed;
                self.disk.power_cut(|| {
                    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    mixed ^ (mixed >> 27)
                });
                self.reopen(Shutdown::PowerCut, synced);
                // What recovery kept is on the disk as it is; a second start finds the same.
                let end = self.end();
                self.reopen(Shutdown::PowerCut, end);
            }
            Step::Rest => {
                self.log().rest();
                self.compare();
            }
        }
    }
}

/// Takes the steps; panics where the log is not what it should be.
pub fn run(steps: &[Step], interval: u32, segment: u32, bug: Bug) {
    let config = LogConfig { index_interval_bytes: interval, segment_bytes: segment.max(2200), bug, ..small() };
    let mut world = World::new(config);
    for step in steps {
        world.take(step);
    }
    world.compare();
}

proptest! {
    #[test]
    fn a_log_holds_what_was_written_through_kills_and_power_cuts(
        steps in steps(),
        interval in 1..600u32,
        segment in 600..6000u32,
    ) {
        run(&steps, interval, segment, Bug::None);
    }
}
