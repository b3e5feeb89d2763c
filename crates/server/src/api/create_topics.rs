//! CreateTopics (19), versions 2–7.
//!
//! Answers when the topics' partitions are open here, or `timeout_ms` is over. Versions: 5 (flexible) returns the
//! settings (KIP-525), 7 the topic's id.

use super::{Close, Cx, Reply, in_time};
use metadata::config::describe;
use metadata::controller::{CreatedTopic, NewTopic};
use metadata::image::{ConfigResource, Image};
use std::ops::RangeInclusive;
use wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse};

pub const VERSIONS: RangeInclusive<i16> = 2..=7;

pub async fn handle(cx: &Cx<'_>, request: CreateTopicsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics: Vec<NewTopic> = request.topics.iter().map(|t| new_topic(&t)).collect();
    let names: Vec<String> = topics.iter().map(|t| t.name.clone()).collect();
    let created =
        in_time(cx.node, request.timeout_ms, cx.node.controller.create_topics(topics, request.validate_only)).await;
    let results = match created.and_then(|reply| reply) {
        Ok(results) => results,
        Err(refusal) => names.into_iter().map(|name| (name, Err(refusal.clone()))).collect(),
    };
    let image = cx.node.image();
    let answers = results.into_iter().map(|(name, result)| match result {
        Ok(topic) => created_topic(cx, &image, name, topic, request.validate_only),
        Err(refusal) => CreatableTopicResult {
            name: name.into(),
            error_code: refusal.code.code(),
            error_message: refusal.message.map(Into::into),
            ..Default::default()
        },
    });
    reply.send(&CreateTopicsResponse { topics: answers.collect(), ..Default::default() })
}

fn new_topic(topic: &CreatableTopic<'_>) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|a| (a.partition_index, a.broker_ids.iter().map(|id| *id).collect()))
            .collect(),
        configs: topic.configs.iter().map(|c| (c.name.to_string(), c.value.as_ref().map(|v| v.to_string()))).collect(),
    }
}

fn created_topic(
    cx: &Cx<'_>,
    image: &Image,
    name: String,
    topic: CreatedTopic,
    validate_only: bool,
) -> CreatableTopicResult<'static> {
    // What is only validated is not in the image, and has no settings there to show.
    let settings = (!validate_only).then(|| image.configs.get(&ConfigResource::topic(&name)).cloned()).flatten();
    let own = settings.as_deref();
    let entries = cx.node.with_layers(image, |layers| describe::topic(&own, layers, &|_| true));
    CreatableTopicResult {
        name: name.into(),
        topic_id: topic.topic_id,
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        configs: Some(
            entries
                .into_iter()
                .map(|e| CreatableTopicConfigs {
                    name: e.name.into(),
                    value: e.value.map(Into::into),
                    read_only: e.read_only,
                    config_source: e.source as i8,
                    is_sensitive: e.sensitive,
                    ..Default::default()
                })
                .collect(),
        ),
        ..Default::default()
    }
}
