//! Producer ids, handed out to brokers in blocks.

use wire::ErrorCode;
use wire::messages::{MetadataRecord, ProducerIdsRecord};

use super::brokers::check_broker_epoch;
use super::{Decision, Refusal};
use crate::image::Image;

/// How many ids a block has.
pub const PRODUCER_ID_BLOCK_SIZE: i64 = 1000;

/// Ids that belong to one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub first: i64,
    pub count: i32,
}

/// AllocateProducerIds: the next block.
pub fn allocate_producer_ids(
    image: &Image,
    broker_id: i32,
    broker_epoch: i64,
) -> Decision<Result<ProducerIdBlock, Refusal>> {
    if let Err(refusal) = check_broker_epoch(image, broker_id, broker_epoch) {
        return Decision::reply(Err(refusal));
    }
    let first = image.next_producer_id.unwrap_or(0);
    let Some(next_producer_id) = first.checked_add(PRODUCER_ID_BLOCK_SIZE) else {
        let text = "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit";
        return Decision::reply(Err(Refusal::new(ErrorCode::UnknownServerError, text)));
    };
    let record = ProducerIdsRecord { broker_id, broker_epoch, next_producer_id };
    let block = ProducerIdBlock { first, count: PRODUCER_ID_BLOCK_SIZE as i32 };
    Decision::new(vec![MetadataRecord::ProducerIds(record)], Ok(block))
}
