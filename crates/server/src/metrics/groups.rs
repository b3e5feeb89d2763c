//! Groups whose coordinator this node is, and what they have left to read of the partitions that it leads.

use coordinator::store::OffsetKey;

use super::page::{Family, Kind, Page};
use super::partitions::Summary;
use super::sampler::Samples;
use crate::node::Node;

/// The states in Kafka's names of metrics.
const STATES: [(&str, &str); 5] = [
    ("kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance", "PreparingRebalance"),
    ("kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance", "CompletingRebalance"),
    ("kafka_coordinator_group_groupmetadatamanager_numgroupsstable", "Stable"),
    ("kafka_coordinator_group_groupmetadatamanager_numgroupsdead", "Dead"),
    ("kafka_coordinator_group_groupmetadatamanager_numgroupsempty", "Empty"),
];

/// One committed offset, with what is left from there on.
struct Lag<'a> {
    key: &'a OffsetKey,
    partition: String,
    offset: i64,
    records: Option<i64>,
    ms: Option<i64>,
}

impl Lag<'_> {
    fn sample(&self, family: &mut Family<'_>, value: impl std::fmt::Display) {
        let labels =
            [("consumergroup", &*self.key.group), ("topic", &*self.key.topic), ("partition", &*self.partition)];
        family.sample(&labels, value);
    }
}

pub(super) fn write(page: &mut Page, node: &Node, partitions: &Summary, samples: &Samples) {
    let stores = node.groups.stores();
    let table = node.partitions.table();
    let now_ms = node.clock.now_ms();
    let mut lags = Vec::new();
    for (key, committed) in stores.iter().flat_map(|store| store.offsets()) {
        let id = table.by_name(&key.topic).map(|topic| (topic.id, key.partition));
        let range = id.and_then(|id| partitions.ranges.get(&id)).copied();
        let offset = committed.offset;
        lags.push(Lag {
            key,
            partition: key.partition.to_string(),
            offset,
            records: range.map(|range| (range.end - offset.max(range.start)).max(0)),
            ms: id.zip(range).and_then(|(id, range)| samples.lag_ms(id, offset, range.start, range.end, now_ms)),
        });
    }
    let name = "kafka_consumergroup_current_offset";
    let mut family = page.family(name, Kind::Gauge, "Offset that a group has committed.");
    lags.iter().for_each(|lag| lag.sample(&mut family, lag.offset));
    let help = "Records that a group has not committed yet.";
    let mut family = page.family("kafka_consumergroup_lag", Kind::Gauge, help);
    lags.iter().for_each(|lag| lag.records.into_iter().for_each(|records| lag.sample(&mut family, records)));
    let help = "Seconds since the first record that a group has not committed could be read; 0 without any.";
    let mut family = page.family("kafka_consumergroup_lag_seconds", Kind::Gauge, help);
    lags.iter().for_each(|lag| lag.ms.into_iter().for_each(|ms| lag.sample(&mut family, ms as f64 / 1000.0)));
    let help = "Members that a group had in its last generation.";
    let mut family = page.family("kafka_consumergroup_members", Kind::Gauge, help);
    for (group, stored) in stores.iter().flat_map(|store| store.groups()) {
        let members = stored.metadata.as_ref().map_or(0, |metadata| metadata.members.len());
        family.sample(&[("consumergroup", group)], members);
    }
    let groups = node.groups.served();
    let name = "kafka_coordinator_group_groupmetadatamanager_numgroups";
    page.gauge(name, "Groups whose coordinator this node is.", groups.len());
    for (name, state) in STATES {
        let count = groups.iter().filter(|group| group.state.name() == state).count();
        page.gauge(name, &format!("Those of them that are in state {state}."), count);
    }
    let name = "kafka_coordinator_group_groupmetadatamanager_numoffsets";
    page.gauge(name, "Offsets that they have committed.", lags.len());
}
