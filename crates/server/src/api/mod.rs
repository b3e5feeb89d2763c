//! What the broker answers: one file per API, each with its version range beside its handler.
//!
//! [`served`] is the list that ApiVersions answers with and that [`dispatch`] goes by; a key or version outside it
//! closes the connection, as in Kafka, because the client could not read any answer. A handler refuses with an error
//! code in its response; [`Close`] is for what cannot be answered.

pub mod allocate_producer_ids;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod assign_replicas_to_dirs;
pub mod begin_quorum_epoch;
pub mod broker_heartbeat;
pub mod broker_registration;
pub mod controller_registration;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod end_quorum_epoch;
pub mod envelope;
pub mod fetch;
pub mod fetch_snapshot;
pub mod find_coordinator;
pub mod forwarding;
pub mod get_telemetry_subscriptions;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod push_telemetry;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;
pub mod update_raft_voter;
pub mod vote;

mod quorum_fetch;

use crate::metrics::Slot;
use crate::net::connection::Peer;
use crate::node::Node;
use ::metadata::controller::{Command, Refusal, Reply as Decided};
use ::metadata::image::Broker;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use wire::codec::{DecodeError, Decoder, EncodeError, Encoder, Message};
use wire::header::{self, RequestHeader};
use wire::{ApiKey, ErrorCode, Uuid};

/// Why a connection is closed rather than answered.
#[derive(Debug, thiserror::Error)]
pub enum Close {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame claims {0} bytes")]
    FrameLength(i32),
    #[error("the client closed inside a frame")]
    InsideFrame,
    #[error("a request that does not parse: {0}")]
    Malformed(DecodeError),
    #[error("API key {key} version {version} is not served here")]
    Version { key: i16, version: i16 },
    #[error(
        "a ZooKeeper client asks for a session: this port is ZooKeeper's by its number only, a Kafka controller answers on it \
         (brokers find it by zookeeper.connect, tools by --zookeeper)"
    )]
    ZooKeeperClient,
    #[error("a Produce with acks=0 failed")]
    UnacknowledgedError,
    #[error("no controller answered the request that was sent on to it")]
    NoController,
    #[error("the answer cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
}

impl Close {
    /// Whether it is the ordinary end of a connection, of which nobody needs to hear.
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Close::Io(_) | Close::UnacknowledgedError)
    }
}

/// What a handler may use.
pub struct Cx<'a> {
    pub node: &'a Arc<Node>,
    pub peer: &'a Peer,
    pub header: &'a RequestHeader<'a>,
}

impl Cx<'_> {
    pub fn version(&self) -> i16 {
        self.header.version
    }

    /// Whether a request that names a cluster (`None`: any) means this one.
    fn is_of_this_cluster(&self, cluster_id: Option<&str>) -> bool {
        cluster_id.is_none_or(|id| id == self.node.cluster_id)
    }

    /// Where the leader of the quorum can be reached, if the answer's version has a place for it (from `since` on).
    fn leader_address(&self, since: i16) -> Option<(String, u16)> {
        if self.version() < since {
            return None;
        }
        let controller = &self.node.controller;
        controller.leader().id.and_then(|id| controller.remote().address(id))
    }
}

/// Has this node's own controller decide a command that another node sent.
async fn decide<T>(
    cx: &Cx<'_>,
    command: Command,
    pick: impl FnOnce(Decided) -> Option<Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let decided = match cx.node.controller.is_here() {
        true => cx.node.controller.decide(command).await,
        false => Err(ErrorCode::NotController),
    };
    let unexpected = || Err(Refusal::with_default_text(ErrorCode::UnknownServerError));
    decided
        .map_or_else(|code| Err(Refusal::with_default_text(code)), |decided| pick(decided).unwrap_or_else(unexpected))
}

/// Where a handler's response goes.
pub struct Reply<'a> {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    out: &'a mut Encoder,
    slot: &'a mut Slot,
}

