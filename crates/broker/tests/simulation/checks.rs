//! What must hold after every event, and at the end.

use crate::world::{IDS, World};
use std::collections::BTreeMap;
use wire::records::batches;

/// What is known of the partition as a whole.
#[derive(Default)]
pub struct Checks {
    /// Batches that some replica has shown below its high watermark, by base offset.
    committed: BTreeMap<i64, Vec<u8>>,
    /// Everything before is committed.
    end: i64,
    /// Of each replica, up to where it was compared with what is committed.
    compared: BTreeMap<i32, i64>,
    /// The high watermarks, while their processes live.
    high_watermarks: BTreeMap<i32, i64>,
    /// Acknowledged by all in sync: the end of the batch, and its payload.
    pub acknowledged: Vec<(i64, Vec<u8>)>,
    pub truncations: usize,
    /// What was found wrong in between.
    lost: Option<String>,
}

impl Checks {
    pub fn restarted(&mut self, id: i32) {
        self.compared.insert(id, 0);
        self.high_watermarks.remove(&id);
    }

    /// Everything before is committed.
    pub fn end(&self) -> i64 {
        self.end
    }

    pub fn lost(&mut self, what: String) {
        self.lost.get_or_insert(what);
    }

    pub fn truncated(&mut self, id: i32, end: i64) {
        self.truncations += 1;
        let compared = self.compared.entry(id).or_default();
        *compared = (*compared).min(end);
    }
}

/// What the leader does not stamp.
fn payload(batch: &[u8]) -> &[u8] {
    &batch[16..]
}

impl World {
    pub fn check(&mut self) -> Result<(), String> {
        if let Some(lost) = self.checks.lost.take() {
            return Err(lost);
        }
        for id in IDS {
            self.check_replica(id)?;
        }
        self.check_electable()
    }

    fn check_replica(&mut self, id: i32) -> Result<(), String> {
        let World { nodes, checks, now_ms, .. } = self;
        let Some(process) = nodes.get_mut(&id).and_then(|node| node.process()) else { return Ok(()) };
        let partition = &process.partition;
        let high_watermark = partition.high_watermark();
        let before = checks.high_watermarks.insert(id, high_watermark).unwrap_or(0);
        if high_watermark < before {
            return Err(format!("the high watermark of {id} went from {before} back to {high_watermark}"));
        }
        let compared = checks.compared.entry(id).or_default();
        while *compared < high_watermark {
            let read = partition.log().read_bytes(*compared, u32::MAX, high_watermark);
            let bytes = read.map_err(|error| format!("{id} cannot read at {compared}: {error}"))?;
            if bytes.is_empty() {
                return Err(format!("{id} has nothing at {compared}, below its high watermark {high_watermark}"));
            }
            for batch in batches(&bytes) {
                let batch = batch.map_err(|error| format!("{id} at {compared}: {error}"))?;
                let (base, bytes) = (batch.base_offset(), batch.bytes());
                match checks.committed.get(&base) {
                    Some(known) if known != bytes => {
                        return Err(format!("{id} has another batch at {base} than was committed there"));
                    }
                    None if base < checks.end => {
                        return Err(format!("{id} has a batch at {base}, where the committed batches have none"));
                    }
                    Some(_) => {}
                    None => drop(checks.committed.insert(base, bytes.to_vec())),
                }
                *compared = batch.next_offset();
                checks.end = checks.end.max(*compared);
            }
        }
        let mut open = Vec::new();
        for waiting in std::mem::take(&mut process.waiting) {
            let ack = waiting.ack;
            match process.partition.acknowledged(&ack) {
                _ if waiting.looks_at_ms > *now_ms => open.push(waiting),
                None if waiting.until_ms > *now_ms => open.push(waiting),
                Some(Ok(())) if ack.all => checks.acknowledged.push((ack.offset, payload(&waiting.bytes).to_vec())),
                _ => {}
            }
        }
        process.waiting = open;
        for (end, bytes) in checks.acknowledged.iter().rev().take(3) {
            let found = checks.committed.range(..*end).next_back();
            let holds = found.is_some_and(|(_, committed)| payload(committed) == bytes);
            if !holds {
                return Err(format!("the batch before {end} was acknowledged, and another one is committed there"));
            }
        }
        Ok(())
    }

    /// Whoever the controller may elect without a second thought has everything that is committed.
    fn check_electable(&mut self) -> Result<(), String> {
        let (partition, end) = (self.partition(), self.checks.end);
        for id in partition.isr.iter().chain(&partition.elr) {
            let node = &self.nodes[id];
            // One that lost records and has yet to say so.
            let Some(process) = node.process.as_ref().filter(|_| node.complete_since.is_some()) else { continue };
            let log_end = process.partition.log().log_end_offset();
            if log_end < end {
                return Err(format!(
                    "{id} may be elected (isr {:?}, elr {:?}) and its log ends at {log_end}, before {end}",
                    partition.isr, partition.elr
                ));
            }
        }
        Ok(())
    }

    /// After a time without faults all is well, and everything that was promised is there.
    pub fn check_end(&mut self) -> Result<(), String> {
        let partition = self.partition();
        if partition.isr.len() < 3 || !partition.has_leader() {
            let image = self.image();
            let fenced: Vec<i32> = image.cluster.brokers().filter(|b| !b.is_active()).map(|b| b.id).collect();
            let mut seen = String::new();
            for id in IDS {
                let Some(process) = self.process(id) else { continue };
                let fetching: Vec<_> =
                    process.fetchers.iter().map(|(l, f)| (*l, f.in_flight, f.fetcher.len())).collect();
                seen += &format!(
                    "\n{id}: {:?}, ends at {}, committed {}, position {:?}, fetches {fetching:?}, followers {:?}",
                    process.partition.role(),
                    process.partition.log().log_end_offset(),
                    process.partition.high_watermark(),
                    process.partition.position(),
                    process.partition.followers().collect::<Vec<_>>(),
                );
            }
            return Err(format!(
                "it does not heal: leader {}, isr {:?}, not active {fenced:?}{seen}",
                partition.leader, partition.isr
            ));
        }
        let mut logs = Vec::new();
        for id in IDS {
            let process = self.process(id).ok_or("a broker is down")?;
            let (end, high_watermark) = (process.partition.log().log_end_offset(), process.partition.high_watermark());
            let mut bytes = Vec::new();
            let mut from = 0;
            while from < end {
                let read = process.partition.log().read_bytes(from, u32::MAX, end).map_err(|e| e.to_string())?;
                from = batches(&read).filter_map(Result::ok).last().ok_or("half a batch")?.next_offset();
                bytes.extend(read);
            }
            logs.push((id, end, high_watermark, bytes));
        }
        let (_, end, high_watermark, first) = &logs[partition.leader as usize - 1];
        if end - high_watermark > 6 {
            return Err(format!("the leader's log ends at {end} and only {high_watermark} is committed"));
        }
        for (id, other_end, other_high_watermark, bytes) in &logs {
            let same = bytes.len().min(first.len());
            if bytes[..same] != first[..same] || end - other_end > 6 || end - other_high_watermark > 12 {
                return Err(format!(
                    "{id} ends at {other_end} ({other_high_watermark} committed), the leader at {end}"
                ));
            }
        }
        let batches: BTreeMap<i64, Vec<u8>> =
            batches(first).filter_map(Result::ok).map(|b| (b.next_offset(), payload(b.bytes()).to_vec())).collect();
        for (end, bytes) in &self.checks.acknowledged {
            if batches.get(end) != Some(bytes) {
                return Err(format!("the batch before {end} was acknowledged and is not there any more"));
            }
        }
        Ok(())
    }
}
