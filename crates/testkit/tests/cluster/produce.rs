//! What a broker does for producers: it appends their batches, and acknowledges them as they asked for.

use crate::clients::Answer;
use crate::producer::Acks;
use crate::quorum::Asked;
use crate::replicas::Waits;
use crate::world::{Caller, To, World};
use metadata::controller::{Command, Reply};
use metadata::image::TopicIdPartition;
use replication::{Ack, Park};
use storage::Append;
use wire::ErrorCode;
use wire::records::{BatchHeader, BatchInfo};

/// What a broker waits for acknowledgements.
const TIMEOUT_MS: i64 = 1_000;

/// An append whose acknowledgement is to be given.
#[derive(Clone, Copy)]
pub struct Awaited {
    pub key: TopicIdPartition,
    pub ack: Ack,
    base_offset: i64,
    crc: u32,
}

impl World {
    pub fn produced(
        &mut self,
        to: To,
        caller: Caller,
        token: u64,
        (key, acks): (TopicIdPartition, Acks),
        mut bytes: Vec<u8>,
    ) {
        let (wall_ms, steady_ms) = (self.wall_ms(to.id), self.steady_ms(to.id));
        let all = acks == Acks::All;
        let Some(cell) = self.process(to).and_then(|process| process.cells.get_mut(&key)) else {
            return self.append_refused(to, (caller, token), acks, ErrorCode::UnknownTopicId);
        };
        let header = BatchHeader::parse(&bytes).unwrap();
        let (crc, info) = (header.crc(), BatchInfo::of_header(&header).unwrap());
        let mut appends = [Append::new(&mut bytes, info)];
        let epoch = match cell.partition.append(&mut appends, all, wall_ms, steady_ms) {
            Ok(appended) => appended.epoch,
            Err(fault) => {
                self.fails(to, &fault);
                return self.append_refused(to, (caller, token), acks, ErrorCode::KafkaStorageError);
            }
        };
        let [append] = appends;
        let appended = match append.outcome {
            Ok(appended) => appended,
            Err(code) => return self.append_refused(to, (caller, token), acks, code),
        };
        let ack = Ack { offset: appended.last_offset + 1, epoch, all };
        let outcome = cell.partition.acknowledged(&ack);
        let awaited = Awaited { key, ack, base_offset: appended.base_offset, crc };
        match outcome {
            _ if acks == Acks::None => {}
            Some(outcome) => self.append_decided(to, (caller, token), &awaited, outcome),
            None => {
                let park = Park::new(1);
                cell.partition.park_ack(ack, park.clone());
                let until_ms = self.now_ms() + TIMEOUT_MS;
                self.wait(to, park, until_ms, Waits::Producer { caller, token, awaited });
            }
        }
        self.checks.touch(to.id, key);
        self.sync(to, key);
    }

    /// With acks=0 a closed connection is all that a producer gets to know.
    fn append_refused(&mut self, to: To, (caller, token): (Caller, u64), acks: Acks, code: ErrorCode) {
        match acks {
            Acks::None => self.close_connection(to, caller),
            _ => self.answer(to, caller, token, Answer::Produced(Err(code))),
        }
    }

    /// The answer is given: from now on a promise is to be kept.
    pub fn append_decided(
        &mut self,
        to: To,
        (caller, token): (Caller, u64),
        awaited: &Awaited,
        outcome: Result<(), ErrorCode>,
    ) {
        let Awaited { key, ack, base_offset, crc } = *awaited;
        self.checks.touch(to.id, key);
        if outcome.is_ok() {
            self.checks.promise(
                key,
                crate::promises::Promise {
                    offset: base_offset,
                    end: ack.offset,
                    crc,
                    epoch: ack.epoch,
                    by: to,
                    all: ack.all,
                },
            );
        }
        self.answer(to, caller, token, Answer::Produced(outcome.map(|()| base_offset)));
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
