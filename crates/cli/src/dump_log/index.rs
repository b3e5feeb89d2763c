//! The files beside a segment: offset index, time index, transaction index, producer snapshot. They are read here from
//! scratch, not by the code that writes them, so that the tool judges that code as well as Kafka's.

use std::fs;
use std::path::Path;

use wire::codec::Decoder;

use super::log::Batches;
use super::{Plan, unreadable};
use crate::tool::Exception;
use crate::{complain, say};

/// What does not fit together: told at the end, file by file.
#[derive(Debug, Default)]
pub struct Findings {
    /// Of an offset index: its offset, and that of the log.
    pub mismatches: Vec<(i64, i64)>,
    /// Of a time index: its timestamp, and that of the log.
    pub times: Vec<(i64, i64)>,
    /// Of a time index: its timestamp, and the one before.
    pub disorder: Vec<(i64, i64)>,
    /// Of a time index: its offset, and the last one of the batch that has it.
    pub not_found: Vec<(i64, i64)>,
}

/// An index file and the segment it belongs to.
struct Index<'p> {
    shown: &'p str,
    log: std::path::PathBuf,
    base_offset: i64,
    bytes: Vec<u8>,
}

impl<'p> Index<'p> {
    fn open(path: &'p Path, shown: &'p str) -> Result<Index<'p>, Exception> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        let base_offset = stem
            .parse()
            .map_err(|_| Exception::new("java.lang.NumberFormatException", format!("For input string: \"{stem}\"")))?;
        let log = path.with_file_name(format!("{stem}.log"));
        Ok(Index { shown, log, base_offset, bytes: fs::read(path).map_err(|e| unreadable(shown, &e))? })
    }

    fn batches(&self, from: u64) -> Result<Batches, Exception> {
        Batches::open(&self.log, from).map_err(|e| unreadable(&self.log.display().to_string(), &e))
    }

    fn corrupt(&self, why: String) -> Exception {
        Exception::new("org.apache.kafka.storage.internals.log.CorruptIndexException", why)
    }

    fn check_length(&self, entry: usize) -> Result<(), Exception> {
        match self.bytes.len() % entry {
            0 => Ok(()),
            _ => Err(self.corrupt(format!(
                "Index file {} is corrupt, found {} bytes which is neither positive nor a multiple of {entry}.",
                self.shown,
                self.bytes.len()
            ))),
        }
    }
}

fn int(bytes: &[u8]) -> i64 {
    i64::from(i32::from_be_bytes(bytes.try_into().unwrap_or_default()))
}

fn long(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().unwrap_or_default())
}

/// Prints an offset index, and holds it against the log.
pub fn dump_offsets(path: &Path, shown: &str, plan: &Plan, findings: &mut Findings) -> Result<(), Exception> {
    const ENTRY: usize = 8;
    let index = Index::open(path, shown)?;
    let base = index.base_offset;
    let entries: Vec<(i64, i64)> =
        index.bytes.chunks_exact(ENTRY).map(|e| (base + int(&e[..4]), int(&e[4..]))).collect();
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        say!("{shown} is empty.");
        return Ok(());
    };
    if plan.sanity_only {
        index.check_length(ENTRY)?;
        if last.0 < base {
            return Err(index.corrupt(format!(
                "Corrupt index found, index file {shown} has non-zero size but the last offset is {} which is less than the base offset {base}.",
                last.0
            )));
        }
        say!("{shown} passed sanity check.");
        return Ok(());
    }
    // Kafka makes the file in its full length, all zeros; no entry is for the first batch.
    if *first == (base, 0) {
        say!("{shown} is empty.");
        return Ok(());
    }
    for (i, (offset, position)) in entries.into_iter().enumerate() {
        // The file is longer than what is in it while the segment is the active one.
        if i > 0 && offset <= base {
            return Ok(());
        }
        let mut batches = index.batches(u64::try_from(position).unwrap_or(0))?;
        match batches.next().map_err(|e| unreadable(shown, &e))? {
            Some(Ok(batch)) if batch.last_offset() == offset => {}
            Some(Ok(batch)) => findings.mismatches.push((offset, batch.last_offset())),
            _ => findings.mismatches.push((offset, -1)),
        }
        if !plan.verify_only {
            say!("offset: {offset} position: {position}");
        }
    }
    Ok(())
}

