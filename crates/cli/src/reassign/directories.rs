//! Replicas that move between the log directories of their broker (KIP-113).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::Error;
use client::admin::{Admin, TopicPartition};
use wire::ErrorCode;

use super::failed;
use crate::partitions_file::{COMMAND_FAILED, Move, name};
use crate::say;
use crate::tool::{Exception, Stop};

/// A directory that the broker chooses.
pub const ANY: &str = "any";
/// A failure that is told without its class.
const TERSE: &str = "org.apache.kafka.tools.TerseException";
/// A replica that is not at its broker yet is asked for again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A broker, and a partition that it has. In the order in which Kafka's tool tells of them.
pub type Replica = (i32, TopicPartition);

/// The directories that replicas are to move to.
pub fn targets(moves: &[Move]) -> BTreeMap<Replica, String> {
    let named = moves.iter().flat_map(|m| {
        m.replicas.iter().zip(&m.log_dirs).map(|(broker, dir)| ((*broker, m.partition.clone()), dir.clone()))
    });
    named.filter(|(_, dir)| dir != ANY).collect()
}

/// Where a replica is, and where it is on its way to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    current: Option<String>,
    future: Option<String>,
}

async fn places(admin: &Admin, targets: &BTreeMap<Replica, String>) -> Result<BTreeMap<Replica, Place>, Stop> {
    let mut places: BTreeMap<Replica, Place> = targets.keys().map(|key| (key.clone(), Place::default())).collect();
    let brokers: BTreeSet<i32> = targets.keys().map(|(broker, _)| *broker).collect();
    for broker in brokers {
        for dir in admin.log_dirs(broker).await? {
            for replica in dir.replicas {
                let Some(place) = places.get_mut(&(broker, replica.partition)) else { continue };
                let part = if replica.is_future { &mut place.future } else { &mut place.current };
                *part = Some(dir.path.clone());
            }
        }
    }
    Ok(places)
}

/// Says how far the moves are. Whether any of them is not done.
pub async fn verify(admin: &Admin, targets: &BTreeMap<Replica, String>) -> Result<bool, Stop> {
    let places = places(admin, targets).await?;
    let mut under_way = false;
    for (replica, target) in targets {
        let place = places.get(replica).cloned().unwrap_or_default();
        under_way |= place.future.is_some();
        say!("{}", state(replica, &place, target));
    }
    if targets.is_empty() {
        say!("");
    }
    Ok(under_way)
}

fn state((broker, partition): &Replica, place: &Place, target: &str) -> String {
    let named = name(partition);
    match (&place.current, &place.future) {
        (None, _) => format!(
            "Partition {named} is not found in any live log dir on broker {broker}. There is likely an offline log directory \
             on the broker."
        ),
        (Some(current), None) if current == target => {
            format!("Reassignment of replica {named}-{broker} completed successfully.")
        }
        (Some(current), None) => {
            format!("Partition {named} on broker {broker} is not being moved from log dir {current} to {target}.")
        }
        (Some(_), Some(future)) if future == target => {
            format!("Reassignment of replica {named}-{broker} is still in progress.")
        }
        (Some(_), Some(future)) => {
            format!("Partition {named} on broker {broker} is being moved to log dir {future} instead of {target}.")
        }
    }
}

/// Begins the moves; waits for replicas that are not at their brokers yet.
pub async fn execute(admin: &Admin, targets: &BTreeMap<Replica, String>, timeout: Duration) -> Result<(), Stop> {
    let begun = Instant::now();
    let mut pending = targets.clone();
    loop {
        for replica in started(admin, &pending).await? {
            if let Some(dir) = pending.remove(&replica) {
                let (broker, partition) = (replica.0, name(&replica.1));
                say!(
                    "Successfully started moving log directory to {dir} for replica {partition} with broker {broker} "
                );
            }
        }
        if pending.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= timeout {
            let plural = if pending.len() == 1 { "" } else { "s" };
            let names: Vec<String> = pending.keys().map(|(broker, p)| format!("{}-{broker}", name(p))).collect();
            let message =
                format!("Timed out before log directory move{plural} could be started for: {}", names.join(","));
            return Err(Exception::new(TERSE, message).into());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Those whose move their brokers have begun.
async fn started(admin: &Admin, pending: &BTreeMap<Replica, String>) -> Result<BTreeSet<Replica>, Stop> {
    let mut by_broker: BTreeMap<i32, Vec<(TopicPartition, String)>> = BTreeMap::new();
    for ((broker, partition), dir) in pending {
        by_broker.entry(*broker).or_default().push((partition.clone(), dir.clone()));
    }
    let mut started = BTreeSet::new();
    for (broker, moves) in by_broker {
        let results = admin.alter_log_dirs(broker, &moves).await.map_err(|e| failed(&e))?;
        for (partition, result) in results {
            match result {
                Ok(()) => drop(started.insert((broker, partition))),
                Err(error) if error.error_code() == Some(ErrorCode::ReplicaNotAvailable) => {}
                Err(error) => return Err(refused(broker, &partition, &error).into()),
            }
        }
    }
    Ok(started)
}

fn refused(broker: i32, partition: &TopicPartition, error: &Error) -> Exception {
    let cause = format!("Caused by: java.util.concurrent.ExecutionException: {}: {error}", error.class());
    let message = format!("Failed to alter dir for {}-{broker}", name(partition));
    Exception { cause: Some(cause), ..Exception::new(COMMAND_FAILED, message) }
}

/// Has those that are under way stay where they are. False when there are none.
pub async fn cancel(admin: &Admin, targets: &BTreeMap<Replica, String>, timeout: Duration) -> Result<bool, Stop> {
    let places = places(admin, targets).await?;
    let moving = places.into_iter().filter(|(_, place)| place.future.is_some());
    let back: BTreeMap<Replica, String> =
        moving.filter_map(|(replica, place)| Some((replica, place.current?))).collect();
    execute(admin, &back, timeout).await?;
    Ok(!back.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are those of Apache Kafka's tool.
    #[test]
    fn a_replica_is_there_on_its_way_or_neither() {
        let replica = (1, ("t".to_owned(), 0));
        let place = |current: Option<&str>, future: Option<&str>| Place {
            current: current.map(str::to_owned),
            future: future.map(str::to_owned),
        };
        for (place, said) in [
            (place(Some("/b"), None), "Reassignment of replica t-0-1 completed successfully."),
            (place(Some("/a"), Some("/b")), "Reassignment of replica t-0-1 is still in progress."),
            (place(Some("/a"), Some("/c")), "Partition t-0 on broker 1 is being moved to log dir /c instead of /b."),
            (place(Some("/a"), None), "Partition t-0 on broker 1 is not being moved from log dir /a to /b."),
            (
                place(None, None),
                "Partition t-0 is not found in any live log dir on broker 1. There is likely an offline log directory on the \
                 broker.",
            ),
        ] {
            assert_eq!(state(&replica, &place, "/b"), said);
        }
        let one = |log_dirs: &[&str]| Move {
            partition: ("t".to_owned(), 0),
            replicas: vec![1, 2],
            log_dirs: log_dirs.iter().map(|dir| (*dir).to_owned()).collect(),
        };
        assert_eq!(targets(&[one(&["any", "/b"])]), [((2, ("t".to_owned(), 0)), "/b".to_owned())].into());
    }
}
