//! Replicas of one partition on disks in memory.
#![allow(dead_code)] // each test uses a part of it
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

use replication::{
    Ack, Answer, Assignment, Brokers, Durability, Followed, Partition, Position, ReplicaFetch, Settings,
};
use std::path::Path;
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Append, Log, LogConfig, OpenMode, Shutdown};
use wire::ErrorCode;
use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec};

pub const DIR: &str = "/data/t-0";

/// A cluster of brokers with the epochs 100 + id, all active.
pub fn brokers(ids: &[i32]) -> Arc<Brokers> {
    let brokers = Brokers::default();
    brokers.set(ids.iter().map(|id| (*id, 100 + i64::from(*id))));
    Arc::new(brokers)
}

pub fn settings(durability: Durability, min_insync_replicas: u32) -> Settings {
    Settings { min_insync_replicas, replica_lag_time_max_ms: 1_000, ..Settings::new(durability) }
}

pub struct Replica {
    pub id: i32,
    pub disk: MemDisk,
    pub partition: Partition,
}

impl Replica {
    pub fn new(id: i32, settings: Settings, brokers: &Arc<Brokers>) -> Replica {
        let disk = MemDisk::new();
        let log = Log::create(disk.arc(), Path::new(DIR), Arc::new(LogConfig::default()), None, OpenMode::default(), 0);
        let partition = Partition::new(id, log.unwrap(), settings, brokers.clone(), 0);
        Replica { id, disk, partition }
    }

    /// The process ends without a word and begins anew; nothing that was written is lost.
    pub fn restart(&mut self, high_watermark: i64, settings: Settings, brokers: &Arc<Brokers>) {
        let mode = OpenMode { shutdown: Shutdown::Killed, ..OpenMode::default() };
        let config = Arc::new(LogConfig::default());
        let (log, _) = Log::open(self.disk.arc(), Path::new(DIR), config, None, mode, 0).unwrap();
        self.partition = Partition::new(self.id, log, settings, brokers.clone(), high_watermark);
    }

    pub fn assign(&mut self, assignment: &Assignment, now_ms: i64) {
        self.partition.assign(assignment, now_ms).unwrap();
    }

    /// Appends one batch of `records` records as the leader.
    pub fn append(&mut self, records: usize, all: bool, now_ms: i64) -> Result<Ack, ErrorCode> {
        let mut bytes = batch(records);
        let header = BatchHeader::parse(&bytes).unwrap();
        let info = BatchInfo::of_header(&header).unwrap();
        let mut appends = [Append::new(&mut bytes, info)];
        let epoch = self.partition.append(&mut appends, all, now_ms, now_ms).unwrap().epoch;
        let appended = appends[0].outcome?;
        Ok(Ack { offset: appended.last_offset + 1, epoch, all })
    }

    pub fn end(&self) -> i64 {
        self.partition.log().log_end_offset()
    }

    pub fn high_watermark(&self) -> i64 {
        self.partition.high_watermark()
    }

    pub fn sync(&mut self) {
        while let Some(request) = self.partition.sync_request() {
            request.run().unwrap();
            self.partition.synced(request.offset());
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.partition.log().read_bytes(0, u32::MAX, i64::MAX).unwrap()
    }
}

pub fn batch(records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for at in 0..records {
        builder.append(1_000 + at as i64, None, Some(b"value"), &[]);
    }
    builder.build(0, -1)
}

/// `leader` leads with all `replicas`, of which `isr` are in sync.
pub fn assignment(leader: i32, epoch: i32, partition_epoch: i32, replicas: &[i32], isr: &[i32]) -> Assignment {
    Assignment { leader, leader_epoch: epoch, partition_epoch, replicas: replicas.into(), isr: isr.into() }
}

/// What a leader says to a fetch, and that it took note of it.
pub fn answer(leader: &mut Partition, id: i32, asked: &Position, now_ms: i64) -> Result<Response, ErrorCode> {
    leader.check_epoch(asked.leader_epoch)?;
    let log = leader.log();
    let (epoch, end) = log.epoch_end_offset(asked.last_fetched_epoch);
    let base = Response {
        high_watermark: leader.high_watermark(),
        log_start_offset: log.log_start_offset(),
        diverging: None,
        records: Vec::new(),
    };
    if asked.last_fetched_epoch >= 0 && (epoch < asked.last_fetched_epoch || end < asked.offset) {
        return Ok(Response { diverging: Some((epoch, end)), ..base });
    }
    let records = log.read_bytes(asked.offset, 1 << 20, i64::MAX).map_err(|_| ErrorCode::OffsetOutOfRange)?;
    let fetch = ReplicaFetch {
        replica: id,
        broker_epoch: 100 + i64::from(id),
        offset: asked.offset,
        log_start_offset: asked.log_start_offset,
    };
    leader.fetched_by(&fetch, now_ms)?;
    Ok(Response { high_watermark: leader.high_watermark(), records, ..base })
}

pub struct Response {
    pub high_watermark: i64,
    pub log_start_offset: i64,
    pub diverging: Option<(i32, i64)>,
    pub records: Vec<u8>,
}

impl Response {
    pub fn as_answer(&self) -> Answer<'_> {
        Answer {
            high_watermark: self.high_watermark,
            log_start_offset: self.log_start_offset,
            diverging: self.diverging,
            records: &self.records,
        }
    }
}

/// One fetch and its answer.
pub fn fetch(leader: &mut Replica, follower: &mut Replica, now_ms: i64) -> Followed {
    let asked = follower.partition.position().unwrap();
    let response = answer(&mut leader.partition, follower.id, &asked, now_ms).unwrap();
    follower.partition.take_answer(&asked, &response.as_answer(), now_ms, now_ms).unwrap()
}
