//! The active controller with its log: what a server's metadata thread drives.
//!
//! ```text
//! MetadataNode::open        reads only, may refuse
//!   .activate               elects, writes the epoch's first records, syncs
//! loop: submit(commands)    decides them together, appends their records
//!       sync_request().run  on whichever thread may wait
//!       synced(offset)      commits: states, changes and replies to publish and send
//!       snapshot_due        a job for another thread; then snapshot_written
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use storage::{Disk, Fault, FdBudget, LogConfig, OpenMode, RemoveRequest, Shutdown, SyncRequest};
use wire::Uuid;
use wire::messages::MetadataRecord;

use super::METADATA_DIR;
use super::load::{Loaded, OpenError, load};
use super::log::MetadataLog;
use super::snapshot::{SnapshotId, SnapshotJob, read_bootstrap};
use super::state::{Effect, Quorum};
use super::voters::VoterSet;
use crate::controller::{
    Command, Context, Controller, NodeSettings, Random, Reply, activation_records, default_bootstrap_records,
};
use crate::image::Image;
use crate::machine::Committed;

/// What a node knows about itself and its metadata log before it opens it.
#[derive(Clone, Debug)]
pub struct MetadataOptions {
    /// The log dir that holds the metadata log.
    pub log_dir: PathBuf,
    pub cluster_id: String,
    pub node_id: i32,
    /// `directory.id` of the log dir.
    pub directory_id: Uuid,
    /// `controller.quorum.voters`, when it is configured.
    pub static_voters: Option<VoterSet>,
    pub settings: NodeSettings,
    /// `broker.session.timeout.ms`
    pub session_timeout_ms: i64,
    /// How the process before this one ended.
    pub shutdown: Shutdown,
    pub fds: Arc<FdBudget>,
    /// `metadata.log.segment.bytes`
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub segment_ms: i64,
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; 0 for none.
    pub snapshot_interval_ms: i64,
    /// How many snapshots are kept.
    pub snapshots_kept: usize,
}

impl MetadataOptions {
    /// Kafka's defaults.
    pub fn new(log_dir: PathBuf, cluster_id: String, node_id: i32, directory_id: Uuid) -> Self {
        MetadataOptions {
            log_dir,
            cluster_id,
            node_id,
            directory_id,
            static_voters: None,
            settings: NodeSettings { node_id, ..NodeSettings::default() },
            session_timeout_ms: 9_000,
            shutdown: Shutdown::default(),
            fds: Arc::default(),
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            snapshot_bytes: 20 << 20,
            snapshot_interval_ms: 3_600_000,
            snapshots_kept: 3,
        }
    }
}

/// A metadata log that was read and can be served, and that nothing has written to yet.
pub struct Opened {
    disk: Arc<dyn Disk>,
    options: MetadataOptions,
    loaded: Loaded,
    voters: VoterSet,
    bootstrap: Vec<MetadataRecord<'static>>,
}

impl Opened {
    /// What the log says; empty before the first activation.
    pub fn image(&self) -> &Image {
        &self.loaded.image
    }

    /// Becomes the active controller. Everything that this writes is durable on return.
    pub fn activate(self, now_ms: i64) -> Result<MetadataNode, OpenError> {
        let Opened { disk, options, loaded, voters, bootstrap } = self;
        let dir = options.log_dir.join(METADATA_DIR);
        let config = LogConfig {
            segment_bytes: options.segment_bytes,
            segment_ms: options.segment_ms,
            retention_ms: -1,
            retention_bytes: -1,
            max_message_bytes: super::batches::BATCH_SIZE_MAX as u32,
            ..LogConfig::default()
        };
        let mode = OpenMode {
            shutdown: options.shutdown,
            log_start_offset: 0,
            fds: options.fds.clone(),
            ..OpenMode::default()
        };
        let log = MetadataLog::open(disk, &dir, Arc::new(config), mode, &loaded, now_ms)?;
        let quorum = Quorum::new(
            options.node_id,
            options.directory_id,
            voters,
            loaded.quorum.clone(),
            loaded.voters_not_in_log,
            loaded.election.clone(),
            loaded.last_epoch,
        );
        let controller = Controller::new(
            &options.cluster_id,
            options.settings.clone(),
            options.session_timeout_ms,
            loaded.image,
            loaded.end_offset,
            now_ms,
        );
        let mut node = MetadataNode { options, quorum, log, controller, last_snapshot_ms: now_ms, snapshotting: None };
        node.lead(&bootstrap, now_ms)?;
        Ok(node)
    }
}

/// The active controller and its log.
pub struct MetadataNode {
    options: MetadataOptions,
    quorum: Quorum,
    log: MetadataLog,
    controller: Controller,
    last_snapshot_ms: i64,
    /// The snapshot that is being written, and where the counter of bytes stood when it began.
    snapshotting: Option<(SnapshotId, u64)>,
}

