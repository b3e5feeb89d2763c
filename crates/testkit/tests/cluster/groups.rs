//! What the server does around the product's group coordinators: one for each partition of the offsets topic that this node
//! leads, its records in that partition's log.

use crate::clients::{Answer, Question};
use crate::plan::OFFSETS_TOPIC;
use crate::replicas::{Waits, leads};
use crate::world::{Caller, Happening, To, World};
use coordinator::{Effects, Loader, Now, Reply, ReplyToken, Request, Shard, Write};
use metadata::image::TopicIdPartition;
use replication::{Ack, Park};
use std::collections::{BTreeMap, VecDeque};
use storage::Append;
use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec, batches};
use wire::{ErrorCode, Uuid};

pub fn is_offsets(topic: &str) -> bool {
    topic == OFFSETS_TOPIC
}

/// A coordinator serves one leadership.
pub struct Slot {
    pub epoch: i32,
    /// Not before what was read is committed.
    pub is_serving: bool,
    pub shard: Option<Shard>,
    /// Where the log ended when it was read.
    loaded_end: i64,
    waiting: BTreeMap<ReplyToken, (Caller, u64)>,
    tokens: u64,
    outbox: Vec<Write>,
    /// The log's end behind records that are not committed yet, and the shard's name for it.
    in_flight: VecDeque<(i64, i64)>,
    appended: i64,
}

impl World {
    fn shard_now(&self, to: To) -> Now {
        Now { steady_ms: self.steady_ms(to.id), wall_ms: self.wall_ms(to.id) }
    }

    /// Takes up the partitions of the offsets topic that this node leads now, and gives up the others.
    pub fn follow_groups(&mut self, to: To) {
        let Some(process) = self.process(to) else { return };
        let led: BTreeMap<i32, (TopicIdPartition, i32)> =
            process.led_offsets().map(|(key, cell)| (cell.index, (*key, cell.partition.leader_epoch()))).collect();
        let over = process.slots.iter();
        let over = over.filter(|(index, slot)| led.get(index).is_none_or(|(_, epoch)| *epoch != slot.epoch));
        let over: Vec<i32> = over.map(|(index, _)| *index).collect();
        for index in over {
            self.give_up(to, index, ErrorCode::NotCoordinator);
        }
        for (index, (key, epoch)) in led {
            if self.process(to).is_some_and(|process| !process.slots.contains_key(&index)) {
                self.load(to, index, key, epoch);
            }
        }
    }

    /// Reads a coordinator from its log; it serves once all of that is committed.
    fn load(&mut self, to: To, index: i32, key: TopicIdPartition, epoch: i32) {
        let (now, config) = (self.shard_now(to), self.plan.group_config());
        let Some(process) = self.process(to) else { return };
        let log = process.cells[&key].partition.log();
        let end = log.log_end_offset();
        let loader = match read(log, end) {
            Ok(loader) => loader,
            Err(_) if self.machines[&to.id].is_broken() => return, // the node has yet to notice
            Err(why) => return self.checks.lost(format!("{} cannot read {OFFSETS_TOPIC}-{index}: {why}", to.id)),
        };
        let slot = Slot {
            epoch,
            is_serving: false,
            shard: Some(loader.finish(config, end, now)),
            loaded_end: end,
            waiting: BTreeMap::new(),
            tokens: 0,
            outbox: Vec::new(),
            in_flight: VecDeque::new(),
            appended: end,
        };
        process.slots.insert(index, slot);
        self.shard_waited(to, index, epoch);
    }

    fn group_key(&mut self, to: To, index: i32) -> Option<TopicIdPartition> {
        let topic_id = self.process(to)?.image.topics.by_name(OFFSETS_TOPIC)?.id;
        Some(TopicIdPartition { topic_id, partition: index })
    }

    /// A group's request.
    pub fn ask_group(&mut self, to: To, caller: Caller, token: u64, group: &str, request: Request) {
        let Some(process) = self.process(to) else { return };
        let slot = process.group_partition(group).and_then(|index| Some((index, process.slots.get_mut(&index)?)));
        let refusal = match &slot {
            None => ErrorCode::NotCoordinator,
            Some((_, slot)) if !slot.is_serving => ErrorCode::CoordinatorLoadInProgress,
            Some(_) => ErrorCode::None,
        };
        match slot {
            Some((index, slot)) if refusal == ErrorCode::None => {
                slot.tokens += 1;
                let waits = ReplyToken(slot.tokens);
                slot.waiting.insert(waits, (caller, token));
                self.act(to, index, |shard, now| shard.handle(now, request, waits));
            }
            _ => {
                let reply = request.refused(refusal);
                self.answer(to, caller, token, Answer::Group(reply));
            }
        }
    }

