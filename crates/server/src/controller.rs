//! The thread that runs the controller: takes commands, decides them in batches, has the quorum commit the records,
//! applies and publishes the new image, brings this node's partitions in line, and then answers.
//!
//! It is a thread of its own because each step may wait for the disk. A fault of the metadata log ends the node: it could
//! acknowledge nothing any more.

use crate::chance::random;
use crate::node::Node;
use crate::quorum_view::QuorumView;
use metadata::controller::{
    AlterConfigsReply, Command, ConfigChanges, CreatePartitionsReply, CreateTopicsReply, DeletedTopic,
    ElectedPartition, ElectionType, FeatureUpdate, MorePartitions, NewSettings, NewTopic, ReassignPartition,
    ReassignedPartition, Refusal, Reply, TopicRef,
};
use metadata::quorum::{MetadataNode, SnapshotId};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use storage::Fault;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};
use wire::ErrorCode;

/// Commands that may wait. More wait in their senders.
const QUEUE: usize = 1024;
/// Commands decided together at most.
const BATCH: usize = 256;

/// Where requests go to be decided.
pub struct ControllerHandle(mpsc::Sender<Request>);

/// What the controller's thread is told.
pub enum Request {
    Decide {
        command: Command,
        reply: oneshot::Sender<Reply>,
    },
    /// A snapshot was written, or could not be.
    Snapshot(std::io::Result<SnapshotId>),
    Stop,
}

/// The two ends of the controller's queue.
pub fn queue() -> (ControllerHandle, mpsc::Receiver<Request>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (ControllerHandle(sender), receiver)
}

/// The reply to a command is the one of the same name, so anything else is a bug in the controller.
macro_rules! reply {
    ($reply:expr, $name:ident) => {
        match $reply {
            Reply::$name(reply) => Ok(reply),
            other => unreachable!("a reply of another kind: {other:?}"),
        }
    };
}

impl ControllerHandle {
    /// Decides, commits, applies, answers.
    ///
    /// # Errors
    /// NOT_CONTROLLER when the controller has stopped: what was asked may or may not be done.
    pub async fn submit(&self, command: Command) -> Result<Reply, ErrorCode> {
        let (reply, receiver) = oneshot::channel();
        self.0.send(Request::Decide { command, reply }).await.map_err(|_| ErrorCode::NotController)?;
        receiver.await.map_err(|_| ErrorCode::NotController)
    }

    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<CreateTopicsReply, ErrorCode> {
        reply!(self.submit(Command::CreateTopics { topics, validate_only }).await?, CreateTopics)
    }

    pub async fn delete_topics(&self, topics: Vec<TopicRef>) -> Result<Vec<DeletedTopic>, ErrorCode> {
        reply!(self.submit(Command::DeleteTopics(topics)).await?, DeleteTopics)
    }

    pub async fn create_partitions(
        &self,
        topics: Vec<MorePartitions>,
        validate_only: bool,
    ) -> Result<CreatePartitionsReply, ErrorCode> {
        reply!(self.submit(Command::CreatePartitions { topics, validate_only }).await?, CreatePartitions)
    }

    pub async fn incremental_alter_configs(
        &self,
        resources: Vec<ConfigChanges>,
        validate_only: bool,
    ) -> Result<AlterConfigsReply, ErrorCode> {
        let command = Command::IncrementalAlterConfigs { resources, validate_only };
        reply!(self.submit(command).await?, IncrementalAlterConfigs)
    }

    pub async fn alter_configs(
        &self,
        resources: Vec<NewSettings>,
        validate_only: bool,
    ) -> Result<AlterConfigsReply, ErrorCode> {
        reply!(self.submit(Command::AlterConfigs { resources, validate_only }).await?, AlterConfigs)
    }

    pub async fn elect_leaders(
        &self,
        election: ElectionType,
        partitions: Option<Vec<(String, Vec<i32>)>>,
    ) -> Result<Vec<ElectedPartition>, ErrorCode> {
        reply!(self.submit(Command::ElectLeaders { election, partitions }).await?, ElectLeaders)
    }

