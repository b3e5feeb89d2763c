//! The replicas in sync, as the leader has them, and the change that it has proposed (KIP-497).
//!
//! Until the controller has answered, the leader does not know whether its proposal is in force. It acts on the *maximal*
//! ISR, which has the members of both: whoever is elected, out of whichever of the two, has everything that was committed.

use crate::planted::{self, Bug};

/// What the leader proposes to the controller with AlterPartition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub leader_epoch: i32,
    /// The controller refuses a proposal that was made on another state of the partition.
    pub partition_epoch: i32,
    /// Broker ids, each with the epoch under which it fetched (KIP-903); -1 where it has not.
    pub isr: Vec<(i32, i64)>,
}

/// The partition after a proposal, as the controller answers it: without its replicas, which only the cluster's state tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub isr: Box<[i32]>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Isr {
    pub partition_epoch: i32,
    /// What the controller is known to have.
    pub committed: Vec<i32>,
    /// With the epochs of the registrations under which its members fetched when it was made: a copy that is sent later
    /// must not vouch for what a member has become meanwhile (KIP-903).
    pub proposed: Option<Vec<(i32, i64)>>,
    /// When the proposal was last sent without an answer (ms): it may be in force.
    pub unanswered_ms: Option<i64>,
}

impl Isr {
    pub fn new(partition_epoch: i32, isr: &[i32]) -> Isr {
        Isr { partition_epoch, committed: isr.to_vec(), proposed: None, unanswered_ms: None }
    }

    /// The proposal is known to be without effect.
    pub fn withdraw(&mut self) {
        self.proposed = None;
        self.unanswered_ms = None;
    }

    /// Whether the maximal ISR has this broker.
    pub fn may_have(&self, broker: i32, bug: Bug) -> bool {
        let is_committed = self.committed.contains(&broker);
        let is_proposed = self.proposed.as_ref().map(|isr| isr.iter().any(|(id, _)| *id == broker));
        if planted::is(bug, Bug::ForgetProposedMembers) {
            return is_committed;
        }
        if planted::is(bug, Bug::TrustProposedShrink) {
            return is_proposed.unwrap_or(is_committed);
        }
        is_committed || is_proposed.unwrap_or(false)
    }

    /// Takes what the controller has, unless it is older than what is known.
    pub fn take(&mut self, partition_epoch: i32, isr: &[i32]) {
        if partition_epoch > self.partition_epoch {
            *self = Isr::new(partition_epoch, isr);
        }
    }
}
