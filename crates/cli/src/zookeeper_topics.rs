//! `kafka-topics --zookeeper`: the same work as with `--bootstrap-server`, in the words of Kafka 2.1.

use std::collections::BTreeSet;
use std::time::Duration;

use client::admin::{
    Admin, ConfigChange, ConfigEntry, NewTopic, PartitionDescription, Resource, ResourceType, TopicDescription,
};
use tokio::time::{Instant, sleep};
use wire::ErrorCode;

use crate::kafka_topics::{matching, new_topic};
use crate::options::Parsed;
use crate::tool::{self, Exception, Stop};
use crate::{java_order, say};

/// Where a setting of the topic's own comes from.
const SOURCE_TOPIC: i8 = 1;
/// Partitions in one answer of the broker.
const PAGE: i32 = 2000;
/// How long a change may take until the broker that is asked has heard of it.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
const OFFSETS: &str = "__consumer_offsets";
const NAME_MAX: usize = 249;

/// Does what the options ask for. Their combination was checked.
pub async fn run(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    if options.has("create") {
        create(options, admin).await
    } else if options.has("alter") {
        alter(options, admin).await
    } else if options.has("list") {
        matching(options, admin).await?.iter().for_each(|name| say!("{name}"));
        Ok(())
    } else if options.has("describe") {
        describe(options, admin).await
    } else {
        delete(options, admin).await
    }
}

fn exception(class: &str, message: String) -> Stop {
    Exception::new(&format!("org.apache.kafka.common.errors.{class}"), message).into()
}

async fn create(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let topic = new_topic(options)?;
    if topic.name.contains(['.', '_']) {
        say!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        );
    }
    match made(&topic, options, admin).await {
        Ok(()) => say!("Created topic \"{}\".", topic.name),
        Err(Stop::Thrown(e)) if e.class.ends_with(".TopicExistsException") && options.has("if-not-exists") => {}
        Err(stop) => return Err(stop),
    }
    Ok(())
}

/// The tool of 2.1 placed the replicas itself, so it is the one that says what cannot be.
async fn made(topic: &NewTopic, options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    if topic.assignment.is_none() {
        tool::require(options, &["partitions", "replication-factor"])?;
        let brokers = admin.brokers().await?.len();
        let factor = options.int("replication-factor")?.unwrap_or(1);
        if topic.partitions.is_some_and(|n| n < 1) {
            return Err(exception("InvalidPartitionsException", "Number of partitions must be larger than 0.".into()));
        }
        if factor < 1 {
            let message = "Replication factor must be larger than 0.";
            return Err(exception("InvalidReplicationFactorException", message.into()));
        }
        if factor as usize > brokers {
            let message = format!("Replication factor: {factor} larger than available brokers: {brokers}.");
            return Err(exception("InvalidReplicationFactorException", message));
        }
    }
    if let Some(message) = illegal_name(&topic.name) {
        return Err(exception("InvalidTopicException", message));
    }
    admin.create_topic(topic).await.map_err(|error| {
        let class = error.class();
        let message = error.to_string().replace("collides with existing topic: ", "collides with existing topics: ");
        Stop::from(Exception::new(&class, message))
    })?;
    is_told(admin, &topic.name, true).await
}

/// Waits until the broker that is asked tells of what another one did: who looks next shall see it, as in ZooKeeper.
async fn is_told(admin: &Admin, topic: &str, exists: bool) -> Result<(), Stop> {
    let begun = Instant::now();
    while admin.list_topics("listTopics").await?.iter().any(|t| t.name == topic) != exists && begun.elapsed() < PATIENCE
    {
        sleep(PAUSE).await;
    }
    Ok(())
}

fn illegal_name(name: &str) -> Option<String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Some("Topic name is illegal, it can't be empty".to_owned());
    }
    if name == "." || name == ".." {
        return Some("Topic name cannot be \".\" or \"..\"".to_owned());
    }
    if name.len() > NAME_MAX {
        return Some(format!(
            "Topic name is illegal, it can't be longer than {NAME_MAX} characters, topic name: {name}"
        ));
    }
    (!name.chars().all(is_legal)).then(|| {
        format!(
            "Topic name \"{name}\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' and '-'"
        )
    })
}

/// The topics that alter or delete concerns.
async fn existing(options: &Parsed, admin: &Admin) -> Result<Vec<String>, Stop> {
    let names = matching(options, admin).await?;
    if names.is_empty() && !options.has("if-exists") {
        let topic = options.value("topic")?.unwrap_or_default();
        let path = options.value("zookeeper")?.unwrap_or_default();
        return Err(Exception::illegal_argument(format!("Topic {topic} does not exist on ZK path {path}")).into());
    }
    Ok(names)
}