    pub async fn alter_partition_reassignments(
        &self,
        partitions: Vec<ReassignPartition>,
        allow_replication_factor_change: bool,
    ) -> Result<Vec<ReassignedPartition>, ErrorCode> {
        let command = Command::AlterPartitionReassignments { partitions, allow_replication_factor_change };
        reply!(self.submit(command).await?, AlterPartitionReassignments)
    }

    pub async fn unregister_broker(&self, id: i32) -> Result<Result<(), Refusal>, ErrorCode> {
        reply!(self.submit(Command::UnregisterBroker(id)).await?, UnregisterBroker)
    }

    pub async fn update_features(
        &self,
        updates: Vec<FeatureUpdate>,
        kraft_version: i16,
        validate_only: bool,
    ) -> Result<Result<(), Refusal>, ErrorCode> {
        let command = Command::UpdateFeatures { updates, kraft_version, validate_only };
        reply!(self.submit(command).await?, UpdateFeatures)
    }

    /// Ends the controller's thread when it has done what was asked before.
    pub async fn stop(&self) {
        let _ = self.0.send(Request::Stop).await; // it may have ended by itself
    }

    /// A block of producer ids that nobody else gets.
    pub async fn allocate_producer_ids(&self, broker_id: i32, broker_epoch: i64) -> Result<Range<i64>, Refusal> {
        let command = Command::AllocateProducerIds { broker_id, broker_epoch };
        let reply = self.submit(command).await.map_err(Refusal::with_default_text)?;
        let block: Result<_, ErrorCode> = reply!(reply, AllocateProducerIds);
        let block = block.map_err(Refusal::with_default_text)??;
        Ok(block.first..block.first + i64::from(block.count))
    }
}

/// Runs until it is told to stop or the metadata log fails, and gives the log back.
pub fn run(node: &Arc<Node>, mut metadata: MetadataNode, mut requests: mpsc::Receiver<Request>) -> MetadataNode {
    let mut random = random();
    let mut batch = Vec::new();
    loop {
        requests.blocking_recv_many(&mut batch, BATCH);
        match step(node, &mut metadata, &mut batch, &mut random) {
            Ok(true) => {}
            Ok(false) => return metadata,
            Err(fault) => {
                error!(error = %fault, "the metadata log failed: this node stops");
                node.fail();
                return metadata;
            }
        }
    }
}

/// Handles what has come; `false` when it was the end.
fn step(
    node: &Arc<Node>,
    metadata: &mut MetadataNode,
    batch: &mut Vec<Request>,
    random: &mut impl FnMut() -> u64,
) -> Result<bool, Fault> {
    let now_ms = node.clock.now_ms();
    let mut goes_on = !batch.is_empty(); // an empty batch: all handles are gone
    let mut commands = Vec::with_capacity(batch.len());
    let mut replies = VecDeque::with_capacity(batch.len());
    for request in batch.drain(..) {
        match request {
            Request::Decide { command, reply } => {
                commands.push(command);
                replies.push_back(reply);
            }
            Request::Snapshot(Ok(id)) => metadata.snapshot_written(id, now_ms)?,
            Request::Snapshot(Err(e)) => {
                warn!(error = %e, "a snapshot of the cluster's state could not be written; the log grows until one can");
                metadata.snapshot_failed();
            }
            Request::Stop => goes_on = false,
        }
    }
    metadata.submit(commands, now_ms, random)?;
    let committed = metadata.sync()?;
    if !committed.is_empty() {
        node.publish_quorum(QuorumView::of(metadata));
    }
    for committed in committed {
        node.publish(committed.state, &committed.change);
        for reply in committed.replies {
            if let Some(sender) = replies.pop_front() {
                let _ = sender.send(reply); // nobody may wait for it any more
            }
        }
    }
    if let Some(job) = metadata.snapshot_due(now_ms) {
        let node = node.clone();
        std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || drop(node.controller.0.blocking_send(Request::Snapshot(job.run()))))
            .map_err(|e| Fault::new("start a thread for a snapshot in", metadata.log().dir(), &e))?;
    }
    if let Some(remove) = metadata.housekeeping(now_ms)?
        && let Err(fault) = remove.run()
    {
        warn!(error = %fault, "old files of the metadata log could not be removed");
    }
    Ok(goes_on)
}
