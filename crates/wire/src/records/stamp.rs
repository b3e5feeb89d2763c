//! What the broker writes into a batch that it otherwise leaves as it came.

use super::batch::{ATTRIBUTES, CRC, HEADER_SIZE, LEADER_EPOCH, LOG_APPEND_TIME_BIT, MAX_TIMESTAMP};

/// Gives the batch its place: base offset and leader epoch, which the CRC leaves out. `bytes` begin with a batch.
pub fn stamp(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[LEADER_EPOCH..LEADER_EPOCH + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Makes `ms` the timestamp of all records of the batch, as `message.timestamp.type=LogAppendTime` wants it. The CRC is
/// adjusted. `bytes` are exactly one batch with a valid CRC.
pub fn stamp_log_append_time(bytes: &mut [u8], ms: i64) {
    let attributes = i16::from_be_bytes([bytes[ATTRIBUTES], bytes[ATTRIBUTES + 1]]) | LOG_APPEND_TIME_BIT;
    restamp(bytes, attributes, ms);
}

/// Corrects the header's maximum timestamp, for producers that leave it wrong. The CRC is adjusted. `bytes` are exactly
/// one batch with a valid CRC.
pub fn stamp_max_timestamp(bytes: &mut [u8], ms: i64) {
    let attributes = i16::from_be_bytes([bytes[ATTRIBUTES], bytes[ATTRIBUTES + 1]]);
    restamp(bytes, attributes, ms);
}

/// Beyond this many bytes it is cheaper to work out how the CRC changes than to compute it anew.
const COMBINE_FROM: usize = 32 << 10;

fn restamp(bytes: &mut [u8], attributes: i16, max_timestamp: i64) {
    let covered = ATTRIBUTES..HEADER_SIZE;
    let before = crc32c::crc32c(&bytes[covered.clone()]);
    bytes[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    bytes[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    let payload_size = bytes.len() - HEADER_SIZE;
    let crc = if payload_size < COMBINE_FROM {
        crc32c::crc32c(&bytes[ATTRIBUTES..])
    } else {
        // A CRC is linear: the difference that the header makes, carried on over the payload, is the difference.
        let after = crc32c::crc32c(&bytes[covered]);
        let stored = u32::from_be_bytes([bytes[CRC], bytes[CRC + 1], bytes[CRC + 2], bytes[CRC + 3]]);
        stored ^ crc32c::crc32c_combine(before ^ after, 0, payload_size)
    };
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}
