//! The whole page: what was counted, and what is looked up when somebody asks: traffic, sizes and offsets of partitions,
//! the lag of groups, the cluster's state as this node sees it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::page::{Kind, Number, Page};
use super::sampler::Samples;
use super::{Traffic, groups, partitions, process};
use crate::node::Node;

/// Makes the page.
pub fn page(node: &Node, samples: &Samples) -> String {
    let mut page = Page::new();
    let build = [("version", env!("CARGO_PKG_VERSION")), ("kafka", "4.3")];
    page.family("klamm_build_info", Kind::Gauge, "What runs here.").sample(&build, 1);
    let table = node.partitions.table();
    let mut topics: Vec<(&str, &Traffic)> = table.topics().map(|topic| (&*topic.name, &*topic.traffic)).collect();
    topics.sort_unstable_by_key(|(name, _)| *name);
    node.metrics.write(&mut page, &topics);
    threads(&mut page, node, samples);
    let held = partitions::write(&mut page, node);
    isr_changes(&mut page, node);
    groups::write(&mut page, node, &held, samples);
    cluster(&mut page, node);
    log_dirs(&mut page, node, &held.dirs, samples);
    cleaner(&mut page, node);
    node.telemetry.write(&mut page);
    process::write(&mut page);
    page.finish()
}

fn isr_changes(page: &mut Page, node: &Node) {
    let stats = &node.replicas.stats;
    for (name, help, counter) in [
        ("kafka_server_replicamanager_isrshrinks_total", "Changes that made an ISR smaller.", &stats.isr_shrinks),
        ("kafka_server_replicamanager_isrexpands_total", "Changes that made an ISR larger.", &stats.isr_expands),
        (
            "kafka_server_replicamanager_failedisrupdates_total",
            "Changes of an ISR that the controller did not make.",
            &stats.failed_isr_updates,
        ),
    ] {
        page.family(name, Kind::Counter, help).sample(&[], counter.load(Ordering::Relaxed));
    }
}

fn log_dirs(page: &mut Page, node: &Node, held: &[(usize, u64)], samples: &Samples) {
    let dirs: Vec<_> = node.housekeeping.dirs.iter().map(|d| (d.path().display().to_string(), d)).collect();
    let offline = dirs.iter().filter(|(_, d)| d.is_offline()).count();
    page.gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.", offline);
    let name = "kafka_log_logmanager_logdirectoryoffline";
    let mut family = page.family(name, Kind::Gauge, "Whether a log directory failed.");
    for (path, dir) in &dirs {
        family.sample(&[("logDirectory", path)], u8::from(dir.is_offline()));
    }
    let mut family = page.family("klamm_log_dir_partitions", Kind::Gauge, "Replicas in a log directory.");
    for ((path, _), (partitions, _)) in dirs.iter().zip(held) {
        family.sample(&[("dir", path)], *partitions);
    }
    let mut family = page.family("klamm_log_dir_log_bytes", Kind::Gauge, "Bytes of the logs in a log directory.");
    for ((path, _), (_, bytes)) in dirs.iter().zip(held) {
        family.sample(&[("dir", path)], *bytes);
    }
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
    let trends: Vec<_> = dirs.iter().filter_map(|(path, d)| Some((path, samples.trend(d.path())?))).collect();
    let help =
        "Bytes by which a log directory's volume fills each second, over the last hour; there after two minutes.";
    let mut family = page.family("klamm_log_dir_fill_bytes_per_second", Kind::Gauge, help);
    for (path, trend) in &trends {
        family.sample(&[("dir", path)], trend.bytes_per_second);
    }
    let help =
        "Seconds until a log directory's volume is full if it goes on like in the last hour; +Inf if it does not fill.";
    let mut family = page.family("klamm_log_dir_seconds_until_full", Kind::Gauge, help);
    for (path, trend) in &trends {
        family.sample(&[("dir", path)], Number(trend.seconds_until_full));
    }
}

