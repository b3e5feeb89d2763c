//! AlterPartition (56), versions 2–3, on controllers' listeners: the leader of a partition changes its ISR (KIP-497).
//! Version 3 names the epochs of the brokers in it (KIP-903).

use super::{Close, Cx, Reply, decide};
use metadata::controller::{AlterPartition, AlteredPartition, Command, Reply as Decided};
use metadata::image::{LeaderRecoveryState, TopicIdPartition};
use std::ops::RangeInclusive;
use wire::messages::alter_partition_response::{PartitionData, TopicData};
use wire::messages::{AlterPartitionRequest, AlterPartitionResponse};
use wire::{ErrorCode, Uuid};

pub const VERSIONS: RangeInclusive<i16> = 2..=3;
/// An epoch that is not checked.
const ANY_EPOCH: i64 = -1;

pub async fn handle(cx: &Cx<'_>, request: AlterPartitionRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let mut partitions = Vec::new();
    for topic in request.topics.iter() {
        for partition in topic.partitions.iter() {
            let with_epochs = partition.new_isr_with_epochs.iter().map(|one| (one.broker_id, one.broker_epoch));
            let without = partition.new_isr.iter().map(|id| (*id, ANY_EPOCH));
            partitions.push(AlterPartition {
                key: TopicIdPartition { topic_id: topic.topic_id, partition: partition.partition_index },
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                new_isr: with_epochs.chain(without).collect(),
                leader_recovery_state: LeaderRecoveryState::from_value(partition.leader_recovery_state)
                    .unwrap_or(LeaderRecoveryState::Recovered),
            });
        }
    }
    let (broker_id, broker_epoch) = (request.broker_id, request.broker_epoch);
    let altered =
        decide(cx, Command::AlterPartitions { broker_id, broker_epoch, partitions }, |decided| match decided {
            Decided::AlterPartitions(result) => Some(result),
            _ => None,
        })
        .await;
    reply.send(&match altered {
        Ok(altered) => AlterPartitionResponse { topics: topics(&altered).into(), ..Default::default() },
        Err(refusal) => AlterPartitionResponse { error_code: refusal.code.code(), ..Default::default() },
    })
}

fn topics(altered: &[AlteredPartition]) -> Vec<TopicData<'static>> {
    let mut topics: Vec<(Uuid, Vec<PartitionData<'static>>)> = Vec::new();
    for one in altered {
        let data = match &one.result {
            Ok(partition) => PartitionData {
                partition_index: one.key.partition,
                error_code: ErrorCode::None.code(),
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                isr: partition.isr.to_vec().into(),
                leader_recovery_state: partition.leader_recovery_state.value(),
                partition_epoch: partition.partition_epoch,
            },
            Err(code) => {
                PartitionData { partition_index: one.key.partition, error_code: code.code(), ..Default::default() }
            }
        };
        match topics.last_mut().filter(|(id, _)| *id == one.key.topic_id) {
            Some((_, partitions)) => partitions.push(data),
            None => topics.push((one.key.topic_id, vec![data])),
        }
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicData { topic_id, partitions: partitions.into() }).collect()
}
