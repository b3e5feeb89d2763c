//! Names of partition directories, and `partition.metadata` in them.

use crate::disk::Disk;
use std::io;
use std::path::Path;
use std::str::FromStr;
use wire::Uuid;

pub(crate) const METADATA_FILE: &str = "partition.metadata";
const METADATA_BYTES_MAX: u64 = 4096;
/// Of a topic id as text.
const ID_LEN: usize = 22;
/// Longest name of a file on the usual file systems.
const NAME_MAX: usize = 255;
/// Longest topic name.
const TOPIC_MAX: usize = 249;

/// What a directory in a log directory is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirName {
    /// `topic-partition`
    Partition { topic: String, partition: i32 },
    /// `...-delete`: a deleted partition whose files are still to be removed.
    Deleted,
    /// `topic-partition.id-future`: the copy that is being moved to this log directory.
    Future { topic: String, partition: i32 },
    /// `...-stray`: a partition that the cluster did not know when it was found.
    Stray,
    /// Nothing of ours.
    Other,
}

/// Reads the name of a directory in a log directory.
pub fn parse_name(name: &str) -> DirName {
    for (suffix, kind) in [("-delete", DirName::Deleted), ("-stray", DirName::Stray)] {
        if let Some(rest) = name.strip_suffix(suffix) {
            return if rest.contains('.') { kind } else { DirName::Other };
        }
    }
    if let Some(rest) = name.strip_suffix("-future") {
        return match rest.rsplit_once('.').and_then(|(partition, _)| parse_partition(partition)) {
            Some((topic, partition)) => DirName::Future { topic, partition },
            None => DirName::Other,
        };
    }
    match parse_partition(name) {
        Some((topic, partition)) => DirName::Partition { topic, partition },
        None => DirName::Other,
    }
}

fn parse_partition(name: &str) -> Option<(String, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if topic.is_empty() || topic.len() > TOPIC_MAX || !topic.bytes().all(legal) || topic == "." || topic == ".." {
        return None;
    }
    if !partition.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some((topic.to_owned(), partition.parse().ok()?))
}

/// The directory's name of a partition.
pub fn name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The name of a partition's copy while it is moved to another log directory; `None` for one that no file system takes:
/// such a topic's replicas stay where they are.
pub fn future_name(topic: &str, partition: i32, unique: Uuid) -> Option<String> {
    let name = format!("{topic}-{partition}.{}-future", hex(unique));
    (name.len() <= NAME_MAX).then_some(name)
}

fn hex(id: Uuid) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name under which a deleted partition's directory waits to be removed; `unique` keeps two of them apart.
pub fn deleted_name(topic: &str, partition: i32, unique: Uuid) -> String {
    let suffix = format!("-{partition}.{}-delete", hex(unique));
    let room = NAME_MAX.saturating_sub(suffix.len());
    // Topic names are ASCII.
    let topic = topic.get(..room).unwrap_or(topic);
    format!("{topic}{suffix}")
}

