//! Reading a metadata log without touching it: a directory that cannot be served must stay as it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use storage::{Disk, Fault};
use wire::Uuid;
use wire::control::ControlRecord;
use wire::messages::MetadataRecord;
use wire::records::{BatchError, batches};

use super::batches::{Content, visit};
use super::election::{self, Election};
use super::snapshot::{self, SnapshotId, decode_snapshot};
use super::voters::{KRaftVersion, QuorumRecords, VoterSet};
use crate::image::{Delta, Image};

const LOG_SUFFIX: &str = ".log";
/// Segments hold at most 2 GiB; a file beyond that is none.
const SEGMENT_BYTES_MAX: u64 = 2 << 30;

/// Why a metadata log is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is not for this program or this node; the text says why. Nothing was changed.
    Refused(String),
    /// The disk failed.
    Fault(Fault),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Refused(reason) => f.write_str(reason),
            OpenError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        OpenError::Fault(fault)
    }
}

/// What a metadata log says.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All that is there, whether it is committed or not.
    pub image: Image,
    /// What is committed for certain: the snapshot.
    pub snapshot_image: Image,
    pub quorum: QuorumRecords,
    /// The quorum's records as they became in the course of the log, with the offset from which each is true.
    pub quorum_history: Vec<(i64, QuorumRecords)>,
    pub election: Option<Election>,
    /// The snapshot that the image began with.
    pub snapshot: Option<SnapshotId>,
    /// The offset after the last record, in the log or in the snapshot.
    pub end_offset: i64,
    /// The epoch of the last record.
    pub last_epoch: i32,
    /// The time of the last record, in ms since 1970; -1 for none.
    pub last_timestamp_ms: i64,
    /// Bytes of records behind the snapshot.
    pub bytes_after_snapshot: u64,
    /// The voters come from the snapshot with which the quorum was formatted; the log does not have them.
    pub voters_not_in_log: bool,
}

/// Reads what is in `dir`, the directory of the metadata log. A directory that is not there is an empty log. The log ends
/// where the first batch is not whole: a torn write was never acknowledged.
///
/// # Errors
/// Refuses records, versions and feature levels that this program does not know.
pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Loaded, OpenError> {
    let fault = |action: &'static str| move |error: io::Error| OpenError::Fault(Fault::new(action, dir, &error));
    let snapshots = snapshot::list(disk, dir).map_err(fault("list the snapshots in"))?.whole;
    let latest = snapshots.last().copied();
    let election = match election::read(disk, dir) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(OpenError::Refused(error.to_string())),
        election => election.map_err(fault("read quorum-state in"))?,
    };
    let mut loaded = Loaded {
        image: Image::default(),
        snapshot_image: Image::default(),
        quorum: QuorumRecords::default(),
        quorum_history: Vec::new(),
        election,
        snapshot: latest,
        end_offset: 0,
        last_epoch: 0,
        last_timestamp_ms: -1,
        bytes_after_snapshot: 0,
        voters_not_in_log: false,
    };
    if let Some(id) = latest {
        let bytes = snapshot::read(disk, dir, id).map_err(fault("read the snapshot in"))?;
        loaded.apply_snapshot(id, &bytes).map_err(|reason| refused(&dir.join(id.file_name()), &reason))?;
    }
    loaded.snapshot_image = loaded.image.clone();
    loaded.quorum_history.push((loaded.end_offset, loaded.quorum.clone()));
    let segments = segments(disk, dir).map_err(fault("list the segments in"))?;
    for (index, (base_offset, path)) in segments.iter().enumerate() {
        let next = segments.get(index + 1).map(|(base_offset, _)| *base_offset);
        if next.is_some_and(|next| next <= loaded.end_offset) {
            continue;
        }
        if *base_offset > loaded.end_offset && index > 0 && next.is_none() {
            // The end of the segment before was never synced, nor was this one. Whether the power was cut in fact, and not
            // a file lost, is looked at when the log is opened.
            break;
        }
        if *base_offset > loaded.end_offset {
            let reason = format!(
                "it begins at offset {base_offset}, and nothing is known of the records from {} on",
                loaded.end_offset
            );
            return Err(refused(path, &reason));
        }
        let bytes = disk.read(path, SEGMENT_BYTES_MAX).map_err(fault("read a segment in"))?;
        if !loaded.apply_segment(*base_offset, &bytes).map_err(|reason| refused(path, &reason))? {
            break;
        }
    }
    match loaded.image.features.unsupported() {
        Some(reason) => Err(refused(dir, &reason)),
        None => Ok(loaded),
    }
}

fn refused(path: &Path, reason: &str) -> OpenError {
    OpenError::Refused(format!("{} cannot be served: {reason}", path.display()))
}

/// The segments' base offsets and files, ascending.
fn segments(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let base_offset = |name: &str| name.strip_suffix(LOG_SUFFIX).and_then(|digits| digits.parse::<i64>().ok());
    let mut segments: Vec<(i64, PathBuf)> =
        entries.iter().filter_map(|entry| Some((base_offset(&entry.name)?, dir.join(&entry.name)))).collect();
    segments.sort();
    Ok(segments)
}

