//! One run: clients at work, faults one after the other with rests between them, then the reckoning.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::chance::Chance;
use super::checker::{check, differing};
use super::clients::{self, Shared};
use super::cluster::{self, Cluster, PATIENCE, until};
use super::fault::{KINDS, Kind, strike};
use super::history::{Commit, Fate, Recorder};

/// What the short run does, in this order.
const SHORT: &[Kind] = &[
    Kind::KillLeader,
    Kind::Pause,
    Kind::OneWayCut,
    Kind::PowerCut,
    Kind::FullDisk,
    Kind::FailingSync,
    Kind::KillController,
];

/// What is done, and for how long.
pub struct Plan {
    pub seed: u64,
    length: Option<Duration>,
    only: Vec<Kind>,
    synced: bool,
}

impl Plan {
    pub fn from_environment() -> Plan {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str| text(name).map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{name}: {e}")));
        let synced = text("FAULTS_SYNCED").is_some();
        let kind = |name: &str| {
            let known = KINDS.iter().find(|(_, known)| *known == name);
            let all: Vec<&str> = KINDS.iter().map(|(_, known)| *known).collect();
            known.unwrap_or_else(|| panic!("FAULTS_ONLY: {name} is none of {}", all.join(", "))).0
        };
        let only = match text("FAULTS_ONLY") {
            Some(names) => names.split(',').map(kind).collect(),
            None => KINDS.iter().map(|(kind, _)| *kind).filter(|kind| synced || *kind != Kind::PowerCutAll).collect(),
        };
        Plan {
            seed: number("FAULTS_SEED").unwrap_or(1),
            length: number("FAULTS_MINUTES").map(|minutes| Duration::from_secs(60 * minutes)),
            only,
            synced,
        }
    }

    pub fn is_long(&self) -> bool {
        self.length.is_some()
    }
}

/// An error says what did not hold.
pub async fn run(folder: &Path, plan: &Plan) -> Result<(), String> {
    let partitions = ["cached", "synced"].iter().flat_map(|topic| (0..3).map(|p| ((*topic).to_owned(), p))).collect();
    let shared = Shared {
        servers: cluster::servers(),
        partitions,
        recorder: Recorder::new(6),
        seed: plan.seed,
        writes_end: AtomicBool::new(false),
        reads_end: AtomicBool::new(false),
    };
    let shared = Arc::new(shared);
    let mut cluster = Cluster::start(folder, shared.clone(), plan.synced).await?;
    let (writers, readers) = clients::start(&shared);
    let result = faults(&mut cluster, plan).await;
    let result = match result {
        Ok(()) => reckon(&mut cluster, writers, readers).await,
        Err(why) => Err(why),
    };
    let panicked: Vec<usize> =
        cluster.nodes.iter().filter(|node| node.log().contains("panicked")).map(|node| node.id).collect();
    let result = match panicked.is_empty() {
        true => result,
        false => Err(format!("nodes {panicked:?} panicked; {result:?}")),
    };
    if result.is_err() {
        std::fs::write(folder.join("history"), written(&shared)).unwrap();
    }
    result
}

async fn faults(cluster: &mut Cluster, plan: &Plan) -> Result<(), String> {
    let mut chance = Chance(plan.seed);
    let begun = Instant::now();
    let mut counts: BTreeMap<&str, (u32, Duration, Duration)> = BTreeMap::new();
    cluster.until_written().await?;
    for number in 1.. {
        let kind = match plan.length {
            Some(length) if begun.elapsed() >= length => break,
            Some(_) => *chance.one(&plan.only),
            None => match SHORT.get(number - 1) {
                Some(kind) => *kind,
                None => break,
            },
        };
        let (name, at) = (kind.name(), begun.elapsed());
        let failed = |why: String| format!("fault {number}, {name}: {why}");
        cluster.shared.recorder.watch();
        let struck = strike(cluster, kind, &mut chance).await.map_err(failed)?;
        let healed = Instant::now();
        let failed = |why: String| format!("fault {number}, {name} of {struck}: {why}");
        cluster.until_written().await.map_err(failed)?;
        let pause = cluster.shared.recorder.longest_pause();
        cluster.until_in_sync().await.map_err(failed)?;
        let synced = healed.elapsed();
        if let Some(node) = cluster.nodes.iter_mut().find_map(|node| (!node.runs()).then_some(node.id)) {
            return Err(failed(format!("node {node} ended by itself")));
        }
        fetch_commits(cluster).await;
        println!(
            "{:7.1} s  {number:4} {name}: {struck}; longest pause {pause:.1?}, in sync {synced:.1?} after its end",
            at.as_secs_f64()
        );
        let count = counts.entry(name).or_default();
        *count = (count.0 + 1, count.1.max(pause), count.2.max(synced));
        if plan.is_long() {
            sleep(Duration::from_millis(chance.below(1000) as u64)).await;
        }
    }
    for (name, (count, pause, synced)) in counts {
        println!("{name}: {count}, longest pause {pause:.1?}, in sync after at most {synced:.1?}");
    }
    Ok(())
}

