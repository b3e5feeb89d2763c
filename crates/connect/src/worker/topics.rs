//! Topics that the worker creates for sources (`topic.creation.*`, KIP-158).

use client::admin::{Admin, NewTopic};
use client::pattern::Pattern;
use connect_api::{Error, Properties, Result};
use tracing::info;
use wire::ErrorCode;

use crate::config::connector::topic_creation;
use crate::config::worker::prefixed;

/// The settings of some topics.
struct Group {
    name: String,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    configs: Vec<(String, String)>,
}

/// How a source's topics are made.
pub struct TopicCreation {
    admin: Admin,
    /// In order of preference; the last is the default and takes all.
    groups: Vec<Group>,
}

impl TopicCreation {
    /// None when the connector leaves topics to the broker.
    pub async fn open(properties: &Properties, admin: &Properties) -> Result<Option<TopicCreation>> {
        let given = prefixed(properties, "topic.creation.");
        if !given.contains_key("default.replication.factor") || !given.contains_key("default.partitions") {
            return Ok(None);
        }
        topic_creation(properties).parse(properties)?;
        let names = given.get("groups").map_or("", |g| g.trim());
        let mut groups = Vec::new();
        for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()).chain(["default"]) {
            groups.push(Group::read(name, &given)?);
        }
        let admin = Admin::open(admin).await.map_err(|e| Error::config(e.to_string()))?;
        Ok(Some(TopicCreation { admin, groups }))
    }

    /// Makes a topic by the first group that takes it, where it is missing.
    pub async fn ensure(&self, topic: &str) -> Result<()> {
        let failed = |e: &client::Error| {
            Error::connect(format!("Error while attempting to create/find topic(s) '{topic}'"))
                .caused_by(Error::connect(format!("{}: {e}", e.class())))
        };
        let names = [topic.to_owned()];
        let metadata = self.admin.client().metadata(client::Topics::Names(&names), false, "metadata");
        if metadata.await.map_err(|e| failed(&e))?.topic(topic).is_some_and(|t| t.error == ErrorCode::None) {
            return Ok(());
        }
        let Some(group) = self.groups.iter().find(|g| g.takes(topic)) else { return Ok(()) };
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: group.partitions,
            replication_factor: group.replication_factor,
            assignment: None,
            configs: group.configs.clone(),
        };
        match self.admin.create_topic(&new).await {
            Ok(()) => {
                info!(target: "org.apache.kafka.connect.runtime.AbstractWorkerSourceTask", "Created topic '{topic}' using creation group {}", group.name);
                Ok(())
            }
            Err(error) if error.error_code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Group {
    fn read(name: &str, given: &Properties) -> Result<Group> {
        let mut own = prefixed(given, &format!("{name}."));
        let mut patterns = |which: &str| -> Result<Vec<Pattern>> {
            let list = own.remove(which).unwrap_or_default();
            let items = list.split(',').map(str::trim).filter(|i| !i.is_empty());
            items
                .map(|i| Pattern::new(i).map_err(|e| Error::config(format!("topic.creation.{name}.{which}: {e}"))))
                .collect()
        };
        let (include, exclude) = (patterns("include")?, patterns("exclude")?);
        let mut number = |which: &str| own.remove(which).and_then(|n| n.trim().parse::<i32>().ok()).filter(|n| *n > 0);
        let (partitions, replication) = (number("partitions"), number("replication.factor"));
        let default =
            |n: &str| given.get(&format!("default.{n}")).and_then(|n| n.trim().parse::<i32>().ok()).filter(|n| *n > 0);
        Ok(Group {
            name: name.to_owned(),
            include,
            exclude,
            partitions: partitions.or_else(|| default("partitions")),
            replication_factor: replication.or_else(|| default("replication.factor")).map(|n| n as i16),
            configs: own.into_iter().collect(),
        })
    }

    fn takes(&self, topic: &str) -> bool {
        self.name == "default"
            || (self.include.iter().any(|p| p.matches(topic)) && !self.exclude.iter().any(|p| p.matches(topic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_takes_what_it_includes_and_does_not_exclude() {
        let given: Properties = [
            ("default.partitions", "5"),
            ("default.replication.factor", "1"),
            ("g.include", "a.*,b"),
            ("g.exclude", "ab"),
            ("g.partitions", "2"),
            ("g.cleanup.policy", "compact"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        let group = Group::read("g", &given).unwrap();
        assert!(group.takes("ac") && group.takes("b") && !group.takes("ab") && !group.takes("c"));
        assert_eq!((group.partitions, group.replication_factor), (Some(2), Some(1)));
        assert_eq!(group.configs, [("cleanup.policy".to_owned(), "compact".to_owned())]);
    }
}
