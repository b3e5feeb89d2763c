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
const SHIFT_FROM: usize = 8 << 10;

fn restamp(bytes: &mut [u8], attributes: i16, max_timestamp: i64) {
    let covered = ATTRIBUTES..HEADER_SIZE;
    let before = crc32c::crc32c(&bytes[covered.clone()]);
    bytes[ATTRIBUTES..ATTRIBUTES + 2].copy_from_slice(&attributes.to_be_bytes());
    bytes[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    let payload_size = bytes.len() - HEADER_SIZE;
    let crc = if payload_size < SHIFT_FROM {
        crc32c::crc32c(&bytes[ATTRIBUTES..])
    } else {
        // A CRC is linear: the difference that the header makes, carried on over the payload, is the difference.
        let after = crc32c::crc32c(&bytes[covered]);
        let stored = u32::from_be_bytes([bytes[CRC], bytes[CRC + 1], bytes[CRC + 2], bytes[CRC + 3]]);
        stored ^ shift(before ^ after, payload_size)
    };
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// CRC-32C's polynomial, bits reversed: the lowest bit is the highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// x to the powers 1, 2, 4, 8... modulo the polynomial; as many as the bits of 2 GiB need.
const POWERS: [u32; 35] = {
    let mut powers = [ONE >> 1; 35];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = multiply(powers[at - 1], powers[at - 1]);
        at += 1;
    }
    powers
};

/// `difference` times x to the power of eight times `bytes`: what becomes of it when so many bytes follow.
fn shift(difference: u32, bytes: usize) -> u32 {
    let mut product = difference;
    for (bit, power) in POWERS[3..].iter().enumerate() {
        if bytes >> bit & 1 != 0 {
            product = multiply(*power, product);
        }
    }
    product
}

/// The product of two polynomials modulo CRC-32C's.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        // Masks in place of branches: the bits are as good as random.
        product ^= b & ((a & bit != 0) as u32).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
        bit >>= 1;
    }
    product
}
