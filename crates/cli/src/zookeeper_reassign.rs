//! `kafka-reassign-partitions --zookeeper`: the same work, in the words of Kafka 2.1, whose tool ends with 0 even where it
//! failed.

use std::collections::BTreeSet;

use client::admin::{Admin, ConfigEntry, Resource, ResourceType, TopicPartition};

use crate::kafka_reassign_partitions::{generated, moves};
use crate::options::{Opt, Parsed};
use crate::partitions_file::{COMMAND_FAILED, Move, ids, name};
use crate::reassign::throttle::{self, Plan};
use crate::reassign::{self, Assignment};
use crate::say;
use crate::tool::{self, Exception, Stop};

/// Where settings of a topic's or a broker's own come from.
const OWN: [i8; 2] = [1, 2];

/// Refuses what makes no sense together.
pub fn check(o: &Parsed) -> Result<(), Stop> {
    let usage = |message: &str| Err(Stop::Usage(message.to_owned()));
    if ["generate", "execute", "verify"].iter().filter(|action| o.has(action)).count() != 1
        || o.has("list")
        || o.has("cancel")
    {
        return usage("Command must include exactly one action: --generate, --execute or --verify");
    }
    if o.has("generate") && !(o.has("topics-to-move-json-file") && o.has("broker-list")) {
        return usage(
            "If --generate option is used, command must include both --topics-to-move-json-file and --broker-list options",
        );
    }
    if o.has("execute") && !o.has("reassignment-json-file") {
        return usage(
            "If --execute option is used, command must include --reassignment-json-file that was output during the --generate \
             option",
        );
    }
    if o.has("verify") && !o.has("reassignment-json-file") {
        return usage(
            "If --verify option is used, command must include --reassignment-json-file that was used during the --execute option",
        );
    }
    Ok(())
}

/// Does what the options ask for. Their combination was checked.
pub async fn main(o: &Parsed, table: &[Opt]) -> u8 {
    match run(o).await {
        Err(Stop::Thrown(e)) => {
            say!("Partitions reassignment failed due to {}\n{}\n", e.message, e.headline());
            tool::end(Ok(()), table, tool::print_message)
        }
        result => tool::end(result, table, tool::print_message),
    }
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    let properties = tool::settings(o, "command-config")?;
    let admin = tool::admin_by_quorum(o.value("zookeeper")?.unwrap_or_default(), &properties).await?;
    if o.has("generate") {
        let (current, proposed) = generated(o, &admin).await?;
        say!(
            "Current partition replica assignment\n{current}\n\nProposed partition reassignment configuration\n{proposed}"
        );
        return Ok(());
    }
    let moves = moves(o)?;
    match o.has("execute") {
        true => execute(o, &admin, &moves).await,
        false => verify(&admin, &moves).await,
    }
}

async fn execute(o: &Parsed, admin: &Admin, moves: &[Move]) -> Result<(), Stop> {
    let failed = |message: String| Err(Exception::new(COMMAND_FAILED, message).into());
    reassign::check_directories(moves)?;
    let partitions: Vec<TopicPartition> = moves.iter().map(|m| m.partition.clone()).collect();
    let current = reassign::existing(admin, &partitions).await?;
    let missing: Vec<String> = partitions.iter().filter(|p| !current.contains_key(*p)).map(name).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return failed(format!("The proposed assignment contains non-existent partitions: ListBuffer({missing})"));
    }
    let alive: BTreeSet<i32> = admin.brokers().await?.into_iter().map(|b| b.node.id).collect();
    let unknown: BTreeSet<i32> =
        moves.iter().flat_map(|m| &m.replicas).copied().filter(|id| !alive.contains(id)).collect();
    if !unknown.is_empty() {
        let unknown = ids(&unknown.into_iter().collect::<Vec<_>>(), ",");
        return failed(format!("The proposed assignment contains non-existent brokerIDs: {unknown}"));
    }
    if !admin.list_reassignments().await?.is_empty() {
        say!("There is an existing assignment running.");
        return Ok(());
    }
    say!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        reassign::to_json(&of_their_topics(admin, &partitions).await?, &Default::default())
    );
    let rate = o.long("throttle")?.unwrap_or(-1);
    if rate >= 0 {
        say!(
            "Warning: You must run Verify periodically, until the reassignment completes, to ensure the throttle is removed. You \
             can also alter the throttle by rerunning the Execute command passing a new value."
        );
        Plan::new(&current, moves).set(admin, rate).await?;
        say!("The inter-broker throttle limit was set to {rate} B/s");
    }
    let targets: Vec<(TopicPartition, Option<Vec<i32>>)> =
        moves.iter().map(|m| (m.partition.clone(), Some(m.replicas.clone()))).collect();
    let results = admin.alter_reassignments(&targets, true).await?;
    if let Some((partition, error)) = results.iter().find_map(|(p, result)| Some((p, result.as_ref().err()?))) {
        return failed(format!("{}: {error}", name(partition)));
    }
    say!("Successfully started reassignment of partitions.");
    Ok(())
}