    /// Has a coordinator do something, and carries out what follows.
    fn act(&mut self, to: To, index: i32, act: impl FnOnce(&mut Shard, Now) -> Effects) {
        let now = self.shard_now(to);
        let Some(slot) = self.process(to).and_then(|process| process.slots.get_mut(&index)) else { return };
        let Some(shard) = &mut slot.shard else { return };
        let effects = act(shard, now);
        let deadline = shard.next_deadline();
        slot.outbox.extend(effects.write);
        self.give_out(to, index, effects.replies);
        if let Some(deadline) = deadline {
            self.at((deadline - now.steady_ms).max(1), to, Happening::ShardTick);
        }
        self.append_records(to, index);
    }

    fn give_out(&mut self, to: To, index: i32, replies: Vec<(ReplyToken, Reply)>) {
        for (token, reply) in replies {
            let Some(slot) = self.process(to).and_then(|process| process.slots.get_mut(&index)) else { return };
            match slot.waiting.remove(&token) {
                Some((caller, token)) => self.answer(to, caller, token, Answer::Group(reply)),
                None => self.checks.lost(format!("the coordinator {index} on {} answered {token:?} twice", to.id)),
            }
        }
    }

    pub fn shard_tick(&mut self, to: To) {
        let now = self.shard_now(to);
        let Some(process) = self.process(to) else { return };
        let is_due = |slot: &Slot| {
            let deadline = slot.shard.as_ref().and_then(Shard::next_deadline);
            slot.is_serving && deadline.is_some_and(|deadline| deadline <= now.steady_ms)
        };
        let due: Vec<i32> = process.slots.iter().filter(|(_, s)| is_due(s)).map(|(index, _)| *index).collect();
        for index in due {
            self.act(to, index, Shard::tick);
        }
    }

    pub fn topic_deleted(&mut self, to: To, topic: &str, id: Uuid) {
        let Some(process) = self.process(to) else { return };
        let serving: Vec<i32> = process.slots.iter().filter(|(_, s)| s.is_serving).map(|(index, _)| *index).collect();
        for index in serving {
            self.act(to, index, |shard, now| shard.topic_deleted(now, topic, id));
        }
    }

    /// Stops serving: everybody who waits is told.
    fn give_up(&mut self, to: To, index: i32, error: ErrorCode) {
        let now = self.shard_now(to);
        let Some(slot) = self.process(to).and_then(|process| process.slots.get_mut(&index)) else { return };
        let replies = slot.shard.take().map(|shard| shard.resign(now, error)).unwrap_or_default();
        self.give_out(to, index, replies);
        let Some(process) = self.process(to) else { return };
        if let Some(slot) = process.slots.remove(&index)
            && !slot.waiting.is_empty()
        {
            self.checks.lost(format!("the coordinator {index} on {} left {:?} unanswered", to.id, slot.waiting));
        }
    }

    /// What the log has and what the shard believes may differ: reads the log again, if it can be read.
    fn start_over(&mut self, to: To, index: i32, epoch: i32) {
        self.give_up(to, index, ErrorCode::NotCoordinator);
        let Some(key) = self.group_key(to, index) else { return };
        let Some(process) = self.process(to) else { return };
        if process.cells.get(&key).is_some_and(|cell| leads(&cell.partition, epoch)) {
            self.load(to, index, key, epoch);
        }
    }

    /// Appends what is in the outbox.
    fn append_records(&mut self, to: To, index: i32) {
        let (wall_ms, steady_ms) = (self.wall_ms(to.id), self.steady_ms(to.id));
        let Some(key) = self.group_key(to, index) else { return };
        let Some(process) = self.process(to) else { return };
        let (Some(slot), Some(cell)) = (process.slots.get_mut(&index), process.cells.get_mut(&key)) else { return };
        let writes = std::mem::take(&mut slot.outbox);
        let Some(end) = writes.last().map(|write| write.end) else { return };
        let epoch = slot.epoch;
        if !leads(&cell.partition, epoch) {
            return self.start_over(to, index, epoch);
        }
        let mut builder = BatchBuilder::new(Codec::None);
        for record in writes.iter().flat_map(|write| &write.records) {
            builder.append(wall_ms, Some(&record.key), record.value.as_deref(), &[]);
        }
        let mut bytes = builder.build(0, -1);
        let info = BatchInfo::of_header(&BatchHeader::parse(&bytes).unwrap()).unwrap();
        let mut appends = [Append::new(&mut bytes, info)];
        if let Err(fault) = cell.partition.append(&mut appends, true, wall_ms, steady_ms) {
            return self.fails(to, &fault);
        }
        let log_end = cell.partition.log().log_end_offset();
        let [append] = appends;
        match append.outcome {
            Ok(_) => {
                slot.appended = end;
                slot.in_flight.push_back((log_end, end));
                self.checks.touch(to.id, key);
                self.sync(to, key);
                self.shard_waited(to, index, epoch);
            }
            Err(error) if slot.in_flight.is_empty() => {
                let error = match error {
                    ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
                    error => error,
                };
                // What was decided meanwhile was decided on top of it.
                slot.outbox.clear();
                let appended = slot.appended;
                self.act(to, index, |shard, now| shard.failed(now, error, appended));
            }
            Err(_) => self.start_over(to, index, epoch),
        }
    }

