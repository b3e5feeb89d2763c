//! The follower's side: where it fetches, and what it makes of its leader's answers.
//!
//! A follower's fetch says where its log ends and the epoch of its last batch. A leader whose log parts from it answers
//! where that epoch ended (KIP-595's form of KIP-101 and KIP-279), and the follower cuts its log there. It never cuts on its
//! own judgement, least of all at its own high watermark, which may lag behind what was acknowledged.

use crate::partition::{Partition, Role};
use crate::planted::{self, Bug};
use storage::{Fault, WriteBack};
use wire::ErrorCode;
use wire::records::batches;

/// Where a follower fetches next. An answer counts only for the replica in exactly this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// A broker's id.
    pub leader: i32,
    pub leader_epoch: i32,
    /// The end of the log, all of it on the disk where the topic asks for that.
    pub offset: i64,
    /// The epoch of the last batch; -1 for a log without one.
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
}

/// A leader's answer for one partition, without its errors.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub high_watermark: i64,
    pub log_start_offset: i64,
    /// The leader's log parts from the follower's: the largest epoch not above the follower's, and where that ended.
    pub diverging: Option<(i32, i64)>,
    /// Whole batches; the last one may be cut.
    pub records: &'a [u8],
}

/// What became of an answer.
#[derive(Debug)]
pub enum Followed {
    /// It is in the log. Where `wants_sync`, [`Partition::position`] is there again once the log was synced.
    Advanced { bytes: usize, wants_sync: bool, write_back: Option<WriteBack> },
    /// The log was cut and ends at `to`. The checkpoints of what lies beyond must be written before the next append.
    Truncated {
        to: i64,
        /// What was cut had counted as committed: the leader was elected without having it.
        below_high_watermark: bool,
    },
    /// The leader's log begins inside of a batch (DeleteRecords): the log, which is empty, begins with all of that batch. The
    /// checkpoints must be written, then this answer is to be taken again, as one to a fetch from here.
    BegunInside(Position),
    /// The replica is not any more what it was when it asked.
    Stale,
    /// CORRUPT_MESSAGE, for bytes that are not what a leader sends.
    Refused(ErrorCode),
}

impl Partition {
    /// Where this replica fetches next; `None` when it follows nobody, is offline, or has yet to be synced.
    pub fn position(&self) -> Option<Position> {
        let Role::Follower { leader, epoch } = self.role() else { return None };
        let unsynced = self.is_behind() && !planted::is(self.settings.bug, Bug::FetchBeforeSync);
        if leader < 0 || unsynced || self.log().fault().is_some() {
            return None;
        }
        Some(Position {
            leader,
            leader_epoch: epoch,
            offset: self.log().log_end_offset(),
            last_fetched_epoch: self.log().latest_epoch(),
            log_start_offset: self.log().log_start_offset(),
        })
    }

    /// Takes what the leader answered to a fetch from `asked`. `now_ms` is the wall clock's, `steady_ms` that of a clock that
    /// nobody sets.
    ///
    /// # Errors
    /// A [`Fault`] of the log directory.
    pub fn take_answer(
        &mut self,
        asked: &Position,
        answer: &Answer<'_>,
        now_ms: i64,
        steady_ms: i64,
    ) -> Result<Followed, Fault> {
        let careless = planted::is(self.settings.bug, Bug::TakeStaleAnswer) && !self.is_leader();
        if self.position() != Some(*asked) && !careless {
            return Ok(Followed::Stale);
        }
        if let Some((epoch, end_offset)) = answer.diverging
            && !planted::is(self.settings.bug, Bug::IgnoreDivergence)
        {
            return self.part_ways(epoch, end_offset);
        }
        if let Some(base_offset) = self.begins_inside_of(answer) {
            self.log_mut().truncate_fully_and_start_at(base_offset)?;
            self.started_anew_at(base_offset);
            return Ok(self.position().map_or(Followed::Stale, Followed::BegunInside));
        }
        let (bytes, refusal) = self.take_records(asked, answer.records, now_ms)?;
        self.took(bytes);
        self.follow_high_watermark(answer.high_watermark);
        let start = answer.log_start_offset.min(self.high_watermark());
        if start > self.log().log_start_offset() {
            self.log_mut().delete_records(start, now_ms)?;
        }
        match refusal {
            Some(code) => Ok(Followed::Refused(code)),
            None => Ok(Followed::Advanced {
                bytes,
                wants_sync: self.log_mut().sync_due(steady_ms) || self.is_behind(),
                write_back: self.log_mut().write_back(now_ms),
            }),
        }
    }

