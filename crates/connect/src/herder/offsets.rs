//! Offsets of connectors, as they are asked for and changed from outside (KIP-875).

use std::collections::{BTreeMap, BTreeSet};

use client::admin::{Admin, Isolation, OffsetAt, TopicPartition};
use connect_api::{Properties, SourceMap, TaskKind};
use serde_json::{Value as Json, json};
use wire::ErrorCode;

use super::{Answer, Herder, Refusal};
use crate::store::{TargetState, TaskId, source_map, source_map_json};
use crate::worker::{Client, Worker, blocking};

const ALTERED: &str = "The offsets for this connector have been altered successfully";
const RESET: &str = "The offsets for this connector have been reset successfully";
const ALTERED_UNLESS_MANAGED: &str = "The Connect framework-managed offsets for this connector have been altered successfully. However, if this connector manages offsets externally, they will need to be manually altered in the system that the connector uses.";
const RESET_UNLESS_MANAGED: &str = "The Connect framework-managed offsets for this connector have been reset successfully. However, if this connector manages offsets externally, they will need to be manually reset in the system that the connector uses.";

/// A part of a source or a partition of a topic, and how far it is; none to forget.
pub type Change = (Json, Option<Json>);

impl Herder {
    /// How far a connector is, with the ends of the partitions and the lag for the sink that is asked so.
    pub async fn offsets(&self, name: &str, with_lag: bool) -> Answer<Json> {
        let config = self.config(name)?;
        let entries: Vec<Json> = match self.kind_of(&config) {
            Some(TaskKind::Sink) => {
                let (admin, group) = self.sink_admin(name, &config).await?;
                let offsets = admin.group_offsets(&group).await.map_err(|e| client_failed(&e))?;
                let ends = match with_lag {
                    true => {
                        let asked: Vec<_> = offsets.keys().map(|tp| (tp.clone(), OffsetAt::Latest)).collect();
                        let listed = admin.list_offsets(&asked, Isolation::ReadUncommitted);
                        listed.await.map_err(|e| client_failed(&e))?
                    }
                    false => BTreeMap::new(),
                };
                let entry = |((topic, partition), committed): (&TopicPartition, &client::admin::CommittedOffset)| {
                    let mut entry = json!({
                        "partition": {"kafka_partition": partition, "kafka_topic": topic},
                        "offset": {"kafka_offset": committed.offset},
                    });
                    if let Some(Ok(end)) = ends.get(&(topic.clone(), *partition)) {
                        entry["end_offset"] = json!(end.offset);
                        entry["lag"] = json!((end.offset - committed.offset).max(0));
                    }
                    entry
                };
                offsets.iter().map(entry).collect()
            }
            _ => {
                self.worker.offsets.refresh().await?;
                let known = self.worker.offsets.of_connector(name);
                let entry = |(partition, offset): &(SourceMap, SourceMap)| json!({"partition": source_map_json(partition), "offset": source_map_json(offset)});
                known.iter().map(entry).collect()
            }
        };
        Ok(json!({"offsets": entries}))
    }

