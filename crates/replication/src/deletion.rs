//! Records that are deleted before an offset (DeleteRecords): by the leader at once, by its followers as they hear of it.

use crate::park::Park;
use crate::partition::Partition;
use std::sync::Arc;
use storage::Fault;
use wire::ErrorCode;

impl Partition {
    /// Where the log of that replica begins that begins first, of this one and those on live brokers; -1 while one of them
    /// has not said.
    pub fn low_watermark(&self) -> i64 {
        let followers = self.leader.iter().flat_map(|leader| &leader.followers);
        let live = followers.filter(|follower| self.brokers.epoch(follower.id).is_some());
        live.map(|follower| follower.log_start_offset).fold(self.log().log_start_offset(), i64::min)
    }

    /// Deletes what lies before `before`, on this replica.
    ///
    /// # Errors
    /// A [`Fault`] of the log directory.
    pub fn delete_records(&mut self, before: i64, now_ms: i64) -> Result<(), Fault> {
        self.log_mut().delete_records(before, now_ms).map(drop)
    }

    /// The low watermark, once no live replica has anything before `before`; `None` until then.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER when this replica does not lead any more: it does not hear of the others. KAFKA_STORAGE_ERROR.
    pub fn deleted(&self, before: i64) -> Option<Result<i64, ErrorCode>> {
        if !self.is_leader() {
            return Some(Err(ErrorCode::NotLeaderOrFollower));
        }
        if self.log().fault().is_some() {
            return Some(Err(ErrorCode::KafkaStorageError));
        }
        let low_watermark = self.low_watermark();
        (low_watermark >= before).then_some(Ok(low_watermark))
    }

    /// Parks a request until it is decided what became of this deletion, of which followers hear at once. It is credited one
    /// unit.
    pub fn park_deletion(&mut self, before: i64, request: Arc<Park>) {
        if self.deleted(before).is_some() {
            request.credit(1);
            return;
        }
        self.deletions.push(before, request);
        self.release_replica_fetches();
    }

    /// Whether somebody waits for a follower whose log begins at `log_start_offset` (-1: it did not say), and which must
    /// therefore be told at once where this one begins.
    pub fn is_to_delete(&self, log_start_offset: i64) -> bool {
        !self.deletions.is_empty() && (0..self.log().log_start_offset()).contains(&log_start_offset)
    }

    pub(crate) fn settle_deletions(&mut self) {
        if self.deletions.is_empty() {
            return;
        }
        let mut deletions = std::mem::take(&mut self.deletions);
        deletions.settle(|before| self.deleted(*before).is_some());
        self.deletions = deletions;
    }
}