impl Reply<'_> {
    pub fn send<'m, M: Message<'m>>(&mut self, response: &M) -> Result<(), Close> {
        frame_answer(self.key, self.version, self.correlation_id, response, self.out)
    }

    /// Has the request counted as something else than its key says.
    pub fn count_as(&mut self, slot: Slot) {
        *self.slot = slot;
    }

    /// Sends an answer that another node made to this very request, header included.
    pub fn send_bytes(&mut self, answer: &[u8]) -> Result<(), Close> {
        let frame = self.out.begin_frame();
        self.out.put(answer);
        Ok(self.out.end_frame(frame)?)
    }
}

/// Adds a response with its frame and header to `out`.
pub fn frame_answer<'m, M: Message<'m>>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
    out: &mut Encoder,
) -> Result<(), Close> {
    let frame = out.begin_frame();
    header::write_response_header(out, key, version, correlation_id);
    response.encode(out, version)?;
    Ok(out.end_frame(frame)?)
}

/// Names the served APIs once: their place in ApiVersions, and their dispatch. The modules are declared where rustfmt sees
/// them.
macro_rules! apis {
    ($($key:ident => $module:ident,)*) => {
        /// Every API that a listener serves, with its versions, by key.
        pub fn served(by: Scope) -> impl Iterator<Item = (ApiKey, RangeInclusive<i16>)> {
            let mut served = [(ApiKey::Produce, produce::VERSIONS), $((ApiKey::$key, $module::VERSIONS)),*];
            served.sort_by_key(|(key, _)| *key as i16);
            served.into_iter().filter(move |(key, _)| by.serves(*key))
        }

        async fn serve<'a>(key: ApiKey, cx: &'a Cx<'a>, body: &'a [u8], reply: &'a mut Reply<'a>) -> Result<(), Close> {
            match key {
                $(ApiKey::$key => answer(&$module::VERSIONS, cx, body, reply, $module::handle).await,)*
                _ => Err(Close::Version { key: cx.header.key, version: cx.header.version }),
            }
        }
    };
}

apis! {
    ApiVersions => api_versions,
    Fetch => fetch,
    Metadata => metadata,
    DescribeCluster => describe_cluster,
    DescribeQuorum => describe_quorum,
    UpdateFeatures => update_features,
    DescribeTopicPartitions => describe_topic_partitions,
    ListOffsets => list_offsets,
    OffsetForLeaderEpoch => offset_for_leader_epoch,
    DeleteRecords => delete_records,
    DescribeProducers => describe_producers,
    DescribeLogDirs => describe_log_dirs,
    AlterReplicaLogDirs => alter_replica_log_dirs,
    InitProducerId => init_producer_id,
    CreateTopics => create_topics,
    DeleteTopics => delete_topics,
    CreatePartitions => create_partitions,
    DescribeConfigs => describe_configs,
    AlterConfigs => alter_configs,
    IncrementalAlterConfigs => incremental_alter_configs,
    ListConfigResources => list_config_resources,
    ElectLeaders => elect_leaders,
    AlterPartitionReassignments => alter_partition_reassignments,
    ListPartitionReassignments => list_partition_reassignments,
    UnregisterBroker => unregister_broker,
    FindCoordinator => find_coordinator,
    JoinGroup => join_group,
    SyncGroup => sync_group,
    Heartbeat => heartbeat,
    LeaveGroup => leave_group,
    OffsetCommit => offset_commit,
    OffsetFetch => offset_fetch,
    OffsetDelete => offset_delete,
    DescribeGroups => describe_groups,
    ListGroups => list_groups,
    DeleteGroups => delete_groups,
    GetTelemetrySubscriptions => get_telemetry_subscriptions,
    PushTelemetry => push_telemetry,
    Vote => vote,
    BeginQuorumEpoch => begin_quorum_epoch,
    EndQuorumEpoch => end_quorum_epoch,
    FetchSnapshot => fetch_snapshot,
    UpdateRaftVoter => update_raft_voter,
    BrokerRegistration => broker_registration,
    BrokerHeartbeat => broker_heartbeat,
    ControllerRegistration => controller_registration,
    AlterPartition => alter_partition,
    AllocateProducerIds => allocate_producer_ids,
    AssignReplicasToDirs => assign_replicas_to_dirs,
    Envelope => envelope,
}

