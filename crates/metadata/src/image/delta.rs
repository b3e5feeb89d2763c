//! What a run of records may have changed, so that followers of the image look only there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::Uuid;

use super::Image;
use super::configs::ConfigResource;
use super::topics::{Topic, TopicIdPartition};

/// Which partitions of a topic changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicDelta {
    /// The topic is new.
    pub created: bool,
    /// New or changed partitions.
    pub partitions: BTreeSet<i32>,
}

/// Names of what changed; the values are in the image. A name may be here although its value came back to
/// what it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Topics that are there now and are new or have changed partitions.
    pub topics: BTreeMap<Uuid, TopicDelta>,
    /// Topics that were there before and are gone, as they last were.
    pub removed_topics: BTreeMap<Uuid, Arc<Topic>>,
    pub configs: BTreeSet<ConfigResource>,
    /// Registered, changed or gone.
    pub brokers: BTreeSet<i32>,
    pub controllers: BTreeSet<i32>,
    pub features: BTreeSet<String>,
    pub producer_ids: bool,
    /// ACLs, SCRAM credentials, delegation tokens or quotas.
    pub security: bool,
}

impl Delta {
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// From one image to another that did not come about by records: everything may have changed.
    pub fn between(before: &Image, after: &Image) -> Delta {
        let mut delta = Delta::default();
        for topic in after.topics.iter() {
            let created = before.topics.get(topic.id).is_none();
            delta
                .topics
                .insert(topic.id, TopicDelta { created, partitions: topic.partitions.keys().copied().collect() });
        }
        for topic in before.topics.iter().filter(|topic| after.topics.get(topic.id).is_none()) {
            delta.removed_topics.insert(topic.id, topic.clone());
        }
        for image in [before, after] {
            delta.configs.extend(image.configs.iter().map(|(resource, _)| resource.clone()));
            delta.brokers.extend(image.cluster.brokers().map(|broker| broker.id));
            delta.controllers.extend(image.cluster.controllers().map(|controller| controller.id));
            delta.features.extend(image.features.iter().map(|(name, _)| name.to_owned()));
        }
        delta.producer_ids = before.next_producer_id != after.next_producer_id;
        delta.security = true;
        delta
    }

    /// Adds what came after this delta.
    pub fn merge(&mut self, later: Delta) {
        for (id, topic) in later.removed_topics {
            self.drop_topic(id, topic);
        }
        for (id, topic) in later.topics {
            let mine = self.topics.entry(id).or_default();
            mine.created |= topic.created;
            mine.partitions.extend(topic.partitions);
        }
        self.configs.extend(later.configs);
        self.brokers.extend(later.brokers);
        self.controllers.extend(later.controllers);
        self.features.extend(later.features);
        self.producer_ids |= later.producer_ids;
        self.security |= later.security;
    }

    /// A transaction was aborted: topics are as they were, so none of them was removed or created after all, and what is
    /// there now may have changed.
    pub(super) fn rolled_back_to(&mut self, image: &Image) {
        self.topics.retain(|id, _| image.topics.get(*id).is_some());
        let back: Vec<Uuid> =
            self.removed_topics.keys().copied().filter(|id| image.topics.get(*id).is_some()).collect();
        for id in back {
            if let Some(topic) = self.removed_topics.remove(&id) {
                self.topics.entry(id).or_default().partitions.extend(topic.partitions.keys());
            }
        }
    }

    pub(super) fn topic_created(&mut self, id: Uuid) {
        self.topics.entry(id).or_default().created = true;
    }

    pub(super) fn partition_changed(&mut self, key: TopicIdPartition) {
        self.topics.entry(key.topic_id).or_default().partitions.insert(key.partition);
    }

    pub(super) fn topic_removed(&mut self, topic: &Arc<Topic>) {
        self.drop_topic(topic.id, topic.clone());
    }

    pub(super) fn broker_changed(&mut self, id: i32) {
        self.brokers.insert(id);
    }

    /// A topic that was created and removed within one delta leaves no trace.
    fn drop_topic(&mut self, id: Uuid, topic: Arc<Topic>) {
        let was_new = self.topics.remove(&id).is_some_and(|mine| mine.created);
        if !was_new {
            self.removed_topics.insert(id, topic);
        }
    }
}
