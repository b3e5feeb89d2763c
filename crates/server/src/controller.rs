//! The way to the active controller, wherever it is: in this process, or at the other end of a connection.
//!
//! What clients ask for reaches another node as they sent it (`forwarding.rs`); what this node itself asks for is a
//! [`Command`], which [`crate::remote_controller`] puts into a request.

use crate::quorum::{Description, Leader, QUEUE, Request};
use crate::remote_controller::RemoteController;
use metadata::controller::{
    AlterConfigsReply, Command, ConfigChanges, CreatePartitionsReply, CreateTopicsReply, DeletedTopic,
    ElectedPartition, ElectionType, FeatureUpdate, MorePartitions, NewSettings, NewTopic, ReassignPartition,
    ReassignedPartition, Refusal, Reply, TopicRef,
};
use metadata::quorum::SnapshotId;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use wire::ErrorCode;

/// How long a request looks for a controller before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks, where nobody tells of a new one.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where requests go to be decided.
pub struct ControllerHandle {
    node_id: i32,
    requests: mpsc::Sender<Request>,
    leader: watch::Receiver<Leader>,
    remote: RemoteController,
}

/// The ends of the metadata thread's queue, and of what it says of the leadership.
pub struct Queue {
    pub sender: mpsc::Sender<Request>,
    pub receiver: mpsc::Receiver<Request>,
    pub leader: watch::Sender<Leader>,
}

impl Queue {
    pub fn new() -> Queue {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Queue { sender, receiver, leader: watch::channel(Leader::default()).0 }
    }

    pub fn handle(&self, node_id: i32, remote: RemoteController) -> ControllerHandle {
        ControllerHandle { node_id, requests: self.sender.clone(), leader: self.leader.subscribe(), remote }
    }
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
    /// Decides, commits, applies, answers; by whichever node is the controller, now or within [`PATIENCE`].
    ///
    /// # Errors
    /// NOT_CONTROLLER when no controller answered: what was asked may or may not be done.
    pub async fn submit(&self, command: Command) -> Result<Reply, ErrorCode> {
        let deadline = Instant::now() + PATIENCE;
        let mut leader = self.leader.clone();
        loop {
            let now = *leader.borrow_and_update();
            let outcome = match now.id {
                Some(_) if now.is_here => self.decide(command.clone()).await,
                Some(id) if id != self.node_id => self.remote.ask(id, &command).await,
                _ => Err(ErrorCode::NotController),
            };
            let goes_on = RemoteController::serves(&command) && !self.requests.is_closed() && Instant::now() < deadline;
            if outcome != Err(ErrorCode::NotController) || !goes_on {
                return outcome;
            }
            let _ = timeout(LOOK_AGAIN, leader.changed()).await;
        }
    }

    /// Has this node's own controller decide.
    pub async fn decide(&self, command: Command) -> Result<Reply, ErrorCode> {
        self.ask(|reply| Request::Decide { command, reply }).await
    }

    /// Asks the metadata thread.
    ///
    /// # Errors
    /// NOT_CONTROLLER when it ended, or gave the leadership up before it could answer.
    pub async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, ErrorCode> {
        let (reply, receiver) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| ErrorCode::NotController)?;
        receiver.await.map_err(|_| ErrorCode::NotController)
    }

    /// Who leads the quorum.
    pub fn leader(&self) -> Leader {
        *self.leader.borrow()
    }

    /// Whether this node decides.
    pub fn is_here(&self) -> bool {
        self.leader.borrow().is_here
    }

    /// Another node that leads; waits for it until `deadline`. `None` when nobody else does, or this node itself.
    pub async fn leader_elsewhere(&self, deadline: Instant) -> Option<i32> {
        let mut leader = self.leader.clone();
        let found = leader.wait_for(|leader| leader.is_here || leader.id.is_some_and(|id| id != self.node_id));
        match timeout_at(deadline, found).await {
            Ok(Ok(leader)) => leader.id.filter(|_| !leader.is_here),
            _ => None,
        }
    }

    /// Waits until another node leads than `before`, or another epoch has begun, and gives the new leader.
    pub async fn leader_other_than(&self, before: Leader) -> Leader {
        let mut leader = self.leader.clone();
        let is_other = |now: &Leader| now.id.is_some() && (now.epoch, now.id) != (before.epoch, before.id);
        let changed = leader.wait_for(is_other).await.ok().map(|leader| *leader);
        match changed {
            Some(leader) => leader,
            // The metadata thread has ended, and with it the node.
            None => std::future::pending().await,
        }
    }

    pub fn remote(&self) -> &RemoteController {
        &self.remote
    }

    /// The quorum as this node sees it.
    pub async fn describe(&self) -> Result<Description, ErrorCode> {
        self.ask(Request::Describe).await
    }

    /// A snapshot was written, or could not be. To be called on a thread that may wait.
    pub fn snapshot(&self, result: std::io::Result<SnapshotId>) {
        let _ = self.requests.blocking_send(Request::Snapshot(result)); // the node is ending
    }

    /// Has the state published, now and whenever it changes.
    pub async fn publish(&self) -> Result<(), ErrorCode> {
        self.ask(Request::Publish).await
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
    ) -> Result<Result<Vec<ElectedPartition>, Refusal>, ErrorCode> {
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

    /// Ends the metadata thread when it has done what was asked before.
    pub async fn stop(&self) {
        let _ = self.requests.send(Request::Stop).await; // it may have ended by itself
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
