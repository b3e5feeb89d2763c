//! Formatting a log dir for a new cluster, as `kafka-storage.sh format` does.

use std::io;
use std::path::Path;

use storage::Disk;
use wire::messages::MetadataRecord;

use super::snapshot::{self, SnapshotId, encode_snapshot};
use super::voters::{KRaftVersion, QuorumRecords, VoterSet};
use super::{METADATA_DIR, write_bootstrap};
use crate::image::MetadataVersion;

/// How a new cluster begins.
#[derive(Clone, Debug)]
pub struct Format {
    /// The first voters, this node among them or not; `None` leaves `kraft.version` at 0, with voters named in the
    /// configuration, or comes to a quorum that others formatted.
    pub voters: Option<VoterSet>,
    /// See [`default_bootstrap_records`](crate::controller::default_bootstrap_records).
    pub bootstrap: Vec<MetadataRecord<'static>>,
}

/// Writes what a log dir needs to begin a cluster: `bootstrap.checkpoint` and the snapshot that names the voters. Both are
/// durable on return. `meta.properties` comes after: a directory without it counts as not formatted, so a crash in between
/// formats again.
pub fn format(disk: &dyn Disk, log_dir: &Path, format: &Format, now_ms: i64) -> io::Result<()> {
    write_bootstrap(disk, log_dir, &format.bootstrap, now_ms)?;
    if let Some(voters) = &format.voters {
        let quorum = QuorumRecords { kraft_version: KRaftVersion::Dynamic, voters: voters.clone() };
        let bytes = encode_snapshot(std::iter::empty(), MetadataVersion::LATEST, &quorum, 0, now_ms, now_ms);
        let dir = log_dir.join(METADATA_DIR);
        disk.create_dir(&dir)?;
        snapshot::write(disk, &dir, SnapshotId::BOOTSTRAP, &bytes)?;
    }
    disk.sync_dir(log_dir)
}
