//! One member of a group, and what it waits for.

use std::sync::Arc;

use crate::request::{JoinRequest, Protocol, ReplyToken};
use crate::store::MemberMetadata;

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
    pub assignment: Arc<[u8]>,
    pub awaiting_join: Option<ReplyToken>,
    pub awaiting_sync: Option<ReplyToken>,
    /// Joined in the phase that is running: it may time out even while it waits, for its client may have gone and
    /// come back as another.
    pub is_new: bool,
    /// When the session ends, on the steady clock. None while nothing is expected of the member.
    pub deadline_ms: Option<i64>,
    /// The timer that is set, never later than the deadline: heartbeats only move the deadline.
    pub armed_ms: Option<i64>,
}

impl Member {
    pub fn new(id: Arc<str>, request: &JoinRequest) -> Self {
        Member {
            id,
            instance_id: request.instance_id.as_deref().map(Arc::from),
            client_id: Arc::from(&*request.client_id),
            client_host: Arc::from(&*request.client_host),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
            assignment: Arc::from([]),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
            deadline_ms: None,
            armed_ms: None,
        }
    }

    pub fn from_stored(member: &MemberMetadata, protocol: &Arc<str>) -> Self {
        Member {
            id: member.member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: match member.rebalance_timeout_ms {
                -1 => member.session_timeout_ms,
                timeout => timeout,
            },
            session_timeout_ms: member.session_timeout_ms,
            protocols: vec![Protocol { name: protocol.clone(), metadata: member.subscription.clone() }],
            assignment: member.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            deadline_ms: None,
            armed_ms: None,
        }
    }

    /// The member as it is, waiting for nothing.
    pub fn at_rest(&self) -> Self {
        Member { awaiting_join: None, awaiting_sync: None, deadline_ms: None, armed_ms: None, ..self.clone() }
    }

    pub fn metadata(&self, protocol: &str) -> Option<&Arc<[u8]>> {
        self.protocols.iter().find(|offered| &*offered.name == protocol).map(|offered| &offered.metadata)
    }

    /// What of a group's budget for metadata the member takes.
    pub fn metadata_bytes(&self) -> usize {
        metadata_bytes(&self.protocols)
    }

    /// While a member that is not new waits for a reply, no heartbeat is expected.
    pub fn may_be_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

pub(crate) fn metadata_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}
