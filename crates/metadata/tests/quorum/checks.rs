//! What must hold after every turn of a node, and at the end.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use metadata::image::Image;
use metadata::quorum::{MetadataNode, VoteRequest};
use wire::records::batches;

use crate::world::{FETCH_WAIT, SLOW_TURN, TIMEOUTS, World};

/// A leader that no majority hears may lead on for so long: its timeout, the pause between two looks, the time that a fetch
/// which waits is taken for a sign of life, and the longest turn.
const LEADS_UNHEARD: i64 = TIMEOUTS.fetch * 3 / 2 + TIMEOUTS.fetch / 8 + FETCH_WAIT + SLOW_TURN as i64 + 100;

/// A batch: epoch and checksum.
type Batch = (i32, u32);

/// What is known of the quorum as a whole.
#[derive(Default)]
pub struct Checks {
    /// The leader of each epoch.
    leaders: BTreeMap<i32, usize>,
    /// Committed batches by base offset.
    committed: BTreeMap<i64, Batch>,
    /// Everything before is committed.
    end: i64,
    /// Up to where each epoch's leader committed.
    committed_in: BTreeMap<i32, i64>,
    /// Every batch that was in some log, by epoch and base offset.
    written: BTreeMap<(i32, i64), u32>,
    /// Whom each node gave the vote of an epoch.
    votes: BTreeMap<(usize, i32), i32>,
    /// The highest epoch that each node was in.
    epochs: BTreeMap<usize, i32>,
    high_watermarks: BTreeMap<usize, i64>,
    ends: BTreeMap<usize, (i64, i64)>,
    /// Of each offset, what an image of it looked like.
    images: BTreeMap<i64, (usize, Option<i64>)>,
    /// When each voter was last heard by each node.
    heard: BTreeMap<(usize, usize), i64>,
    /// In which epoch each node leads, and since when.
    leads: BTreeMap<usize, (i32, i64)>,
    /// The name of each topic whose creation was acknowledged.
    pub acknowledged: BTreeSet<String>,
    pub truncations: u64,
    pub installed: u64,
}

impl Checks {
    pub fn restarted(&mut self, id: usize) {
        self.high_watermarks.remove(&id);
        self.ends.remove(&id);
        self.leads.remove(&id);
    }

    pub fn elections(&self) -> u64 {
        self.leaders.len() as u64
    }

    pub fn hash(&self) -> u64 {
        let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(0x100_0000_01b3);
        self.committed.iter().fold(self.acknowledged.len() as u64, |hash, (offset, (epoch, crc))| {
            mix(mix(mix(hash, *offset as u64), *epoch as u64), u64::from(*crc))
        })
    }

    pub fn heard(&mut self, id: usize, from: usize, now: i64) {
        self.heard.insert((id, from), now);
    }

    /// A vote was answered: the node has but one for each epoch.
    pub fn granted(&mut self, id: usize, request: &VoteRequest) -> Result<(), String> {
        self.voted(id, request.epoch, request.candidate.id)
    }

    fn voted(&mut self, id: usize, epoch: i32, candidate: i32) -> Result<(), String> {
        let first = *self.votes.entry((id, epoch)).or_insert(candidate);
        match first == candidate {
            true => Ok(()),
            false => Err(format!("{id} voted for {first} and for {candidate} in epoch {epoch}")),
        }
    }

    /// Nodes that have applied the same have come to the same.
    pub fn published(&mut self, id: usize, image: &Image) -> Result<(), String> {
        let looks = (image.topics.partition_count(), image.cluster.broker(1).map(|broker| broker.epoch));
        let first = *self.images.entry(image.offset).or_insert(looks);
        match first == looks {
            true => Ok(()),
            false => Err(format!("at offset {} {id} has come to {looks:?}, and another to {first:?}", image.offset)),
        }
    }

    fn commit(&mut self, id: usize, base: i64, next: i64, batch: Batch) -> Result<(), String> {
        match self.committed.entry(base) {
            Entry::Occupied(first) if *first.get() != batch => {
                return Err(format!("{id} has {batch:?} committed at offset {base}, where {:?} was", first.get()));
            }
            Entry::Vacant(_) if base < self.end => {
                return Err(format!("{id} has a batch committed at offset {base}, where others have none"));
            }
            entry => drop(entry.or_insert(batch)),
        }
        self.end = self.end.max(next);
        Ok(())
    }
}

