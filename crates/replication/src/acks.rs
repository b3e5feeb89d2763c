//! What a Produce waits for.

use crate::park::Park;
use crate::partition::Partition;
use crate::planted::{self, Bug};
use std::sync::Arc;
use wire::ErrorCode;

/// The acknowledgement of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Everything before this offset is to be acknowledged.
    pub offset: i64,
    /// The leader epoch of the append.
    pub epoch: i32,
    /// By all replicas in sync (acks=all), or by the leader alone (acks=1).
    pub all: bool,
}

/// Requests that wait until something is decided.
pub(crate) struct Waiting<T>(Vec<(T, Arc<Park>)>);

impl<T> Default for Waiting<T> {
    fn default() -> Waiting<T> {
        Waiting(Vec::new())
    }
}

impl<T> Waiting<T> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, awaited: T, request: Arc<Park>) {
        self.0.push((awaited, request));
    }

    /// Credits those that are decided; forgets those that nobody waits for.
    pub fn settle(&mut self, is_decided: impl Fn(&T) -> bool) {
        self.0.retain(|(awaited, request)| {
            let decided = is_decided(awaited);
            if decided {
                request.credit(1);
            }
            !decided && !request.is_over()
        });
    }

    /// Each loses one of the units that it waits for; what else it waits for is no worse off.
    pub fn credit_all(&mut self) {
        for (_, request) in self.0.drain(..) {
            request.credit(1);
        }
    }
}

impl Partition {
    /// What became of an append; `None` while it is open.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER when the leadership ended since the append: another record may stand at its offset by now,
    /// and whether this one stays is not known here. NOT_ENOUGH_REPLICAS_AFTER_APPEND, KAFKA_STORAGE_ERROR.
    pub fn acknowledged(&self, ack: &Ack) -> Option<Result<(), ErrorCode>> {
        // First: the log of a replica that was taken away is failed, too.
        let Some(leader) = &self.leader else { return Some(Err(ErrorCode::NotLeaderOrFollower)) };
        if ack.epoch < leader.since && !planted::is(self.settings.bug, Bug::AcknowledgeByOffset) {
            return Some(Err(ErrorCode::NotLeaderOrFollower));
        }
        if self.log().fault().is_some() {
            return Some(Err(ErrorCode::KafkaStorageError));
        }
        if !ack.all {
            return (self.own_end() >= ack.offset).then_some(Ok(()));
        }
        if self.high_watermark() < ack.offset {
            return None;
        }
        Some(if self.is_under_min_isr() { Err(ErrorCode::NotEnoughReplicasAfterAppend) } else { Ok(()) })
    }

    /// Parks a Produce until its acknowledgement is decided. It is credited one unit.
    pub fn park_ack(&mut self, ack: Ack, request: Arc<Park>) {
        // The partition may have been taken away between the append and this.
        if self.acknowledged(&ack).is_some() {
            request.credit(1);
        } else {
            self.acks.push(ack, request);
        }
    }

    pub(crate) fn settle_acks(&mut self) {
        if self.acks.is_empty() {
            return;
        }
        let mut acks = std::mem::take(&mut self.acks);
        acks.settle(|ack| self.acknowledged(ack).is_some());
        self.acks = acks;
    }
}