impl MetadataNode {
    /// Reads the metadata log and checks that it is for this program and this node. Writes nothing.
    pub fn open(disk: Arc<dyn Disk>, options: MetadataOptions) -> Result<Opened, OpenError> {
        let loaded = load(&*disk, &options.log_dir.join(METADATA_DIR))?;
        let voters = loaded.voters(options.node_id, options.directory_id, options.static_voters.as_ref())?;
        let bootstrap = match read_bootstrap(&*disk, &options.log_dir) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(OpenError::Refused(error.to_string()));
            }
            Err(error) => return Err(Fault::new("read bootstrap.checkpoint in", &options.log_dir, &error).into()),
            Ok(records) => records.unwrap_or_else(default_bootstrap_records),
        };
        Ok(Opened { disk, options, loaded, voters, bootstrap })
    }

    fn lead(&mut self, bootstrap: &[MetadataRecord<'static>], now_ms: i64) -> Result<(), Fault> {
        let mut effects: std::collections::VecDeque<Effect> = self.quorum.stand().into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(election) => {
                    self.log.persist(&election, self.quorum.kraft_version())?;
                    effects.extend(self.quorum.persisted(election));
                }
                Effect::AppendControl { epoch, records } => {
                    let offset = self.log.append_control(&records, epoch, now_ms)?;
                    self.quorum.leading_from(offset);
                }
            }
        }
        let context = Context { cluster_id: &self.options.cluster_id, settings: &self.options.settings };
        let records = activation_records(self.controller.image(), &context, bootstrap);
        self.controller.skip_to(self.log.end_offset());
        self.append([Command::Write(records)], now_ms, &mut || 0)?;
        self.sync().map(drop)
    }

    /// What is committed.
    pub fn image(&self) -> &Arc<Image> {
        self.controller.image()
    }

    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    pub fn log(&self) -> &MetadataLog {
        &self.log
    }

    /// The leader's epoch.
    pub fn epoch(&self) -> i32 {
        self.quorum.epoch()
    }

    /// Decides commands together and appends what they decided. The replies come out of [`MetadataNode::synced`], one for
    /// each command in order, once their records are on the disk.
    ///
    /// # Errors
    /// The disk's: then nothing more is decided or answered, and the node must stop.
    pub fn submit(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
        now_ms: i64,
        random: &mut dyn Random,
    ) -> Result<(), Fault> {
        self.append(commands, now_ms, random)
    }

    fn append(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
        now_ms: i64,
        random: &mut dyn Random,
    ) -> Result<(), Fault> {
        let version = self.controller.image().metadata_version();
        let records = self.controller.submit(commands, now_ms, random);
        self.log.append(&records, version, self.quorum.epoch(), now_ms)
    }

    /// What must be synced before the commands that were submitted count; `None` when nothing is (then
    /// [`MetadataNode::synced`] with [`MetadataNode::end_offset`] releases commands that wrote nothing).
    pub fn sync_request(&mut self) -> Option<SyncRequest> {
        self.log.sync_request()
    }

    pub fn end_offset(&self) -> i64 {
        self.log.end_offset()
    }

    /// Everything below `offset` is on the disk: commits it. Each element is a batch of commands with the state after it,
    /// what it changed, and its replies.
    pub fn synced(&mut self, offset: i64) -> Vec<Committed<Image, Reply>> {
        self.log.synced(offset);
        self.quorum.synced(self.options.node_id, offset);
        self.controller.committed(self.quorum.high_watermark())
    }

    /// Syncs here and now, and commits.
    pub fn sync(&mut self) -> Result<Vec<Committed<Image, Reply>>, Fault> {
        if let Some(request) = self.log.sync_request() {
            request.run()?;
        }
        Ok(self.synced(self.log.end_offset()))
    }

    /// A snapshot that is due, to be run on another thread. Answer with [`MetadataNode::snapshot_written`], or with
    /// [`MetadataNode::snapshot_failed`].
    pub fn snapshot_due(&mut self, now_ms: i64) -> Option<SnapshotJob> {
        let bytes = self.log.bytes_after_snapshot();
        let interval = self.options.snapshot_interval_ms;
        let by_time = interval > 0 && now_ms - self.last_snapshot_ms >= interval;
        let due = bytes >= self.options.snapshot_bytes || (bytes > 0 && by_time);
        if due && self.snapshotting.is_none() { self.snapshot_now(now_ms) } else { None }
    }

    /// A snapshot of what is committed; `None` when there is one already, or when that state is not to be kept.
    pub fn snapshot_now(&mut self, now_ms: i64) -> Option<SnapshotJob> {
        let image = self.controller.image();
        let end_offset = self.quorum.high_watermark();
        if image.is_in_transaction() || end_offset == 0 || image.offset + 1 > end_offset {
            return None;
        }
        let id = SnapshotId { epoch: self.log.epoch_before(end_offset), end_offset };
        if self.log.snapshots().contains(&id) {
            return None;
        }
        self.snapshotting = Some((id, self.log.bytes_after_snapshot()));
        self.last_snapshot_ms = now_ms;
        Some(SnapshotJob {
            disk: self.log.disk().clone(),
            dir: self.log.dir().to_owned(),
            id,
            image: image.clone(),
            quorum: self.quorum.records().clone(),
            last_timestamp_ms: self.log.last_timestamp_ms(),
            now_ms,
        })
    }

    /// The snapshot is durable: log and snapshots that it replaces are dropped.
    pub fn snapshot_written(&mut self, id: SnapshotId, now_ms: i64) -> Result<(), Fault> {
        let began = match self.snapshotting.take() {
            Some((_, bytes)) => bytes,
            None => 0,
        };
        let since = self.log.bytes_after_snapshot().saturating_sub(began);
        self.log.snapshot_written(id, since);
        self.log.clean(self.options.snapshots_kept, now_ms).map(drop)
    }

    /// The snapshot could not be written; it is tried again when it is due again.
    pub fn snapshot_failed(&mut self) {
        self.snapshotting = None;
    }

    /// What to do now and then: rolls the log by time; the request removes files that were dropped a while ago.
    pub fn housekeeping(&mut self, now_ms: i64) -> Result<Option<RemoveRequest>, Fault> {
        self.log.housekeeping(now_ms)
    }

    /// Ends in order; everything was synced before.
    pub fn close(self) -> Result<(), Fault> {
        self.log.close()
    }
}