/// Prints a time index, and holds it against the log.
pub fn dump_times(path: &Path, shown: &str, plan: &Plan, findings: &mut Findings) -> Result<(), Exception> {
    const ENTRY: usize = 12;
    let index = Index::open(path, shown)?;
    let base = index.base_offset;
    let entries: Vec<(i64, i64)> =
        index.bytes.chunks_exact(ENTRY).map(|e| (long(&e[..8]), base + int(&e[8..]))).collect();
    let first = *entries.first().unwrap_or(&(0, base));
    let last = *entries.last().unwrap_or(&first);
    if plan.sanity_only {
        index.check_length(ENTRY)?;
        if last.0 < first.0 {
            return Err(index.corrupt(format!(
                "Corrupt time index found, time index file {shown} has non-zero size but the last timestamp is {} which is less than the first timestamp {}",
                last.0, first.0
            )));
        }
        if last.1 < base {
            return Err(index.corrupt(format!(
                "Corrupt time index found, time index file {shown} has non-zero size but the last offset is {} which is less than the first offset {base}",
                last.1
            )));
        }
        say!("{shown} passed sanity check.");
        return Ok(());
    }
    if first == (0, base) {
        return Ok(());
    }
    let mut batches = index.batches(0)?;
    let mut found: Option<(i64, i64)> = None;
    let mut previous = -1;
    for (i, (timestamp, offset)) in entries.into_iter().enumerate() {
        if i > 0 && offset == base {
            return Ok(());
        }
        // Entries ascend, so the log is read once.
        while found.is_none_or(|(last, _)| last < offset) {
            match batches.next().map_err(|e| unreadable(shown, &e))? {
                Some(Ok(batch)) => found = Some((batch.last_offset(), batch.max_timestamp())),
                _ => break,
            }
        }
        match found {
            Some((last, _)) if last != offset => findings.not_found.push((offset, last)),
            Some((_, max)) if max != timestamp => findings.times.push((timestamp, max)),
            Some(_) => {}
            None => findings.not_found.push((offset, -1)),
        }
        if previous >= timestamp {
            findings.disorder.push((timestamp, previous));
        }
        if !plan.verify_only {
            say!("timestamp: {timestamp} offset: {offset}");
        }
        previous = timestamp;
    }
    Ok(())
}

/// Prints the aborted transactions that a segment knows.
pub fn dump_transactions(path: &Path, shown: &str) -> Result<(), Exception> {
    const ENTRY: usize = 34;
    let bytes = fs::read(path).map_err(|e| unreadable(shown, &e))?;
    for e in bytes.chunks_exact(ENTRY) {
        let version = i16::from_be_bytes([e[0], e[1]]);
        say!(
            "version: {version} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            long(&e[2..10]),
            long(&e[10..18]),
            long(&e[18..26]),
            long(&e[26..34])
        );
    }
    Ok(())
}

/// Prints what the broker remembered of producers.
pub fn dump_producers(path: &Path, shown: &str) -> Result<(), Exception> {
    let bytes = fs::read(path).map_err(|e| unreadable(shown, &e))?;
    match producer_lines(&bytes) {
        Ok(lines) => lines.iter().for_each(|line| say!("{line}")),
        Err(why) => complain!("{why}"),
    }
    Ok(())
}

