//! An idempotent producer with acks=all: five batches in flight for each partition, sent again in order until acknowledged.
//! And what a broker does for it.

use crate::clients::{Answer, Pending, Question, Role};
use crate::groups::is_offsets;
use crate::plan::HEAL_MS;
use crate::quorum::Asked;
use crate::replicas::{Waiting, Waits};
use crate::world::{Caller, To, World};
use metadata::controller::{Command, Reply};
use metadata::image::TopicIdPartition;
use replication::{Ack, Park};
use std::collections::{BTreeMap, VecDeque};
use storage::Append;
use wire::ErrorCode;
use wire::records::{BatchBuilder, BatchHeader, BatchInfo, Codec};

const IN_FLIGHT: usize = 5;
/// What a broker waits for acknowledgements.
const TIMEOUT_MS: i64 = 1_000;

pub struct Producer {
    name: usize,
    id: Option<i64>,
    is_asking: bool,
    lanes: BTreeMap<TopicIdPartition, Lane>,
}

/// What goes to one partition.
#[derive(Default)]
struct Lane {
    next_sequence: i32,
    /// From the first on that is not acknowledged, in order.
    batches: VecDeque<Batch>,
    rests_until_ms: i64,
    /// The leader knows the producer: as Kafka's, it takes any sequence from one that it does not know, so that a second
    /// batch must not arrive where the first was refused.
    is_known: bool,
}

struct Batch {
    sequence: i32,
    bytes: Vec<u8>,
    is_sent: bool,
    is_acknowledged: bool,
}

impl Producer {
    pub fn new(name: usize) -> Producer {
        Producer { name, id: None, is_asking: false, lanes: BTreeMap::new() }
    }

    /// What is not acknowledged.
    pub fn open(&self) -> impl Iterator<Item = (TopicIdPartition, i32)> + '_ {
        let lanes = self.lanes.iter();
        lanes.flat_map(|(key, lane)| {
            let open = lane.batches.iter().filter(|batch| !batch.is_acknowledged);
            open.map(move |batch| (*key, batch.sequence))
        })
    }

    fn make(&mut self, key: TopicIdPartition, records: i64, now_ms: i64) {
        let (name, id) = (self.name, self.id.unwrap());
        let lane = self.lanes.entry(key).or_default();
        let sequence = lane.next_sequence;
        let mut builder = BatchBuilder::new(Codec::None).producer(id, 0, sequence);
        for at in 0..records {
            let value = format!("{name}/{}", i64::from(sequence) + at);
            builder.append(1_700_000_000_000 + now_ms, None, Some(value.as_bytes()), &[]);
        }
        lane.next_sequence += records as i32;
        lane.batches.push_back(Batch { sequence, bytes: builder.build(0, -1), is_sent: false, is_acknowledged: false });
    }
}

impl World {
    fn producer(&mut self, client: usize) -> &mut Producer {
        match &mut self.clients[client].role {
            Role::Producer(producer) => producer,
            Role::Consumer(_) => unreachable!("a consumer's client"),
        }
    }

    /// Makes a batch and sends what is to be sent; how long until the next.
    pub fn producer_turn(&mut self, client: usize) -> i64 {
        let now_ms = self.now_ms();
        let image = self.clients[client].image.clone();
        let producer = self.producer(client);
        if producer.id.is_none() {
            if !std::mem::replace(&mut producer.is_asking, true) {
                let ids: Vec<i32> = self.plan.ids().collect();
                let node = self.chance.one_of(&ids);
                self.ask_node(client, node, Pending::ProducerId, Question::ProducerId);
            }
            return 50;
        }
        // Topics that are gone take their records with them.
        producer.lanes.retain(|key, _| image.topics.get(key.topic_id).is_some());
        if now_ms < HEAL_MS + 500 {
            let topics = image.topics.iter().filter(|topic| !is_offsets(&topic.name));
            let keys = topics.flat_map(|topic| {
                topic.partitions.keys().map(|p| TopicIdPartition { topic_id: topic.id, partition: *p })
            });
            let keys: Vec<_> = keys.collect();
            if !keys.is_empty() {
                let (key, records) = (self.chance.one_of(&keys), 1 + self.chance.below(3));
                let producer = self.producer(client);
                if producer.lanes.get(&key).is_none_or(|lane| lane.batches.len() < IN_FLIGHT) {
                    producer.make(key, records, now_ms);
                }
            }
        }
        let keys: Vec<_> = self.producer(client).lanes.keys().copied().collect();
        for key in keys {
            self.pump(client, key);
        }
        match self.chance.below(100) {
            _ if now_ms >= HEAL_MS + 500 => 50,
            0..3 => 300 + self.chance.below(1_000),
            _ => 4 + self.chance.below(40),
        }
    }