fn threads(page: &mut Page, node: &Node, samples: &Samples) {
    // The same threads read, handle and answer.
    for name in [
        "kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent",
        "kafka_network_socketserver_networkprocessoravgidle_percent",
    ] {
        let help = "Share of the last minute in which the threads that serve clients were idle, from 0 to 1.";
        let mut family = page.family(name, Kind::Gauge, help);
        if let Some(idle) = samples.idle(node) {
            family.sample(&[], idle);
        }
    }
    let reactors: Vec<_> = node.reactors.done().enumerate().map(|(i, done)| (i.to_string(), done)).collect();
    let help =
        "CPU time of each thread that serves clients; the first one also does everything else that need not wait.";
    let mut family = page.family("klamm_reactor_cpu_seconds_total", Kind::Counter, help);
    for (reactor, done) in &reactors {
        family.sample(&[("reactor", reactor)], done.cpu.as_secs_f64());
    }
    let help = "Connections that went on on another thread, because this one had too much or too little to do.";
    let mut family = page.family("klamm_reactor_departures_total", Kind::Counter, help);
    for (reactor, done) in &reactors {
        family.sample(&[("reactor", reactor)], done.moved as f64);
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
    let last_s = load(&stats.last_run_ms) as f64 / 1000.0;
    page.gauge("kafka_log_logcleaner_max_clean_time_secs", "Seconds that the last cleaning took.", last_s);
    let mut counter = |name: &str, help: &str, value: u64| page.family(name, Kind::Counter, help).sample(&[], value);
    counter("klamm_log_cleaner_runs_total", "Logs compacted.", load(&stats.runs));
    counter("klamm_log_cleaner_read_bytes_total", "Bytes that the log cleaner read.", load(&stats.read_bytes));
    counter("klamm_log_cleaner_written_bytes_total", "Bytes that the log cleaner wrote.", load(&stats.written_bytes));
}

fn cluster(page: &mut Page, node: &Node) {
    let (image, leader) = (node.image(), node.controller.leader());
    let brokers = image.cluster.brokers();
    let (active, fenced): (Vec<_>, Vec<_>) = brokers.partition(|broker| !broker.fenced);
    let (mut partitions, mut offline, mut not_preferred) = (0, 0, 0);
    for topic in image.topics.iter() {
        for (_, partition) in topic.partitions.iter() {
            partitions += 1;
            offline += usize::from(!partition.has_leader());
            not_preferred += usize::from(partition.leader != partition.preferred_leader());
        }
    }
    let mut gauge = |name: &str, help: &str, value: usize| page.gauge(name, help, value);
    let name = "kafka_controller_kafkacontroller_activecontrollercount";
    gauge(name, "Whether this node is the active controller.", usize::from(leader.is_here));
    gauge("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are not fenced.", active.len());
    gauge("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that are fenced.", fenced.len());
    gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics.", image.topics.len());
    gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions.", partitions);
    gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without leader.", offline);
    let name = "kafka_controller_kafkacontroller_preferredreplicaimbalancecount";
    gauge(name, "Partitions that another than their preferred replica leads.", not_preferred);
    let mut gauge = |name: &str, help: &str, value: i64| page.gauge(name, help, value);
    let name = "kafka_server_raft_metrics_current_leader";
    gauge(name, "Active controller, as far as this node knows; -1 when there is none.", leader.id.unwrap_or(-1).into());
    let name = "kafka_server_raft_metrics_current_epoch";
    gauge(name, "Epoch of the metadata quorum.", leader.epoch.into());
    let name = "kafka_server_raft_metrics_high_watermark";
    gauge(
        name,
        "Offset up to which the metadata log is committed.",
        node.metadata_log.high_watermark.load(Ordering::Relaxed),
    );
    let name = "kafka_server_raft_metrics_log_end_offset";
    gauge(
        name,
        "Offset that the next record of the metadata log gets.",
        node.metadata_log.end_offset.load(Ordering::Relaxed),
    );
    let name = "kafka_server_broker_metadata_metrics_last_applied_record_offset";
    gauge(name, "Offset of the last record of the metadata log that this broker applied.", image.offset);
}
