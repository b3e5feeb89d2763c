//! UpdateRaftVoter: a voter says where it can be reached and which levels of `kraft.version` it knows (KIP-853). Apache
//! Kafka's voters say so to every leader, and ask again until it answers.

use std::ops::RangeInclusive;

use storage::Fault;
use wire::ErrorCode;
use wire::control::ControlRecord;

use super::messages::{Known, ReplicaKey};
use super::node::{MetadataNode, Present, State, moment};
use super::voters::{KRaftVersion, QuorumRecords, Voter, VoterSet};

/// What a voter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterUpdate {
    /// The epoch that the sender is in; -1 when it does not say.
    pub current_epoch: i32,
    pub voter: Voter,
    /// The levels of `kraft.version` that it knows.
    pub kraft_versions: RangeInclusive<i16>,
}

impl MetadataNode {
    /// UpdateRaftVoter. Where voters are in the log (`kraft.version` 1), what is new is written there; static voters are
    /// where everybody's configuration says, and are only checked.
    ///
    /// Errors in the answer: REQUEST_TIMED_OUT while an earlier change or this leader's epoch is not committed (the voter
    /// asks again), INVALID_REQUEST when it could not take part, VOTER_NOT_FOUND.
    pub fn update_voter(&mut self, update: &VoterUpdate, present: &mut Present<'_>) -> Result<Known, Fault> {
        if let Some(refused) = self.refuses(update.current_epoch) {
            return Ok(refused);
        }
        match self.voters_with(update) {
            Err(error) => return Ok(self.quorum.known(error)),
            Ok(None) => {}
            Ok(Some(voters)) => self.write_voters(voters, present)?,
        }
        // It does not fetch while it says so.
        let replica = ReplicaKey { id: update.voter.id, directory_id: update.voter.directory_id };
        self.quorum.fetched(replica, -1, &moment(&self.log, present));
        Ok(self.quorum.known(ErrorCode::None))
    }

    /// The voters as they will be; `None` when there is nothing to change.
    fn voters_with(&self, update: &VoterUpdate) -> Result<Option<VoterSet>, ErrorCode> {
        let quorum = &self.quorum;
        let is_settled = self.quorum_history.last().is_none_or(|(offset, _)| *offset < quorum.high_watermark());
        if !quorum.may_decide() || !is_settled {
            return Err(ErrorCode::RequestTimedOut);
        }
        let version = quorum.kraft_version();
        let own = quorum.voters().get(quorum.me().id).and_then(|voter| voter.endpoints.first());
        let is_reachable = own.is_none_or(|own| update.voter.endpoints.iter().any(|other| other.name == own.name));
        if !update.kraft_versions.contains(&version.level()) || !is_reachable {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = quorum.voters().get(update.voter.id).ok_or(ErrorCode::VoterNotFound)?;
        match version {
            KRaftVersion::Static => Ok(None),
            KRaftVersion::Dynamic if known.directory_id != update.voter.directory_id => Err(ErrorCode::VoterNotFound),
            KRaftVersion::Dynamic if *known == update.voter => Ok(None),
            KRaftVersion::Dynamic => {
                let others = quorum.voters().iter().filter(|voter| voter.id != update.voter.id);
                Ok(Some(VoterSet::new(others.chain([&update.voter]).cloned().collect())))
            }
        }
    }

    fn write_voters(&mut self, voters: VoterSet, present: &mut Present<'_>) -> Result<(), Fault> {
        let offset = self.log.end_offset();
        let records = QuorumRecords { voters, kraft_version: self.quorum.kraft_version() };
        let written = ControlRecord::KRaftVoters(records.voters.to_record());
        self.log.append_control(&[written], self.quorum.epoch(), present.wall_ms)?;
        self.quorum_history.push((offset, records.clone()));
        self.quorum.follow_records(records, present.steady_ms);
        if let State::Active(controller) = &mut self.state {
            controller.continue_at(self.log.end_offset());
        }
        Ok(())
    }
}