/// Which of the APIs a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Clients and other brokers.
    Broker,
    /// Other nodes of the quorum, brokers that look for the controller, and tools (KIP-919).
    Controller,
}

impl Scope {
    pub fn serves(self, key: ApiKey) -> bool {
        let is_of_the_quorum = matches!(
            key,
            ApiKey::Vote
                | ApiKey::BeginQuorumEpoch
                | ApiKey::EndQuorumEpoch
                | ApiKey::FetchSnapshot
                | ApiKey::UpdateRaftVoter
                | ApiKey::BrokerRegistration
                | ApiKey::BrokerHeartbeat
                | ApiKey::ControllerRegistration
                | ApiKey::AlterPartition
                | ApiKey::AllocateProducerIds
                | ApiKey::AssignReplicasToDirs
                | ApiKey::Envelope
        );
        let is_of_both =
            matches!(key, ApiKey::ApiVersions | ApiKey::Fetch | ApiKey::DescribeCluster | ApiKey::DescribeConfigs)
                || forwarding::is_forwarded(key);
        match self {
            Scope::Broker => !is_of_the_quorum,
            Scope::Controller => is_of_the_quorum || is_of_both,
        }
    }
}

/// Decodes a request and hands it to its handler.
async fn answer<'a, Q, F, A>(
    versions: &RangeInclusive<i16>,
    cx: &'a Cx<'a>,
    body: &'a [u8],
    reply: &'a mut Reply<'a>,
    handle: F,
) -> Result<(), Close>
where
    Q: Message<'a>,
    F: FnOnce(&'a Cx<'a>, Q, &'a mut Reply<'a>) -> A,
    A: Future<Output = Result<(), Close>>,
{
    if !versions.contains(&cx.header.version) {
        return Err(Close::Version { key: cx.header.key, version: cx.header.version });
    }
    let request = Q::decode(&mut Decoder::new(body), cx.header.version).map_err(Close::Malformed)?;
    handle(cx, request, reply).await
}

/// Answers one request that is not a Produce. Returns what it is to be counted as.
pub async fn dispatch(
    node: &Arc<Node>,
    peer: &Peer,
    header: &RequestHeader<'_>,
    body: &[u8],
    out: &mut Encoder,
) -> Result<Slot, Close> {
    let unserved = || Close::Version { key: header.key, version: header.version };
    let key = ApiKey::try_from(header.key).map_err(|_| unserved())?;
    let cx = Cx { node, peer, header };
    let mut slot = Slot::of(key);
    let (version, correlation_id) = (header.version, header.correlation_id);
    let mut reply = Reply { key, version, correlation_id, out, slot: &mut slot };
    if key == ApiKey::ApiVersions && !api_versions::VERSIONS.contains(&header.version) {
        // A client of the future must be able to read the answer (KIP-511).
        reply.version = 0;
        reply.send(&api_versions::unsupported(peer.scope()))?;
        return Ok(slot);
    }
    if !peer.scope().serves(key) {
        return Err(unserved());
    }
    if forwarding::goes_elsewhere(&cx, key) && forwarding::forward(&cx, key, body, &mut reply).await? {
        return Ok(slot);
    }
    serve(key, &cx, body, &mut reply).await?;
    Ok(slot)
}

/// Whether an API's answer may wait for other clients, so that earlier answers should leave first.
pub fn may_wait(key: i16) -> bool {
    [ApiKey::Fetch, ApiKey::JoinGroup, ApiKey::SyncGroup].iter().any(|k| *k as i16 == key)
}

/// A broker as clients reach it.
pub struct Endpoint {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

/// What the controller says within the client's time. What was asked goes on and may be done later.
pub async fn in_time<T>(
    node: &Node,
    timeout_ms: i32,
    asked: impl Future<Output = Result<T, ErrorCode>>,
) -> Result<T, Refusal> {
    if node.controller.leader().id.is_none() {
        return Err(undecided(node, ErrorCode::NotController));
    }
    let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer.map_err(|code| undecided(node, code)),
        Err(_) => Err(Refusal::with_default_text(ErrorCode::RequestTimedOut)),
    }
}

