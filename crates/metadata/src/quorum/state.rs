//! The quorum's decisions: epochs, votes, the high watermark. Pure: what is to be done comes out as [`Effect`]s, what was
//! done goes in again, and nothing counts before it is done.
//!
//! Invariants (Raft's, as KRaft has them): a node votes once an epoch and leads only after a majority voted; an epoch's
//! number is on the disk before it is used; the high watermark moves only to offsets that a majority has on its disks,
//! and only once that includes a record of the leader's own epoch.
//!
//! There is one voter for now: it elects itself, and commits what it has synced.

use std::collections::BTreeMap;

use wire::Uuid;
use wire::control::ControlRecord;
use wire::messages::LeaderChangeMessage;
use wire::messages::leader_change_message::Voter as ChangeVoter;

use super::election::Election;
use super::voters::{KRaftVersion, QuorumRecords, VoterSet};

/// Something that must happen outside, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make this durable, then call [`Quorum::persisted`].
    Persist(Election),
    /// Append a batch of these at the log's end, in this epoch, and call [`Quorum::leading_from`] with its offset.
    AppendControl { epoch: i32, records: Vec<ControlRecord<'static>> },
}

#[derive(Clone, Debug, PartialEq)]
enum Role {
    /// Knows of no leader.
    Unattached,
    Leader(Leadership),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Leadership {
    /// Where the leader's own records begin; `None` until its first batch is appended.
    epoch_start_offset: Option<i64>,
    /// Up to where each voter has the log on its disk.
    synced: BTreeMap<i32, i64>,
}

/// One node of the quorum.
#[derive(Clone, Debug)]
pub struct Quorum {
    node_id: i32,
    directory_id: Uuid,
    voters: VoterSet,
    records: QuorumRecords,
    /// The voters come from the snapshot that the node was formatted with, so other nodes cannot read them in the log.
    voters_not_in_log: bool,
    election: Election,
    role: Role,
    high_watermark: i64,
}

impl Quorum {
    /// `voters` are those of the log, or of the configuration where they are static; `last_epoch` is the log's.
    pub fn new(
        node_id: i32,
        directory_id: Uuid,
        voters: VoterSet,
        records: QuorumRecords,
        voters_not_in_log: bool,
        election: Option<Election>,
        last_epoch: i32,
    ) -> Self {
        let mut election = election.unwrap_or_default();
        if election.epoch < last_epoch {
            election = Election { epoch: last_epoch, ..Election::default() };
        }
        Quorum {
            node_id,
            directory_id,
            voters,
            records,
            voters_not_in_log,
            election,
            role: Role::Unattached,
            high_watermark: 0,
        }
    }

    pub fn epoch(&self) -> i32 {
        self.election.epoch
    }

    pub fn kraft_version(&self) -> KRaftVersion {
        self.records.kraft_version
    }

    pub fn records(&self) -> &QuorumRecords {
        &self.records
    }

    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Everything below is committed, and stays.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Stands for election. A sole voter needs no other's vote.
    pub fn stand(&self) -> Vec<Effect> {
        let voters = match self.records.kraft_version {
            KRaftVersion::Static => self.voters.iter().map(|voter| voter.id).collect(),
            KRaftVersion::Dynamic => Vec::new(),
        };
        let alone = self.voters.len() == 1 && self.voters.get(self.node_id).is_some();
        if !alone {
            return Vec::new();
        }
        // Its own vote and its election are one durable step.
        let epoch = self.election.epoch + 1;
        vec![Effect::Persist(Election { epoch, leader: Some(self.node_id), voted: None, voters })]
    }

    /// The election is durable now.
    pub fn persisted(&mut self, election: Election) -> Vec<Effect> {
        let elected = election.leader == Some(self.node_id) && election.epoch > self.election.epoch;
        self.election = election;
        if !elected {
            return Vec::new();
        }
        self.role = Role::Leader(Leadership::default());
        vec![Effect::AppendControl { epoch: self.election.epoch, records: self.first_records() }]
    }

