//! After a time without faults all is well, and everything that was promised is there.

use crate::clients::Role;
use crate::consumer::keys;
use crate::groups::{self, is_offsets};
use crate::machine::{Phase, Process};
use crate::plan::{HEAL_MS, OFFSETS_TOPIC};
use crate::world::World;
use metadata::image::TopicIdPartition;

impl World {
    fn processes(&self) -> impl Iterator<Item = (i32, &Process)> {
        self.machines.iter().filter_map(|(id, machine)| Some((*id, machine.process.as_ref()?)))
    }

    /// Why the cluster is not whole yet.
    pub fn is_whole(&self) -> Result<(), String> {
        // Producers have to have their say after the faults.
        if self.now_ms() < HEAL_MS + 1_500 {
            return Err("it is early".to_owned());
        }
        for (id, machine) in &self.machines {
            match &machine.process {
                Some(process) if process.phase == Phase::Serving => {}
                Some(process) => return Err(format!("{id} is {:?}", process.phase)),
                None => return Err(format!("{id} is down")),
            }
        }
        if let Some(broker) = self.latest.cluster.brokers().find(|broker| !broker.is_active()) {
            return Err(format!("{} is not active", broker.id));
        }
        for topic in self.latest.topics.iter() {
            for (index, partition) in &topic.partitions {
                if partition.isr.len() < partition.replicas.len() || !partition.has_leader() {
                    return Err(format!(
                        "{}-{index} has {partition:?}{}",
                        topic.name,
                        self.replicas_of(TopicIdPartition { topic_id: topic.id, partition: *index })
                    ));
                }
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            if let Role::Producer(producer) = &client.role
                && let Some((key, number)) = producer.open().next()
            {
                let (name, replicas) = (self.name(key), self.replicas_of(key));
                return Err(format!("{number} of producer {at} to {name} is not acknowledged{replicas}"));
            }
        }
        for topic in self.latest.topics.iter() {
            for (index, partition) in &topic.partitions {
                let key = TopicIdPartition { topic_id: topic.id, partition: *index };
                self.is_placed(key, partition)?;
                let end = self.committed_end(key);
                for id in &partition.replicas {
                    let cell = self.machines[id].process.as_ref().and_then(|process| process.cells.get(&key));
                    let replica = cell.map(|cell| &cell.partition);
                    if replica.is_none_or(|r| r.log().log_end_offset() != end || r.high_watermark() != end) {
                        return Err(format!("{}-{index} on {id} is not equal{}", topic.name, self.replicas_of(key)));
                    }
                }
            }
        }
        self.are_coordinated()?;
        self.are_placed()?;
        self.are_directories_known()?;
        self.are_groups_done()
    }

    /// Whoever leads a partition of groups has read it.
    fn are_coordinated(&self) -> Result<(), String> {
        let Some(topic) = self.latest.topics.by_name(OFFSETS_TOPIC) else { return Ok(()) };
        for (index, partition) in &topic.partitions {
            let process = self.machines.get(&partition.leader).and_then(|machine| machine.process.as_ref());
            let slot = process.and_then(|process| process.slots.get(index));
            if slot.is_none_or(|slot| slot.shard.is_none()) {
                return Err(format!("{} does not coordinate {index} yet", partition.leader));
            }
        }
        Ok(())
    }

    /// Everybody is a member, and everything is read and committed.
    fn are_groups_done(&self) -> Result<(), String> {
        for (at, client) in self.clients.iter().enumerate() {
            let Role::Consumer(consumer) = &client.role else { continue };
            if !consumer.is_stable() {
                return Err(format!("consumer {at} is no member"));
            }
            let committed = self.checks.committed_offsets(consumer.group);
            for key in keys(&self.latest) {
                let (end, offset) = (self.committed_end(key), committed.get(&key).copied().unwrap_or(0));
                if offset < end {
                    let name = self.name(key);
                    let members = self.clients.iter().filter_map(|client| match &client.role {
                        Role::Consumer(other) if other.group == consumer.group => Some(format!("\n{other:?}")),
                        _ => None,
                    });
                    let members: String = members.collect();
                    return Err(format!("{} has read {name} up to {offset} of {end}{members}", consumer.group));
                }
            }
        }
        Ok(())
    }

    fn replicas_of(&self, key: TopicIdPartition) -> String {
        let mut seen = String::new();
        for (id, process) in self.processes() {
            let Some(cell) = process.cells.get(&key) else { continue };
            let fetchers: Vec<_> = process
                .fetchers
                .iter()
                .map(|(l, f)| (*l, f.is_in_flight, f.turn_ms, f.fetcher.position(key)))
                .collect();
            seen += &format!(
                "\n{id}: {:?}, ends at {}, committed {}, {}proposes {:?}, followers {:?}, fetchers {fetchers:?}",
                cell.partition.role(),
                cell.partition.log().log_end_offset(),
                cell.partition.high_watermark(),
                if process.is_altering { "altering, " } else { "" },
                cell.partition.proposal(),
                cell.partition.followers().collect::<Vec<_>>(),
            );
        }
        seen
    }

    /// The end: what is on the disks is what was promised.
    pub fn check_end(&self) -> Result<(), String> {
        for (id, process) in self.processes() {
            if *process.image != *self.latest && process.image.offset == self.latest.offset {
                return Err(format!("{id} has come to another state"));
            }
        }
        for topic in self.latest.topics.iter() {
            for (index, partition) in &topic.partitions {
                let key = TopicIdPartition { topic_id: topic.id, partition: *index };
                let mut first: Option<(i32, Vec<u8>)> = None;
                // Deleted records may come back with a replica that had not written down that they are gone.
                let mut starts = Vec::new();
                for id in &partition.replicas {
                    starts.push(self.log_of(*id, key)?.log_start_offset());
                }
                let start = starts.into_iter().max().unwrap_or(0);
                for id in &partition.replicas {
                    let bytes = self.bytes_of(*id, key, start)?;
                    match &first {
                        Some((other, theirs)) if *theirs != bytes => {
                            return Err(format!("{}-{index} differs on {id} and {other}", topic.name));
                        }
                        Some(_) => {}
                        None => first = Some((*id, bytes)),
                    }
                }
                if is_offsets(&topic.name) {
                    self.check_coordinator(partition.leader, key)?;
                }
            }
        }
        self.check_topics()?;
        self.check_sent()?;
        self.check_kept()
    }

    fn log_of(&self, id: i32, key: TopicIdPartition) -> Result<&storage::Log, String> {
        let process = self.machines[&id].process.as_ref().ok_or("a node is down")?;
        Ok(process.cells.get(&key).ok_or("a replica is missing")?.partition.log())
    }

    fn bytes_of(&self, id: i32, key: TopicIdPartition, mut from: i64) -> Result<Vec<u8>, String> {
        let log = self.log_of(id, key)?;
        let (end, mut all) = (log.log_end_offset(), Vec::new());
        while from < end {
            let bytes = log.read_bytes(from, u32::MAX, end).map_err(|error| error.to_string())?;
            let last = wire::records::batches(&bytes).filter_map(Result::ok).last().ok_or("half a batch")?;
            from = last.next_offset();
            all.extend(bytes);
        }
        Ok(all)
    }

    /// Reading the log again gives what the coordinator has.
    fn check_coordinator(&self, leader: i32, key: TopicIdPartition) -> Result<(), String> {
        let process = self.machines[&leader].process.as_ref().ok_or("a node is down")?;
        let shard = process.slots.get(&key.partition).and_then(|slot| slot.shard.as_ref());
        let shard = shard.ok_or_else(|| format!("{leader} does not coordinate {}", key.partition))?;
        let log = process.cells[&key].partition.log();
        let loader = groups::read(log, log.log_end_offset())?;
        if shard.is_idle() && *loader.store() != *shard.store() {
            return Err(format!(
                "the coordinator {} on {leader} has {:?}, and its log says {:?}",
                key.partition,
                shard.store(),
                loader.store()
            ));
        }
        Ok(())
    }
}
