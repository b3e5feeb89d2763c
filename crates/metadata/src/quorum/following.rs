//! A node that follows: what it fetches, and how that becomes its state.

use std::sync::Arc;

use storage::Fault;
use wire::ErrorCode;
use wire::control::ControlRecord;
use wire::records::batches;

use super::batches::{Content, visit};
use super::messages::{FetchFrom, FetchRequest, Fetched, FetchedContent, SnapshotPiece, SnapshotRequest};
use super::node::{Download, FETCH_BYTES, MetadataNode, Present, Standby, State, moment};
use super::snapshot::decode_snapshot;
use super::voters::QuorumRecords;
use crate::image::{Delta, Image};
use crate::machine::Committed;
use crate::planted::Bug;

/// As much of the log is applied in one go, in bytes.
const APPLY_BYTES: u32 = 1 << 20;
/// A snapshot larger than this, in bytes, is none.
const SNAPSHOT_BYTES_MAX: u64 = 8 << 30;

/// What to ask another node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextFetch {
    Records(FetchRequest),
    Snapshot(SnapshotRequest),
}

impl NextFetch {
    /// The epoch that the sender is in.
    pub fn epoch(&self) -> i32 {
        match self {
            NextFetch::Records(request) => request.current_epoch,
            NextFetch::Snapshot(request) => request.current_epoch,
        }
    }
}

impl MetadataNode {
    /// What to ask for next, and whom; `None` while this node follows nobody.
    pub fn next_fetch(&self) -> Option<(FetchFrom, NextFetch)> {
        let from = self.quorum.fetch_from()?;
        let (replica, current_epoch) = (self.quorum.me(), self.epoch());
        let next = match &self.download {
            Some(download) if matches!(from, FetchFrom::Leader(_)) => NextFetch::Snapshot(SnapshotRequest {
                replica,
                current_epoch,
                id: download.id,
                position: download.bytes.len() as u64,
                max_bytes: FETCH_BYTES,
            }),
            _ => NextFetch::Records(FetchRequest {
                replica,
                current_epoch,
                offset: self.log.end_offset(),
                last_epoch: self.log.last_epoch(),
                high_watermark: self.quorum.high_watermark(),
                max_bytes: FETCH_BYTES,
            }),
        };
        Some((from, next))
    }

    /// The answer to a fetch of this node.
    pub fn fetch_answered(
        &mut self,
        from: FetchFrom,
        asked: &FetchRequest,
        answer: &Fetched,
        present: &mut Present<'_>,
    ) -> Result<(), Fault> {
        if from == FetchFrom::Anybody && answer.known.error == ErrorCode::None {
            self.quorum.leader_found();
        }
        self.heard(&answer.known, present)?;
        // The leader itself says that it leads no more: it has come back from a crash, for example.
        if let FetchFrom::Leader(id) = from
            && answer.known.error == ErrorCode::NotLeaderOrFollower
            && answer.known.leader.is_none()
            && answer.known.epoch == asked.current_epoch
        {
            return self.leader_ended(id, asked.current_epoch, present);
        }
        let is_current = matches!(from, FetchFrom::Leader(id) if self.quorum.fetch_from() == Some(FetchFrom::Leader(id)))
            && answer.known.epoch == self.epoch()
            && asked.current_epoch == self.epoch()
            && (asked.offset, asked.last_epoch) == (self.log.end_offset(), self.log.last_epoch());
        if answer.known.error != ErrorCode::None || !(is_current || self.has(Bug::TakeStaleAnswer)) {
            return Ok(());
        }
        // Only of a log that agrees with the leader's is what the leader committed a part.
        let mut agreed = self.quorum.high_watermark();
        if self.has(Bug::TrustDivergingLeader) {
            agreed = answer.high_watermark;
        }
        match &answer.content {
            FetchedContent::Records(bytes) => {
                self.append_from_leader(bytes, present)?;
                agreed = answer.high_watermark;
            }
            FetchedContent::Diverging(end) => {
                let cut = match self.has(Bug::TruncateToHighWatermark) {
                    true => self.quorum.high_watermark(),
                    false => self.log.cut_for(*end),
                };
                if cut < self.quorum.high_watermark() {
                    let text = format!(
                        "the leader of epoch {} has another log from offset {cut} on, and everything before {} is committed here",
                        self.epoch(),
                        self.quorum.high_watermark()
                    );
                    return Err(self.fault("follow the leader with", text));
                }
                self.log.truncate_to(cut)?;
                self.forget_quorum_records(present);
            }
            FetchedContent::Snapshot(id) => self.download = Some(Download { id: *id, bytes: Vec::new() }),
        }
        let end = self.log.end_offset();
        self.quorum.leader_answered(agreed, end, &mut moment(&self.log, present));
        self.settle(present)
    }

