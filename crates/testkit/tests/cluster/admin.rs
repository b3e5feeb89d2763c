//! Somebody creates, deletes, extends and moves topics while all of it goes on.

use crate::plan::{HEAL_MS, MIN_ISR, OFFSETS_TOPIC};
use crate::quorum::Asked;
use crate::world::{Event, Happening, To, World};
use metadata::controller::{AlterOp, Command, ConfigChanges, ElectionType, MorePartitions, NewTopic, Reply, TopicRef};
use metadata::image::{ConfigResource, TopicIdPartition};
use wire::{ErrorCode, Uuid};

/// Topics that are there all the time, with the partitions that they begin with.
const LASTING: [(&str, i32); 3] = [(OFFSETS_TOPIC, 2), ("a", 2), ("b", 1)];
const PARTITIONS_MAX: usize = 4;

/// What was asked for.
pub enum Wish {
    Topic,
    Deletion,
    /// A partition's replicas; by number.
    Replicas(TopicIdPartition, u64, Vec<i32>),
    Other,
}

impl World {
    pub fn administrate(&mut self) {
        let is_over = self.now_ms() >= HEAL_MS;
        let pause_ms = 150 + self.chance.below(700);
        self.after(pause_ms, Event::Admin);
        let missing = LASTING.iter().find(|(name, _)| self.latest.topics.by_name(name).is_none());
        if let Some((name, partitions)) = missing {
            return self.wish(Wish::Topic, create(name, *partitions));
        }
        if is_over {
            return;
        }
        let passing: Vec<String> = self.passing().map(|topic| topic.name.to_string()).collect();
        match self.chance.below(100) {
            0..20 if passing.len() < 2 => {
                self.made += 1;
                let (name, partitions) = (format!("passing-{}", self.made % 3), 1 + self.chance.below(2) as i32);
                self.wish(Wish::Topic, create(&name, partitions));
            }
            20..35 if !passing.is_empty() => {
                // By its id: a request that is late must not meet another topic of the same name.
                let Some(id) = self.latest.topics.by_name(&passing[0]).map(|topic| topic.id) else { return };
                self.checks.deletes(id);
                self.wish(Wish::Deletion, Command::DeleteTopics(vec![TopicRef::Id(id)]));
            }
            35..50 => {
                let name = self.chance.one_of(&["a", "b"]);
                let count = self.latest.topics.by_name(name).map_or(0, |topic| topic.partitions.len());
                if count < PARTITIONS_MAX {
                    let more = MorePartitions { name: name.to_owned(), count: count as i32 + 1, assignments: None };
                    let command = Command::CreatePartitions { topics: vec![more], validate_only: false };
                    self.wish(Wish::Other, command);
                }
            }
            50..58 if self.plan.changes_min_isr => self.change_min_isr(),
            50..62 => {
                let command = Command::ElectLeaders { election: ElectionType::Preferred, partitions: None };
                self.wish(Wish::Other, command);
            }
            62..75 if self.plan.volumes.iter().any(|count| *count > 1) => self.move_replica(),
            75..82 if self.plan.deletes_records => self.want_records_deleted(),
            _ => self.reassign(),
        }
    }

    /// DeleteRecords, up to any offset that is committed.
    fn want_records_deleted(&mut self) {
        let name = self.chance.one_of(&["a", "b"]);
        let Some(topic) = self.latest.topics.by_name(name).cloned() else { return };
        let partition = self.chance.below(topic.partitions.len() as i64) as i32;
        let key = TopicIdPartition { topic_id: topic.id, partition };
        let (end, delay_ms) = (self.committed_end(key), self.delay_ms());
        let before = self.chance.below(end + 1);
        let leader = topic.partition(partition).map(|partition| partition.leader);
        if let Some(to) = leader.and_then(|leader| self.running(leader)) {
            self.at(delay_ms, to, Happening::DeleteRecords(key, before));
        }
    }

