//! Snapshots of the metadata log (KIP-630): `<end offset>-<epoch>.checkpoint`, the cluster's state as records, framed
//! by control records; and `bootstrap.checkpoint`, which has the same form and begins a new cluster.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::{Access, Disk};
use wire::control::{ControlRecord, control_batch};
use wire::messages::{MetadataRecord, SnapshotFooterRecord, SnapshotHeaderRecord};
use wire::records::batches;

use super::batches::{BatchWriter, Content, encode, visit};
use super::voters::QuorumRecords;
use crate::image::{Image, MetadataVersion};
use crate::planted::{self, Bug};

/// The records of a new cluster, in the directory of each log dir.
pub const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";

const SUFFIX: &str = ".checkpoint";
const PARTIAL_SUFFIX: &str = ".checkpoint.part";
const DELETED_SUFFIX: &str = ".checkpoint.deleted";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;
/// Above what any cluster's state needs.
const BYTES_MAX: u64 = 8 << 30;

/// Which state a snapshot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// The epoch of the last record.
    pub epoch: i32,
    /// The offset after the last record.
    pub end_offset: i64,
}

impl SnapshotId {
    /// The snapshot with which a quorum is formatted: voters, and no state.
    pub const BOOTSTRAP: SnapshotId = SnapshotId { epoch: 0, end_offset: 0 };

    pub fn file_name(self) -> String {
        format!("{self}{SUFFIX}")
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}", self.end_offset, self.epoch)
    }
}

/// The snapshots of a directory, and what is left of others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Ascending.
    pub whole: Vec<SnapshotId>,
    /// Names of files that a crash left half written, or that were to be deleted.
    pub leftovers: Vec<String>,
}

/// Looks for snapshots in `dir`; a directory that is not there has none.
pub fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Listing> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        Err(error) => return Err(error),
    };
    let mut listing = Listing::default();
    for entry in entries {
        if entry.name.ends_with(PARTIAL_SUFFIX) || entry.name.ends_with(DELETED_SUFFIX) {
            listing.leftovers.push(entry.name);
        } else if let Some(id) = parse_name(&entry.name) {
            listing.whole.push(id);
        }
    }
    listing.whole.sort_unstable();
    Ok(listing)
}

fn parse_name(name: &str) -> Option<SnapshotId> {
    let id = name.strip_suffix(SUFFIX)?;
    let (offset, epoch) = id.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if offset.len() != OFFSET_DIGITS || epoch.len() != EPOCH_DIGITS || !digits(offset) || !digits(epoch) {
        return None;
    }
    Some(SnapshotId { epoch: epoch.parse().ok()?, end_offset: offset.parse().ok()? })
}

/// The bytes of a snapshot.
pub fn encode_snapshot(
    records: impl Iterator<Item = MetadataRecord<'static>>,
    metadata_version: MetadataVersion,
    quorum: &QuorumRecords,
    epoch: i32,
    last_contained_log_timestamp: i64,
    now_ms: i64,
) -> Vec<u8> {
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp };
    let mut head = vec![ControlRecord::SnapshotHeader(header)];
    head.extend(quorum.to_records());
    let control = |records: &[ControlRecord<'_>], offset: i64| match control_batch(records, offset, epoch, now_ms) {
        Ok(bytes) => bytes,
        Err(error) => panic!("the frame of a snapshot cannot be written: {error}"),
    };
    let mut bytes = control(&head, 0);
    let mut data = BatchWriter::new(head.len() as i64, epoch, now_ms);
    for record in records {
        data.push(&encode(&record, metadata_version));
    }
    let footer_offset = data.next_offset();
    bytes.extend(data.finish());
    let footer = ControlRecord::SnapshotFooter(SnapshotFooterRecord { version: 0 });
    bytes.extend(control(&[footer], footer_offset));
    bytes
}

