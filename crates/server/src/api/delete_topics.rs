//! DeleteTopics (20), versions 1–6, by name or (from 6 on) by id. Files go later (`file.delete.delay.ms`).

use super::{Close, Cx, Reply, in_time};
use metadata::controller::TopicRef;
use std::ops::RangeInclusive;
use wire::messages::delete_topics_request::DeleteTopicsRequest;
use wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 1..=6;

pub async fn handle(cx: &Cx<'_>, request: DeleteTopicsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let topics: Vec<TopicRef> = if cx.version() >= 6 {
        request
            .topics
            .iter()
            .map(|t| t.name.as_ref().map_or(TopicRef::Id(t.topic_id), |name| TopicRef::Name(name.to_string())))
            .collect()
    } else {
        request.topic_names.iter().map(|n| TopicRef::Name(n.to_string())).collect()
    };
    if !cx.node.config.delete_topic_enable {
        let error = if cx.version() < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
        return reply.send(&DeleteTopicsResponse {
            responses: topics.into_iter().map(|t| refused(t, error, None)).collect(),
            ..Default::default()
        });
    }
    let deleted = in_time(cx.node, request.timeout_ms, cx.node.controller.delete_topics(topics.clone())).await;
    let responses = match deleted {
        Ok(deleted) => deleted
            .into_iter()
            .map(|t| DeletableTopicResult {
                name: t.name.map(Into::into),
                topic_id: t.topic_id,
                error_code: t.result.as_ref().err().map_or(0, |r| r.code.code()),
                error_message: t.result.err().and_then(|r| r.message).map(Into::into),
                ..Default::default()
            })
            .collect(),
        Err(refusal) => topics.into_iter().map(|t| refused(t, refusal.code, refusal.message.clone())).collect(),
    };
    reply.send(&DeleteTopicsResponse { responses, ..Default::default() })
}

fn refused(topic: TopicRef, error: ErrorCode, message: Option<String>) -> DeletableTopicResult<'static> {
    let (name, topic_id) = match topic {
        TopicRef::Name(name) => (Some(name.into()), Uuid::ZERO),
        TopicRef::Id(id) => (None, id),
    };
    DeletableTopicResult {
        name,
        topic_id,
        error_code: error.code(),
        error_message: Some(message.unwrap_or_else(|| error.message().to_owned()).into()),
        ..Default::default()
    }
}
