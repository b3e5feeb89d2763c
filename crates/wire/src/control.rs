//! Control records: what brokers write among the records of producers (transaction markers) and of the metadata log
//! (leader changes, the frame around snapshots, the quorum's own state). They stand in batches with the control bit.
//!
//! The key is two int16s, a version (0) and the type; the value depends on the type. Transaction markers carry their
//! value's version in front, the quorum's messages as their first field, which is the same bytes.

use std::fmt;

use crate::codec::{DecodeError, DecodeProblem, Decoder, EncodeError, Message};
use crate::messages::{
    EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
};
use crate::records::{BatchBuilder, Codec, NO_SEQUENCE};

/// Version of control record keys.
const KEY_VERSION: i16 = 0;

/// What a control record says, by the number in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
    /// KIP-853.
    KRaftVersion = 5,
    /// KIP-853.
    KRaftVoters = 6,
}

impl ControlType {
    pub const ALL: [ControlType; 7] = [
        ControlType::Abort,
        ControlType::Commit,
        ControlType::LeaderChange,
        ControlType::SnapshotHeader,
        ControlType::SnapshotFooter,
        ControlType::KRaftVersion,
        ControlType::KRaftVoters,
    ];

    pub const fn code(self) -> i16 {
        self as i16
    }

    pub fn from_code(code: i16) -> Option<ControlType> {
        ControlType::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Kafka's name, as dumps print it.
    pub const fn name(self) -> &'static str {
        match self {
            ControlType::Abort => "ABORT",
            ControlType::Commit => "COMMIT",
            ControlType::LeaderChange => "LEADER_CHANGE",
            ControlType::SnapshotHeader => "SNAPSHOT_HEADER",
            ControlType::SnapshotFooter => "SNAPSHOT_FOOTER",
            ControlType::KRaftVersion => "KRAFT_VERSION",
            ControlType::KRaftVoters => "KRAFT_VOTERS",
        }
    }

    /// The key of a record of this type.
    pub const fn key(self) -> [u8; 4] {
        let [v0, v1] = KEY_VERSION.to_be_bytes();
        let [t0, t1] = self.code().to_be_bytes();
        [v0, v1, t0, t1]
    }

    /// Reads a control record's key. `Ok(None)` is a type from the future, which readers must pass over; longer keys and
    /// higher versions add fields and change none.
    pub fn of_key(key: &[u8]) -> Result<Option<ControlType>, DecodeError> {
        let mut key = Decoder::new(key);
        let version = key.i16()?;
        if version < 0 {
            return Err(key.error(DecodeProblem::Version(version)));
        }
        Ok(ControlType::from_code(key.i16()?))
    }
}