    /// Tells a shard what is committed by now, and waits for the rest.
    pub fn shard_waited(&mut self, to: To, index: i32, epoch: i32) {
        let now_ms = self.now_ms();
        let Some(key) = self.group_key(to, index) else { return };
        let Some(process) = self.process(to) else { return };
        let (Some(slot), Some(cell)) = (process.slots.get_mut(&index), process.cells.get_mut(&key)) else { return };
        if slot.epoch != epoch {
            return;
        }
        let high_watermark = cell.partition.high_watermark();
        let mut committed = None;
        while slot.in_flight.front().is_some_and(|(log_end, _)| *log_end <= high_watermark) {
            committed = slot.in_flight.pop_front().map(|(_, end)| end);
        }
        let (was_serving, loaded_end) = (slot.is_serving, slot.loaded_end);
        let wants = match slot.in_flight.front() {
            Some((log_end, _)) => Some(*log_end),
            None if !was_serving && loaded_end > high_watermark => Some(loaded_end),
            None => None,
        };
        if let Some(offset) = wants {
            let ack = Ack { offset, epoch, all: true };
            let outcome = cell.partition.acknowledged(&ack);
            if !matches!(outcome, None | Some(Ok(()) | Err(ErrorCode::NotEnoughReplicasAfterAppend))) {
                // Whether the records stay in the log is the next leader's to find out.
                return self.start_over(to, index, epoch);
            }
            let park = Park::new(1);
            cell.partition.park_ack(ack, park.clone());
            let is_it = |waits: &Waits| matches!(waits, Waits::Shard { partition, epoch: of } if (*partition, *of) == (index, epoch));
            let is_waiting = process.waiting.iter().any(|waiting| is_it(&waiting.what));
            if !is_waiting {
                let what = Waits::Shard { partition: index, epoch };
                self.wait(to, park, now_ms + 500, what);
            }
        } else if !was_serving {
            slot.is_serving = true;
            self.say(|| format!("{} coordinates {OFFSETS_TOPIC}-{index} in epoch {epoch}", to.id));
            self.act(to, index, Shard::tick);
            self.forget_missing_topics(to, index);
        }
        if let Some(end) = committed {
            self.act(to, index, |shard, now| shard.committed(now, end));
        }
    }

    /// Topics with committed offsets that were deleted before the offsets could be.
    fn forget_missing_topics(&mut self, to: To, index: i32) {
        let Some(process) = self.process(to) else { return };
        let Some(shard) = process.slots.get(&index).and_then(|slot| slot.shard.as_ref()) else { return };
        let named = shard.store().offsets().map(|(key, value)| (key.topic.clone(), value.topic_id));
        let missing: std::collections::BTreeSet<_> =
            named.filter(|(_, id)| !id.is_zero() && process.image.topics.get(*id).is_none()).collect();
        for (topic, id) in missing {
            self.act(to, index, |shard, now| shard.topic_deleted(now, &topic, id));
        }
    }

    /// What a client asks.
    pub fn asked(&mut self, to: To, caller: Caller, token: u64, question: Question) {
        match question {
            Question::Metadata => {
                let image = self.process(to).unwrap().image.clone();
                self.answer(to, caller, token, Answer::Metadata(image));
            }
            Question::ProducerId => self.producer_id_wanted(to, caller, token),
            Question::Produce { key, acks, bytes } => self.produced(to, caller, token, (key, acks), bytes),
            Question::Fetch { wanted, may_follow } => {
                let (fetched, bytes) = self.read_for_consumer(to, &wanted, may_follow);
                if bytes > 0 {
                    return self.answer(to, caller, token, Answer::Fetched(fetched));
                }
                let park = Park::new(1);
                let until_ms = self.now_ms() + 300;
                let process = self.process(to).unwrap();
                for (key, offset) in &wanted {
                    if let Some(cell) = process.cells.get_mut(key) {
                        park.credit(cell.partition.readable_bytes(*offset, true));
                        cell.partition.park_fetch(park.clone());
                    }
                }
                self.wait(to, park, until_ms, Waits::Consumer { caller, token, wanted, may_follow });
            }
            // What a member sent over a connection that it gave up would overtake what it sends now.
            Question::Group { .. } if !self.is_open(caller) => {}
            Question::Group { group, request } => self.ask_group(to, caller, token, &group, request),
        }
    }
}

/// Reads a coordinator's log up to `end`.
pub fn read(log: &storage::Log, end: i64) -> Result<Loader, String> {
    let mut loader = Loader::new();
    let mut from = log.log_start_offset();
    while from < end {
        let bytes = log.read_bytes(from, u32::MAX, end).map_err(|error| error.to_string())?;
        let before = from;
        for batch in batches(&bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            loader.batch(&batch).map_err(|error| error.to_string())?;
            from = batch.next_offset();
        }
        if from == before {
            return Err(format!("nothing whole at {from}"));
        }
    }
    Ok(loader)
}