/// All partitions of the topics that these belong to.
async fn of_their_topics(admin: &Admin, partitions: &[TopicPartition]) -> Result<Assignment, Stop> {
    let topics = partitions.iter().map(|p| p.0.clone()).collect();
    let mut all = Assignment::new();
    for topic in reassign::describe(admin, &topics).await? {
        all.extend(topic.partitions.into_iter().map(|p| ((topic.name.clone(), p.index), p.replicas)));
    }
    Ok(all)
}

async fn verify(admin: &Admin, moves: &[Move]) -> Result<(), Stop> {
    let ongoing = admin.list_reassignments().await?;
    let partitions: Vec<TopicPartition> = moves.iter().map(|m| m.partition.clone()).collect();
    let current = reassign::existing(admin, &partitions).await?;
    say!("Status of partition reassignment: ");
    let (mut lines, mut under_way) = (Vec::new(), false);
    for m in moves {
        let partition = name(&m.partition);
        let replicas = current.get(&m.partition).map(Vec::as_slice).unwrap_or_default();
        if ongoing.contains_key(&m.partition) {
            under_way = true;
            lines.push(format!("Reassignment of partition {partition} is still in progress"));
        } else if replicas == m.replicas {
            lines.push(format!("Reassignment of partition {partition} completed successfully"));
        } else {
            say!(
                "ERROR: Assigned replicas ({}) don't match the list of replicas for reassignment ({}) for partition {partition}",
                ids(replicas, ","),
                ids(&m.replicas, ",")
            );
            lines.push(format!("Reassignment of partition {partition} failed"));
        }
    }
    lines.iter().for_each(|line| say!("{line}"));
    if under_way { Ok(()) } else { remove_throttles(admin, moves).await }
}

async fn remove_throttles(admin: &Admin, moves: &[Move]) -> Result<(), Stop> {
    let brokers: BTreeSet<i32> = admin.brokers().await?.into_iter().map(|b| b.node.id).collect();
    let known: BTreeSet<String> = admin.list_topics("listTopics").await?.into_iter().map(|t| t.name).collect();
    let topics: BTreeSet<String> = moves.iter().map(|m| m.partition.0.clone()).filter(|t| known.contains(t)).collect();
    let of = |kind: ResourceType, name: String| Resource { kind, name };
    let resources: Vec<Resource> = brokers
        .iter()
        .map(|id| of(ResourceType::Broker, id.to_string()))
        .chain(topics.iter().map(|t| of(ResourceType::Topic, t.clone())))
        .collect();
    let is_throttle =
        |entry: &ConfigEntry| OWN.contains(&entry.source) && entry.name.contains(".replication.throttled.");
    if admin.describe_configs(&resources).await?.iter().flatten().any(is_throttle) {
        throttle::clear_brokers(admin, &brokers).await?;
        throttle::clear_topics(admin, &topics).await?;
        say!("Throttle was removed.");
    }
    Ok(())
}