impl fmt::Display for ControlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A control record, key and value.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord<'a> {
    Abort(EndTxnMarker),
    Commit(EndTxnMarker),
    LeaderChange(LeaderChangeMessage<'a>),
    SnapshotHeader(SnapshotHeaderRecord),
    SnapshotFooter(SnapshotFooterRecord),
    KRaftVersion(KRaftVersionRecord),
    KRaftVoters(VotersRecord<'a>),
}

impl<'a> ControlRecord<'a> {
    /// Reads a record of a control batch. `Ok(None)` is a type from the future.
    pub fn decode(key: &[u8], value: &'a [u8]) -> Result<Option<ControlRecord<'a>>, DecodeError> {
        let Some(kind) = ControlType::of_key(key)? else { return Ok(None) };
        Ok(Some(match kind {
            ControlType::Abort => ControlRecord::Abort(marker(value)?),
            ControlType::Commit => ControlRecord::Commit(marker(value)?),
            ControlType::LeaderChange => ControlRecord::LeaderChange(message(value)?),
            ControlType::SnapshotHeader => ControlRecord::SnapshotHeader(message(value)?),
            ControlType::SnapshotFooter => ControlRecord::SnapshotFooter(message(value)?),
            ControlType::KRaftVersion => ControlRecord::KRaftVersion(message(value)?),
            ControlType::KRaftVoters => ControlRecord::KRaftVoters(message(value)?),
        }))
    }

    pub const fn kind(&self) -> ControlType {
        match self {
            ControlRecord::Abort(_) => ControlType::Abort,
            ControlRecord::Commit(_) => ControlType::Commit,
            ControlRecord::LeaderChange(_) => ControlType::LeaderChange,
            ControlRecord::SnapshotHeader(_) => ControlType::SnapshotHeader,
            ControlRecord::SnapshotFooter(_) => ControlType::SnapshotFooter,
            ControlRecord::KRaftVersion(_) => ControlType::KRaftVersion,
            ControlRecord::KRaftVoters(_) => ControlType::KRaftVoters,
        }
    }

    /// The record's value. The quorum's messages are written in the version that their `version` field names.
    pub fn value(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            ControlRecord::Abort(marker) | ControlRecord::Commit(marker) => marker.encode_value(0),
            ControlRecord::LeaderChange(message) => message.to_bytes(message.version),
            ControlRecord::SnapshotHeader(message) => message.to_bytes(message.version),
            ControlRecord::SnapshotFooter(message) => message.to_bytes(message.version),
            ControlRecord::KRaftVersion(message) => message.to_bytes(message.version),
            ControlRecord::KRaftVoters(message) => message.to_bytes(message.version),
        }
    }

    /// Adds the record to a builder of a control batch.
    pub fn append_to(&self, batch: &mut BatchBuilder, timestamp: i64) -> Result<(), EncodeError> {
        batch.append(timestamp, Some(&self.kind().key()), Some(&self.value()?), &[]);
        Ok(())
    }
}

/// A marker's version in front of its value; later versions may only add to it.
fn marker(value: &[u8]) -> Result<EndTxnMarker, DecodeError> {
    let mut value = Decoder::new(value);
    let version = value.i16()?;
    if version < 0 {
        return Err(value.error(DecodeProblem::Version(version)));
    }
    EndTxnMarker::decode(&mut value, 0)
}

/// One of the quorum's messages, in the version that its first field names.
fn message<'a, M: Message<'a>>(value: &'a [u8]) -> Result<M, DecodeError> {
    let version = Decoder::new(value).i16()?;
    M::decode(&mut Decoder::new(value), version)
}

/// A batch of control records, not compressed and without a producer, as the metadata log and its snapshots have them.
pub fn control_batch(
    records: &[ControlRecord<'_>],
    base_offset: i64,
    leader_epoch: i32,
    timestamp: i64,
) -> Result<Vec<u8>, EncodeError> {
    let mut batch = BatchBuilder::new(Codec::None).control();
    for record in records {
        record.append_to(&mut batch, timestamp)?;
    }
    Ok(batch.build(base_offset, leader_epoch))
}

/// The batch that ends a producer's transaction in a partition. `coordinator_epoch` is that of the transaction
/// coordinator, so that a deposed one cannot end what its successor began.
pub fn transaction_marker(
    commit: bool,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Result<Vec<u8>, EncodeError> {
    let marker = EndTxnMarker { coordinator_epoch };
    let record = if commit { ControlRecord::Commit(marker) } else { ControlRecord::Abort(marker) };
    let mut batch =
        BatchBuilder::new(Codec::None).control().transactional().producer(producer_id, producer_epoch, NO_SEQUENCE);
    record.append_to(&mut batch, timestamp)?;
    Ok(batch.build(0, -1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Uuid;
    use crate::messages::{leader_change_message, voters_record};
    use crate::records::{Batch, Rules, Scratch, validate};

    fn samples() -> Vec<ControlRecord<'static>> {
        let voter = |voter_id, id| leader_change_message::Voter { voter_id, voter_directory_id: Uuid([id; 16]) };
        vec![
            ControlRecord::Abort(EndTxnMarker { coordinator_epoch: 7 }),
            ControlRecord::Commit(EndTxnMarker { coordinator_epoch: -1 }),
            ControlRecord::LeaderChange(LeaderChangeMessage {
                version: 0,
                leader_id: 1,
                voters: vec![voter(1, 0)].into(),
                granting_voters: vec![voter(1, 0)].into(),
            }),
            ControlRecord::LeaderChange(LeaderChangeMessage {
                version: 1,
                leader_id: 2,
                voters: vec![voter(1, 5), voter(2, 6)].into(),
                granting_voters: vec![voter(2, 6)].into(),
            }),
            ControlRecord::SnapshotHeader(SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: 1 << 41 }),
            ControlRecord::SnapshotFooter(SnapshotFooterRecord { version: 0 }),
            ControlRecord::KRaftVersion(KRaftVersionRecord { version: 0, k_raft_version: 1 }),
            ControlRecord::KRaftVoters(VotersRecord {
                version: 0,
                voters: vec![voters_record::Voter {
                    voter_id: 3,
                    voter_directory_id: Uuid([9; 16]),
                    endpoints: vec![voters_record::Endpoint {
                        name: "CONTROLLER".into(),
                        host: "localhost".into(),
                        port: 9093,
                    }]
                    .into(),
                    k_raft_version_feature: voters_record::KRaftVersionFeature {
                        min_supported_version: 0,
                        max_supported_version: 1,
                    },
                }]
                .into(),
            }),
        ]
    }

    #[test]
    fn every_type_comes_back() {
        for record in samples() {
            let (key, value) = (record.kind().key(), record.value().unwrap());
            assert_eq!(ControlRecord::decode(&key, &value), Ok(Some(record.clone())));
            for cut in 0..value.len() {
                assert!(ControlRecord::decode(&key, &value[..cut]).is_err(), "{} {cut}", record.kind());
            }
        }
    }

    #[test]
    fn sizes_are_those_in_a_log_of_kafka() {
        // Read from the metadata log and bootstrap snapshot of a Kafka 4.3.1.
        let sizes: Vec<_> = samples().iter().map(|record| record.value().unwrap().len()).collect();
        assert_eq!((sizes[2], sizes[4], sizes[5]), (19, 11, 3));
    }

    #[test]
    fn types_from_the_future_are_passed_over_and_broken_keys_are_not() {
        assert_eq!(ControlRecord::decode(&[0, 0, 0, 7], b"anything"), Ok(None));
        assert_eq!(ControlRecord::decode(&[0, 0, 0xff, 0xff], b""), Ok(None));
        assert_eq!(ControlType::of_key(&[0, 9, 0, 1, 5, 5]), Ok(Some(ControlType::Commit)));
        assert!(ControlType::of_key(&[0xff, 0xff, 0, 1]).is_err());
        assert!(ControlType::of_key(&[0, 0, 0]).is_err());
    }

    #[test]
    fn a_marker_is_a_control_batch_that_only_brokers_may_write() {
        let bytes = transaction_marker(true, 12, 3, 5, 1000).unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        assert!(batch.is_control() && batch.is_transactional());
        assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (12, 3, -1));
        let records = batch.records().unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let read = ControlRecord::decode(record.key.unwrap(), record.value.unwrap()).unwrap();
        assert_eq!(read, Some(ControlRecord::Commit(EndTxnMarker { coordinator_epoch: 5 })));
        assert!(validate(&bytes, &Rules::new(1000), &mut Scratch::new()).is_err());
        let own = Rules { allow_control: true, ..Rules::new(1000) };
        assert!(validate(&bytes, &own, &mut Scratch::new()).is_ok());
    }

    #[test]
    fn a_batch_of_control_records_reads_back() {
        let samples = samples();
        let bytes = control_batch(&samples, 40, 2, 77).unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        assert_eq!((batch.base_offset(), batch.leader_epoch(), batch.last_offset()), (40, 2, 47));
        let records = batch.records().unwrap();
        for (record, sample) in records.iter().zip(&samples) {
            let record = record.unwrap();
            let read = ControlRecord::decode(record.key.unwrap(), record.value.unwrap()).unwrap();
            assert_eq!(read.as_ref(), Some(sample));
        }
    }
}
