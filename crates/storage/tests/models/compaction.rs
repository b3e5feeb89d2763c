//! Random histories of a compacted log, with transactions, codecs, several passes, crashes and time, against a map.

use crate::common::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use storage::planted::Bug;
use storage::testing::{Failure, MemDisk, Operation};
use storage::{CleanerLimits, CleaningError, Disk, Log, LogConfig, OpenMode, Shutdown, clean};
use wire::records::{Batch, BatchBuilder, Codec};

const DIR: &str = "/logs/t-0";
const PRODUCERS: usize = 3;

#[derive(Clone, Debug)]
pub enum Step {
    /// Keys with values, or without; in a transaction of one of the producers, or in none.
    Write {
        records: Vec<(u8, bool)>,
        codec: u8,
        transaction: Option<usize>,
    },
    /// Ends a producer's transaction.
    End {
        producer: usize,
        commit: bool,
    },
    Roll,
    Clean {
        keys: usize,
    },
    /// A cleaning in which one operation fails, and then the process dies, or the machine.
    Crash {
        operation: u8,
        after: usize,
        power_cut: Option<u64>,
    },
    Restart,
    /// Time goes by, in ms.
    Wait(i64),
    DeleteRecords(u8),
    ExpireProducers,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = || prop::collection::vec((0..12u8, prop::bool::weighted(0.8)), 1..6);
    let write = |transaction| (records(), 0..5u8, transaction);
    let step = prop_oneof![
        6 => write(Just(None).boxed()).prop_map(|(records, codec, transaction)| Step::Write { records, codec, transaction }),
        4 => write((0..PRODUCERS).prop_map(Some).boxed())
            .prop_map(|(records, codec, transaction)| Step::Write { records, codec, transaction }),
        3 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        3 => Just(Step::Roll),
        4 => prop_oneof![Just(1000), 4..8usize].prop_map(|keys| Step::Clean { keys }),
        2 => (0..6u8, 0..14usize, prop::option::of(any::<u64>()))
            .prop_map(|(operation, after, power_cut)| Step::Crash { operation, after, power_cut }),
        1 => Just(Step::Restart),
        1 => prop_oneof![Just(10), Just(1000)].prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::DeleteRecords),
        1 => Just(Step::ExpireProducers),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Clone, Debug)]
struct Written {
    offset: i64,
    key: u8,
    value: Option<String>,
    fate: Fate,
    producer: Option<usize>,
}

struct World {
    disk: MemDisk,
    log: Option<Log>,
    history: Vec<Written>,
    ids: [i64; PRODUCERS],
    sequences: [i32; PRODUCERS],
    is_open: [bool; PRODUCERS],
    checkpoint: Option<i64>,
    /// The recovery point as its checkpoint has it.
    recovery_point: i64,
    start: i64,
    now_ms: i64,
    /// When each tombstone may go, once a cleaning has met it.
    horizons: BTreeMap<i64, i64>,
    config: LogConfig,
}

const DELETE_RETENTION_MS: i64 = 500;

fn config(bug: Bug) -> LogConfig {
    let delete_retention_ms = DELETE_RETENTION_MS;
    LogConfig { compact: true, delete: false, segment_bytes: 900, delete_retention_ms, bug, ..small() }
}

