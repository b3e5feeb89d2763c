//! What must hold after every event.

use crate::groups::is_offsets;
use crate::moves::Placement;
use crate::promises::Promises;
use crate::world::World;
use metadata::image::{Delta, Image, TopicIdPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::Uuid;
use wire::records::{Batch, batches};

/// Images that are kept to be compared with those of other nodes.
const IMAGES: usize = 64;

/// A batch that some replica has shown below its high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    epoch: i32,
    crc: u32,
    size: usize,
    producer: (i64, i32),
}

impl Shown {
    fn of(batch: &Batch<'_>) -> Shown {
        Shown {
            epoch: batch.leader_epoch(),
            crc: batch.crc(),
            size: batch.size(),
            producer: (batch.producer_id(), batch.base_sequence()),
        }
    }
}

/// What is known of a log as a whole.
#[derive(Default)]
struct Committed {
    /// By base offset.
    batches: BTreeMap<i64, Shown>,
    /// Everything before is committed.
    end: i64,
    /// The sequence that comes next of each producer, and the offset behind its last batch.
    sequences: BTreeMap<i64, (i32, i64)>,
    /// Records before were deleted, or may have been.
    floor: i64,
}

/// Producers whose acknowledged batches may be lost.
type WithGaps = BTreeSet<i64>;

impl Committed {
    /// Where the batch begins that has this offset, or that comes next.
    fn base_of(&self, offset: i64) -> i64 {
        let known = self.batches.range(..=offset).next_back().filter(|_| offset < self.end);
        known.map_or(offset, |(base, _)| *base)
    }

    /// Takes in what a replica shows at `at`.
    fn take(&mut self, at: i64, batch: &Batch<'_>, with_gaps: &WithGaps) -> Result<(), String> {
        let (base, shown) = (batch.base_offset(), Shown::of(batch));
        if base != at {
            return Err(format!("a batch at {base} where one at {at} was due"));
        }
        if base < self.end {
            return match self.batches.get(&base) {
                Some(known) if *known == shown => Ok(()),
                known => Err(format!("{shown:?} at {base}, where {known:?} is committed")),
            };
        }
        if batch.has_producer_id() {
            let (id, sequence) = shown.producer;
            let (due, end) = self.sequences.entry(id).or_insert((0, i64::MAX));
            // As in Kafka, a replica that begins behind all batches of a producer does not know it, and takes any.
            let is_forgotten = *end <= self.floor;
            if sequence != *due && !(sequence > *due && with_gaps.contains(&id)) && !is_forgotten {
                return Err(format!(
                    "producer {id} has {sequence} at {base}, and {due} was due: doubled, lost or overtaken"
                ));
            }
            (*due, *end) = (sequence + batch.record_count(), batch.next_offset());
        }
        self.batches.insert(base, shown);
        self.end = batch.next_offset();
        Ok(())
    }
}

/// A replica of a partition as it was seen last.
#[derive(Default)]
struct Seen {
    high_watermark: i64,
    /// Up to here it was compared with what is committed.
    compared: i64,
}

#[derive(Default)]
pub struct Checks {
    pub acknowledged: usize,
    pub consumed: usize,
    pub truncations: usize,
    pub moves: usize,
    /// What was found wrong in between.
    lost: Option<String>,

    /// The leader of each epoch of the quorum.
    quorum_leaders: BTreeMap<i32, i32>,
    metadata: BTreeMap<i64, (i32, u32)>,
    metadata_end: i64,
    /// The high watermark of each node's metadata, while its process lives.
    metadata_seen: BTreeMap<i32, i64>,
    metadata_touched: BTreeSet<i32>,
    images: BTreeMap<i64, Arc<Image>>,

    logs: BTreeMap<TopicIdPartition, Committed>,
    leaders: BTreeMap<(TopicIdPartition, i32), i32>,
    seen: BTreeMap<(i32, TopicIdPartition), Seen>,
    touched: BTreeSet<(i32, TopicIdPartition)>,
    /// Whoever may be elected for them is to be looked at.
    changed: BTreeSet<TopicIdPartition>,
    /// Nodes that may have lost records and have yet to say so.
    incomplete: BTreeSet<i32>,