    pub fn delete_records(&mut self, to: To, key: TopicIdPartition, before: i64) {
        let wall_ms = self.wall_ms(to.id);
        let Some(cell) = self.process(to).and_then(|process| process.cells.get_mut(&key)) else { return };
        if !cell.partition.is_leader() || !(0..=cell.partition.high_watermark()).contains(&before) {
            return;
        }
        let deleted = cell.partition.delete_records(before, wall_ms);
        // Half of it may be done where it failed.
        self.checks.deletes_records(key, before);
        if let Err(fault) = deleted {
            return self.fails(to, &fault);
        }
        self.checks.touch(to.id, key);
        let name = self.name(key);
        self.say(|| format!("{} deletes {name} up to {before}", to.id));
    }

    fn change_min_isr(&mut self) {
        let topic = self.chance.one_of(&[OFFSETS_TOPIC, "a", "b"]);
        let count = self.chance.one_of(&["1", "1", "1", "2", "3"]);
        self.want_min_isr(topic, count);
    }

    /// A leader proposes a smaller ISR for this topic: the moment at which another min.insync.replicas matters most.
    pub fn isr_shrinks(&mut self, topic: &str) {
        if self.plan.changes_min_isr && !self.is_healed() && self.chance.is(70) {
            self.want_min_isr(topic, "2");
        }
    }

    fn want_min_isr(&mut self, topic: &str, count: &str) {
        let changes = vec![(MIN_ISR.to_owned(), AlterOp::Set, Some(count.to_owned()))];
        let resources = vec![ConfigChanges { resource: ConfigResource::topic(topic), changes }];
        self.say(|| format!("{topic} shall have {count} as {MIN_ISR}"));
        self.wish(Wish::Other, Command::IncrementalAlterConfigs { resources, validate_only: false });
    }

    fn passing(&self) -> impl Iterator<Item = &metadata::image::Topic> {
        let topics = self.latest.topics.iter().map(|topic| &**topic);
        topics.filter(|topic| topic.name.starts_with("passing"))
    }

    /// Any node brings it to whoever decides.
    pub fn wish(&mut self, wish: Wish, command: Command) {
        let ids: Vec<i32> = self.plan.ids().collect();
        let id = self.chance.one_of(&ids);
        if let Some(to) = self.running(id) {
            self.ask_controller(to, Asked::Admin(wish), command);
        }
    }

    pub fn wish_answered(&mut self, wish: Wish, reply: Result<Reply, ErrorCode>) {
        match (wish, reply) {
            (Wish::Topic, Ok(Reply::CreateTopics(Ok(created)))) => {
                for created in created.into_iter().filter_map(|(_, created)| created.ok()) {
                    self.checks.creates(created.topic_id);
                }
            }
            (Wish::Deletion, Ok(Reply::DeleteTopics(deleted))) => {
                let gone = deleted.iter().filter(|topic| topic.result.is_ok());
                if let Some(left) = gone.filter_map(|topic| self.latest.topics.get(topic.topic_id)).next() {
                    let why = format!("the deletion of {} was acknowledged and it is there", left.name);
                    self.checks.lost(why);
                }
            }
            (Wish::Replicas(key, number, replicas), Ok(Reply::AlterPartitionReassignments(results))) => {
                let is_agreed = results.iter().all(|(_, _, result)| result.is_ok());
                self.checks.placement(key).answered(number, replicas, is_agreed);
            }
            _ => {}
        }
    }

    /// Every topic whose creation was acknowledged is there, unless somebody asked for its deletion.
    pub fn check_topics(&self) -> Result<(), String> {
        let missing = |id: &&Uuid| self.latest.topics.get(**id).is_none();
        match self.checks.created().find(missing) {
            Some(id) => Err(format!("topic {id} was created and is not there")),
            None => Ok(()),
        }
    }
}

/// Whether a topic of this name is there all the time.
pub fn is_lasting(name: &str) -> bool {
    LASTING.iter().any(|(lasting, _)| *lasting == name)
}

fn create(name: &str, num_partitions: i32) -> Command {
    let topic = NewTopic {
        name: name.to_owned(),
        num_partitions,
        replication_factor: 3,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    Command::CreateTopics { topics: vec![topic], validate_only: false }
}