impl Loaded {
    fn apply_snapshot(&mut self, id: SnapshotId, bytes: &[u8]) -> Result<(), String> {
        let last_offset = id.end_offset - 1;
        let (image, quorum) = (&mut self.image, &mut self.quorum);
        let mut delta = Delta::default();
        let header = decode_snapshot(bytes, &mut |content| match content {
            Content::Control(control) => quorum.apply(&control),
            Content::Data(record) => replay(image, last_offset, &record, &mut delta),
        })?;
        self.image.offset = last_offset;
        self.end_offset = id.end_offset;
        self.last_epoch = id.epoch;
        self.last_timestamp_ms = header.last_contained_log_timestamp;
        self.voters_not_in_log = id == SnapshotId::BOOTSTRAP && !self.quorum.voters.is_empty();
        Ok(())
    }

    /// `false` when the log is from before the snapshot: see [`MetadataLog::open`](super::MetadataLog::open).
    fn apply_segment(&mut self, base_offset: i64, bytes: &[u8]) -> Result<bool, String> {
        let mut delta = Delta::default();
        let mut next = base_offset;
        for batch in batches(bytes) {
            let batch = match batch {
                // No CRC covers the base offset: it may be all that is missing.
                Ok(batch) if batch.is_crc_valid() && batch.base_offset() >= next => batch,
                // The rest was never written whole. Damage within the log is found when it is opened.
                Ok(_) | Err(BatchError::Truncated { .. }) => return Ok(true),
                Err(_) => return Ok(true),
            };
            next = batch.next_offset();
            if batch.last_offset() < self.end_offset {
                continue;
            }
            if batch.leader_epoch() < self.last_epoch {
                return Ok(false);
            }
            if batch.base_offset() > self.end_offset {
                return Err(format!("offsets {} to {} are missing", self.end_offset, batch.base_offset() - 1));
            }
            let from = self.end_offset;
            let (image, quorum) = (&mut self.image, &mut self.quorum);
            let (voters_not_in_log, history) = (&mut self.voters_not_in_log, &mut self.quorum_history);
            visit(&batch, &mut |offset, content| match content {
                _ if offset < from => Ok(()),
                Content::Control(control) => {
                    *voters_not_in_log &= !matches!(control, ControlRecord::KRaftVoters(_));
                    image.offset = offset;
                    quorum.apply(&control)?;
                    if history.last().is_none_or(|(_, last)| last != quorum) {
                        history.push((offset, quorum.clone()));
                    }
                    Ok(())
                }
                Content::Data(record) => replay(image, offset, &record, &mut delta),
            })?;
            self.end_offset = batch.next_offset();
            self.last_epoch = batch.leader_epoch();
            self.last_timestamp_ms = batch.max_timestamp();
            self.bytes_after_snapshot += batch.size() as u64;
        }
        Ok(true)
    }

    /// The voters that count: those of the log, or where they are static those of the configuration, or else of the file
    /// that remembers the last election. A node that only observes (`votes` is false) need not know any.
    ///
    /// # Errors
    /// This node shall vote and is not a voter.
    pub fn voters(
        &self,
        node_id: i32,
        directory_id: Uuid,
        votes: bool,
        configured: Option<&VoterSet>,
    ) -> Result<VoterSet, OpenError> {
        let voters = match self.quorum.kraft_version {
            KRaftVersion::Dynamic => self.quorum.voters.clone(),
            KRaftVersion::Static if !votes => configured.cloned().unwrap_or_default(),
            KRaftVersion::Static => self.static_voters(node_id, configured)?,
        };
        if !votes {
            return Ok(voters);
        }
        let ids: Vec<i32> = voters.iter().map(|voter| voter.id).collect();
        let refuse = |reason: String| Err(OpenError::Refused(reason));
        let Some(me) = voters.get(node_id) else {
            return refuse(format!(
                "node.id is {node_id}, and the metadata log's voters are {ids:?}: this directory belongs to another node"
            ));
        };
        if !me.directory_id.is_zero() && me.directory_id != directory_id {
            return refuse(format!(
                "voter {node_id} votes with the log directory {}, and this one is {directory_id}: a copy or a \
                 replacement of a voter's directory must be added as a new voter",
                me.directory_id
            ));
        }
        Ok(voters)
    }

    fn static_voters(&self, node_id: i32, configured: Option<&VoterSet>) -> Result<VoterSet, OpenError> {
        let remembered = self.election.as_ref().map(|election| election.voters.clone()).unwrap_or_default();
        let Some(configured) = configured else {
            let ids = if remembered.is_empty() { vec![node_id] } else { remembered };
            let voter = |id: i32| super::Voter { id, ..super::Voter::default() };
            return Ok(VoterSet::new(ids.into_iter().map(voter).collect()));
        };
        let mut ids: Vec<i32> = remembered;
        ids.sort_unstable();
        if !ids.is_empty() && !configured.iter().map(|voter| voter.id).eq(ids.iter().copied()) {
            let configured: Vec<i32> = configured.iter().map(|voter| voter.id).collect();
            return Err(OpenError::Refused(format!(
                "controller.quorum.voters names {configured:?}, and quorum-state says that the voters are {ids:?}"
            )));
        }
        Ok(configured.clone())
    }
}

fn replay(image: &mut Image, offset: i64, record: &MetadataRecord<'_>, delta: &mut Delta) -> Result<(), String> {
    image.replay(offset, record, delta).map_err(|error| error.to_string())
}
