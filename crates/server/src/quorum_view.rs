//! What this node knows of the quorum behind the cluster's state, as requests ask for it.

use metadata::quorum::{MetadataNode, Voter};

/// The quorum after the controller's last step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuorumView {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    /// The end of this node's own log.
    pub log_end_offset: i64,
    /// The level of `kraft.version`.
    pub kraft_version: i16,
    pub voters: Vec<Voter>,
}

impl QuorumView {
    pub fn of(metadata: &MetadataNode) -> QuorumView {
        let quorum = metadata.quorum();
        QuorumView {
            leader_id: if quorum.is_leader() { quorum.node_id() } else { -1 },
            leader_epoch: quorum.epoch(),
            high_watermark: quorum.high_watermark(),
            log_end_offset: metadata.end_offset(),
            kraft_version: quorum.kraft_version().level(),
            voters: quorum.voters().iter().cloned().collect(),
        }
    }
}