/// The topic id in a partition's directory; `None` when the file is missing, or as a power cut leaves one that was not
/// synced: empty, or only the beginning of it.
///
/// # Errors
/// `InvalidData` when the file says something else.
pub fn read_metadata(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Uuid>> {
    let path = dir.join(METADATA_FILE);
    let bytes = match disk.read(&path, METADATA_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let bytes = bytes[..end].to_vec();
    if is_torn(&bytes) {
        return Ok(None);
    }
    let malformed = || {
        let text = format!("malformed {}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("version:")).map(str::trim);
    let topic_id = lines.next().and_then(|line| line.strip_prefix("topic_id:")).map(str::trim);
    match (version, topic_id.map(Uuid::from_str)) {
        (Some("0"), Some(Ok(topic_id))) => Ok(Some(topic_id)),
        _ => Err(malformed()),
    }
}

/// Whether it is a beginning of the file, without its end.
fn is_torn(bytes: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"version: 0\ntopic_id: ";
    let id = bytes.get(BEGINNING.len()..).unwrap_or_default();
    BEGINNING.starts_with(&bytes[..bytes.len().min(BEGINNING.len())])
        && id.len() < ID_LEN
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Writes the topic id into a partition's directory. Not a sync: the metadata log knows it too, and the first sync of the
/// log covers it.
pub fn write_metadata(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> io::Result<()> {
    let text = format!("version: 0\ntopic_id: {topic_id}\n");
    disk.write_atomically(&dir.join(METADATA_FILE), text.as_bytes(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let partition = |topic: &str, partition| DirName::Partition { topic: topic.to_owned(), partition };
        for (name, expected) in [
            ("army-0", partition("army", 0)),
            ("a-b.c_d-12", partition("a-b.c_d", 12)),
            ("__cluster_metadata-0", partition("__cluster_metadata", 0)),
            ("gone-0.9b081f49a3cf46309a15e4aa7e931105-delete", DirName::Deleted),
            (
                "army-1.9b081f49a3cf46309a15e4aa7e931105-future",
                DirName::Future { topic: "army".to_owned(), partition: 1 },
            ),
            (
                "a.b-1.9b081f49a3cf46309a15e4aa7e931105-future",
                DirName::Future { topic: "a.b".to_owned(), partition: 1 },
            ),
            ("army.9b081f49a3cf46309a15e4aa7e931105-future", DirName::Other),
            ("army-future", DirName::Other),
            ("army-1.9b081f49a3cf46309a15e4aa7e931105-stray", DirName::Stray),
            ("lost+found", DirName::Other),
            ("army", DirName::Other),
            ("army-", DirName::Other),
            ("-1", DirName::Other),
            ("army-+1", DirName::Other),
            ("army-99999999999", DirName::Other),
            ("a b-1", DirName::Other),
        ] {
            assert_eq!(parse_name(name), expected, "{name}");
        }
    }

    #[test]
    fn what_a_power_cut_leaves_of_the_metadata_counts_as_none() {
        let disk = crate::RealDisk;
        let dir = std::env::temp_dir().join(format!("klamm-partition-metadata-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        write_metadata(&disk, &dir, Uuid([7; 16])).unwrap();
        let path = dir.join(METADATA_FILE);
        let whole = std::fs::read(&path).unwrap();
        let told = whole.len() - 1; // the last line needs no end
        for kept in 0..=whole.len() {
            let expected = (kept >= told).then_some(Uuid([7; 16]));
            std::fs::write(&path, &whole[..kept]).unwrap();
            assert_eq!(read_metadata(&disk, &dir).unwrap(), expected, "{kept} bytes");
            let zeros = [&whole[..kept], &vec![0; whole.len() - kept]].concat();
            std::fs::write(&path, zeros).unwrap();
            assert_eq!(read_metadata(&disk, &dir).unwrap(), expected, "{kept} bytes and zeros");
        }
        for other in ["version: 1\ntopic_id: ", "nonsense", "version: 0\ntopic_id: ?"] {
            std::fs::write(&path, other).unwrap();
            assert!(read_metadata(&disk, &dir).is_err(), "{other}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_copy_has_kafkas_name_where_a_file_system_takes_it() {
        let unique = Uuid([0xab; 16]);
        assert_eq!(future_name("army", 1, unique), Some(format!("army-1.{}-future", "ab".repeat(16))));
        assert_eq!(future_name(&"x".repeat(213), 1, unique).map(|name| name.len()), Some(255));
        assert_eq!(future_name(&"x".repeat(214), 1, unique), None);
    }

    #[test]
    fn a_deleted_name_fits_a_file_system() {
        let unique = Uuid([0xab; 16]);
        assert_eq!(deleted_name("gone", 0, unique), format!("gone-0.{}-delete", "ab".repeat(16)));
        let long = deleted_name(&"x".repeat(249), 12, unique);
        assert_eq!(long.len(), 255);
        assert_eq!(parse_name(&long), DirName::Deleted);
    }
}
