//! Topics that come into being because a client asked for them (`auto.create.topics.enable`).

use crate::internal_topics;
use crate::node::Node;
use std::sync::Arc;
use tracing::warn;

/// Creates the topics of these names that may be created, and waits until they are there. A topic that cannot be created
/// is simply still missing afterwards, which the answer says.
pub async fn topics(node: &Arc<Node>, missing: Vec<String>) {
    if missing.is_empty() || !node.config.auto_create_topics_enable {
        return;
    }
    let wanted = missing.into_iter().filter(|name| metadata::controller::check_topic_name(name).is_ok());
    for name in wanted {
        let topic = match name.as_str() {
            internal_topics::GROUP_OFFSETS => node.group_offsets_topic(),
            _ => node.default_topic(&name),
        };
        if let Err(refusal) = node.create_topic(topic).await {
            warn!(topic = name, reason = %refusal, "the topic could not be created for a client that asked for it");
        }
    }
}
