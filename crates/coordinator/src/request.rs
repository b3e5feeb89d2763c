//! What a shard is asked and what it answers, free of protocol versions where they do not matter.

use std::sync::Arc;

use wire::{ErrorCode, Uuid};

/// Names one waiting request. The caller makes it up; it comes back with the reply, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Join(JoinRequest),
    Sync(SyncRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveRequest),
    CommitOffsets(CommitRequest),
    FetchOffsets(FetchRequest),
    DeleteOffsets(DeleteOffsetsRequest),
    DeleteGroups(Vec<String>),
}

/// One of a member's protocols (a consumer's assignor), most wanted first.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Arc<[u8]>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinRequest {
    /// The request's API version: from 4 a dynamic member must know its id first (KIP-394), from 9 the leader of an
    /// unchanged group may be told to skip the assignment (KIP-814).
    pub version: i16,
    pub group_id: String,
    pub session_timeout_ms: i32,
    /// -1 where the version has none: the session timeout then.
    pub rebalance_timeout_ms: i32,
    /// Empty for a new member.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    pub protocol_type: String,
    pub protocols: Vec<Protocol>,
    pub client_id: String,
    /// As Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    /// Chance for the id of a new member.
    pub random: Uuid,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncRequest {
    pub group_id: String,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
    /// Checked against the group's where given.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// From the leader: each member's assignment.
    pub assignments: Vec<(String, Arc<[u8]>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeartbeatRequest {
    pub group_id: String,
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaveRequest {
    pub group_id: String,
    pub members: Vec<LeavingMember>,
}

/// Who leaves: a member by its id, or (member id empty) a static member removed by an administrator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeavingMember {
    pub member_id: String,
    pub instance_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CommitRequest {
    pub version: i16,
    pub group_id: String,
    /// -1 from clients that are not members.
    pub generation: i32,
    pub member_id: String,
    pub instance_id: Option<String>,
    /// How long the offsets are kept (versions 2 to 4), -1 for the broker's setting.
    pub retention_ms: i64,
    /// Topics that exist; the caller answers for those that do not.
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CommitTopic {
    pub name: Arc<str>,
    /// The id of the topic now, zero where unknown.
    pub id: Uuid,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CommitPartition {
    pub index: i32,
    pub offset: i64,
    /// -1 for none.
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FetchRequest {
    pub group_id: String,
    /// Everything the group has committed where None.
    pub topics: Option<Vec<FetchTopic>>,
    /// Wait for commits in flight, and answer UNSTABLE_OFFSET_COMMIT where a transaction is open (KIP-447).
    pub require_stable: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchTopic {
    pub name: Arc<str>,
    /// Zero where the client asked by name: any id matches then.
    pub id: Uuid,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOffsetsRequest {
    pub group_id: String,
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(ErrorCode),
    Leave(LeaveReply),
    CommitOffsets(CommitReply),
    FetchOffsets(FetchReply),
    DeleteOffsets(DeleteOffsetsReply),
    DeleteGroups(Vec<(String, ErrorCode)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct JoinReply {
    pub error: ErrorCode,
    /// -1 with an error.
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// For the leader: everybody, with the metadata of the chosen protocol.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SyncReply {
    pub error: ErrorCode,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub assignment: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LeaveReply {
    pub error: ErrorCode,
    pub members: Vec<(LeavingMember, ErrorCode)>,
}

/// Every partition that was asked for, in the order of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitReply {
    pub topics: Vec<CommitReplyTopic>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CommitReplyTopic {
    pub name: Arc<str>,
    pub id: Uuid,
    pub partitions: Vec<(i32, ErrorCode)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchReply {
    pub error: ErrorCode,
    pub topics: Vec<FetchReplyTopic>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchReplyTopic {
    pub name: Arc<str>,
    /// As asked; zero when everything was asked for.
    pub id: Uuid,
    pub partitions: Vec<FetchedOffset>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchedOffset {
    pub index: i32,
    /// -1 when nothing is committed.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<Arc<str>>,
    pub error: ErrorCode,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeleteOffsetsReply {
    pub error: ErrorCode,
    pub topics: Vec<DeleteOffsetsReplyTopic>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeleteOffsetsReplyTopic {
    pub name: Arc<str>,
    pub partitions: Vec<(i32, ErrorCode)>,
}

impl JoinReply {
    pub fn refused(error: ErrorCode, member_id: &str) -> Self {
        JoinReply {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: Arc::from(""),
            skip_assignment: false,
            member_id: Arc::from(member_id),
            members: Vec::new(),
        }
    }
}

impl SyncReply {
    pub fn refused(error: ErrorCode) -> Self {
        SyncReply { error, protocol_type: None, protocol: None, assignment: Arc::from([]) }
    }
}

impl CommitRequest {
    /// One code for every partition.
    pub fn refused(&self, error: ErrorCode) -> CommitReply {
        let topics = self.topics.iter().map(|topic| CommitReplyTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.iter().map(|partition| (partition.index, error)).collect(),
        });
        CommitReply { topics: topics.collect() }
    }
}

impl Request {
    /// The answer to this request when it cannot be served at all.
    pub fn refused(&self, error: ErrorCode) -> Reply {
        match self {
            Request::Join(request) => Reply::Join(JoinReply::refused(error, &request.member_id)),
            Request::Sync(_) => Reply::Sync(SyncReply::refused(error)),
            Request::Heartbeat(_) => Reply::Heartbeat(error),
            Request::Leave(_) => Reply::Leave(LeaveReply { error, members: Vec::new() }),
            Request::CommitOffsets(request) => Reply::CommitOffsets(request.refused(error)),
            Request::FetchOffsets(_) => Reply::FetchOffsets(FetchReply { error, topics: Vec::new() }),
            Request::DeleteOffsets(_) => Reply::DeleteOffsets(DeleteOffsetsReply { error, topics: Vec::new() }),
            Request::DeleteGroups(groups) => {
                Reply::DeleteGroups(groups.iter().map(|group| (group.clone(), error)).collect())
            }
        }
    }
}

impl Reply {
    /// The same reply when its records could not be written.
    pub fn refused(self, error: ErrorCode) -> Self {
        match self {
            Reply::Join(reply) => Reply::Join(JoinReply::refused(error, &reply.member_id)),
            Reply::Sync(_) => Reply::Sync(SyncReply::refused(error)),
            Reply::Heartbeat(_) => Reply::Heartbeat(error),
            Reply::Leave(_) => Reply::Leave(LeaveReply { error, members: Vec::new() }),
            Reply::CommitOffsets(mut reply) => {
                for (_, code) in reply.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    if *code == ErrorCode::None {
                        *code = error;
                    }
                }
                Reply::CommitOffsets(reply)
            }
            Reply::FetchOffsets(_) => Reply::FetchOffsets(FetchReply { error, topics: Vec::new() }),
            Reply::DeleteOffsets(_) => Reply::DeleteOffsets(DeleteOffsetsReply { error, topics: Vec::new() }),
            Reply::DeleteGroups(mut groups) => {
                for (_, code) in &mut groups {
                    if *code == ErrorCode::None {
                        *code = error;
                    }
                }
                Reply::DeleteGroups(groups)
            }
        }
    }
}