async fn alter(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let wanted = new_topic(options)?;
    for name in existing(options, admin).await? {
        if options.has("config") || options.has("delete-config") {
            say!(
                "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future \
                 releases.\n         Going forward, please use kafka-configs.sh for this functionality"
            );
            let added = wanted.configs.iter().map(|(name, value)| (name.clone(), ConfigChange::Set(value.clone())));
            let deleted =
                options.values("delete-config").into_iter().map(|n| (n.trim().to_owned(), ConfigChange::Delete));
            let changes: Vec<(String, ConfigChange)> = added.chain(deleted).collect();
            let resource = Resource { kind: ResourceType::Topic, name: name.clone() };
            admin.alter_configs(&resource, &changes).await?;
            say!("Updated config for topic \"{name}\".");
        }
        if let Some(count) = wanted.partitions {
            if name == OFFSETS {
                let message = "The number of partitions for the offsets topic cannot be changed.";
                return Err(Exception::illegal_argument(message).into());
            }
            say!(
                "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the \
                 messages will be affected"
            );
            more_partitions(&name, count, &wanted, admin).await?;
            say!("Adding partitions succeeded!");
        }
    }
    Ok(())
}

async fn more_partitions(name: &str, count: i32, wanted: &NewTopic, admin: &Admin) -> Result<(), Stop> {
    let described = admin.describe_topics(&[name.to_owned()], PAGE).await?;
    let now = described.first().map_or(0, |t| t.partitions.len() as i32);
    if count <= now {
        return Err(exception(
            "InvalidPartitionsException",
            format!(
                "The number of partitions for a topic can only be increased. Topic {name} currently has {now} partitions, \
                 {count} would not be an increase."
            ),
        ));
    }
    let assignment: Option<Vec<Vec<i32>>> =
        wanted.assignment.as_ref().map(|all| all.range(now..).map(|(_, ids)| ids.clone()).collect());
    Ok(admin.create_partitions(name, count, assignment.as_deref()).await?)
}

async fn delete(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let names = existing(options, admin).await?;
    let listed = admin.list_topics("listTopics").await?;
    for name in names {
        if listed.iter().any(|t| t.name == name && t.is_internal) {
            let message =
                format!("Topic {name} is a kafka internal topic and is not allowed to be marked for deletion.");
            return Err(Exception::new("kafka.common.AdminCommandFailedException", message).into());
        }
        admin.delete_topic(&name).await?;
        is_told(admin, &name, false).await?;
        say!(
            "Topic {name} is marked for deletion.\nNote: This will have no impact if delete.topic.enable is not set to true."
        );
    }
    Ok(())
}

async fn describe(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let names = matching(options, admin).await?;
    if names.is_empty() {
        return Ok(()); // a topic that does not exist is no error to 2.1
    }
    let topics = match admin.describe_topics(&names, PAGE).await {
        Err(e) if e.error_code() == Some(ErrorCode::UnknownTopicOrPartition) => return Ok(()), // deleted meanwhile
        described => described?,
    };
    let resources: Vec<Resource> =
        topics.iter().map(|t| Resource { kind: ResourceType::Topic, name: t.name.clone() }).collect();
    let mut configs = admin.describe_configs(&resources).await?;
    let unavailable = options.has("unavailable-partitions");
    let under_replicated = options.has("under-replicated-partitions");
    let with_overrides = options.has("topics-with-overrides");
    let alive: BTreeSet<i32> = match unavailable {
        true => admin.brokers().await?.into_iter().map(|b| b.node.id).collect(),
        false => BTreeSet::new(),
    };
    for (topic, config) in topics.iter().zip(&mut configs) {
        config.retain(|c| c.source == SOURCE_TOPIC);
        java_order::sort(config, |c| c.name.as_str());
        if !unavailable && !under_replicated && (!with_overrides || !config.is_empty()) {
            print_header(topic, config);
        }
        if with_overrides {
            continue;
        }
        for p in &topic.partitions {
            let lacks_some = p.isr.len() < p.replicas.len();
            let leads_nobody = p.leader.is_none_or(|leader| !alive.contains(&leader));
            if !under_replicated && !unavailable || under_replicated && lacks_some || unavailable && leads_nobody {
                print_partition(&topic.name, p);
            }
        }
    }
    Ok(())
}

fn print_header(topic: &TopicDescription, own: &[ConfigEntry]) {
    let configs: Vec<String> =
        own.iter().map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null"))).collect();
    say!(
        "Topic:{}\tPartitionCount:{}\tReplicationFactor:{}\tConfigs:{}",
        topic.name,
        topic.partitions.len(),
        topic.partitions.first().map_or(0, |p| p.replicas.len()),
        configs.join(",")
    );
}

fn print_partition(topic: &str, p: &PartitionDescription) {
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    say!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {}\tReplicas: {}\tIsr: {}",
        p.index,
        p.leader.unwrap_or(-1),
        ids(&p.replicas),
        ids(&p.isr)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_the_words_of_2_1() {
        assert_eq!(illegal_name("army.2-x_y"), None);
        let blank =
            "Topic name \"a b\" is illegal, it contains a character other than ASCII alphanumerics, '.', '_' and '-'";
        assert_eq!(illegal_name("a b").as_deref(), Some(blank));
        for name in ["", ".", "..", &"x".repeat(250)] {
            assert!(illegal_name(name).is_some(), "{name}");
        }
    }
}