    producer_ids: BTreeSet<i64>,
    with_gaps: WithGaps,
    pub promises: Promises,
    pub placements: BTreeMap<TopicIdPartition, Placement>,
    /// Topics whose creation was acknowledged, and whose deletion nobody asked for.
    created: BTreeSet<Uuid>,
    deleted: BTreeSet<Uuid>,
    /// What a group has committed for certain, and what it may have committed at most.
    offsets: BTreeMap<(&'static str, TopicIdPartition), (i64, i64)>,
}

impl Checks {
    pub fn lost(&mut self, what: String) {
        self.lost.get_or_insert(what);
    }

    pub fn started(&mut self, id: i32) {
        self.metadata_seen.insert(id, 0);
        self.seen.retain(|(node, _), _| *node != id);
    }

    pub fn power_cut(&mut self, id: i32) {
        self.incomplete.insert(id);
    }

    /// The controller knows what the node may have lost.
    pub fn registered(&mut self, id: i32) {
        self.incomplete.remove(&id);
    }

    pub fn touch_metadata(&mut self, id: i32) {
        self.metadata_touched.insert(id);
    }

    pub fn touch(&mut self, id: i32, key: TopicIdPartition) {
        self.touched.insert((id, key));
    }

    pub fn opened(&mut self, id: i32, key: TopicIdPartition) {
        self.seen.insert((id, key), Seen::default());
        self.touch(id, key);
        self.changed.insert(key);
    }

    /// A replica's copy took its log's place: it is compared anew.
    pub fn moved(&mut self, id: i32, key: TopicIdPartition) {
        self.moves += 1;
        self.seen.entry((id, key)).or_default().compared = 0;
        self.touch(id, key);
        self.changed.insert(key);
    }

    pub fn dropped(&mut self, id: i32, key: TopicIdPartition) {
        self.seen.remove(&(id, key));
    }

    /// `is_whole`: nothing but what was never committed was cut.
    pub fn truncated(&mut self, id: i32, key: TopicIdPartition, end: i64, is_whole: bool) {
        self.truncations += 1;
        let seen = self.seen.entry((id, key)).or_default();
        seen.compared = seen.compared.min(end);
        if !is_whole {
            seen.high_watermark = seen.high_watermark.min(end);
        }
        self.changed.insert(key);
    }

    pub fn changed(&mut self, change: &Delta) {
        for (topic_id, topic) in &change.topics {
            let keys = topic.partitions.iter().map(|p| TopicIdPartition { topic_id: *topic_id, partition: *p });
            self.changed.extend(keys);
        }
    }

