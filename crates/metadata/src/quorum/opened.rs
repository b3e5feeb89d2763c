//! A metadata log before it is served: read, checked, and not written to yet.

use std::path::PathBuf;
use std::sync::Arc;

use storage::{Disk, Fault, FdBudget, LogConfig, OpenMode, Shutdown};
use wire::Uuid;
use wire::messages::MetadataRecord;

use super::METADATA_DIR;
use super::load::{Loaded, OpenError, load};
use super::log::MetadataLog;
use super::messages::ReplicaKey;
use super::node::{MetadataNode, Output, Present, Standby, State};
use super::snapshot::read_bootstrap;
use super::state::{Beginning, Moment, Quorum, Timeouts};
use super::voters::VoterSet;
use crate::controller::{NodeSettings, default_bootstrap_records};
use crate::image::Image;

/// What a node knows about itself and its metadata log before it opens it.
#[derive(Clone, Debug)]
pub struct MetadataOptions {
    /// The log dir that holds the metadata log.
    pub log_dir: PathBuf,
    pub cluster_id: String,
    pub node_id: i32,
    /// `directory.id` of the log dir.
    pub directory_id: Uuid,
    /// Whether this node has the controller role: others only observe.
    pub votes: bool,
    /// `controller.quorum.voters`, when it is configured.
    pub static_voters: Option<VoterSet>,
    pub timeouts: Timeouts,
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
            votes: true,
            static_voters: None,
            timeouts: Timeouts::default(),
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
    /// What the log says, committed or not; empty before the first activation.
    pub fn image(&self) -> &Image {
        &self.loaded.image
    }

    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Whether this node is the quorum: then it leads as soon as it starts.
    pub fn is_alone(&self) -> bool {
        self.options.votes && self.voters.len() == 1
    }

    /// Takes its place in the quorum. A sole voter is the active controller on return, with everything durable.
    pub fn start(self, present: &mut Present<'_>) -> Result<MetadataNode, OpenError> {
        let is_alone = self.is_alone();
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
        let log = MetadataLog::open(disk, &dir, Arc::new(config), mode, &loaded, present.wall_ms)?;
        let snapshot_end = loaded.snapshot.map_or(0, |id| id.end_offset);
        // What a sole voter has on its disk, it has committed.
        let (image, next) =
            if is_alone { (loaded.image, loaded.end_offset) } else { (loaded.snapshot_image, snapshot_end) };
        let beginning = Beginning {
            me: ReplicaKey { id: options.node_id, directory_id: options.directory_id },
            timeouts: options.timeouts,
            voters,
            records: loaded.quorum,
            voters_not_in_log: loaded.voters_not_in_log,
            election: loaded.election,
            committed: snapshot_end,
            bug: options.settings.bug,
        };
        let mut moment = Moment { now: present.steady_ms, end: log.end(), random: &mut *present.random };
        let mut quorum = Quorum::new(beginning, &mut moment);
        let effects = if is_alone { quorum.lead_alone(&mut moment) } else { Vec::new() };
        let mut node = MetadataNode {
            quorum,
            log,
            quorum_history: loaded.quorum_history,
            bootstrap,
            state: State::Standby(Standby { published: Arc::new(image), next, unpublished: None }),
            output: Output::default(),
            download: None,
            last_snapshot_ms: present.wall_ms,
            snapshotting: None,
            options,
        };
        node.carry_out(effects, present)?;
        node.sync(present)?;
        Ok(node)
    }
}

impl MetadataNode {
    /// Reads the metadata log and checks that it is for this program and this node. Writes nothing.
    pub fn open(disk: Arc<dyn Disk>, options: MetadataOptions) -> Result<Opened, OpenError> {
        let loaded = load(&*disk, &options.log_dir.join(METADATA_DIR))?;
        let (id, directory_id) = (options.node_id, options.directory_id);
        let voters = loaded.voters(id, directory_id, options.votes, options.static_voters.as_ref())?;
        let bootstrap = match read_bootstrap(&*disk, &options.log_dir) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(OpenError::Refused(error.to_string()));
            }
            Err(error) => return Err(Fault::new("read bootstrap.checkpoint in", &options.log_dir, &error).into()),
            Ok(records) => records.unwrap_or_else(default_bootstrap_records),
        };
        Ok(Opened { disk, options, loaded, voters, bootstrap })
    }
}