impl World {
    fn new(bug: Bug) -> World {
        let disk = MemDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        for dir in [DIR, "/logs", "/"] {
            disk.sync_dir(Path::new(dir)).unwrap();
        }
        let log = open(disk.arc(), Path::new(DIR), config(bug), OpenMode::default()).0;
        World {
            disk,
            log: Some(log),
            history: Vec::new(),
            ids: [0, 1, 2],
            sequences: [0; PRODUCERS],
            is_open: [false; PRODUCERS],
            checkpoint: None,
            recovery_point: 0,
            start: 0,
            now_ms: NOW,
            horizons: BTreeMap::new(),
            config: config(bug),
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn sync(&mut self) {
        let log = self.log();
        if let Some(request) = log.sync_request() {
            request.run().unwrap();
            log.synced(request.offset());
        }
    }

    fn reopen(&mut self, shutdown: Shutdown, recovery_point: i64) {
        self.log = None;
        let log_start_offset = self.start;
        let open = OpenMode { shutdown, recovery_point, log_start_offset, is_seamless: true, ..OpenMode::default() };
        let (log, recovery) =
            Log::open(self.disk.arc(), Path::new(DIR), Arc::new(self.config.clone()), None, open, self.now_ms).unwrap();
        assert!(recovery.damage.is_empty() && recovery.cut.is_none(), "{recovery:?}");
        self.log = Some(log);
    }

    fn clean(&mut self, keys: usize) -> Result<(), CleaningError> {
        let (checkpoint, now_ms) = (self.checkpoint, self.now_ms);
        for written in self.history.iter().filter(|written| written.value.is_none()) {
            self.horizons.entry(written.offset).or_insert(now_ms + DELETE_RETENTION_MS);
        }
        let limits = CleanerLimits { map_bytes: keys * 36, load_factor: 0.9, io_bytes: 0 };
        let log = self.log();
        let dirt = log.dirt(checkpoint, log.log_end_offset(), now_ms).unwrap();
        self.recovery_point = log.recovery_point();
        let log = self.log();
        let plan = log.plan_cleaning(&dirt)?;
        let replace = &mut |replacement: &storage::Replacement| Ok(log.replace(replacement, now_ms)?);
        let cleaned = clean(&plan, limits, [3; 16], now_ms, &mut |_| true, replace);
        self.disk.clear_failures();
        let cleaned = cleaned?;
        self.checkpoint = Some(cleaned.end_offset);
        if cleaned.end_offset == dirt.end {
            let mut seen = BTreeSet::new();
            let committed = self.read().into_iter().filter(|(offset, ..)| *offset < dirt.end);
            for (offset, key, _) in committed {
                assert!(seen.insert(key), "key {key} is there twice, at {offset} too");
            }
        }
        Ok(())
    }

    /// Offset, key and value of what a `read_committed` consumer sees.
    fn read(&mut self) -> Vec<(i64, u8, Option<String>)> {
        let log = self.log();
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let upto = log.last_stable_offset(end);
        let aborted = log.aborted_transactions(start, upto).unwrap();
        let mut seen = Vec::new();
        for (_, bytes) in read_all(log) {
            let batch = Batch::parse(&bytes).unwrap();
            let of_aborted = |txn: &storage::AbortedTxn| {
                txn.producer_id == batch.producer_id()
                    && (txn.first_offset..=txn.last_offset).contains(&batch.base_offset())
            };
            if batch.is_control() || batch.is_transactional() && aborted.iter().any(of_aborted) {
                continue;
            }
            for record in &batch.records().unwrap() {
                let record = record.unwrap();
                if (start..upto).contains(&record.offset) {
                    let value = record.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                    seen.push((record.offset, record.key.unwrap()[0], value));
                }
            }
        }
        seen
    }

    /// What a reader ends up with is what was committed, and every record that is there was written like that.
    fn compare(&mut self) {
        let (end, start) = (self.log().log_end_offset(), self.start);
        let upto = self.log().last_stable_offset(end);
        let mut expected = BTreeMap::new();
        let committed = |written: &&Written| written.fate == Fate::Committed;
        for written in self.history.iter().filter(committed).filter(|w| (start..upto).contains(&w.offset)) {
            expected.insert(written.key, (written.offset, written.value.clone()));
        }
        let mut seen = BTreeMap::new();
        for (offset, key, value) in self.read() {
            let written = self.history.iter().find(|written| written.offset == offset);
            let written = written.unwrap_or_else(|| panic!("nothing was written at {offset}"));
            assert_eq!((written.key, &written.value), (key, &value), "at {offset}");
            assert_eq!(written.fate, Fate::Committed, "at {offset}");
            seen.insert(key, value);
        }
        // A tombstone may be gone when everybody had the time to read it, and then its key is unknown.
        let (now_ms, horizons) = (self.now_ms, &self.horizons);
        let may_be_gone = |offset: &i64| horizons.get(offset).is_some_and(|horizon| *horizon <= now_ms);
        expected.retain(|key, (offset, value)| value.is_some() || seen.contains_key(key) || !may_be_gone(offset));
        assert_eq!(seen, expected.into_iter().map(|(key, (_, value))| (key, value)).collect::<BTreeMap<_, _>>());
    }

    fn write(&mut self, records: &[(u8, bool)], codec: u8, transaction: Option<usize>) {
        let mut builder = BatchBuilder::new(Codec::ALL[usize::from(codec)]);
        if let Some(producer) = transaction {
            builder = builder.producer(self.ids[producer], 0, self.sequences[producer]).transactional();
        }
        let base = self.log().log_end_offset();
        for (at, (key, has_value)) in records.iter().enumerate() {
            let offset = base + at as i64;
            let value = has_value.then(|| format!("value {offset}"));
            builder.append(self.now_ms, Some(&[*key]), value.as_deref().map(str::as_bytes), &[]);
            let fate = if transaction.is_some() { Fate::Open } else { Fate::Committed };
            self.history.push(Written { offset, key: *key, value, fate, producer: transaction });
        }
        let appended = append_one(self.log(), builder.build(0, -1), 1).unwrap();
        assert_eq!(appended.base_offset, base);
        if let Some(producer) = transaction {
            self.sequences[producer] += records.len() as i32;
            self.is_open[producer] = true;
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { records, codec, transaction } => self.write(records, *codec, *transaction),
            Step::End { producer, commit } => {
                if std::mem::take(&mut self.is_open[*producer]) {
                    let marker = marker(self.ids[*producer], 0, *commit, 0);
                    append_one(self.log(), marker, 1).unwrap();
                    let open = |w: &&mut Written| w.producer == Some(*producer) && w.fate == Fate::Open;
                    for written in self.history.iter_mut().filter(open) {
                        written.fate = if *commit { Fate::Committed } else { Fate::Aborted };
                    }
                }
            }
            Step::Roll => {
                let (now_ms, config) = (self.now_ms, self.config.clone());
                let log = self.log();
                log.set_config(LogConfig { segment_ms: -1, ..config.clone() }.into());
                log.roll_if_due(now_ms).unwrap();
                log.set_config(config.into());
                self.sync();
            }
            Step::Clean { keys } => self.clean(*keys).unwrap(),
            Step::Crash { operation, after, power_cut } => {
                const OPERATIONS: [Operation; 6] = [
                    Operation::Open,
                    Operation::Write,
                    Operation::Sync,
                    Operation::SyncDir,
                    Operation::Rename,
                    Operation::Remove,
                ];
                self.sync();
                let end = self.log().log_end_offset();
                let operation = OPERATIONS[usize::from(*operation)];
                let (path, error) = (String::new(), ErrorKind::Other);
                self.disk.fail(Failure { operation, path, after: *after, error, torn_bytes: 7 });
                let checkpoint = self.checkpoint;
                // Whether it failed or was done before, the checkpoint was not written.
                let _ = self.clean(1000);
                self.checkpoint = checkpoint;
                self.disk.clear_failures();
                self.log = None;
                if let Some(seed) = power_cut {
                    let mut state = *seed;
                    self.disk.power_cut(|| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        state >> 33
                    });
                }
                let shutdown = if power_cut.is_some() { Shutdown::PowerCut } else { Shutdown::Killed };
                self.reopen(shutdown, self.recovery_point);
                assert_eq!(self.log().log_end_offset(), end);
            }
            Step::Restart => {
                self.log().close().unwrap();
                self.sync();
                self.reopen(Shutdown::Clean, 0);
            }
            Step::Wait(ms) => {
                self.now_ms += ms;
                let now_ms = self.now_ms;
                if let Some(request) = self.log().remove_deleted(now_ms) {
                    request.run().unwrap();
                }
            }
            Step::DeleteRecords(share) => {
                let end = self.log().log_end_offset();
                // Not into a transaction that is open: what it has is not decided.
                let upto = self.log().last_stable_offset(end);
                let before = self.start + (upto - self.start) * i64::from(*share) / 600;
                let now_ms = self.now_ms;
                self.sync();
                self.log().delete_records(before, now_ms).unwrap();
                self.start = self.log().log_start_offset();
            }
            Step::ExpireProducers => {
                self.log().expire_producers(i64::MAX);
                // A restart may know them again; others come in their place.
                for at in (0..PRODUCERS).filter(|at| !self.is_open[*at]) {
                    self.ids[at] += PRODUCERS as i64;
                    self.sequences[at] = 0;
                }
            }
        }
    }
}

/// Takes the steps; panics where the log does not mean what it meant.
pub fn run(steps: &[Step], bug: Bug) {
    let mut world = World::new(bug);
    for step in steps {
        world.take(step);
        world.compare();
    }
}

proptest! {
    #[test]
    fn a_compacted_log_means_what_it_meant(steps in steps()) {
        run(&steps, Bug::None);
    }
}