/// Hands the records of a snapshot to `each`.
///
/// # Errors
/// What is wrong with it: damage, a part that is missing, an unknown record, or what `each` said.
pub fn decode_snapshot(
    bytes: &[u8],
    each: &mut dyn FnMut(Content<'_>) -> Result<(), String>,
) -> Result<SnapshotHeaderRecord, String> {
    let mut header = None;
    let mut ended = false;
    let mut rest = batches(bytes);
    for batch in &mut rest {
        let batch = batch.map_err(|error| error.to_string())?;
        visit(&batch, &mut |_, content| {
            match &content {
                _ if ended => return Err("it is behind the footer".to_owned()),
                Content::Control(ControlRecord::SnapshotHeader(found)) if header.is_none() => {
                    header = Some(found.clone());
                    return Ok(());
                }
                _ if header.is_none() => return Err("there is no header before it".to_owned()),
                Content::Control(ControlRecord::SnapshotFooter(_)) => {
                    ended = true;
                    return Ok(());
                }
                _ => {}
            }
            each(content)
        })?;
    }
    if !ended || !rest.rest().is_empty() {
        return Err("its end is missing".to_owned());
    }
    header.ok_or_else(|| "its header is missing".to_owned())
}

/// The bytes of a snapshot in `dir`.
pub fn read(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> io::Result<Vec<u8>> {
    disk.read(&dir.join(id.file_name()), BYTES_MAX)
}

/// At most `max_bytes` of a snapshot from `position` on, and the size of the whole.
pub fn read_part(
    disk: &dyn Disk,
    dir: &Path,
    id: SnapshotId,
    position: u64,
    max_bytes: u32,
) -> io::Result<(Vec<u8>, u64)> {
    let file = disk.open(&dir.join(id.file_name()), Access::Read)?;
    let size = file.len()?;
    let mut bytes = vec![0; size.saturating_sub(position).min(u64::from(max_bytes)) as usize];
    let read = file.read_at(&mut bytes, position)?;
    bytes.truncate(read);
    Ok((bytes, size))
}

/// Writes a snapshot under a partial name, makes it durable, and then gives it its name.
pub fn write(disk: &dyn Disk, dir: &Path, id: SnapshotId, bytes: &[u8]) -> io::Result<()> {
    let partial = dir.join(format!("{id}{PARTIAL_SUFFIX}"));
    let file = disk.open(&partial, Access::Create)?;
    file.truncate(0)?;
    file.write_at(&mut [IoSlice::new(bytes)], 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&partial, &dir.join(id.file_name()))?;
    disk.sync_dir(dir)
}

/// Removes a snapshot; one that is gone is fine.
pub fn remove(disk: &dyn Disk, dir: &Path, id: SnapshotId) -> io::Result<()> {
    match disk.remove_file(&dir.join(id.file_name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The records in `bootstrap.checkpoint` of a log directory; `None` without that file.
///
/// # Errors
/// `InvalidData` when it cannot be read as such.
pub fn read_bootstrap(disk: &dyn Disk, log_dir: &Path) -> io::Result<Option<Vec<MetadataRecord<'static>>>> {
    let path = log_dir.join(BOOTSTRAP_FILE);
    let bytes = match disk.read(&path, BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} cannot be used: {reason}", path.display()))
    };
    let mut image = Image::default();
    for batch in batches(&bytes) {
        let batch = batch.map_err(|error| invalid(error.to_string()))?;
        visit(&batch, &mut |offset, content| {
            if let Content::Data(record) = content {
                image.replay(offset, &record, &mut Default::default()).map_err(|error| error.to_string())?;
            }
            Ok(())
        })
        .map_err(invalid)?;
    }
    if image.is_in_transaction() {
        return Err(invalid("a transaction begins in it that does not end".to_owned()));
    }
    Ok(Some(image.to_records().collect()))
}

/// Writes `bootstrap.checkpoint` into a log directory; durable on return.
pub fn write_bootstrap(
    disk: &dyn Disk,
    log_dir: &Path,
    records: &[MetadataRecord<'static>],
    now_ms: i64,
) -> io::Result<()> {
    let records = records.iter().cloned();
    let bytes = encode_snapshot(records, MetadataVersion::LATEST, &QuorumRecords::default(), 0, 0, now_ms);
    disk.write_atomically(&log_dir.join(BOOTSTRAP_FILE), &bytes, true)
}

/// A snapshot that is to be written: runs on any thread, while the log goes on.
#[derive(Debug)]
pub struct SnapshotJob {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) id: SnapshotId,
    pub(super) image: Arc<Image>,
    pub(super) quorum: QuorumRecords,
    pub(super) last_timestamp_ms: i64,
    pub(super) now_ms: i64,
    pub(super) bug: Bug,
}

impl SnapshotJob {
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Writes the snapshot. May take long.
    ///
    /// # Errors
    /// The disk's. A snapshot that failed can be tried again later; the log is still whole.
    pub fn run(&self) -> io::Result<SnapshotId> {
        let bytes = encode_snapshot(
            self.image.to_records(),
            self.image.metadata_version(),
            &self.quorum,
            self.id.epoch,
            self.last_timestamp_ms,
            self.now_ms,
        );
        match planted::is(self.bug, Bug::SnapshotBeforeSync) {
            true => self.disk.write_atomically(&self.dir.join(self.id.file_name()), &bytes, false)?,
            false => write(&*self.disk, &self.dir, self.id, &bytes)?,
        }
        Ok(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_others_are_no_snapshots() {
        let id = SnapshotId { epoch: 3, end_offset: 248 };
        assert_eq!(id.file_name(), "00000000000000000248-0000000003.checkpoint");
        assert_eq!(parse_name(&id.file_name()), Some(id));
        for name in [
            "00000000000000000248-0000000003.checkpoint.part",
            "248-3.checkpoint",
            "0000000000000000024x-0000000003.checkpoint",
            "00000000000000000248-9999999999.checkpoint",
            "bootstrap.checkpoint",
            "00000000000000000248.log",
            "+0000000000000000248-0000000003.checkpoint",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_bootstrap_file_that_ends_inside_of_a_transaction_is_refused() {
        let (disk, dir) = (storage::testing::MemDisk::new(), Path::new("/data"));
        disk.create_dir(dir).unwrap();
        let begin = wire::messages::BeginTransactionRecord::default();
        write_bootstrap(&disk, dir, &[MetadataRecord::BeginTransaction(begin)], 0).unwrap();
        let error = read_bootstrap(&disk, dir).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("a transaction begins in it that does not end"), "{error}");
    }

    #[test]
    fn a_later_snapshot_is_one_of_a_later_epoch_or_offset() {
        let id = |epoch, end_offset| SnapshotId { epoch, end_offset };
        assert!(id(1, 90) < id(2, 80) && id(2, 80) < id(2, 81));
    }
}
