//! The whole page: what was counted, and what is looked up when somebody asks: traffic, sizes and offsets of partitions,
//! the lag of groups, the cluster's state as this node sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::page::{Kind, Page};
use super::{Traffic, process};
use crate::node::Node;

/// Makes the page.
pub fn page(node: &Node) -> String {
    let mut page = Page::new();
    let build = [("version", env!("CARGO_PKG_VERSION")), ("kafka", "4.3")];
    page.family("klamm_build_info", Kind::Gauge, "What runs here.").sample(&build, 1);
    let table = node.partitions.table();
    let mut topics: Vec<(&str, &Traffic)> = table.topics().map(|topic| (&*topic.name, &*topic.traffic)).collect();
    topics.sort_unstable_by_key(|(name, _)| *name);
    node.metrics.write(&mut page, &topics);
    let ends = partitions(&mut page, node);
    groups(&mut page, node, &ends);
    cluster(&mut page, node);
    log_dirs(&mut page, node);
    cleaner(&mut page, node);
    process::write(&mut page);
    page.finish()
}

/// What is shown of one partition.
struct Seen {
    index: String,
    is_leader: bool,
    start: i64,
    end: i64,
    high_watermark: i64,
    bytes: u64,
    segments: usize,
}

/// High watermarks of the partitions that this node leads, by topic and index.
type Ends = BTreeMap<Arc<str>, BTreeMap<i32, i64>>;

/// A partition's gauge, its name and what it shows.
type PartitionFamily = (&'static str, &'static str, fn(&Seen) -> i64);

const PARTITIONS: [PartitionFamily; 5] = [
    ("kafka_log_log_size", "Bytes of a partition's log.", |s| s.bytes as i64),
    ("kafka_log_log_numlogsegments", "Segments of a partition's log.", |s| s.segments as i64),
    ("kafka_log_log_logstartoffset", "First offset of a partition's log.", |s| s.start),
    ("kafka_log_log_logendoffset", "Offset that the next record gets.", |s| s.end),
    ("kafka_cluster_partition_highwatermark", "Offset up to which consumers read.", |s| s.high_watermark),
];

fn partitions(page: &mut Page, node: &Node) -> Ends {
    let mut seen: BTreeMap<Arc<str>, Vec<Seen>> = BTreeMap::new();
    let mut ends = Ends::new();
    let (mut count, mut leaders) = (0_usize, 0_usize);
    for cell in node.partitions.table().cells() {
        let partition = cell.lock();
        let log = partition.log();
        let one = Seen {
            index: cell.index.to_string(),
            is_leader: partition.is_leader(),
            start: log.log_start_offset(),
            end: log.log_end_offset(),
            high_watermark: partition.high_watermark(),
            bytes: log.size_bytes(),
            segments: log.segment_count(),
        };
        drop(partition);
        count += 1;
        if one.is_leader {
            leaders += 1;
            ends.entry(cell.topic.clone()).or_default().insert(cell.index, one.high_watermark);
        }
        seen.entry(cell.topic.clone()).or_default().push(one);
    }
    page.gauge("kafka_server_replicamanager_partitioncount", "Replicas that this node has.", count);
    page.gauge("kafka_server_replicamanager_leadercount", "Partitions that this node leads.", leaders);
    for (name, help, value) in PARTITIONS {
        let mut family = page.family(name, Kind::Gauge, help);
        for (topic, partitions) in &seen {
            for one in partitions {
                family.sample(&[("topic", topic), ("partition", &one.index)], value(one));
            }
        }
    }
    ends
}

/// Groups whose coordinator this node is. Lag is told for partitions that this node leads.
fn groups(page: &mut Page, node: &Node, ends: &Ends) {
    let stores = node.groups.stores();
    let committed = || stores.iter().flat_map(|store| store.offsets());
    let name = "kafka_consumergroup_current_offset";
    let mut family = page.family(name, Kind::Gauge, "Offset that a group has committed.");
    for (key, value) in committed() {
        let partition = key.partition.to_string();
        let labels = [("consumergroup", &*key.group), ("topic", &*key.topic), ("partition", &*partition)];
        family.sample(&labels, value.offset);
    }
    let mut family = page.family("kafka_consumergroup_lag", Kind::Gauge, "Records that a group has not committed yet.");
    for (key, value) in committed() {
        let Some(end) = ends.get(&key.topic).and_then(|partitions| partitions.get(&key.partition)) else { continue };
        let partition = key.partition.to_string();
        let labels = [("consumergroup", &*key.group), ("topic", &*key.topic), ("partition", &*partition)];
        family.sample(&labels, (end - value.offset).max(0));
    }
    let mut family =
        page.family("kafka_consumergroup_members", Kind::Gauge, "Members that a group had in its last generation.");
    for (group, stored) in stores.iter().flat_map(|store| store.groups()) {
        let members = stored.metadata.as_ref().map_or(0, |metadata| metadata.members.len());
        family.sample(&[("consumergroup", group)], members);
    }
    let mut states: BTreeMap<&'static str, usize> = BTreeMap::new();
    for group in node.groups.served() {
        *states.entry(group.state.name()).or_default() += 1;
    }
    let name = "kafka_coordinator_group_groupcoordinator_groups";
    let mut family = page.family(name, Kind::Gauge, "Groups whose coordinator this node is, by state.");
    for (state, count) in states {
        family.sample(&[("state", state)], count);
    }
}

