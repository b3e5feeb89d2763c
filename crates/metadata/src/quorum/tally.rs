//! The votes of an election, counted.

use std::collections::BTreeSet;

use super::voters::VoterSet;

/// Votes of one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub granted: BTreeSet<i32>,
    pub refused: BTreeSet<i32>,
}

impl Tally {
    pub fn has_won(&self, voters: &VoterSet) -> bool {
        self.granted.len() >= voters.majority()
    }

    /// So many refused, or have `ended` and answer nothing, that the rest is no majority.
    pub fn has_lost(&self, voters: &VoterSet, ended: Option<i32>) -> bool {
        let is_out = |id: i32| self.refused.contains(&id) || (ended == Some(id) && !self.granted.contains(&id));
        voters.iter().filter(|voter| !is_out(voter.id)).count() < voters.majority()
    }
}
