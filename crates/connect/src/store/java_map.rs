//! `HashMap<byte[], byte[]>` as Java serializes it: the format of a standalone worker's file of offsets.
//!
//! Only what such a file has: one map of arrays of bytes. Everything is checked against the bytes that are there.

/// Magic, version, and an object of the class `java.util.HashMap` with its fields `loadFactor` and `threshold`.
const HEAD: &[u8] = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0a\
loadFactorI\x00\x09thresholdxp";
const LOAD_FACTOR: [u8; 4] = 0.75f32.to_be_bytes();
/// The class `[B`, told with the first array.
const BYTES_CLASS: &[u8] = b"ur\x00\x02[B\xac\xf3\x17\xf8\x06\x08T\xe0\x02\x00\x00xp";
/// A reference to it, with every later array.
const BYTES_AGAIN: &[u8] = b"uq\x00\x7e\x00\x02";
const END: u8 = b'x';

/// A key and a value, which may be null.
pub type Entry = (Vec<u8>, Option<Vec<u8>>);

/// The entries of a file.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut rest = bytes.strip_prefix(HEAD).ok_or("it does not begin as a serialized HashMap of Java does")?;
    // Load factor and threshold are Java's business.
    take(&mut rest, 8)?;
    let block = take(&mut rest, 2)?;
    if block != [b'w', 8] {
        return Err("the map has no size".to_owned());
    }
    take(&mut rest, 4)?;
    let size = number(&mut rest)?;
    let mut entries = Vec::new();
    for _ in 0..size {
        let key = array(&mut rest)?.ok_or("a key is null")?;
        entries.push((key, array(&mut rest)?));
    }
    match take(&mut rest, 1)? {
        [END] => Ok(entries),
        _ => Err("the map does not end where it should".to_owned()),
    }
}

/// Writes a file that Java reads.
pub fn write<'e>(entries: impl ExactSizeIterator<Item = (&'e [u8], &'e [u8])>) -> Vec<u8> {
    let size = entries.len();
    // Java's tables have a power of two of places, of which three quarters may be taken.
    let mut capacity = 16;
    while size > capacity * 3 / 4 {
        capacity *= 2;
    }
    let mut out = HEAD.to_vec();
    out.extend(LOAD_FACTOR);
    out.extend((capacity as u32 * 3 / 4).to_be_bytes());
    out.extend([b'w', 8]);
    out.extend((capacity as u32).to_be_bytes());
    out.extend((size as u32).to_be_bytes());
    for (i, (key, value)) in entries.enumerate() {
        for (first, bytes) in [(i == 0, key), (false, value)] {
            out.extend(if first { BYTES_CLASS } else { BYTES_AGAIN });
            out.extend((bytes.len() as u32).to_be_bytes());
            out.extend(bytes);
        }
    }
    out.push(END);
    out
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Result<&'b [u8], String> {
    let (taken, left) = rest.split_at_checked(count).ok_or("it ends too early")?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> Result<usize, String> {
    let bytes = take(rest, 4)?;
    Ok(bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b)))
}

fn array(rest: &mut &[u8]) -> Result<Option<Vec<u8>>, String> {
    const NULL: u8 = b'p';
    if let Some(left) = rest.strip_prefix(&[NULL]) {
        *rest = left;
        return Ok(None);
    }
    let after = rest.strip_prefix(BYTES_CLASS).or_else(|| rest.strip_prefix(BYTES_AGAIN));
    *rest = after.ok_or("there is something else than an array of bytes")?;
    let length = number(rest)?;
    Ok(Some(take(rest, length)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Apache Kafka 4.3.1.
    const JAVAS: &[u8] = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\
\x0aloadFactorI\x00\x09thresholdxp?@\x00\x00\x00\x00\x00\x0cw\x08\x00\x00\x00\x10\x00\x00\x00\x01ur\x00\x02[B\xac\xf3\x17\
\xf8\x06\x08T\xe0\x02\x00\x00xp\x00\x00\x00\x1c[\"src\",{\"filename\":\"t.txt\"}]uq\x00\x7e\x00\x02\x00\x00\x00\x0f\
{\"position\":23}x";

    #[test]
    fn a_file_of_java_is_read_and_written_to_the_byte() {
        let entries = read(JAVAS).unwrap();
        assert_eq!(entries, [(b"[\"src\",{\"filename\":\"t.txt\"}]".to_vec(), Some(b"{\"position\":23}".to_vec()))]);
        let (key, value) = (&entries[0].0[..], entries[0].1.as_deref().unwrap());
        assert_eq!(write([(key, value)].into_iter()), JAVAS);
    }

    #[test]
    fn the_table_grows_as_javas_does() {
        let pairs: Vec<[u8; 1]> = (0..13).map(|n| [n]).collect();
        let bytes = write(pairs.iter().map(|p| (&p[..], &p[..])));
        assert_eq!(bytes[HEAD.len() + 4..][..14], [0, 0, 0, 24, b'w', 8, 0, 0, 0, 32, 0, 0, 0, 13]);
        assert_eq!(read(&bytes).unwrap().len(), 13);
    }

    #[test]
    fn what_is_cut_off_or_claims_too_much_is_refused() {
        for end in 0..JAVAS.len() {
            assert!(read(&JAVAS[..end]).is_err(), "{end}");
        }
        let mut huge = JAVAS.to_vec();
        let at = HEAD.len() + 14;
        huge[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert!(read(&huge).is_err());
    }
}
