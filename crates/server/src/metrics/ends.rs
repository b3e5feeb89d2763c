//! When records became readable: from it the age of what a group has not read yet.
//!
//! A partition's end is noted every few seconds, so an offset's time is known without a look at the disk, whatever
//! timestamps producers write; between two notes it is interpolated. What lies before the first note (the broker started
//! since, or a group went back) is asked of the log once, by the timestamp of the batch there, and noted as well.

use std::collections::VecDeque;

/// Notes of one partition. With more, every second one of the older half is dropped.
const NOTES_MAX: usize = 32;
/// Beyond this distance between two notes, and this share of their age, the log is asked for what lies between.
const GAP_MS: i64 = 10_000;
const GAP_SHARE: i64 = 10;

/// The partition ended at `offset` between these times, ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    offset: i64,
    first_ms: i64,
    last_ms: i64,
}

/// A partition's past ends.
#[derive(Debug, Default)]
pub struct Ends {
    notes: VecDeque<Note>,
}

/// What is known of the time at which a record became readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Ms since 1970; where it is before the first note, that note's time.
    pub at_ms: i64,
    /// The log should be asked, with [`Ends::asked`].
    pub is_vague: bool,
}

impl Ends {
    /// Notes where the partition ends now.
    pub fn note(&mut self, end: i64, now_ms: i64) {
        // After another leader took over the log may end before what was noted.
        while self.notes.back().is_some_and(|last| last.offset > end) {
            self.notes.pop_back();
        }
        match self.notes.back_mut() {
            Some(last) if last.offset == end => last.last_ms = last.last_ms.max(now_ms),
            _ => self.notes.push_back(Note { offset: end, first_ms: now_ms, last_ms: now_ms }),
        }
        self.thin();
    }

    /// Notes what the log said: the record at `offset` is from `at_ms`.
    pub fn asked(&mut self, offset: i64, at_ms: i64) {
        let at = self.notes.partition_point(|note| note.offset < offset);
        let next = self.notes.get(at);
        if next.is_none_or(|next| next.offset == offset) {
            return;
        }
        // Timestamps are the producers': they may contradict what was seen.
        let earliest = at.checked_sub(1).and_then(|before| self.notes.get(before)).map_or(i64::MIN, |b| b.last_ms);
        let latest = next.map_or(i64::MAX, |next| next.first_ms);
        let at_ms = at_ms.clamp(earliest.min(latest), latest);
        self.notes.insert(at, Note { offset, first_ms: at_ms, last_ms: at_ms });
        self.thin();
    }

    /// Forgets what is older than the record at `offset`: nobody will ask for it.
    pub fn forget_before(&mut self, offset: i64) {
        while self.notes.get(1).is_some_and(|second| second.offset <= offset) {
            self.notes.pop_front();
        }
    }

    /// When the record at `offset` became readable; `None` when it is not yet.
    pub fn readable_since(&self, offset: i64, now_ms: i64) -> Option<Since> {
        let at = self.notes.partition_point(|note| note.offset <= offset);
        let next = self.notes.get(at)?;
        let Some(before) = at.checked_sub(1).and_then(|before| self.notes.get(before)) else {
            return Some(Since { at_ms: next.first_ms, is_vague: true });
        };
        let (records, ms) = (next.offset - before.offset, next.first_ms - before.last_ms);
        // The first of them may have come right after the earlier note, the last of them right before the later one.
        let share = (offset - before.offset) as f64 / records as f64;
        let at_ms = before.last_ms + (ms as f64 * share) as i64;
        let is_vague = before.offset < offset && ms > GAP_MS.max((now_ms - at_ms) / GAP_SHARE);
        Some(Since { at_ms, is_vague })
    }

    fn thin(&mut self) {
        if self.notes.len() > NOTES_MAX {
            let mut at = 0;
            self.notes.retain(|_| {
                at += 1;
                at > NOTES_MAX / 2 || at % 2 == 1
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(ends: &Ends, offset: i64) -> Option<i64> {
        ends.readable_since(offset, 1_000_000).map(|since| since.at_ms)
    }

    #[test]
    fn a_record_is_dated_between_the_notes_around_it() {
        let mut ends = Ends::default();
        ends.note(0, 1_000);
        ends.note(0, 6_000);
        ends.note(100, 11_000);
        ends.note(100, 16_000);
        ends.note(200, 21_000);
        assert_eq!(since(&ends, 0), Some(6_000));
        assert_eq!(since(&ends, 50), Some(8_500));
        assert_eq!(since(&ends, 100), Some(16_000));
        assert_eq!(since(&ends, 199), Some(20_950));
        assert_eq!(since(&ends, 200), None, "there is no such record yet");
    }

    #[test]
    fn what_was_before_the_first_note_is_asked_of_the_log_once() {
        let mut ends = Ends::default();
        ends.note(1_000, 500_000);
        assert_eq!(ends.readable_since(400, 500_000), Some(Since { at_ms: 500_000, is_vague: true }));
        ends.asked(400, 100_000);
        assert_eq!(ends.readable_since(400, 500_000), Some(Since { at_ms: 100_000, is_vague: false }));
        // A group that moves on is dated between the two, and the log is asked again, for they are far apart.
        assert_eq!(ends.readable_since(700, 500_000), Some(Since { at_ms: 300_000, is_vague: true }));
        ends.asked(700, 499_000);
        assert_eq!(ends.readable_since(700, 500_000), Some(Since { at_ms: 499_000, is_vague: false }));
    }

    #[test]
    fn timestamps_that_contradict_what_was_seen_do_not_count() {
        let mut ends = Ends::default();
        ends.note(1_000, 500_000);
        ends.asked(10, i64::MAX);
        assert_eq!(since(&ends, 10), Some(500_000));
        ends.asked(5, -1);
        assert_eq!(since(&ends, 5), Some(-1));
        ends.asked(2_000, 7);
        assert_eq!(since(&ends, 2_000), None);
    }

    #[test]
    fn a_log_that_became_shorter_is_dated_anew() {
        let mut ends = Ends::default();
        ends.note(100, 1_000);
        ends.note(200, 2_000);
        ends.note(150, 3_000);
        assert_eq!(since(&ends, 120), Some(1_800));
        assert_eq!(since(&ends, 160), None);
    }

    #[test]
    fn notes_are_few_and_the_younger_ones_close() {
        let mut ends = Ends::default();
        for second in 0..10_000 {
            ends.note(second * 10, second * 1_000);
        }
        assert!(ends.notes.len() <= NOTES_MAX);
        for second in [5_000, 9_000, 9_990, 9_998] {
            let error = (since(&ends, second * 10).unwrap() - second * 1_000).abs();
            assert!(error < 1_000, "{second}: {error}");
        }
        ends.forget_before(99_000);
        assert!(ends.notes.front().unwrap().offset <= 99_000);
        assert!(ends.notes.iter().filter(|note| note.offset <= 99_000).count() == 1);
    }
}
