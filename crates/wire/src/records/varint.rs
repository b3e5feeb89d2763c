//! Zigzag varints as records use them. Reading takes the one-byte case inline: most fields of most records are one byte.

/// Takes a zigzag varint of at most 32 bits off the front. `None` when the bytes end in it or it does not fit.
#[inline(always)]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(zigzag_i32(u32::from(first)))
        }
        // Lengths from 64 to 8191 are the second most common case.
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(zigzag_i32(u32::from(first & 0x7f) | u32::from(second) << 7))
        }
        _ => take_long_i32(bytes),
    }
}

#[inline(never)]
fn take_long_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut value = 0u32;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        // The fifth byte has room for the last four bits.
        if index == 4 && byte > 0x0f {
            return None;
        }
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(zigzag_i32(value));
        }
    }
    None
}

/// Takes a zigzag varint of at most 64 bits off the front. `None` when the bytes end in it or it does not fit.
#[inline(always)]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    match **bytes {
        [first, ref rest @ ..] if first < 0x80 => {
            *bytes = rest;
            Some(zigzag_i64(u64::from(first)))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(zigzag_i64(u64::from(first & 0x7f) | u64::from(second) << 7))
        }
        _ => take_long_i64(bytes),
    }
}

#[inline(never)]
fn take_long_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte has room for the last bit.
        if index == 9 && byte > 0x01 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(zigzag_i64(value));
        }
    }
    None
}

const fn zigzag_i32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

const fn zigzag_i64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bytes that `value` takes as a zigzag varint. Works for 32-bit values too: their zigzag form is the same number.
#[inline(always)]
pub(super) const fn size(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    // Seven bits a byte: ceil(bits / 7), and one byte for zero.
    (64 - (zigzag | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends `value` as a zigzag varint. Serves 32-bit values too.
#[inline(always)]
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_take_as_many_bytes_as_size_says() {
        let mut values = vec![0, 1, -1, 63, -64, 64, -65, 8191, 8192, i64::from(i32::MAX), i64::MAX, i64::MIN];
        values.extend((0..63).flat_map(|bit| [1i64 << bit, -(1i64 << bit), (1i64 << bit) - 1]));
        for value in values {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), size(value), "{value}");
            assert_eq!(take_i64(&mut bytes.as_slice()), Some(value));
            assert_eq!(take_i32(&mut bytes.as_slice()), i32::try_from(value).ok(), "{value}");
            for cut in 0..bytes.len() {
                assert_eq!(take_i64(&mut &bytes[..cut]), None);
                assert_eq!(take_i32(&mut &bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn endless_and_oversized_varints_are_refused() {
        assert_eq!(take_i32(&mut [0xff; 16].as_slice()), None);
        assert_eq!(take_i64(&mut [0xff; 16].as_slice()), None);
        assert_eq!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()), None);
        assert_eq!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice()), Some(i32::MIN));
        let mut last = [0xff; 10];
        last[9] = 0x01;
        assert_eq!(take_i64(&mut last.as_slice()), Some(i64::MIN));
        last[9] = 0x02;
        assert_eq!(take_i64(&mut last.as_slice()), None);
    }

    #[test]
    fn padded_varints_are_read_as_kafka_reads_them() {
        let mut bytes = [0x82, 0x80, 0x00, 0x77].as_slice();
        assert_eq!(take_i32(&mut bytes), Some(1));
        assert_eq!(bytes, [0x77]);
    }
}