    /// Sends the batches of a partition that are not under way, in order.
    fn pump(&mut self, client: usize, key: TopicIdPartition) {
        let now_ms = self.now_ms();
        let Some(leader) = self.clients[client].leader(key) else { return self.refresh(client) };
        let Some(lane) = self.producer(client).lanes.get_mut(&key) else { return };
        if lane.rests_until_ms > now_ms {
            return;
        }
        // What comes after one that is under way again waits for its turn, too: a leader takes them in order only.
        let first = lane.batches.iter().position(|batch| !batch.is_sent);
        let Some(first) = first else { return };
        let most = if lane.is_known { IN_FLIGHT } else { 1 };
        let unsent: Vec<_> = lane.batches.iter_mut().take(most).skip(first).filter(|batch| !batch.is_sent).collect();
        let mut sends = Vec::new();
        for batch in unsent {
            batch.is_sent = true;
            sends.push((batch.sequence, batch.bytes.clone()));
        }
        for (sequence, bytes) in sends {
            self.ask_node(client, leader, Pending::Produce(key, sequence), Question::Produce { key, bytes });
        }
    }

    pub fn producer_id_came(&mut self, client: usize, id: Option<i64>) {
        let producer = self.producer(client);
        producer.is_asking = false;
        producer.id = id;
        if let Some(id) = id
            && let Err(why) = self.checks.producer_id(id)
        {
            self.checks.lost(why);
        }
    }

    pub fn batch_answered(
        &mut self,
        client: usize,
        key: TopicIdPartition,
        sequence: i32,
        result: Result<i64, ErrorCode>,
    ) {
        let now_ms = self.now_ms();
        let producer = self.producer(client);
        let id = producer.id.unwrap_or(-1);
        let Some(lane) = producer.lanes.get_mut(&key) else { return };
        let Some(at) = lane.batches.iter().position(|batch| batch.sequence == sequence) else { return };
        match result {
            Ok(offset) => {
                // A broker remembers five batches: no more may follow one that is not acknowledged.
                lane.batches[at].is_acknowledged = true;
                lane.is_known = true;
                while lane.batches.front().is_some_and(|batch| batch.is_acknowledged) {
                    lane.batches.pop_front();
                }
                if let Err(why) = self.checks.acknowledge(key, offset, id, sequence) {
                    self.checks.lost(why);
                }
            }
            Err(code) => {
                lane.batches[at].is_sent = false;
                lane.rests_until_ms = now_ms + 20;
                let is_ordinary = matches!(
                    code,
                    ErrorCode::NetworkException | ErrorCode::NotEnoughReplicas | ErrorCode::NotLeaderOrFollower
                );
                if self.talks && !is_ordinary {
                    let name = self.name(key);
                    self.say(|| format!("producer {client} hears {} for {sequence} of {name}", code.name()));
                }
                self.refresh(client);
            }
        }
    }

    // What a broker does.

    pub fn produced(&mut self, to: To, caller: Caller, token: u64, key: TopicIdPartition, mut bytes: Vec<u8>) {
        let wall_ms = self.wall_ms(to.id);
        let Some(cell) = self.process(to).and_then(|process| process.cells.get_mut(&key)) else {
            return self.answer(to, caller, token, Answer::Produced(Err(ErrorCode::UnknownTopicId)));
        };
        let info = BatchInfo::of_header(&BatchHeader::parse(&bytes).unwrap()).unwrap();
        let mut appends = [Append::new(&mut bytes, info)];
        let epoch = match cell.partition.append(&mut appends, true, wall_ms) {
            Ok(appended) => appended.epoch,
            Err(fault) => return self.node_fails(to, &fault),
        };
        let [append] = appends;
        let appended = match append.outcome {
            Ok(appended) => appended,
            Err(code) => return self.answer(to, caller, token, Answer::Produced(Err(code))),
        };
        let ack = Ack { offset: appended.last_offset + 1, epoch, all: true };
        let outcome = cell.partition.acknowledged(&ack);
        let base_offset = appended.base_offset;
        match outcome {
            Some(outcome) => self.answer(to, caller, token, Answer::Produced(outcome.map(|()| base_offset))),
            None => {
                let park = Park::new(1);
                cell.partition.park_ack(ack, park.clone());
                let until_ms = self.now_ms() + TIMEOUT_MS;
                let what = Waits::Producer { caller, token, key, ack, base_offset };
                self.wait(to, Waiting { park, until_ms, what });
            }
        }
        self.checks.touch(to.id, key);
        self.sync(to, key);
    }

    pub fn producer_id_wanted(&mut self, to: To, caller: Caller, token: u64) {
        let Some(process) = self.process(to) else { return };
        if let Some(id) = process.producer_ids.next() {
            return self.answer(to, caller, token, Answer::ProducerId(Ok(id)));
        }
        process.waiters.push((caller, token));
        let is_asking = process.asked.values().any(|asked| matches!(asked, Asked::ProducerIds));
        let (broker_id, broker_epoch) = (to.id, process.broker_epoch);
        if !is_asking {
            self.ask_controller(to, Asked::ProducerIds, Command::AllocateProducerIds { broker_id, broker_epoch });
        }
    }

    pub fn producer_ids_came(&mut self, to: To, reply: Result<Reply, ErrorCode>) {
        let Some(process) = self.process(to) else { return };
        if let Ok(Reply::AllocateProducerIds(Ok(block))) = reply {
            process.producer_ids = block.first..block.first + i64::from(block.count);
        }
        for (caller, token) in std::mem::take(&mut process.waiters) {
            let Some(process) = self.process(to) else { return };
            let id = process.producer_ids.next().ok_or(ErrorCode::CoordinatorNotAvailable);
            self.answer(to, caller, token, Answer::ProducerId(id));
        }
    }
}
