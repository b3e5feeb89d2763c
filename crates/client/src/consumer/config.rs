//! A consumer's settings.

use std::time::Duration;

use crate::Error;
use crate::admin::Isolation;
use crate::config::{ClientConfig, Properties, Role, boolean, millis, number};
use crate::config_providers;

/// Where to begin when there is no committed offset, or it is out of range (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// It is an error.
    None,
}

/// How records are fetched, and how the consumer takes part in a group. Names and defaults are the Java client's.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub client: ClientConfig,
    pub group: Option<GroupConfig>,
    pub reset: OffsetReset,
    pub isolation: Isolation,
    /// Records that one poll gives at most.
    pub max_poll_records: usize,
    pub fetch_max_wait: Duration,
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub max_partition_fetch_bytes: i32,
    pub check_crcs: bool,
    /// Topics that do not exist are created, where the broker does that.
    pub allow_auto_create_topics: bool,
    pub rack: String,
}

/// Membership in a group.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    pub id: String,
    /// A static member keeps its partitions over a restart (KIP-345).
    pub instance_id: Option<String>,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// How long a member may go without polling.
    pub max_poll_interval: Duration,
    /// Commit positions by itself, this often.
    pub auto_commit: Option<Duration>,
    /// Assignors in order of preference.
    pub assignors: Vec<String>,
}

impl ConsumerConfig {
    /// Reads the settings, and refuses those that cannot be.
    pub fn new(properties: &Properties) -> Result<ConsumerConfig, Error> {
        let properties = &config_providers::resolve(properties)?;
        let mut client = ClientConfig::new(Role::Consumer, properties)?;
        let wrong = |name: &str, value: &str, why: String| {
            Err(Error::Config(format!("Invalid value {value} for configuration {name}: {why}")))
        };
        let reset = match properties.get("auto.offset.reset").map_or("latest", |r| r.trim()) {
            "earliest" => OffsetReset::Earliest,
            "latest" => OffsetReset::Latest,
            "none" => OffsetReset::None,
            other => {
                let why = format!(
                    "Invalid value `{other}` for configuration auto.offset.reset. The value must be either 'earliest', 'latest', 'none' or of the format 'by_duration:<PnDTnHnMn.nS.>'."
                );
                return wrong("auto.offset.reset", other, why);
            }
        };
        let isolation = match properties.get("isolation.level").map_or("read_uncommitted", |i| i.trim()) {
            "read_uncommitted" => Isolation::ReadUncommitted,
            "read_committed" => Isolation::ReadCommitted,
            other => {
                return wrong(
                    "isolation.level",
                    other,
                    "String must be one of: read_committed, read_uncommitted".into(),
                );
            }
        };
        let group = match properties.get("group.id").map(|g| g.trim()).filter(|g| !g.is_empty()) {
            Some(id) => Some(GroupConfig::new(id, properties)?),
            None => None,
        };
        if let Some(group) = &group {
            client.log_name = format!("Consumer clientId={}, groupId={}", client.client_id, group.id);
        }
        let max_poll_records: i32 = number(properties, "max.poll.records", 500, "INT")?;
        if max_poll_records < 1 {
            return wrong("max.poll.records", &max_poll_records.to_string(), "Value must be at least 1".into());
        }
        Ok(ConsumerConfig {
            client,
            group,
            reset,
            isolation,
            max_poll_records: max_poll_records as usize,
            fetch_max_wait: millis(properties, "fetch.max.wait.ms", 500)?,
            fetch_min_bytes: number(properties, "fetch.min.bytes", 1, "INT")?,
            fetch_max_bytes: number(properties, "fetch.max.bytes", 52_428_800, "INT")?,
            max_partition_fetch_bytes: number(properties, "max.partition.fetch.bytes", 1_048_576, "INT")?,
            check_crcs: boolean(properties, "check.crcs", true)?,
            allow_auto_create_topics: boolean(properties, "allow.auto.create.topics", true)?,
            rack: properties.get("client.rack").cloned().unwrap_or_default(),
        })
    }
}

impl GroupConfig {
    /// Reads the settings of a group's member.
    pub fn new(id: &str, properties: &Properties) -> Result<GroupConfig, Error> {
        let auto_commit = match boolean(properties, "enable.auto.commit", true)? {
            true => Some(millis(properties, "auto.commit.interval.ms", 5_000)?),
            false => None,
        };
        let assignors = match properties.get("partition.assignment.strategy") {
            None => vec!["range".to_owned(), "cooperative-sticky".to_owned()],
            Some(list) => list.split(',').map(|name| assignor_name(name.trim())).collect::<Result<_, _>>()?,
        };
        if let Some(protocol) = properties.get("group.protocol").filter(|p| !p.trim().eq_ignore_ascii_case("classic")) {
            return Err(Error::Config(format!(
                "Invalid value {protocol} for configuration group.protocol: this client knows the classic protocol only"
            )));
        }
        Ok(GroupConfig {
            id: id.to_owned(),
            instance_id: properties.get("group.instance.id").filter(|i| !i.trim().is_empty()).cloned(),
            session_timeout: millis(properties, "session.timeout.ms", 45_000)?,
            heartbeat_interval: millis(properties, "heartbeat.interval.ms", 3_000)?,
            max_poll_interval: millis(properties, "max.poll.interval.ms", 300_000)?,
            auto_commit,
            assignors,
        })
    }
}

/// Java's class names stand for the protocols that they implement.
fn assignor_name(class: &str) -> Result<String, Error> {
    let name = match class.rsplit('.').next().unwrap_or(class) {
        "RangeAssignor" | "range" => "range",
        "RoundRobinAssignor" | "roundrobin" => "roundrobin",
        "CooperativeStickyAssignor" | "cooperative-sticky" => "cooperative-sticky",
        _ => {
            return Err(Error::Config(format!(
                "Invalid value {class} for configuration partition.assignment.strategy: Class {class} could not be found."
            )));
        }
    };
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<ConsumerConfig, Error> {
        let mut properties: Properties = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        properties.insert("bootstrap.servers".into(), "localhost:9092".into());
        ConsumerConfig::new(&properties)
    }

    #[test]
    fn without_a_group_id_there_is_no_group() {
        assert!(config(&[]).unwrap().group.is_none());
        let group = config(&[("group.id", "g"), ("enable.auto.commit", "false")]).unwrap().group.unwrap();
        assert_eq!((group.id.as_str(), group.auto_commit), ("g", None));
        assert_eq!(group.assignors, ["range", "cooperative-sticky"]);
    }

    #[test]
    fn wrong_values_name_the_setting() {
        for (name, value) in [("auto.offset.reset", "foo"), ("isolation.level", "foo"), ("max.poll.records", "0")] {
            let error = config(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(config(&[("group.id", "g"), ("partition.assignment.strategy", "foo")]).is_err());
    }
}