    /// The base offset of the first batch, where the log begins inside of it: it is empty, or the leader deleted what it has.
    fn begins_inside_of(&self, answer: &Answer<'_>) -> Option<i64> {
        let (start, end) = (self.log().log_start_offset(), self.log().log_end_offset());
        let first = batches(answer.records).next()?.ok()?;
        let has_nothing = start == end || answer.log_start_offset >= end;
        let is_inside = has_nothing && first.base_offset() < end && end < first.next_offset();
        is_inside.then(|| first.base_offset())
    }

    fn take_records(
        &mut self,
        asked: &Position,
        records: &[u8],
        now_ms: i64,
    ) -> Result<(usize, Option<ErrorCode>), Fault> {
        if records.is_empty() {
            return Ok((0, None));
        }
        // A leader writes under its own epoch or copied what earlier ones wrote (KAFKA-18723).
        let is_of_later = |epoch: i32| epoch > asked.leader_epoch;
        let mut of_this_epoch = 0;
        for batch in batches(records) {
            match batch {
                Ok(batch) if !is_of_later(batch.leader_epoch()) => of_this_epoch += batch.size(),
                _ => break,
            }
        }
        let foreign = of_this_epoch < records.len()
            && matches!(batches(&records[of_this_epoch..]).next(), Some(Ok(batch)) if is_of_later(batch.leader_epoch()));
        let records = if foreign { &records[..of_this_epoch] } else { records };
        let before = self.log().size_bytes();
        let taken = self.log_mut().append_as_follower(records, now_ms)?;
        let bytes = self.log().size_bytes().saturating_sub(before) as usize;
        Ok((bytes, taken.err().or(foreign.then_some(ErrorCode::CorruptMessage))))
    }

    /// Cuts what the leader does not have: where the largest epoch that both know ended first.
    fn part_ways(&mut self, epoch: i32, end_offset: i64) -> Result<Followed, Fault> {
        let log_end = self.log().log_end_offset();
        let to = match self.log().epoch_end_offset(epoch) {
            // This log is from before all of the leader's epochs, or has none.
            (-1, _) => end_offset.min(log_end),
            (own, own_end) if own == epoch => own_end.min(end_offset).min(log_end),
            // The leader's epoch is not known here: after the cut to an older one, the leader is asked again.
            (_, own_end) => own_end.min(log_end),
        };
        self.truncate(to)
    }

    /// The leader's log does not have the offset that was asked for: it begins at `leader_start` and ends at `leader_end`.
    ///
    /// # Errors
    /// A [`Fault`] of the log directory.
    pub fn out_of_range(&mut self, asked: &Position, leader_start: i64, leader_end: i64) -> Result<Followed, Fault> {
        if self.position() != Some(*asked) {
            return Ok(Followed::Stale);
        }
        if leader_end < asked.offset {
            return self.truncate(leader_end.max(0));
        }
        if leader_start <= asked.offset {
            // It has it by now.
            return Ok(Followed::Advanced { bytes: 0, wants_sync: false, write_back: None });
        }
        // Everything here was deleted there, which only happens to what is committed.
        self.log_mut().truncate_fully_and_start_at(leader_start)?;
        self.started_anew_at(leader_start);
        Ok(Followed::Truncated { to: leader_start, below_high_watermark: false })
    }

    fn truncate(&mut self, to: i64) -> Result<Followed, Fault> {
        self.log_mut().truncate_to(to)?;
        let to = self.log().log_end_offset();
        let below_high_watermark = self.was_truncated(to);
        Ok(Followed::Truncated { to, below_high_watermark })
    }

    /// Cuts at the own high watermark, as Kafka once did.
    pub(crate) fn truncate_to_high_watermark(&mut self) -> Result<(), Fault> {
        let high_watermark = self.high_watermark();
        self.truncate(high_watermark).map(drop)
    }
}