    /// Changes offsets, or forgets all of them. Answers what is to be told.
    pub async fn alter_offsets(&self, name: &str, changes: Option<Vec<Change>>) -> Answer<&'static str> {
        self.lead()?;
        let config = self.config(name)?;
        let (target, tasks) = self.configs.with(|c| (c.target(name), c.tasks_of(name).len()));
        if target != TargetState::Stopped || tasks > 0 {
            return Err(Refusal::bad_request(format!(
                "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the \
                 specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
            )));
        }
        let _turn = self.turn.lock().await;
        match self.kind_of(&config) {
            Some(TaskKind::Sink) => self.alter_sink(name, &config, changes).await,
            _ => self.alter_source(name, &config, changes).await,
        }
    }

    async fn alter_source(
        &self,
        name: &str,
        config: &Properties,
        changes: Option<Vec<Change>>,
    ) -> Answer<&'static str> {
        self.worker.offsets.refresh().await?;
        let reset = changes.is_none();
        let changes: Vec<(SourceMap, Option<SourceMap>)> = match changes {
            Some(changes) => changes
                .iter()
                .map(|(partition, offset)| Ok((source_map(partition)?, offset.as_ref().map(source_map).transpose()?)))
                .collect::<connect_api::Result<_>>()
                .map_err(|e| Refusal::bad_request(e.message))?,
            None => self.worker.offsets.of_connector(name).into_iter().map(|(p, _)| (p, None)).collect(),
        };
        let plugin = self.worker.connector_plugin(config.get("connector.class").map_or("", |c| c))?;
        let (properties, asked) = (self.worker.resolved(config)?, changes.clone());
        let looked_at = blocking(move || (plugin.new)().alter_offsets(&properties, &asked)).await?;
        let pairs: Vec<_> = changes.iter().map(|(p, o)| (p, o.as_ref())).collect();
        if !pairs.is_empty() {
            self.worker.offsets.set(name, &pairs).await?;
        }
        Ok(told(reset, looked_at))
    }

    async fn alter_sink(&self, name: &str, config: &Properties, changes: Option<Vec<Change>>) -> Answer<&'static str> {
        let (admin, group) = self.sink_admin(name, config).await?;
        let Some(changes) = changes else {
            return match admin.delete_group(&group).await {
                Ok(()) => Ok(RESET),
                Err(error) if error.error_code() == Some(ErrorCode::GroupIdNotFound) => Ok(RESET),
                Err(error) => Err(Refusal::Status(
                    500,
                    format!(
                        "Failed to reset consumer group offsets for connector {name}: {error}. If the connector was just stopped, try again when its tasks have left the group"
                    ),
                )),
            };
        };
        let (mut alter, mut forget) = (BTreeMap::new(), BTreeSet::new());
        for (partition, offset) in &changes {
            let partition = sink_partition(partition)?;
            match offset {
                Some(offset) => drop(alter.insert(partition, sink_offset(offset)?)),
                None => drop(forget.insert(partition)),
            }
        }
        let failed = |e: client::Error| {
            Refusal::Status(
                500,
                format!(
                    "Failed to alter consumer group offsets for connector {name}: {e}. If the connector was just stopped, try again when its tasks have left the group"
                ),
            )
        };
        if !alter.is_empty() {
            admin.alter_group_offsets(&group, &alter).await.map_err(failed)?;
        }
        if !forget.is_empty() {
            for (_, result) in admin.delete_group_offsets(&group, &forget).await.map_err(failed)? {
                result.map_err(failed)?;
            }
        }
        Ok(ALTERED)
    }

    async fn sink_admin(&self, name: &str, config: &Properties) -> Answer<(Admin, String)> {
        let config = self.worker.resolved(config)?;
        let id = TaskId { connector: name.to_owned(), task: 0 };
        let properties = self.worker.client_properties(Client::Admin, &id, &config)?;
        let admin = Admin::open(&properties).await.map_err(|e| client_failed(&e))?;
        Ok((admin, Worker::sink_group(name, &config)))
    }
}

fn told(reset: bool, looked_at: bool) -> &'static str {
    match (reset, looked_at) {
        (true, true) => RESET,
        (true, false) => RESET_UNLESS_MANAGED,
        (false, true) => ALTERED,
        (false, false) => ALTERED_UNLESS_MANAGED,
    }
}

fn client_failed(error: &client::Error) -> Refusal {
    Refusal::Status(500, format!("{}: {error}", error.class()))
}

fn sink_partition(json: &Json) -> Answer<TopicPartition> {
    let (Some(topic), Some(partition)) = (json.get("kafka_topic"), json.get("kafka_partition")) else {
        return Err(Refusal::bad_request(
            "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'",
        ));
    };
    let topic = topic
        .as_str()
        .ok_or_else(|| Refusal::bad_request("Kafka topic names must be valid strings and may not be null"))?;
    let partition = whole(partition).and_then(|n| i32::try_from(n).ok()).ok_or_else(|| {
        Refusal::bad_request(format!(
            "Failed to parse the following Kafka partition value in the provided offsets: '{}'. Partition values for sink \
             connectors need to be integers.",
            plain(partition)
        ))
    })?;
    Ok((topic.to_owned(), partition))
}

fn sink_offset(json: &Json) -> Answer<i64> {
    let Some(offset) = json.get("kafka_offset") else {
        return Err(Refusal::bad_request(
            "The offset for a sink connector should either be null or contain the key 'kafka_offset'",
        ));
    };
    whole(offset).ok_or_else(|| {
        Refusal::bad_request(format!(
            "Failed to parse the following Kafka offset value in the provided offsets: '{}'. Offset values for sink \
             connectors need to be integers.",
            plain(offset)
        ))
    })
}

/// A number, or a text that is one.
fn whole(json: &Json) -> Option<i64> {
    json.as_i64().or_else(|| json.as_str()?.parse().ok())
}

fn plain(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}
