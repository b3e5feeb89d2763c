//! Kafka's variable-length integers: seven bits a byte, least significant first; signed ones in zigzag.

/// Reads an unsigned one of at most 32 bits; returns it and how many bytes it took. `None`: it does not end within
/// the bytes (or within five).
#[inline]
pub fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    match bytes.first() {
        Some(&b) if b < 0x80 => Some((u32::from(b), 1)),
        _ => read_u64_limited(bytes, 5).and_then(|(value, n)| Some((u32::try_from(value).ok()?, n))),
    }
}

/// Reads an unsigned one of at most 64 bits; returns it and how many bytes it took.
#[inline]
pub fn read_u64(bytes: &[u8]) -> Option<(u64, usize)> {
    read_u64_limited(bytes, 10)
}

fn read_u64_limited(bytes: &[u8], limit: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &b) in bytes.iter().take(limit).enumerate() {
        if i == 9 && b > 1 {
            return None;
        }
        value |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Reads a signed one of at most 32 bits.
#[inline]
pub fn read_i32(bytes: &[u8]) -> Option<(i32, usize)> {
    read_u32(bytes).map(|(v, n)| ((v >> 1) as i32 ^ -((v & 1) as i32), n))
}

/// Reads a signed one of at most 64 bits.
#[inline]
pub fn read_i64(bytes: &[u8]) -> Option<(i64, usize)> {
    read_u64(bytes).map(|(v, n)| ((v >> 1) as i64 ^ -((v & 1) as i64), n))
}

/// Appends an unsigned one.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an unsigned one.
#[inline]
pub fn write_u32(out: &mut Vec<u8>, value: u32) {
    write_u64(out, u64::from(value));
}

/// Appends a signed one.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u32(out, zigzag32(value));
}

/// Appends a signed one.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, zigzag64(value));
}

/// How many bytes an unsigned one takes, 1 to 10.
#[inline]
pub const fn size_u64(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// How many bytes an unsigned one takes, 1 to 5.
#[inline]
pub const fn size_u32(value: u32) -> usize {
    size_u64(value as u64)
}

/// How many bytes a signed one takes, 1 to 5.
#[inline]
pub const fn size_i32(value: i32) -> usize {
    size_u32(zigzag32(value))
}

/// How many bytes a signed one takes, 1 to 10.
#[inline]
pub const fn size_i64(value: i64) -> usize {
    size_u64(zigzag64(value))
}

const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_at_every_width_come_back_in_the_size_foretold() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                write_u64(&mut out, value);
                assert_eq!(out.len(), size_u64(value), "{value}");
                assert_eq!(read_u64(&out), Some((value, out.len())));
                for signed in [value as i64, (value as i64).wrapping_neg()] {
                    out.clear();
                    write_i64(&mut out, signed);
                    assert_eq!(out.len(), size_i64(signed));
                    assert_eq!(read_i64(&out), Some((signed, out.len())));
                    out.clear();
                    write_i32(&mut out, signed as i32);
                    assert_eq!(out.len(), size_i32(signed as i32));
                    assert_eq!(read_i32(&out), Some((signed as i32, out.len())));
                }
                out.clear();
                write_u32(&mut out, value as u32);
                assert_eq!(read_u32(&out), Some((value as u32, out.len())));
            }
        }
    }

    #[test]
    fn what_does_not_end_or_overflows_is_refused() {
        assert_eq!(read_u32(&[]), None);
        assert_eq!(read_u32(&[0x80]), None);
        assert_eq!(read_u32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(read_u64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(read_u64(&[0x80; 11]), None);
    }
}
