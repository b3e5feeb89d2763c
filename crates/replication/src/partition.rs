//! One partition's replica on this node: its log, its leadership, its high watermark and the requests that wait for it.

use crate::park::{Lot, Park};
use std::sync::Arc;
use storage::{Append, Fault, Log, Read, ReadError, SyncRequest, WriteBack};
use wire::ErrorCode;

/// When a record counts as committed on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache, as Kafka does: survives the process, and with replicas the machine.
    PageCache,
    /// On the disk: the high watermark follows what was synced, in groups (`flush.messages=1`).
    Synced,
}

/// A replica that leads its partition, follows a leader elsewhere, or has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader {
        epoch: i32,
    },
    /// Nobody leads, or somebody else does (`leader` is -1 when nobody).
    Follower {
        leader: i32,
        epoch: i32,
    },
}

/// A plain struct with one owner at a time; the server keeps it behind a mutex that is never held while waiting.
pub struct Partition {
    log: Log,
    role: Role,
    durability: Durability,
    high_watermark: i64,
    synced_offset: i64,
    /// Bytes appended and not yet credited to the fetches that wait for them.
    uncredited_bytes: i64,
    fetches: Lot,
    acks: Vec<(i64, Arc<Park>)>,
}

/// What a successful append leaves to do.
#[derive(Debug, Default)]
pub struct Appended {
    /// A sync is due: somebody must take [`Partition::sync_request`], run it elsewhere, and report [`Partition::synced`].
    pub wants_sync: bool,
    /// Bytes whose write-back is worth starting now, elsewhere.
    pub write_back: Option<WriteBack>,
    /// Bytes that were accepted.
    pub bytes: usize,
}

