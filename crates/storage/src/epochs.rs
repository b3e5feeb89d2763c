//! `leader-epoch-checkpoint`: which leader epoch begins at which offset (KIP-101). It is what a follower asks to find
//! where its log and the leader's part.

use crate::checkpoint;
use crate::disk::Disk;
use std::io;
use std::path::Path;

pub(crate) const FILE_NAME: &str = "leader-epoch-checkpoint";

/// The first offset of a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// The history of leader epochs of one log: epochs and start offsets both ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<EpochStart>,
}

impl LeaderEpochs {
    /// Reads the file; no file is an empty history.
    ///
    /// # Errors
    /// `InvalidData` when the file is not what Kafka writes (a power cut may leave it empty): the history must be
    /// rebuilt from the log.
    pub fn load(disk: &dyn Disk, dir: &Path) -> io::Result<LeaderEpochs> {
        let lines = match checkpoint::read_lines(disk, &dir.join(FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LeaderEpochs::default()),
            lines => lines?,
        };
        let mut entries: Vec<EpochStart> = Vec::with_capacity(lines.len());
        for line in &lines {
            let parsed = line.split_once(' ').and_then(|(epoch, start)| {
                Some(EpochStart { epoch: epoch.parse().ok()?, start_offset: start.parse().ok()? })
            });
            let ascends = |entry: &EpochStart| {
                entries.last().is_none_or(|last| entry.epoch > last.epoch && entry.start_offset >= last.start_offset)
            };
            match parsed.filter(ascends) {
                Some(entry) => entries.push(entry),
                None => return Err(checkpoint::malformed(&dir.join(FILE_NAME), line)),
            }
        }
        Ok(LeaderEpochs { entries })
    }

    /// Writes the file through a temporary one. Not a sync: a [`crate::SyncRequest`] covers it.
    pub fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let lines = self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset));
        checkpoint::write_lines(disk, &dir.join(FILE_NAME), lines, false)
    }

    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` begins at `start_offset`; entries that contradict it go. Says whether anything changed.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || self.entries.last().is_some_and(|last| last.epoch >= epoch) {
            return false;
        }
        self.entries.retain(|entry| entry.start_offset < start_offset);
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    /// The epoch that wrote `offset`.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// The largest epoch not above `epoch`, and where it ends; `(-1, -1)` when `epoch` is beyond what is known. An
    /// epoch from before the history ends where the history begins.
    pub fn end_offset(&self, epoch: i32, log_end_offset: i64) -> (i32, i64) {
        let Some(latest) = self.latest() else { return (-1, -1) };
        if epoch < 0 || epoch > latest.epoch {
            return (-1, -1);
        }
        if epoch == latest.epoch {
            return (epoch, log_end_offset);
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let floor = above.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        (floor, self.entries[above].start_offset)
    }

    /// Forgets epochs that begin at `end_offset` or later. Says whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() != before
    }

    /// Forgets what ended before `start_offset`; the epoch that is current there begins there. Says whether anything
    /// changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = after.checked_sub(1) else { return false };
        let changed = current > 0 || self.entries[0].start_offset != start_offset;
        self.entries.drain(..current);
        self.entries[0].start_offset = start_offset;
        changed
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            assert!(epochs.assign(*epoch, *start));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let epochs = history(&[(2, 10), (4, 20), (7, 35)]);
        assert_eq!(epochs.end_offset(7, 50), (7, 50));
        assert_eq!(epochs.end_offset(4, 50), (4, 35));
        assert_eq!(epochs.end_offset(5, 50), (4, 35), "an unknown epoch in between: the largest below it");
        assert_eq!(epochs.end_offset(1, 50), (1, 10), "before the history");
        assert_eq!(epochs.end_offset(8, 50), (-1, -1), "beyond the history");
        assert_eq!(epochs.end_offset(-1, 50), (-1, -1));
        assert_eq!(LeaderEpochs::default().end_offset(0, 50), (-1, -1));
    }

    #[test]
    fn truncation_forgets_epochs_on_both_sides() {
        let mut epochs = history(&[(2, 10), (4, 20), (7, 35)]);
        assert!(epochs.truncate_from_end(35));
        assert!(!epochs.truncate_from_end(35));
        assert_eq!(epochs, history(&[(2, 10), (4, 20)]));
        assert!(epochs.truncate_from_start(25));
        assert!(!epochs.truncate_from_start(25));
        assert_eq!(epochs, history(&[(4, 25)]));
        assert_eq!((epochs.epoch_of(24), epochs.epoch_of(25)), (None, Some(4)));
    }

    #[test]
    fn a_new_epoch_replaces_one_that_wrote_nothing() {
        let mut epochs = history(&[(2, 10), (3, 10)]);
        assert_eq!(epochs.entries(), &[EpochStart { epoch: 3, start_offset: 10 }]);
        assert!(!epochs.assign(3, 12), "a known epoch keeps its start");
        assert!(!epochs.assign(1, 12), "epochs never go back");
    }
}
