//! Partitions: their sizes and offsets, and how their replicas are.

use std::collections::HashMap;
use std::path::Path;

use super::page::{Kind, Page};
use crate::node::Node;
use wire::Uuid;

/// What is shown of one partition.
struct Seen {
    topic: usize,
    index: String,
    start: i64,
    end: i64,
    high_watermark: i64,
    last_stable_offset_lag: i64,
    bytes: u64,
    segments: usize,
    replicas: usize,
    in_sync: usize,
    under_replicated: bool,
}

/// First offset and high watermark of a partition that this node leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub start: i64,
    pub end: i64,
}

/// What other parts of the page need of the partitions.
pub(super) struct Summary {
    /// Of the partitions that this node leads.
    pub ranges: HashMap<(Uuid, i32), Range>,
    /// Partitions and bytes in each log directory.
    pub dirs: Vec<(usize, u64)>,
}

/// A partition's gauge, its name and what it shows.
type Gauge = (&'static str, &'static str, fn(&Seen) -> i64);

const GAUGES: [Gauge; 9] = [
    ("kafka_log_log_size", "Bytes of a partition's log.", |s| s.bytes as i64),
    ("kafka_log_log_numlogsegments", "Segments of a partition's log.", |s| s.segments as i64),
    ("kafka_log_log_logstartoffset", "First offset of a partition's log.", |s| s.start),
    ("kafka_log_log_logendoffset", "Offset that the next record gets.", |s| s.end),
    ("kafka_cluster_partition_highwatermark", "Offset up to which consumers read.", |s| s.high_watermark),
    (
        "kafka_cluster_partition_laststableoffsetlag",
        "Records below the high watermark that wait for a transaction to end.",
        |s| s.last_stable_offset_lag,
    ),
    ("kafka_cluster_partition_replicascount", "Replicas that a partition is to have.", |s| s.replicas as i64),
    ("kafka_cluster_partition_insyncreplicascount", "Replicas that are in sync.", |s| s.in_sync as i64),
    (
        "kafka_cluster_partition_underreplicated",
        "Whether this node leads the partition and replicas are out of sync.",
        |s| s.under_replicated.into(),
    ),
];

/// What this node has of the cluster's partitions.
#[derive(Default)]
struct Counts {
    replicas: usize,
    leaders: usize,
    under_replicated: usize,
    under_min_isr: usize,
    at_min_isr: usize,
    offline: usize,
    reassigning: usize,
}

pub(super) fn write(page: &mut Page, node: &Node) -> Summary {
    let table = node.partitions.table();
    let image = node.image();
    let mut topics: Vec<_> = table.topics().collect();
    topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let dirs: Vec<&Path> = node.housekeeping.dirs.iter().map(|dir| dir.path()).collect();
    let mut summary = Summary { ranges: HashMap::new(), dirs: vec![(0, 0); dirs.len()] };
    let mut counts = Counts::default();
    let mut all = Vec::new();
    for (at, topic) in topics.iter().enumerate() {
        let told = image.topics.get(topic.id);
        for cell in topic.partitions.iter().flatten() {
            let told = told.and_then(|told| told.partition(cell.index));
            let (replicas, in_sync) = told.map_or((0, 0), |p| (p.replicas.len(), p.isr.len()));
            let partition = cell.lock();
            let (log, leads) = (partition.log(), partition.is_leader());
            let high_watermark = partition.high_watermark();
            let seen = Seen {
                topic: at,
                index: cell.index.to_string(),
                start: log.log_start_offset(),
                end: log.log_end_offset(),
                high_watermark,
                last_stable_offset_lag: high_watermark - partition.last_stable_offset(),
                bytes: log.size_bytes(),
                segments: log.segment_count(),
                replicas,
                in_sync,
                under_replicated: leads && in_sync < replicas,
            };
            counts.offline += usize::from(log.fault().is_some());
            drop(partition);
            counts.replicas += 1;
            if leads {
                let min_isr = (topic.config.min_insync_replicas as usize).min(replicas);
                counts.leaders += 1;
                counts.under_replicated += usize::from(seen.under_replicated);
                counts.under_min_isr += usize::from(in_sync < min_isr);
                counts.at_min_isr += usize::from(in_sync == min_isr);
                counts.reassigning += usize::from(told.is_some_and(|p| p.is_reassigning()));
                summary.ranges.insert((topic.id, cell.index), Range { start: seen.start, end: high_watermark });
            }
            if let Some(dir) = dirs.iter().position(|dir| cell.is_in(dir)) {
                summary.dirs[dir].0 += 1;
                summary.dirs[dir].1 += seen.bytes;
            }
            all.push(seen);
        }
    }
    counts.write(page);
    for (name, help, value) in GAUGES {
        let mut family = page.family(name, Kind::Gauge, help);
        for seen in &all {
            family.sample(&[("topic", &topics[seen.topic].name), ("partition", &seen.index)], value(seen));
        }
    }
    summary
}

impl Counts {
    fn write(&self, page: &mut Page) {
        let mut gauge = |name: &str, help: &str, value: usize| page.gauge(name, help, value);
        gauge("kafka_server_replicamanager_partitioncount", "Replicas that this node has.", self.replicas);
        gauge("kafka_server_replicamanager_leadercount", "Partitions that this node leads.", self.leaders);
        let name = "kafka_server_replicamanager_underreplicatedpartitions";
        gauge(name, "Partitions that this node leads and that have replicas out of sync.", self.under_replicated);
        let name = "kafka_server_replicamanager_underminisrpartitioncount";
        let help = "Partitions that this node leads and that have fewer replicas in sync than min.insync.replicas.";
        gauge(name, help, self.under_min_isr);
        let name = "kafka_server_replicamanager_atminisrpartitioncount";
        let help = "Partitions that this node leads and that have min.insync.replicas in sync and not one more.";
        gauge(name, help, self.at_min_isr);
        let name = "kafka_server_replicamanager_offlinereplicacount";
        gauge(name, "Replicas of this node whose log failed.", self.offline);
        let name = "kafka_server_replicamanager_reassigningpartitions";
        gauge(name, "Partitions that this node leads and that get other replicas.", self.reassigning);
    }
}
