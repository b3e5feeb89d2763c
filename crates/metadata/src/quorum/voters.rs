//! Who votes (KIP-853).

use wire::Uuid;
use wire::control::ControlRecord;
use wire::messages::voters_record::{Endpoint, KRaftVersionFeature, Voter as VoterRecord};
use wire::messages::{KRaftVersionRecord, VotersRecord};

/// `kraft.version` 0: voters are named in every node's configuration; 1: in the log, and can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum KRaftVersion {
    #[default]
    Static,
    Dynamic,
}

impl KRaftVersion {
    pub const LATEST: KRaftVersion = KRaftVersion::Dynamic;

    pub fn level(self) -> i16 {
        self as i16
    }

    pub fn from_level(level: i16) -> Option<Self> {
        match level {
            0 => Some(KRaftVersion::Static),
            1 => Some(KRaftVersion::Dynamic),
            _ => None,
        }
    }
}

/// Where a voter listens for the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// One voter. With static voters only the id is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voter {
    pub id: i32,
    /// The directory that holds its log: a voter that lost its disk is another one. Zero when it is not known.
    pub directory_id: Uuid,
    pub endpoints: Vec<VoterEndpoint>,
}

/// The voters, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet(Vec<Voter>);

impl VoterSet {
    pub fn new(mut voters: Vec<Voter>) -> Self {
        voters.sort_by_key(|voter| voter.id);
        VoterSet(voters)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, id: i32) -> Option<&Voter> {
        self.0.iter().find(|voter| voter.id == id)
    }

    /// How many voters decide.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    pub fn from_record(record: &VotersRecord<'_>) -> Self {
        let endpoint = |endpoint: &Endpoint<'_>| VoterEndpoint {
            name: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
        };
        let voter = |voter: &VoterRecord<'_>| Voter {
            id: voter.voter_id,
            directory_id: voter.voter_directory_id,
            endpoints: voter.endpoints.iter().map(|item| endpoint(&item)).collect(),
        };
        VoterSet::new(record.voters.iter().map(|item| voter(&item)).collect())
    }

    pub fn to_record(&self) -> VotersRecord<'static> {
        let endpoint = |endpoint: &VoterEndpoint| Endpoint {
            name: endpoint.name.clone().into(),
            host: endpoint.host.clone().into(),
            port: endpoint.port,
        };
        let voter = |voter: &Voter| VoterRecord {
            voter_id: voter.id,
            voter_directory_id: voter.directory_id,
            endpoints: voter.endpoints.iter().map(endpoint).collect(),
            k_raft_version_feature: KRaftVersionFeature {
                min_supported_version: KRaftVersion::Static.level(),
                max_supported_version: KRaftVersion::LATEST.level(),
            },
        };
        VotersRecord { version: 0, voters: self.0.iter().map(voter).collect() }
    }
}

/// The quorum's own state in the log, apart from the cluster's: its version and its voters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumRecords {
    pub kraft_version: KRaftVersion,
    /// Empty with static voters.
    pub voters: VoterSet,
}

impl QuorumRecords {
    /// The control records that stand at the head of a snapshot; none with static voters.
    pub fn to_records(&self) -> Vec<ControlRecord<'static>> {
        if self.kraft_version == KRaftVersion::Static {
            return Vec::new();
        }
        let version = KRaftVersionRecord { version: 0, k_raft_version: self.kraft_version.level() };
        let mut records = vec![ControlRecord::KRaftVersion(version)];
        if !self.voters.is_empty() {
            records.push(ControlRecord::KRaftVoters(self.voters.to_record()));
        }
        records
    }

    /// Takes in one control record; those that say nothing about the quorum change nothing.
    ///
    /// # Errors
    /// A `kraft.version` that this program does not know.
    pub fn apply(&mut self, record: &ControlRecord<'_>) -> Result<(), String> {
        match record {
            ControlRecord::KRaftVersion(record) => {
                let Some(version) = KRaftVersion::from_level(record.k_raft_version) else {
                    return Err(format!(
                        "kraft.version is at level {}, and this program knows levels 0 to {}",
                        record.k_raft_version,
                        KRaftVersion::LATEST.level()
                    ));
                };
                self.kraft_version = version;
            }
            ControlRecord::KRaftVoters(record) => self.voters = VoterSet::from_record(record),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: i32) -> Voter {
        let endpoint = VoterEndpoint { name: "CONTROLLER".to_owned(), host: format!("host-{id}"), port: 9093 };
        Voter { id, directory_id: Uuid::from_u128(id as u128), endpoints: vec![endpoint] }
    }

    #[test]
    fn voters_come_back_from_their_records() {
        let quorum = QuorumRecords {
            kraft_version: KRaftVersion::Dynamic,
            voters: VoterSet::new(vec![voter(3), voter(1), voter(2)]),
        };
        let mut read = QuorumRecords::default();
        for record in quorum.to_records() {
            let value = record.value().unwrap();
            read.apply(&ControlRecord::decode(&record.kind().key(), &value).unwrap().unwrap()).unwrap();
        }
        assert_eq!(read, quorum);
        assert_eq!(read.voters.iter().map(|voter| voter.id).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(read.voters.majority(), 2);
    }

    #[test]
    fn static_voters_leave_no_record() {
        let quorum = QuorumRecords { kraft_version: KRaftVersion::Static, voters: VoterSet::new(vec![voter(1)]) };
        assert_eq!(quorum.to_records(), []);
    }

    #[test]
    fn a_kraft_version_from_the_future_is_refused() {
        let record = ControlRecord::KRaftVersion(KRaftVersionRecord { version: 0, k_raft_version: 2 });
        let refused = QuorumRecords::default().apply(&record).unwrap_err();
        assert_eq!(refused, "kraft.version is at level 2, and this program knows levels 0 to 1");
    }
}