impl World {
    pub fn check(&mut self, id: usize) -> Result<(), String> {
        let Some(node) = &self.machines[id].node else { return Ok(()) };
        let (checks, quorum, epoch) = (&mut self.checks, node.quorum(), node.epoch());
        let before = checks.epochs.insert(id, epoch).unwrap_or(0);
        if epoch < before {
            return Err(format!("{id} went from epoch {before} back to {epoch}"));
        }
        match (quorum.voted(), checks.votes.get(&(id, epoch))) {
            (Some(candidate), _) => checks.voted(id, epoch, candidate)?,
            (None, Some(candidate)) => {
                return Err(format!("{id} forgot that it voted for {candidate} in epoch {epoch}"));
            }
            (None, None) => {}
        }
        let high_watermark = quorum.high_watermark();
        let before = checks.high_watermarks.insert(id, high_watermark).unwrap_or(0);
        if high_watermark < before {
            return Err(format!("the high watermark of {id} went from {before} back to {high_watermark}"));
        }
        let (start, end) = (node.log().start_offset(), node.end_offset());
        if high_watermark > end {
            return Err(format!("{id} calls everything before {high_watermark} committed, and has it up to {end}"));
        }
        if node.image().offset >= high_watermark.max(1) {
            return Err(format!("{id} shows {}, and {high_watermark} is committed", node.image().offset));
        }
        let (start_before, end_before) = checks.ends.insert(id, (start, end)).unwrap_or((start, end));
        checks.truncations += u64::from(end < end_before);
        checks.installed += u64::from(start > start_before && start == end);
        // Who is elected has everything that was committed in earlier epochs: all of it is compared then.
        let committed_before = checks.committed_in.range(..epoch).map(|(_, end)| *end).max().unwrap_or(0);
        let is_new = quorum.is_leader() && checks.leads.get(&id).is_none_or(|(last, _)| *last != epoch);
        if !quorum.is_leader() {
            checks.leads.remove(&id);
        } else if is_new {
            checks.leads.insert(id, (epoch, self.now));
            let leader = *checks.leaders.entry(epoch).or_insert(id);
            if leader != id {
                return Err(format!("{leader} and {id} lead in epoch {epoch}"));
            }
            if end < committed_before {
                return Err(format!("{id} leads epoch {epoch}, ends at {end}, and {committed_before} is committed"));
            }
        }
        if is_new {
            let votes = (0..self.plan.voters).filter(|voter| checks.votes.get(&(*voter, epoch)) == Some(&(id as i32)));
            let count = if self.plan.voters == 1 { 1 } else { votes.count() };
            if count <= self.plan.voters / 2 {
                return Err(format!("{id} leads epoch {epoch} with {count} votes of {}", self.plan.voters));
            }
        }
        if quorum.is_leader() {
            if high_watermark > before && node.log().epoch_before(high_watermark) != epoch && self.plan.voters > 1 {
                return Err(format!("{id}, in epoch {epoch}, counted replicas of an earlier epoch's {high_watermark}"));
            }
            checks.committed_in.insert(epoch, high_watermark);
        }
        let committed = if is_new { committed_before.max(high_watermark) } else { high_watermark };
        let mut next = if is_new { start } else { before.max(start) };
        while next < end {
            let bytes = node.log().read(next, 1 << 20, end).map_err(|fault| format!("{id}: {fault}"))?;
            let from = next;
            for batch in batches(&bytes).map_while(Result::ok) {
                let (base, this) = (batch.base_offset(), (batch.leader_epoch(), batch.crc()));
                next = batch.next_offset();
                let first = *checks.written.entry((this.0, base)).or_insert(this.1);
                if first != this.1 {
                    return Err(format!("{id} has another batch at offset {base} in epoch {} than others", this.0));
                }
                if base < committed {
                    checks.commit(id, base, next, this)?;
                }
            }
            if next == from {
                return Err(format!("{id} has nothing at offset {from}, before its end {end}"));
            }
        }
        Ok(())
    }

    /// A leader whom no majority hears gives up (KIP-595).
    pub fn check_is_heard(&mut self, id: usize) -> Result<(), String> {
        let Some(node) = self.machines[id].node.as_ref().filter(|node| node.quorum().is_leader()) else {
            return Ok(());
        };
        let Some((epoch, since)) = self.checks.leads.get(&id).filter(|(epoch, _)| *epoch == node.epoch()) else {
            return Ok(());
        };
        let (now, voters) = (self.now, self.plan.voters);
        // What came while the process stood still was heard when it went on.
        let since = self.machines[id].frozen_until.max(*since);
        let heard = |voter: &usize| {
            let last = self.checks.heard.get(&(id, *voter)).copied().unwrap_or(0).max(since);
            *voter == id || now - last <= LEADS_UNHEARD
        };
        let count = (0..voters).filter(heard).count();
        match count > voters / 2 {
            true => Ok(()),
            false => Err(format!("{id} leads epoch {epoch}, and {count} of {voters} hear it")),
        }
    }

    /// Where everybody is.
    pub fn positions(&self) -> String {
        let of = |node: &MetadataNode| {
            let (quorum, log) = (node.quorum(), node.log());
            let bytes = log.read(log.start_offset(), u32::MAX, log.end_offset()).unwrap_or_default();
            let batches =
                batches(&bytes).filter_map(Result::ok).map(|batch| (batch.leader_epoch(), batch.base_offset()));
            let mut epochs: Vec<(i32, i64)> = batches.collect();
            epochs.dedup_by_key(|(epoch, _)| *epoch);
            format!(
                "leader {:?} of epoch {}, log {} to {} {epochs:?}, committed {}, shows {}, snapshots {:?}, next {:?}",
                quorum.leader(),
                node.epoch(),
                log.start_offset(),
                log.end_offset(),
                quorum.high_watermark(),
                node.image().offset,
                log.snapshots(),
                node.next_fetch()
            )
        };
        let nodes = self.machines.iter().enumerate();
        nodes.map(|(id, machine)| format!("{id}: {}\n", machine.node.as_ref().map(of).unwrap_or_default())).collect()
    }

    pub fn check_all_agree(&self) -> Result<(), String> {
        let mut first = None;
        for (id, machine) in self.machines.iter().enumerate() {
            let image = machine.node.as_ref().ok_or("a node is down")?.image();
            let lost = self.checks.acknowledged.iter().find(|name| image.topics.by_name(name).is_none());
            if let Some(name) = lost {
                return Err(format!("{name} was acknowledged, and {id} does not have it"));
            }
            if *first.get_or_insert(image) != image {
                return Err(format!("{id} and 0 have come to different states"));
            }
        }
        Ok(())
    }
}