fn producer_lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    const VERSION: i16 = 1;
    /// Version and checksum.
    const HEAD: usize = 6;
    let mut d = Decoder::new(bytes);
    let cut = |_| "Snapshot is corrupt: it ends too early".to_owned();
    let version = d.i16().map_err(cut)?;
    if version != VERSION {
        return Err(format!("Snapshot contained an unknown file version {version}"));
    }
    let stored = d.u32().map_err(cut)?;
    let computed = crc32c::crc32c(&bytes[HEAD..]);
    if stored != computed {
        return Err(format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
        ));
    }
    let count = d.i32().map_err(cut)?;
    let mut lines = Vec::new();
    for _ in 0..count {
        let producer_id = d.i64().map_err(cut)?;
        let epoch = d.i16().map_err(cut)?;
        let last_sequence = d.i32().map_err(cut)?;
        let last_offset = d.i64().map_err(cut)?;
        let offset_delta = d.i32().map_err(cut)?;
        let timestamp = d.i64().map_err(cut)?;
        let coordinator_epoch = d.i32().map_err(cut)?;
        let transaction = match d.i64().map_err(cut)? {
            offset if offset >= 0 => format!("OptionalLong[{offset}]"),
            _ => "OptionalLong.empty".to_owned(),
        };
        let mut line = format!(
            "producerId: {producer_id} producerEpoch: {epoch} coordinatorEpoch: {coordinator_epoch} currentTxnFirstOffset: {transaction} lastTimestamp: {timestamp}"
        );
        if last_offset >= 0 {
            // Sequence numbers start again at 0 after the largest.
            let first = match last_sequence.checked_sub(offset_delta) {
                Some(first) if first >= 0 => first,
                _ => i32::MAX - (offset_delta - last_sequence) + 1,
            };
            line.push_str(&format!(
                " firstSequence: {first} lastSequence: {last_sequence} lastOffset: {last_offset} offsetDelta: {offset_delta} timestamp: {timestamp}"
            ));
        }
        lines.push(line);
    }
    Ok(lines)
}

impl Findings {
    pub fn tell_mismatches(&self, shown: &str) {
        tell(shown, "Mismatches in :", &self.mismatches, |a, b| format!("  Index offset: {a}, log offset: {b}"));
    }

    pub fn tell_times(&self, shown: &str) {
        tell(shown, "Found timestamp mismatch in :", &self.times, |a, b| {
            format!("  Index timestamp: {a}, log timestamp: {b}")
        });
        tell(shown, "Found out of order timestamp in :", &self.disorder, |a, b| {
            format!("  Index timestamp: {a}, Previously indexed timestamp: {b}")
        });
        tell(shown, "The following indexed offsets are not found in :", &self.not_found, |a, b| {
            format!("Indexed offset: {a}, found log offset: {b}")
        });
    }
}

fn tell(shown: &str, head: &str, pairs: &[(i64, i64)], line: impl Fn(i64, i64) -> String) {
    if !pairs.is_empty() {
        complain!("{head}{shown}");
        pairs.iter().for_each(|(a, b)| complain!("{}", line(*a, *b)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Vec<u8> {
        let mut entries = Vec::new();
        entries.extend(1i32.to_be_bytes());
        entries.extend(7i64.to_be_bytes());
        entries.extend(0i16.to_be_bytes());
        entries.extend(1i32.to_be_bytes());
        entries.extend(41i64.to_be_bytes());
        entries.extend(3i32.to_be_bytes());
        entries.extend(9i64.to_be_bytes());
        entries.extend((-1i32).to_be_bytes());
        entries.extend((-1i64).to_be_bytes());
        let mut file = 1i16.to_be_bytes().to_vec();
        file.extend(crc32c::crc32c(&entries).to_be_bytes());
        file.extend(entries);
        file
    }

    #[test]
    fn a_producer_snapshot_is_told_line_by_line() {
        let lines = producer_lines(&snapshot()).unwrap();
        assert_eq!(
            lines,
            [
                "producerId: 7 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: 9 firstSequence: 2147483646 lastSequence: 1 lastOffset: 41 offsetDelta: 3 timestamp: 9"
            ]
        );
    }

    #[test]
    fn a_damaged_snapshot_is_told_as_such() {
        let mut broken = snapshot();
        broken[20] ^= 1;
        assert!(producer_lines(&broken).unwrap_err().starts_with("Snapshot is corrupt (CRC is no longer valid)."));
        assert!(producer_lines(&[0, 9]).unwrap_err().contains("unknown file version 9"));
        assert!(producer_lines(&[]).is_err());
    }
}