async fn fetch_commits(cluster: &Cluster) {
    // Commits that are told while this is on its way count as later ones.
    let before = cluster.shared.recorder.history().commits.len();
    if let Some(offsets) = cluster.committed().await {
        let mut history = cluster.shared.recorder.history();
        let fetched = offsets.into_iter().enumerate().map(|(key, offset)| (key, Commit::Fetched(offset)));
        history.commits.splice(before..before, fetched);
    }
}

type Tasks = Vec<tokio::task::JoinHandle<()>>;

/// Everything is well again: all that was acknowledged is there, once and in order, and the replicas are the same.
async fn reckon(cluster: &mut Cluster, writers: Tasks, readers: Tasks) -> Result<(), String> {
    let shared = cluster.shared.clone();
    shared.writes_end.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.map_err(|e| format!("a producer: {e}"))?;
    }
    cluster.until_in_sync().await?;
    let ends = cluster.ends().await?;
    if !clients::read_all(&shared, &ends, PATIENCE).await {
        return Err(format!("not everything up to {ends:?} could be read within {PATIENCE:?}"));
    }
    let at_end = || async {
        let committed = cluster.committed().await.unwrap_or_default();
        !committed.is_empty() && shared.partitions.iter().zip(committed).all(|(tp, offset)| offset == Some(ends[tp]))
    };
    until("the group has committed everything", at_end).await?;
    shared.reads_end.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.map_err(|e| format!("a consumer: {e}"))?;
    }
    fetch_commits(cluster).await;
    let history = shared.recorder.history().clone();
    let mut wrong: Vec<String> = check(&history).iter().map(ToString::to_string).collect();
    for node in &mut cluster.nodes {
        if !tokio::task::block_in_place(|| node.stop()) {
            wrong.push(format!("node {} did not end when asked to", node.id));
        }
    }
    for (topic, partition) in &shared.partitions {
        let logs: Vec<Vec<u8>> = cluster.nodes.iter().map(|node| node.records(topic, *partition)).collect();
        if logs[0].is_empty() {
            wrong.push(format!("{topic}-{partition} has no log"));
        }
        if let Some((other, byte)) = differing(&logs) {
            wrong.push(format!("{topic}-{partition}: nodes 1 and {} differ from byte {byte}", other + 1));
        }
    }
    let acknowledged = history.sends.iter().filter(|sent| matches!(sent.fate, Fate::Ok(_))).count();
    println!(
        "{} records sent, {acknowledged} acknowledged, {} reads, {} commits: {} anomalies",
        history.sends.len(),
        history.reads.len(),
        history.commits.len(),
        wrong.len()
    );
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }
}

/// The history as lines, for those who look for a cause.
fn written(shared: &Shared) -> String {
    let history = shared.recorder.history();
    let mut text = String::new();
    for (key, tp) in shared.partitions.iter().enumerate() {
        let _ = writeln!(text, "key {key} {tp:?}");
    }
    for (value, sent) in history.sends.iter().enumerate() {
        let _ = writeln!(text, "send {value} key {} producer {} {:?}", sent.key, sent.producer, sent.fate);
    }
    for read in &history.reads {
        let _ = writeln!(text, "{read:?}");
    }
    for (key, commit) in &history.commits {
        let _ = writeln!(text, "commit key {key} {commit:?}");
    }
    text
}