/// Why nothing was decided. Where nobody leads the quorum it is REQUEST_TIMED_OUT, as in Kafka: one was waited for
/// (`forwarding.rs`), and a client that asks again would wait as long again.
pub fn undecided(node: &Node, code: ErrorCode) -> Refusal {
    if code != ErrorCode::NotController || node.controller.leader().id.is_some() {
        return Refusal::with_default_text(code);
    }
    let text = "No controller answered: the metadata quorum has no leader. A majority of its voters has to run and to reach \
                each other (they are in controller.quorum.voters, or what zookeeper.connect names)";
    Refusal::new(ErrorCode::RequestTimedOut, text)
}

/// The leader and its epoch, where naming them helps a client that was refused with `error` (KIP-951). `None` when nobody
/// leads: librdkafka reserves a place for every leader it is told, and leaves that of leader -1 uninitialized. `None` too
/// when the cluster's state still has this node, which no longer leads: that would send the client back here.
pub fn leader_hint(node: &Node, topic: Uuid, partition: i32, error: ErrorCode) -> Option<(i32, i32)> {
    if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return None;
    }
    let image = node.image();
    let partition = image.topics.get(topic)?.partition(partition)?;
    let back_here = error == ErrorCode::NotLeaderOrFollower && partition.leader == node.config.node_id;
    (partition.leader >= 0 && !back_here).then_some((partition.leader, partition.leader_epoch))
}

/// Those of these brokers that serve, as clients of `listener` reach them.
pub fn endpoints(node: &Node, listener: &str, ids: &BTreeSet<i32>) -> Vec<Endpoint> {
    match ids.is_empty() {
        true => Vec::new(),
        false => brokers(node, listener, |broker| !broker.fenced && ids.contains(&broker.id)),
    }
}

/// The brokers that serve, and those that did a moment ago, as clients of `listener` reach them.
pub fn listed(node: &Node, listener: &str) -> Vec<Endpoint> {
    let session = node.config.broker_session_timeout;
    brokers(node, listener, |broker| !broker.fenced || node.departed.is_recent(broker.id, session))
}

fn brokers(node: &Node, listener: &str, which: impl Fn(&Broker) -> bool) -> Vec<Endpoint> {
    let image = node.image();
    let brokers = image.cluster.brokers().filter(|broker| which(broker));
    brokers.filter_map(|broker| Endpoint::of(broker, listener)).collect()
}

impl Endpoint {
    /// `None` when the broker does not serve the listener.
    pub fn of(broker: &Broker, listener: &str) -> Option<Endpoint> {
        let endpoint = broker.endpoint(listener)?;
        Some(Endpoint {
            id: broker.id,
            host: endpoint.host.clone(),
            port: endpoint.port as i32,
            rack: broker.rack.clone(),
        })
    }
}

/// Operations as bits, as Kafka answers them when nothing restricts a client (KIP-430).
pub mod operations {
    /// What the field says when it was not asked for.
    pub const NOT_ASKED: i32 = i32::MIN;
    const READ: i32 = 1 << 3;
    const WRITE: i32 = 1 << 4;
    const CREATE: i32 = 1 << 5;
    const DELETE: i32 = 1 << 6;
    const ALTER: i32 = 1 << 7;
    const DESCRIBE: i32 = 1 << 8;
    const CLUSTER_ACTION: i32 = 1 << 9;
    const DESCRIBE_CONFIGS: i32 = 1 << 10;
    const ALTER_CONFIGS: i32 = 1 << 11;
    const IDEMPOTENT_WRITE: i32 = 1 << 12;

    pub const TOPIC: i32 = READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
    pub const GROUP: i32 = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
    pub const CLUSTER: i32 =
        CREATE | ALTER | DESCRIBE | CLUSTER_ACTION | DESCRIBE_CONFIGS | ALTER_CONFIGS | IDEMPOTENT_WRITE;
}