    /// The answer to a FetchSnapshot of this node.
    pub fn snapshot_answered(
        &mut self,
        from: FetchFrom,
        asked: &SnapshotRequest,
        piece: &SnapshotPiece,
        present: &mut Present<'_>,
    ) -> Result<(), Fault> {
        self.heard(&piece.known, present)?;
        let Some(download) = &mut self.download else { return Ok(()) };
        let is_current = self.quorum.fetch_from() == Some(from)
            && piece.known.epoch == self.quorum.epoch()
            && asked.id == download.id
            && asked.position == download.bytes.len() as u64;
        if !is_current {
            return Ok(());
        }
        if piece.known.error != ErrorCode::None || piece.size > SNAPSHOT_BYTES_MAX || piece.bytes.is_empty() {
            // The next fetch says what there is now.
            self.download = None;
            return Ok(());
        }
        download.bytes.extend_from_slice(&piece.bytes);
        let is_whole = download.bytes.len() as u64 >= piece.size;
        let (hw, end) = (self.quorum.high_watermark(), self.log.end_offset());
        self.quorum.leader_answered(hw, end, &mut moment(&self.log, present));
        match self.download.take_if(|_| is_whole) {
            Some(download) => self.install(&download, present),
            None => Ok(()),
        }
    }

    fn install(&mut self, download: &Download, present: &mut Present<'_>) -> Result<(), Fault> {
        let id = download.id;
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        let (mut image, mut records) = (Image::default(), QuorumRecords::default());
        let mut delta = Delta::default();
        let read = decode_snapshot(&download.bytes, &mut |content| match content {
            Content::Control(control) => records.apply(&control),
            Content::Data(record) => {
                image.replay(id.end_offset - 1, &record, &mut delta).map_err(|error| error.to_string())
            }
        });
        if let Err(reason) = read {
            return Err(self.fault("use the leader's snapshot in", reason));
        }
        if id.end_offset <= standby.next {
            return Ok(()); // there is nothing in it that is not here
        }
        image.offset = id.end_offset - 1;
        self.log.install(id, &download.bytes)?;
        let change = Delta::between(&standby.published, &image);
        let image = Arc::new(image);
        *standby = Standby { published: image.clone(), next: id.end_offset, unpublished: None };
        self.quorum_history = vec![(id.end_offset, records.clone())];
        self.quorum.follow_records(records, present.steady_ms);
        self.quorum.installed(id.end_offset);
        self.output.committed.push(Committed { state: image, change, replies: Vec::new() });
        Ok(())
    }

    fn append_from_leader(&mut self, bytes: &[u8], present: &mut Present<'_>) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let before = self.log.end_offset();
        // What is not a batch any more is the beginning of the next answer.
        if let Err(error) = self.log.append_from_leader(bytes, present.wall_ms)?
            && self.log.end_offset() == before
        {
            return Err(self.fault("append what the leader sent to", error.message().to_owned()));
        }
        let mut records = self.quorum.records().clone();
        let after = self.log.end_offset();
        for batch in batches(bytes).map_while(Result::ok).take_while(|batch| batch.base_offset() < after) {
            if batch.is_control() {
                let read = visit(&batch, &mut |offset, content| {
                    if let Content::Control(control) = content {
                        records.apply(&control)?;
                        if matches!(control, ControlRecord::KRaftVersion(_) | ControlRecord::KRaftVoters(_)) {
                            self.quorum_history.push((offset, records.clone()));
                        }
                    }
                    Ok(())
                });
                read.map_err(|reason| self.fault("append what the leader sent to", reason))?;
            }
        }
        if records != *self.quorum.records() {
            self.quorum.follow_records(records, present.steady_ms);
        }
        if let Some(request) = self.sync_request() {
            request.run()?;
            self.log.synced(request.offset());
        }
        Ok(())
    }

    /// The log was cut: the quorum's records may have been among what went.
    fn forget_quorum_records(&mut self, present: &Present<'_>) {
        let end = self.log.end_offset();
        while self.quorum_history.len() > 1 && self.quorum_history.last().is_some_and(|(offset, _)| *offset >= end) {
            self.quorum_history.pop();
        }
        if let Some((_, records)) = self.quorum_history.last() {
            self.quorum.follow_records(records.clone(), present.steady_ms);
        }
    }

    /// Applies what another node's controller decided, up to `committed`.
    pub(super) fn apply(&mut self, committed: i64) -> Result<(), Fault> {
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        if standby.next >= committed {
            return Ok(());
        }
        let (mut image, mut delta) =
            standby.unpublished.take().map_or_else(|| ((*standby.published).clone(), Delta::default()), |begun| *begun);
        let mut next = standby.next;
        let mut wrong = None;
        while next < committed && wrong.is_none() {
            let bytes = self.log.read(next, APPLY_BYTES, committed)?;
            let before = next;
            for batch in batches(&bytes).map_while(Result::ok) {
                let read = visit(&batch, &mut |offset, content| match content {
                    Content::Data(record) if offset >= before => {
                        image.replay(offset, &record, &mut delta).map_err(|error| error.to_string())
                    }
                    _ => Ok(()),
                });
                if let Err(reason) = read {
                    wrong = Some(reason);
                    break;
                }
                next = batch.next_offset();
                image.offset = next - 1;
            }
            if next == before && wrong.is_none() {
                wrong = Some(format!("there is no whole batch at offset {next}"));
            }
        }
        let unsupported = image.features.unsupported();
        if let Some(reason) = wrong.or(unsupported) {
            return Err(self.fault("apply", reason));
        }
        let State::Standby(standby) = &mut self.state else { return Ok(()) };
        standby.next = next;
        if image.is_in_transaction() {
            standby.unpublished = Some(Box::new((image, delta)));
            return Ok(());
        }
        standby.published = Arc::new(image);
        let state = standby.published.clone();
        self.output.committed.push(Committed { state, change: delta, replies: Vec::new() });
        Ok(())
    }
}