fn log_dirs(page: &mut Page, node: &Node) {
    let dirs: Vec<_> = node.housekeeping.dirs.iter().map(|d| (d.path().display().to_string(), d)).collect();
    let offline = dirs.iter().filter(|(_, d)| d.is_offline()).count();
    page.gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.", offline);
    let spaces: Vec<(&str, (u64, u64))> =
        dirs.iter().filter_map(|(path, d)| Some((path.as_str(), d.log_dir.space().ok()?))).collect();
    let mut family = page.family("klamm_log_dir_total_bytes", Kind::Gauge, "Size of a log directory's volume.");
    for (path, (total, _)) in &spaces {
        family.sample(&[("dir", path)], *total);
    }
    let help = "Bytes that a log directory's volume has left.";
    let mut family = page.family("klamm_log_dir_usable_bytes", Kind::Gauge, help);
    for (path, (_, usable)) in &spaces {
        family.sample(&[("dir", path)], *usable);
    }
}

fn cleaner(page: &mut Page, node: &Node) {
    let stats = &node.cleaner.stats;
    let ended_ms = stats.last_run_ended_ms.load(Ordering::Relaxed);
    let since_ms = if ended_ms == 0 { 0 } else { node.clock.now_ms().saturating_sub(ended_ms).max(0) };
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let delay_s = stats.max_compaction_delay_ms.load(Ordering::Relaxed) / 1000;
    page.gauge(
        "kafka_log_logcleanermanager_uncleanable_partitions_count",
        "Partitions that cannot be compacted because their log is damaged.",
        load(&stats.uncleanable_partitions),
    );
    let help = "Share of the dirtiest compacted log that is not compacted, in percent.";
    page.gauge("kafka_log_logcleanermanager_max_dirty_percent", help, load(&stats.max_dirty_percent));
    let help = "Milliseconds since a log was last compacted; 0 when none was.";
    page.gauge("kafka_log_logcleanermanager_time_since_last_run_ms", help, since_ms);
    let help = "Seconds by which records are kept uncompacted beyond max.compaction.lag.ms.";
    page.gauge("kafka_log_logcleaner_max_compaction_delay_secs", help, delay_s);
    let mut counter = |name: &str, help: &str, value: u64| page.family(name, Kind::Counter, help).sample(&[], value);
    counter("klamm_log_cleaner_runs_total", "Logs compacted.", load(&stats.runs));
    counter("klamm_log_cleaner_read_bytes_total", "Bytes that the log cleaner read.", load(&stats.read_bytes));
    counter("klamm_log_cleaner_written_bytes_total", "Bytes that the log cleaner wrote.", load(&stats.written_bytes));
}

fn cluster(page: &mut Page, node: &Node) {
    let image = node.image();
    let brokers = image.cluster.brokers();
    let (active, fenced): (Vec<_>, Vec<_>) = brokers.partition(|broker| !broker.fenced);
    let (mut partitions, mut offline, mut under_replicated, mut not_preferred) = (0, 0, 0, 0);
    for topic in image.topics.iter() {
        for (_, partition) in topic.partitions.iter() {
            partitions += 1;
            offline += usize::from(!partition.has_leader());
            under_replicated += usize::from(partition.isr.len() < partition.replicas.len());
            not_preferred += usize::from(partition.leader != partition.preferred_leader());
        }
    }
    let mut gauge = |name: &str, help: &str, value: usize| page.gauge(name, help, value);
    gauge("kafka_controller_kafkacontroller_activecontrollercount", "Whether this node is the active controller.", 1);
    gauge("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are not fenced.", active.len());
    gauge("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are fenced.", fenced.len());
    gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics.", image.topics.len());
    gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions.", partitions);
    gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without leader.", offline);
    let name = "kafka_controller_kafkacontroller_preferredreplicaimbalancecount";
    gauge(name, "Partitions that another than their preferred replica leads.", not_preferred);
    gauge(
        "kafka_server_replicamanager_underreplicatedpartitions",
        "Partitions with replicas out of sync.",
        under_replicated,
    );
    page.gauge(
        "kafka_server_raft_metrics_log_end_offset",
        "Offset of the last record of the metadata log.",
        image.offset,
    );
}