impl Partition {
    /// A replica over an open log. All of a log that this node alone holds is committed: nothing was acknowledged
    /// beyond what recovery kept.
    pub fn new(log: Log, durability: Durability) -> Partition {
        let end = log.log_end_offset();
        Partition {
            log,
            role: Role::Follower { leader: -1, epoch: -1 },
            durability,
            high_watermark: end,
            synced_offset: end,
            uncredited_bytes: 0,
            fetches: Lot::default(),
            acks: Vec::new(),
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// For housekeeping (retention, rolls, record deletion, configuration); appends go through [`Partition::append`].
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    pub fn into_log(mut self) -> Log {
        self.release_all();
        self.log
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn leader_epoch(&self) -> i32 {
        match self.role {
            Role::Leader { epoch } | Role::Follower { epoch, .. } => epoch,
        }
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The end of what a `read_committed` consumer may see.
    pub fn last_stable_offset(&self) -> i64 {
        self.log.last_stable_offset(self.high_watermark)
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    pub fn set_durability(&mut self, durability: Durability) {
        if self.durability != durability {
            self.durability = durability;
            if durability == Durability::Synced {
                self.synced_offset = self.synced_offset.min(self.high_watermark);
            }
            self.advance();
        }
    }

    /// Leads from `epoch` on. An epoch that is already known changes nothing.
    pub fn lead(&mut self, epoch: i32) -> Result<(), Fault> {
        if self.role == (Role::Leader { epoch }) {
            return Ok(());
        }
        self.log.assign_epoch(epoch, self.log.log_end_offset())?;
        self.role = Role::Leader { epoch };
        self.release_all();
        self.advance();
        Ok(())
    }

    /// Stops leading; everything that waits here is released and will see the new role.
    pub fn follow(&mut self, leader: i32, epoch: i32) {
        self.role = Role::Follower { leader, epoch };
        self.release_all();
    }

    /// Neither leads nor knows who does: the replica is about to close.
    pub fn resign(&mut self) {
        self.follow(-1, self.leader_epoch());
    }

    /// Whether a request that names `epoch` (-1: none) may be served by this leader (KIP-320).
    pub fn check_epoch(&self, epoch: i32) -> Result<(), ErrorCode> {
        match self.role {
            Role::Leader { epoch: current } if epoch < 0 || epoch == current => Ok(()),
            Role::Leader { epoch: current } if epoch < current => Err(ErrorCode::FencedLeaderEpoch),
            Role::Leader { .. } => Err(ErrorCode::UnknownLeaderEpoch),
            Role::Follower { epoch: current, .. } if epoch >= 0 && epoch < current => Err(ErrorCode::FencedLeaderEpoch),
            Role::Follower { .. } => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// Appends validated batches with one write; each batch's outcome is in the batch.
    ///
    /// # Errors
    /// A [`Fault`] of the log directory: nothing of these batches counts, and the log is offline.
    pub fn append(&mut self, batches: &mut [Append<'_>], now_ms: i64) -> Result<Appended, Fault> {
        let Role::Leader { epoch } = self.role else {
            for batch in batches {
                batch.outcome = Err(ErrorCode::NotLeaderOrFollower);
            }
            return Ok(Appended::default());
        };
        if let Err(fault) = self.log.append(batches, epoch, now_ms) {
            self.release_all();
            return Err(fault);
        }
        let bytes = batches.iter().filter(|b| matches!(&b.outcome, Ok(a) if !a.duplicate)).map(|b| b.bytes.len()).sum();
        self.uncredited_bytes += bytes as i64;
        self.advance();
        Ok(Appended {
            wants_sync: self.is_behind() || self.log.sync_due(now_ms),
            write_back: self.log.write_back(),
            bytes,
        })
    }

    /// Whether everything before `offset` is committed.
    pub fn is_committed(&self, offset: i64) -> bool {
        self.high_watermark >= offset
    }

    /// Parks a Produce until everything before `offset` is committed, or cannot be any more. It is credited one unit.
    pub fn park_ack(&mut self, offset: i64, request: Arc<Park>) {
        // The partition may have been taken away between the append and this.
        if self.is_committed(offset) || !self.is_leader() || self.log.fault().is_some() {
            request.credit(1);
        } else {
            self.acks.push((offset, request));
        }
    }

    /// Parks a Fetch; it is credited the bytes that become readable.
    pub fn park_fetch(&mut self, request: Arc<Park>) {
        self.fetches.park(request);
    }

    /// Reads what a consumer may see from `from` on: up to the high watermark, or to the last stable offset.
    pub fn read(&self, from: i64, max_bytes: u32, committed: bool, whole_first_batch: bool) -> Result<Read, ReadError> {
        let upto = if committed { self.last_stable_offset() } else { self.high_watermark };
        self.log.read(from, max_bytes, upto, whole_first_batch)
    }

    /// The bytes that [`Partition::read`] could give from `from` on; a position it would refuse counts as plenty, so
    /// that the refusal is not kept waiting.
    pub fn readable_bytes(&self, from: i64, committed: bool) -> i64 {
        let upto = if committed { self.last_stable_offset() } else { self.high_watermark };
        if from == upto {
            return 0;
        }
        self.log.read(from, u32::MAX, upto, true).map_or(i64::MAX, |read| i64::from(read.available))
    }

    /// Whether something was appended that counts only once it is synced, and is not.
    pub fn is_behind(&self) -> bool {
        self.durability == Durability::Synced && self.synced_offset < self.log.log_end_offset()
    }

    /// What must be synced, with the offset that it covers; to be run without holding the partition.
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        self.log.sync_request()
    }

    /// Everything before `offset` is on the disk.
    pub fn synced(&mut self, offset: i64) {
        self.log.synced(offset);
        self.synced_offset = self.synced_offset.max(offset);
        self.advance();
    }

    /// A sync failed: the log directory cannot be trusted any more, nothing is acknowledged from it.
    pub fn fail(&mut self) {
        self.release_all();
    }

    fn advance(&mut self) {
        let end = match self.durability {
            Durability::PageCache => self.log.log_end_offset(),
            Durability::Synced => self.synced_offset,
        };
        if end <= self.high_watermark || !self.is_leader() {
            return;
        }
        self.high_watermark = end;
        self.log.note_high_watermark(end);
        let bytes = std::mem::take(&mut self.uncredited_bytes);
        self.fetches.credit(bytes);
        if !self.acks.is_empty() {
            self.acks.retain(|(offset, request)| {
                let committed = *offset <= end;
                if committed {
                    request.credit(1);
                }
                !committed && !request.is_over()
            });
        }
    }

    fn release_all(&mut self) {
        self.fetches.release_all();
        for (_, request) in self.acks.drain(..) {
            request.credit(1); // it may wait for other partitions, which are no worse off
        }
    }
}