    /// A state that the controller decided makes sense: who leads is up and in sync, nobody leads only where nobody is in
    /// sync, and whoever is named is a replica.
    pub fn decided(image: &Image) -> Result<(), String> {
        for topic in image.topics.iter() {
            for (index, partition) in &topic.partitions {
                let is_up = |id: &i32| image.cluster.broker(*id).is_some_and(|broker| !broker.fenced);
                let leader = partition.leader;
                let is_there = |id: i32| {
                    let directory = partition.directory_of(id);
                    let broker = image.cluster.broker(id);
                    broker.zip(directory).is_some_and(|(broker, directory)| broker.has_online_dir(directory))
                };
                let is_led = leader >= 0 && is_up(&leader) && partition.isr.contains(&leader) && is_there(leader);
                // As in Kafka, a leader is believed that a replica is in sync whose new directory is not known yet.
                let is_leaderless = leader < 0 && !partition.isr.iter().any(|id| is_there(*id));
                let named = partition.isr.iter().chain(&partition.elr);
                let mut named = named.chain(&partition.adding_replicas).chain(&partition.removing_replicas);
                let are_replicas = named.all(|id| partition.replicas.contains(id)) && !partition.replicas.is_empty();
                if !(is_led || is_leaderless) || !partition.isr.iter().all(is_up) || !are_replicas {
                    let brokers: Vec<_> = image.cluster.brokers().map(|b| (b.id, b.epoch, b.fenced)).collect();
                    return Err(format!(
                        "at {} {}-{index} is {partition:?}, brokers {brokers:?}",
                        image.offset, topic.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// A node has come to a state: all that come to the same offset come to the same state.
    pub fn published(&mut self, id: i32, image: &Arc<Image>) -> Result<(), String> {
        match self.images.get(&image.offset) {
            Some(known) if Arc::ptr_eq(known, image) || **known == **image => Ok(()),
            Some(_) => Err(format!("{id} has another state at {} than others", image.offset)),
            None => {
                self.images.insert(image.offset, image.clone());
                if self.images.len() > IMAGES {
                    self.images.pop_first();
                }
                Ok(())
            }
        }
    }

    pub fn leads(&mut self, key: TopicIdPartition, epoch: i32, id: i32) -> Result<(), String> {
        match *self.leaders.entry((key, epoch)).or_insert(id) {
            other if other != id => Err(format!("{other} and {id} both lead {key:?} in epoch {epoch}")),
            _ => Ok(()),
        }
    }

    /// Whether somebody else leads or led in a later epoch.
    pub fn was_led_by_another(&self, key: TopicIdPartition, epoch: i32, id: i32) -> bool {
        self.leaders.range((key, epoch)..=(key, i32::MAX)).any(|(_, leader)| *leader != id)
    }

    pub fn committed_crc(&self, key: TopicIdPartition, offset: i64) -> Option<u32> {
        self.logs.get(&key)?.batches.get(&offset).map(|shown| shown.crc)
    }

    /// All batches that are committed: partition, offset, checksum.
    pub fn all_committed(&self) -> impl Iterator<Item = (TopicIdPartition, i64, u32)> + '_ {
        let logs = self.logs.iter();
        logs.flat_map(|(key, log)| log.batches.iter().map(|(offset, shown)| (*key, *offset, shown.crc)))
    }

    pub fn producer_id(&mut self, id: i64, has_gaps: bool) -> Result<(), String> {
        if has_gaps {
            self.with_gaps.insert(id);
        }
        if self.producer_ids.insert(id) { Ok(()) } else { Err(format!("producer id {id} was given out twice")) }
    }

    pub fn deletes_records(&mut self, key: TopicIdPartition, before: i64) {
        let log = self.logs.entry(key).or_default();
        log.floor = before.max(log.floor);
    }

    pub fn floor(&self, key: TopicIdPartition) -> i64 {
        self.logs.get(&key).map_or(0, |log| log.floor)
    }

    pub fn placement(&mut self, key: TopicIdPartition) -> &mut Placement {
        self.placements.entry(key).or_default()
    }

    pub fn creates(&mut self, topic: Uuid) {
        if !self.deleted.contains(&topic) {
            self.created.insert(topic);
        }
    }

    pub fn deletes(&mut self, topic: Uuid) {
        self.created.remove(&topic);
        self.deleted.insert(topic);
    }

    pub fn created(&self) -> impl Iterator<Item = &Uuid> {
        self.created.iter()
    }

    pub fn is_incomplete(&self, id: i32) -> bool {
        self.incomplete.contains(&id)
    }

    /// A consumer reads a batch where it expects one at `at`.
    pub fn consume(&mut self, key: TopicIdPartition, at: i64, batch: &Batch<'_>) -> Result<(), String> {
        self.consumed += 1;
        let committed = self.logs.get(&key).and_then(|log| log.batches.get(&batch.base_offset()));
        let shown = Shown::of(batch);
        // Records may be deleted up to the middle of a batch.
        let is_due = batch.base_offset() == at || batch.base_offset() < at && at <= self.floor(key);
        match committed {
            _ if !is_due => Err(format!("a consumer of {key:?} expects {at} and gets {}", batch.base_offset())),
            Some(known) if *known == shown => Ok(()),
            known => Err(format!("a consumer of {key:?} reads {shown:?} at {at}, and {known:?} is committed there")),
        }
    }

    /// What the group has committed for certain.
    pub fn committed_offsets(&self, group: &str) -> BTreeMap<TopicIdPartition, i64> {
        let of_group = self.offsets.iter().filter(|((name, _), _)| *name == group);
        of_group.map(|((_, key), (certain, _))| (*key, *certain)).collect()
    }

    /// A commit is sent.
    pub fn commits(&mut self, group: &'static str, offsets: &[(TopicIdPartition, i64)]) {
        for (key, offset) in offsets {
            let (_, most) = self.offsets.entry((group, *key)).or_default();
            *most = (*most).max(*offset);
        }
    }

    /// A commit was acknowledged.
    pub fn committed(&mut self, group: &'static str, offsets: &[(TopicIdPartition, i64)]) {
        for (key, offset) in offsets {
            let (certain, _) = self.offsets.entry((group, *key)).or_default();
            *certain = (*certain).max(*offset);
        }
    }

    /// A member learns from where on to read: not from before what was committed when it asked, nor from beyond what
    /// anybody committed.
    pub fn offset_fetched(
        &self,
        group: &'static str,
        key: TopicIdPartition,
        floor: i64,
        offset: i64,
    ) -> Result<(), String> {
        let (_, most) = self.offsets.get(&(group, key)).copied().unwrap_or_default();
        // A topic that is deleted takes its offsets with it.
        if (floor..=most).contains(&offset) || self.deleted.contains(&key.topic_id) {
            return Ok(());
        }
        Err(format!("{group} reads {key:?} from {offset}: it had committed {floor} for certain, and at most {most}"))
    }
}

impl World {
    pub fn check(&mut self) -> Result<(), String> {
        if let Some(lost) = self.checks.lost.take() {
            return Err(lost);
        }
        for id in std::mem::take(&mut self.checks.metadata_touched) {
            self.check_metadata(id)?;
        }
        for (id, key) in std::mem::take(&mut self.checks.touched) {
            self.check_replica(id, key)?;
        }
        for key in std::mem::take(&mut self.checks.changed) {
            self.check_electable(key)?;
        }
        self.check_promises()
    }

    /// An epoch has one leader, who has all that is committed; what is committed stays.
    fn check_metadata(&mut self, id: i32) -> Result<(), String> {
        let World { machines, checks, .. } = self;
        let Some(machine) = machines.get(&id) else { return Ok(()) };
        let Some(process) = &machine.process else { return Ok(()) };
        let is_broken = machine.is_broken();
        let node = &process.metadata;
        if node.quorum().is_leader() {
            let leader = *checks.quorum_leaders.entry(node.epoch()).or_insert(id);
            if leader != id {
                return Err(format!("{leader} and {id} both lead the quorum in epoch {}", node.epoch()));
            }
            let is_newest = checks.quorum_leaders.keys().next_back() == Some(&node.epoch());
            if is_newest && node.end_offset() < checks.metadata_end {
                return Err(format!(
                    "{id} leads the quorum with metadata up to {}, and {} is committed",
                    node.end_offset(),
                    checks.metadata_end
                ));
            }
        }
        let high_watermark = node.quorum().high_watermark();
        let before = checks.metadata_seen.get(&id).copied().unwrap_or(0);
        if high_watermark < before {
            return Err(format!("the metadata of {id} was committed up to {before}, and up to {high_watermark} now"));
        }
        let mut next = before.max(node.log().start_offset());
        while next < high_watermark {
            let read = node.log().read(next, 1 << 20, high_watermark);
            if is_broken && read.is_err() {
                return Ok(()); // the node has yet to notice
            }
            let bytes = read.map_err(|error| format!("{id} cannot read its metadata at {next}: {error}"))?;
            let at = next;
            for batch in batches(&bytes).map_while(Result::ok) {
                let this = (batch.leader_epoch(), batch.crc());
                let first = *checks.metadata.entry(batch.base_offset()).or_insert(this);
                if first != this {
                    return Err(format!("{id} has other metadata at {} than is committed", batch.base_offset()));
                }
                next = batch.next_offset();
            }
            if next == at {
                return Err(format!("{id} has no metadata at {at}, and it is committed"));
            }
        }
        checks.metadata_end = checks.metadata_end.max(high_watermark);
        checks.metadata_seen.insert(id, high_watermark);
        Ok(())
    }

    /// A high watermark never goes back, and what is below it is the same everywhere.
    fn check_replica(&mut self, id: i32, key: TopicIdPartition) -> Result<(), String> {
        let World { machines, checks, .. } = self;
        let Some(machine) = machines.get(&id) else { return Ok(()) };
        let Some(process) = &machine.process else { return Ok(()) };
        let Some(cell) = process.cells.get(&key) else { return Ok(()) };
        if process.is_failed(key) {
            return Ok(());
        }
        let what = || format!("{}-{} on {id}", cell.topic, cell.index);
        let high_watermark = cell.partition.high_watermark();
        let seen = checks.seen.entry((id, key)).or_default();
        if high_watermark < seen.high_watermark {
            return Err(format!(
                "the high watermark of {} went from {} back to {high_watermark}",
                what(),
                seen.high_watermark
            ));
        }
        seen.high_watermark = high_watermark;
        let start = cell.partition.log().log_start_offset();
        let floor = checks.logs.get(&key).map_or(0, |log| log.floor);
        if start > floor {
            return Err(format!("{} begins at {start}, and records were deleted up to {floor}", what()));
        }
        if seen.compared >= high_watermark || start >= high_watermark {
            return Ok(());
        }
        let is_produced = !is_offsets(&cell.topic);
        let (promises, with_gaps) = (&checks.promises, &checks.with_gaps);
        let log = checks.logs.entry(key).or_default();
        let end_before = log.end;
        if seen.compared < start {
            seen.compared = log.base_of(start);
        }
        while seen.compared < high_watermark {
            let read = cell.partition.log().read_bytes(seen.compared.max(start), u32::MAX, high_watermark);
            if machine.is_broken() && matches!(read, Err(storage::ReadError::Fault(_))) {
                return Ok(()); // the node has yet to notice
            }
            let bytes = read.map_err(|error| format!("{} cannot be read at {}: {error}", what(), seen.compared))?;
            let at = seen.compared;
            for batch in batches(&bytes) {
                let batch = batch.map_err(|error| format!("{} at {at}: {error}", what()))?;
                log.take(seen.compared, &batch, with_gaps).map_err(|why| format!("{}: {why}", what()))?;
                if is_produced && !promises.was_sent(key, batch.crc()) {
                    return Err(format!("{} has at {at} what nobody sent", what()));
                }
                seen.compared = batch.next_offset();
            }
            // A log may begin inside of a batch, and with it what is known to be committed.
            if bytes.is_empty() && log.base_of(high_watermark) == at {
                break;
            }
            if seen.compared == at {
                return Err(format!("{} has nothing at {at}, below its high watermark {high_watermark}", what()));
            }
        }
        let fresh = end_before..log.end;
        if !fresh.is_empty() {
            checks.changed.insert(key);
            self.check_kept_in(key, fresh)?;
        }
        Ok(())
    }

    /// Whoever the controller may elect without a second thought has everything that is committed.
    fn check_electable(&mut self, key: TopicIdPartition) -> Result<(), String> {
        let Some(partition) = self.latest.topics.partition(key) else { return Ok(()) };
        let end = self.committed_end(key);
        for id in partition.isr.iter().chain(&partition.elr) {
            // A replica whose directory is lost is elected by nobody.
            let directory = partition.directory_of(*id);
            let broker = self.latest.cluster.broker(*id);
            let is_there = broker.zip(directory).is_some_and(|(broker, directory)| broker.has_online_dir(directory));
            if self.checks.incomplete.contains(id) || !is_there {
                continue;
            }
            let process = self.machines.get(id).and_then(|machine| machine.process.as_ref());
            let Some(cell) = process.and_then(|process| process.cells.get(&key)) else { continue };
            let log_end = cell.partition.log().log_end_offset();
            if log_end < end {
                return Err(format!(
                    "{id} may be elected for {}-{} (isr {:?}, elr {:?}) and its log ends at {log_end}, before {end}",
                    cell.topic, cell.index, partition.isr, partition.elr
                ));
            }
        }
        Ok(())
    }

    /// Everything before is committed.
    pub fn committed_end(&self, key: TopicIdPartition) -> i64 {
        self.checks.logs.get(&key).map_or(0, |log| log.end)
    }
}
