//! `quorum-state`: the epoch and the vote of this node. It is durable before anybody learns of it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use storage::Disk;
use wire::Uuid;

use super::json::{self, Value};
use super::voters::KRaftVersion;

/// The file's name, in the directory of the metadata log.
pub const FILE_NAME: &str = "quorum-state";
/// Far above what any quorum writes.
const BYTES_MAX: u64 = 1 << 20;
const NOBODY: i32 = -1;

/// What a node knows, or decided, about the leader of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Election {
    pub epoch: i32,
    pub leader: Option<i32>,
    /// The voter that got this node's vote in this epoch, with its directory (zero when it is not known).
    pub voted: Option<(i32, Uuid)>,
    /// Version 0 of the file names the voters; empty otherwise.
    pub voters: Vec<i32>,
}

impl Election {
    /// Kafka's JSON, in its order of fields.
    pub fn to_json(&self, version: KRaftVersion) -> String {
        let leader = self.leader.unwrap_or(NOBODY);
        let (voted_id, voted_directory) = self.voted.unwrap_or((NOBODY, Uuid::ZERO));
        let epoch = self.epoch;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = match version {
            KRaftVersion::Static => {
                let voters: Vec<String> = self.voters.iter().map(|id| format!("{{\"voterId\":{id}}}")).collect();
                write!(
                    text,
                    "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted_id},\
                     \"appliedOffset\":0,\"currentVoters\":[{}],\"data_version\":0}}",
                    voters.join(",")
                )
            }
            KRaftVersion::Dynamic => write!(
                text,
                "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted_id},\
                 \"votedDirectoryId\":\"{voted_directory}\",\"data_version\":1}}"
            ),
        };
        text
    }

    /// Reads either version of the file.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value = json::parse(text.lines().next().unwrap_or_default())?;
        let number = |name: &str| match value.get(name) {
            Some(Value::Number(number)) => Ok(*number),
            _ => Err(format!("no number in field {name}")),
        };
        let id = |name: &str| number(name).and_then(|id| i32::try_from(id).map_err(|_| format!("{name} is {id}")));
        let known = |id: i32| (id != NOBODY).then_some(id);
        let version = number("data_version")?;
        let (directory, voters) = match version {
            0 => (Uuid::ZERO, static_voters(&value)?),
            1 => (voted_directory(&value)?, Vec::new()),
            _ => return Err(format!("data_version {version}, and this program knows 0 and 1")),
        };
        Ok(Election {
            epoch: id("leaderEpoch")?,
            leader: known(id("leaderId")?),
            voted: known(id("votedId")?).map(|id| (id, directory)),
            voters,
        })
    }
}

fn voted_directory(value: &Value) -> Result<Uuid, String> {
    match value.get("votedDirectoryId") {
        Some(Value::Text(text)) => text.parse().map_err(|_| format!("votedDirectoryId is {text}")),
        _ => Err("no text in field votedDirectoryId".to_owned()),
    }
}

fn static_voters(value: &Value) -> Result<Vec<i32>, String> {
    let voters = match value.get("currentVoters") {
        Some(Value::List(voters)) => voters,
        None | Some(Value::Null) => return Ok(Vec::new()),
        _ => return Err("no list in field currentVoters".to_owned()),
    };
    let id = |voter: &Value| match voter.get("voterId") {
        Some(Value::Number(id)) => i32::try_from(*id).map_err(|_| format!("voterId is {id}")),
        _ => Err("no number in field voterId".to_owned()),
    };
    voters.iter().map(id).collect()
}

/// The state of the node whose metadata log is in `dir`; `None` when it never took part in an election.
pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Election>> {
    let path = dir.join(FILE_NAME);
    let bytes = match disk.read(&path, BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is malformed: {reason}", path.display()))
    };
    let text = String::from_utf8(bytes).map_err(|_| invalid("not UTF-8".to_owned()))?;
    Election::from_json(&text).map(Some).map_err(invalid)
}

/// Replaces the file; with `sync` it is durable on return.
pub fn write(disk: &dyn Disk, dir: &Path, election: &Election, version: KRaftVersion, sync: bool) -> io::Result<()> {
    disk.write_atomically(&dir.join(FILE_NAME), election.to_json(version).as_bytes(), sync)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_file_read_as_kafka_writes_them() {
        let text = "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"appliedOffset\":0,\
                    \"currentVoters\":[{\"voterId\":1}],\"data_version\":0}";
        let election = Election { epoch: 1, leader: Some(1), voted: None, voters: vec![1] };
        assert_eq!(Election::from_json(text), Ok(election.clone()));
        assert_eq!(election.to_json(KRaftVersion::Static), text);

        let text = "{\"leaderId\":-1,\"leaderEpoch\":2,\"votedId\":1,\
                    \"votedDirectoryId\":\"J8aAPcfLQt2bqs1JT_rMgQ\",\"data_version\":1}";
        let directory = "J8aAPcfLQt2bqs1JT_rMgQ".parse().unwrap();
        let election = Election { epoch: 2, leader: None, voted: Some((1, directory)), voters: vec![] };
        assert_eq!(Election::from_json(text), Ok(election.clone()));
        assert_eq!(election.to_json(KRaftVersion::Dynamic), text);
    }

    #[test]
    fn a_file_that_is_damaged_or_from_the_future_is_an_error_and_no_panic() {
        let good = Election { epoch: 7, leader: Some(3), voted: None, voters: vec![3] }.to_json(KRaftVersion::Static);
        for length in 0..good.len() {
            assert!(Election::from_json(&good[..length]).is_err(), "{}", &good[..length]);
        }
        let future = good.replace("\"data_version\":0", "\"data_version\":2");
        assert_eq!(Election::from_json(&future), Err("data_version 2, and this program knows 0 and 1".to_owned()));
    }
}
