//! What `kafka-reassign-partitions` does, whichever version's words it uses.

pub mod directories;
pub mod placement;
pub mod throttle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use client::Error;
use client::admin::{Admin, TopicDescription, TopicPartition};
use wire::ErrorCode;

use self::directories::ANY;
use crate::json::quote;
use crate::partitions_file::{COMMAND_FAILED, Move, ids};
use crate::tool::{Exception, Stop};

/// Partitions in one answer of the broker.
const PAGE: i32 = 2000;

/// The replicas of partitions, sorted.
pub type Assignment = BTreeMap<TopicPartition, Vec<i32>>;

/// Fails when a topic does not exist.
pub async fn describe(admin: &Admin, topics: &BTreeSet<String>) -> Result<Vec<TopicDescription>, Stop> {
    let names: Vec<String> = topics.iter().cloned().collect();
    let known: BTreeSet<String> = admin.list_topics("listTopics").await?.into_iter().map(|t| t.name).collect();
    match names.iter().find(|name| !known.contains(*name)) {
        Some(missing) => Err(unknown(format!("Topic {missing} not found."))),
        None => Ok(admin.describe_topics(&names, PAGE).await?),
    }
}

/// As the Java client fails inside of a future.
fn unknown(message: String) -> Stop {
    failed(&Error::refused(ErrorCode::UnknownTopicOrPartition, Some(&message)))
}

/// See [`unknown`].
pub fn failed(error: &Error) -> Stop {
    let inner = format!("{}: {error}", error.class());
    let cause = Some(format!("Caused by: {inner}"));
    Exception { cause, ..Exception::new("java.util.concurrent.ExecutionException", inner) }.into()
}

/// Where the replicas of these partitions are now.
pub async fn current(admin: &Admin, partitions: &[TopicPartition]) -> Result<Assignment, Stop> {
    let topics: BTreeSet<String> = partitions.iter().map(|p| p.0.clone()).collect();
    let described = describe(admin, &topics).await?;
    let mut found = Assignment::new();
    for wanted in partitions {
        let topic = described.iter().find(|t| t.name == wanted.0);
        let partition = topic.and_then(|t| t.partitions.iter().find(|p| p.index == wanted.1));
        match partition {
            Some(partition) => drop(found.insert(wanted.clone(), partition.replicas.clone())),
            None => return Err(unknown(format!("Unable to find partition: {}-{}", wanted.0, wanted.1))),
        }
    }
    Ok(found)
}

/// The same, without those that do not exist.
pub async fn existing(admin: &Admin, partitions: &[TopicPartition]) -> Result<Assignment, Stop> {
    let known: BTreeSet<String> = admin.list_topics("listTopics").await?.into_iter().map(|t| t.name).collect();
    let topics: BTreeSet<String> = partitions.iter().map(|p| p.0.clone()).filter(|t| known.contains(t)).collect();
    if topics.is_empty() {
        return Ok(Assignment::new());
    }
    let mut found = Assignment::new();
    for topic in describe(admin, &topics).await? {
        for p in topic.partitions {
            let key = (topic.name.clone(), p.index);
            if partitions.contains(&key) {
                found.insert(key, p.replicas);
            }
        }
    }
    Ok(found)
}

/// Fails when a broker is named that is not there.
pub async fn check_brokers(admin: &Admin, moves: &[Move]) -> Result<(), Stop> {
    let alive: BTreeSet<i32> = admin.brokers().await?.into_iter().map(|b| b.node.id).collect();
    match moves.iter().flat_map(|m| &m.replicas).find(|id| !alive.contains(id)) {
        Some(id) => Err(Exception::new(COMMAND_FAILED, format!("Unknown broker id {id}")).into()),
        None => Ok(()),
    }
}

/// Directories by their names are not among the words of Kafka 2.1 with ZooKeeper.
pub fn check_directories(moves: &[Move]) -> Result<(), Stop> {
    match moves.iter().find(|m| m.log_dirs.iter().any(|dir| dir != ANY)) {
        None => Ok(()),
        Some(named) => {
            let message = format!(
                "With --zookeeper, replicas cannot be moved to a directory by its name: use --bootstrap-server, or write \
                 \"{ANY}\" for log_dirs of {}-{}",
                named.partition.0, named.partition.1
            );
            Err(Exception::new(COMMAND_FAILED, message).into())
        }
    }
}

/// In which directory each of these replicas lies, where its broker tells.
pub async fn directories(
    admin: &Admin,
    assignment: &Assignment,
) -> Result<BTreeMap<(TopicPartition, i32), String>, Stop> {
    let brokers: BTreeSet<i32> = assignment.values().flatten().copied().collect();
    let alive: BTreeSet<i32> = admin.brokers().await?.into_iter().map(|b| b.node.id).collect();
    let mut found = BTreeMap::new();
    for id in brokers.intersection(&alive) {
        for dir in admin.log_dirs(*id).await? {
            for replica in dir.replicas.into_iter().filter(|r| !r.is_future) {
                found.insert((replica.partition, *id), dir.path.clone());
            }
        }
    }
    Ok(found)
}

/// The assignment as a file for `--reassignment-json-file`.
pub fn to_json(assignment: &Assignment, directories: &BTreeMap<(TopicPartition, i32), String>) -> String {
    let mut text = String::from("{\"version\":1,\"partitions\":[");
    for (i, (partition, replicas)) in assignment.iter().enumerate() {
        text.push_str(if i > 0 { ",{\"topic\":" } else { "{\"topic\":" });
        quote(&partition.0, &mut text);
        // A String takes everything.
        let _ = write!(text, ",\"partition\":{},\"replicas\":[{}],\"log_dirs\":[", partition.1, ids(replicas, ","));
        for (i, id) in replicas.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            let dir = directories.get(&(partition.clone(), *id)).map_or(ANY, String::as_str);
            quote(dir, &mut text);
        }
        text.push_str("]}");
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_written_as_kafka_writes_it() {
        let assignment: Assignment = [(("army".to_owned(), 0), vec![1, 2]), (("army".to_owned(), 1), vec![2])].into();
        let directories = [((("army".to_owned(), 0), 1), "/d1".to_owned())].into();
        let expected = r#"{"version":1,"partitions":[{"topic":"army","partition":0,"replicas":[1,2],"log_dirs":["/d1","any"]},{"topic":"army","partition":1,"replicas":[2],"log_dirs":["any"]}]}"#;
        assert_eq!(to_json(&assignment, &directories), expected);
        let moves = crate::partitions_file::moves(expected).unwrap();
        assert_eq!(moves.len(), 2);
        assert!(check_directories(&moves).is_err() && check_directories(&moves[1..]).is_ok());
    }
}