    /// The leader's first batch is in the log, at this offset.
    pub fn leading_from(&mut self, offset: i64) {
        if let Role::Leader(leadership) = &mut self.role {
            leadership.epoch_start_offset = Some(offset);
            self.voters_not_in_log = false;
        }
    }

    /// A voter has everything below `end_offset` on its disk. Returns the high watermark if it moved.
    pub fn synced(&mut self, node_id: i32, end_offset: i64) -> Option<i64> {
        let majority = self.voters.majority();
        let Role::Leader(leadership) = &mut self.role else { return None };
        if self.voters.get(node_id).is_some() {
            let synced = leadership.synced.entry(node_id).or_insert(end_offset);
            *synced = end_offset.max(*synced);
        }
        let mut ends: Vec<i64> = leadership.synced.values().copied().collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let committed = *ends.get(majority.checked_sub(1)?)?;
        if committed <= leadership.epoch_start_offset? || committed <= self.high_watermark {
            return None;
        }
        self.high_watermark = committed;
        Some(committed)
    }

    /// Who leads and who voted for it; then, where no log has told them yet, the voters themselves.
    fn first_records(&self) -> Vec<ControlRecord<'static>> {
        let voter = |id: i32| ChangeVoter { voter_id: id, voter_directory_id: Uuid::ZERO };
        let message = LeaderChangeMessage {
            version: 0,
            leader_id: self.node_id,
            voters: self.voters.iter().map(|one| voter(one.id)).collect(),
            granting_voters: vec![voter(self.node_id)].into(),
        };
        let mut records = vec![ControlRecord::LeaderChange(message)];
        if self.voters_not_in_log {
            records.extend(self.records.to_records());
        }
        records
    }

    /// The directory whose log this node votes with.
    pub fn directory_id(&self) -> Uuid {
        self.directory_id
    }

    pub fn node_id(&self) -> i32 {
        self.node_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::voters::Voter;

    fn voters(ids: &[i32]) -> VoterSet {
        VoterSet::new(ids.iter().map(|id| Voter { id: *id, ..Voter::default() }).collect())
    }

    fn quorum(ids: &[i32], election: Option<Election>, last_epoch: i32) -> Quorum {
        Quorum::new(1, Uuid::ZERO, voters(ids), QuorumRecords::default(), false, election, last_epoch)
    }

    fn lead(quorum: &mut Quorum, from: i64) -> Vec<Effect> {
        let mut effects = quorum.stand();
        let Some(Effect::Persist(election)) = effects.pop() else { panic!("a sole voter stands") };
        let effects = quorum.persisted(election);
        quorum.leading_from(from);
        effects
    }

    #[test]
    fn a_sole_voter_leads_the_epoch_after_every_one_it_has_seen() {
        let before = Election { epoch: 3, leader: Some(1), voted: None, voters: vec![1] };
        for (last_epoch, expected) in [(2, 4), (7, 8)] {
            let mut quorum = quorum(&[1], Some(before.clone()), last_epoch);
            let effects = lead(&mut quorum, 0);
            assert!(matches!(&effects[..], [Effect::AppendControl { epoch, .. }] if *epoch == expected));
            assert_eq!((quorum.epoch(), quorum.is_leader()), (expected, true));
        }
    }

    #[test]
    fn nothing_is_committed_before_it_is_synced_nor_before_the_leaders_first_batch_is() {
        let mut quorum = quorum(&[1], None, 0);
        lead(&mut quorum, 10);
        assert_eq!(quorum.high_watermark(), 0);
        assert_eq!(quorum.synced(1, 10), None);
        assert_eq!(quorum.synced(1, 11), Some(11));
        assert_eq!(quorum.synced(1, 11), None);
        assert_eq!(quorum.synced(9, 99), None);
        assert_eq!(quorum.high_watermark(), 11);
    }

    #[test]
    fn one_of_several_voters_never_elects_itself() {
        let quorum = quorum(&[1, 2, 3], None, 0);
        assert_eq!(quorum.stand(), []);
    }
}
