//! The rules that a history must keep. What Kafka does not promise is no anomaly: records whose fate nobody knows may be there
//! or not, and groups may get records again after a rebalance.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use super::history::{Commit, Fate, History, Key};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// One offset was seen with two values.
    Inconsistent { key: Key, offset: i64, values: Vec<u64> },
    /// One value is at several offsets.
    Duplicate { key: Key, value: u64, offsets: Vec<i64> },
    /// Acknowledged, not there, though later offsets are.
    Lost { key: Key, value: u64, offset: i64 },
    /// Acknowledged, and behind the last offset that could be read.
    Unseen { key: Key, value: u64, offset: i64 },
    /// A producer's records were acknowledged in another order than it sent them.
    Reordered { key: Key, first: u64, second: u64 },
    /// Somebody read what was never handed over, or what nobody sent there.
    Phantom { key: Key, value: u64, offset: i64 },
    /// A consumer was not given what lies between these offsets.
    Skipped { key: Key, session: u32, from: i64, to: i64 },
    /// A consumer went back.
    WentBack { key: Key, session: u32, from: i64, to: i64 },
    /// The group committed past an acknowledged record that none of its members ever got.
    Unprocessed { key: Key, value: u64 },
    /// A group's offset is not what was committed last.
    CommitLost { key: Key, committed: i64, found: Option<i64> },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Everything that is wrong with a history that ends with a read of all partitions up to their ends.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let log = log(history);
    cells(&log, &mut found);
    fates(history, &log, &mut found);
    order(history, &mut found);
    sessions(history, &log, &mut found);
    commits(history, &mut found);
    found.sort();
    found.dedup();
    found
}

type Log = BTreeMap<Key, BTreeMap<i64, BTreeSet<u64>>>;

/// What anybody ever saw, or was told to be, at an offset.
fn log(history: &History) -> Log {
    let mut log = Log::new();
    for read in &history.reads {
        log.entry(read.key).or_default().entry(read.offset).or_default().insert(read.value);
    }
    for (value, sent) in history.sends.iter().enumerate() {
        if let Fate::Ok(offset) = sent.fate {
            log.entry(sent.key).or_default().entry(offset).or_default().insert(value as u64);
        }
    }
    log
}

fn cells(log: &Log, found: &mut Vec<Anomaly>) {
    for (&key, offsets) in log {
        let mut places: HashMap<u64, Vec<i64>> = HashMap::new();
        for (&offset, values) in offsets {
            if values.len() > 1 {
                found.push(Anomaly::Inconsistent { key, offset, values: values.iter().copied().collect() });
            }
            for &value in values {
                places.entry(value).or_default().push(offset);
            }
        }
        for (value, offsets) in places {
            if offsets.len() > 1 {
                found.push(Anomaly::Duplicate { key, value, offsets });
            }
        }
    }
}

fn fates(history: &History, log: &Log, found: &mut Vec<Anomaly>) {
    let read: HashSet<(Key, u64)> = history.reads.iter().map(|r| (r.key, r.value)).collect();
    let by_group: HashSet<(Key, u64)> = history.reads.iter().filter(|r| r.group).map(|r| (r.key, r.value)).collect();
    let mut ends: HashMap<Key, i64> = HashMap::new();
    for r in &history.reads {
        let end = ends.entry(r.key).or_insert(r.offset);
        *end = r.offset.max(*end);
    }
    let mut committed: HashMap<Key, i64> = HashMap::new();
    for (key, commit) in &history.commits {
        if let Commit::Ok(offset) = commit {
            let upto = committed.entry(*key).or_insert(*offset);
            *upto = (*offset).max(*upto);
        }
    }
    for (value, sent) in history.sends.iter().enumerate() {
        let (key, value) = (sent.key, value as u64);
        let Fate::Ok(offset) = sent.fate else { continue };
        if !read.contains(&(key, value)) {
            match ends.get(&key).is_some_and(|end| offset < *end) {
                true => found.push(Anomaly::Lost { key, value, offset }),
                false => found.push(Anomaly::Unseen { key, value, offset }),
            }
        }
        if committed.get(&key).is_some_and(|upto| offset < *upto) && !by_group.contains(&(key, value)) {
            found.push(Anomaly::Unprocessed { key, value });
        }
    }
    for (&key, offsets) in log {
        for (&offset, values) in offsets {
            for &value in values {
                let sent = history.sends.get(value as usize);
                if sent.is_none_or(|sent| sent.key != key || sent.fate == Fate::Fail) {
                    found.push(Anomaly::Phantom { key, value, offset });
                }
            }
        }
    }
}

/// A producer's acknowledged records of a key lie in the order in which they were sent.
fn order(history: &History, found: &mut Vec<Anomaly>) {
    let mut last: HashMap<(u32, Key), (u64, i64)> = HashMap::new();
    for (value, sent) in history.sends.iter().enumerate() {
        let Fate::Ok(offset) = sent.fate else { continue };
        if let Some((first, before)) = last.insert((sent.producer, sent.key), (value as u64, offset))
            && before > offset
        {
            found.push(Anomaly::Reordered { key: sent.key, first, second: value as u64 });
        }
    }
}

/// Within a session, records come one after the other as they lie in the log.
fn sessions(history: &History, log: &Log, found: &mut Vec<Anomaly>) {
    let mut last: HashMap<(u32, Key), i64> = HashMap::new();
    for read in &history.reads {
        let (key, session, to) = (read.key, read.session, read.offset);
        let Some(from) = last.insert((session, key), to) else { continue };
        if to <= from {
            found.push(Anomaly::WentBack { key, session, from, to });
        } else if log[&key].range(from + 1..to).next().is_some() {
            found.push(Anomaly::Skipped { key, session, from, to });
        }
    }
}

/// A fetched offset is the highest that was committed, or one of which nobody knows when it was.
fn commits(history: &History, found: &mut Vec<Anomaly>) {
    let mut highest: HashMap<Key, i64> = HashMap::new();
    let unknown: HashSet<(Key, Commit)> = history.commits.iter().copied().collect();
    for &(key, commit) in &history.commits {
        match commit {
            Commit::Ok(offset) => {
                let upto = highest.entry(key).or_insert(offset);
                *upto = offset.max(*upto);
            }
            Commit::Info(_) => {}
            Commit::Fetched(offset) => {
                if let Some(&committed) = highest.get(&key)
                    && offset.is_none_or(|offset| offset < committed && !unknown.contains(&(key, Commit::Info(offset))))
                {
                    found.push(Anomaly::CommitLost { key, committed, found: offset });
                }
            }
        }
    }
}

/// The first offset at which the files of two replicas differ, if they do. `logs` by node.
pub fn differing(logs: &[Vec<u8>]) -> Option<(usize, usize)> {
    let (first, rest) = logs.split_first()?;
    for (at, other) in rest.iter().enumerate() {
        if other != first {
            let same = first.iter().zip(other).take_while(|(a, b)| a == b).count();
            return Some((at + 1, same));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::history::{Read, Sent};
    use super::*;

    /// Ten records of one producer, acknowledged, read by a consumer and by the group, which commits them.
    fn good() -> History {
        let mut history = History::default();
        for value in 0..10 {
            history.sends.push(Sent { producer: 1, key: 0, fate: Fate::Ok(value) });
        }
        for (session, group) in [(1, false), (2, true)] {
            for offset in 0..10 {
                history.reads.push(Read { session, group, key: 0, offset, value: offset as u64 });
            }
        }
        history.commits = vec![(0, Commit::Ok(5)), (0, Commit::Ok(10)), (0, Commit::Fetched(Some(10)))];
        history
    }

    fn kinds(history: &History) -> Vec<String> {
        let name = |anomaly: Anomaly| anomaly.to_string().split([' ', '{']).next().unwrap().to_owned();
        let names: BTreeSet<String> = check(history).into_iter().map(name).collect();
        names.into_iter().collect()
    }

    #[test]
    fn a_good_history_has_no_anomaly() {
        assert_eq!(check(&good()), []);
    }

    #[test]
    fn what_nobody_knows_may_be_there_or_not() {
        let mut history = good();
        history.sends[9].fate = Fate::Info;
        assert_eq!(check(&history), []);
        history.sends.push(Sent { producer: 1, key: 0, fate: Fate::Info });
        assert_eq!(check(&history), []);
    }

    #[test]
    fn a_record_that_nobody_reads_again_is_lost() {
        let mut history = good();
        history.reads.retain(|read| read.value != 4);
        assert_eq!(kinds(&history), ["Lost", "Skipped", "Unprocessed"]);
        let mut history = good();
        history.reads.retain(|read| read.value != 9);
        assert_eq!(kinds(&history), ["Unprocessed", "Unseen"]);
    }

    #[test]
    fn an_offset_has_one_value() {
        let mut history = good();
        history.sends.push(Sent { producer: 2, key: 0, fate: Fate::Info });
        history.reads[4].value = 10;
        assert_eq!(kinds(&history), ["Inconsistent"]);
        // It was acknowledged with an offset where others find something else.
        let mut history = good();
        history.sends.push(Sent { producer: 2, key: 0, fate: Fate::Ok(3) });
        assert_eq!(kinds(&history), ["Inconsistent", "Lost", "Unprocessed"]);
    }

    #[test]
    fn a_value_is_at_one_offset() {
        let mut history = good();
        for (session, group) in [(1, false), (2, true)] {
            history.reads.push(Read { session, group, key: 0, offset: 10, value: 9 });
        }
        assert_eq!(kinds(&history), ["Duplicate"]);
    }

    #[test]
    fn acknowledged_records_of_a_producer_are_in_its_order() {
        let mut history = good();
        (history.sends[3].fate, history.sends[4].fate) = (Fate::Ok(4), Fate::Ok(3));
        for read in &mut history.reads {
            read.value = [0, 1, 2, 4, 3, 5, 6, 7, 8, 9][read.offset as usize];
        }
        assert_eq!(kinds(&history), ["Reordered"]);
        history.sends[4].producer = 2;
        assert_eq!(check(&history), [], "they have different producers");
    }

    #[test]
    fn what_was_never_sent_is_a_phantom() {
        let mut history = good();
        history.sends[9].fate = Fate::Fail;
        assert_eq!(kinds(&history), ["Phantom"]);
        let mut history = good();
        history.reads.push(Read { session: 3, group: false, key: 0, offset: 10, value: 77 });
        assert_eq!(kinds(&history), ["Phantom"]);
        let mut history = good();
        history.reads.push(Read { session: 3, group: false, key: 1, offset: 0, value: 4 });
        assert_eq!(kinds(&history), ["Phantom"], "it was sent to another partition");
    }

    #[test]
    fn a_consumer_neither_skips_nor_goes_back() {
        let mut history = good();
        history.reads.remove(4);
        assert_eq!(kinds(&history), ["Skipped"]);
        let mut history = good();
        let again = history.reads[4];
        history.reads.insert(5, again);
        assert_eq!(kinds(&history), ["WentBack"]);
        history.reads[5].session = 9;
        assert_eq!(check(&history), [], "another session may");
    }

    #[test]
    fn a_group_neither_loses_a_commit_nor_commits_what_it_has_not_got() {
        let mut history = good();
        history.commits[2] = (0, Commit::Fetched(Some(5)));
        assert_eq!(kinds(&history), ["CommitLost"]);
        history.commits[0] = (0, Commit::Info(5));
        assert_eq!(check(&history), [], "it may have been done late");
        history.commits[2] = (0, Commit::Fetched(None));
        assert_eq!(kinds(&history), ["CommitLost"]);
        let mut history = good();
        history.reads.retain(|read| !(read.group && read.offset >= 8));
        assert_eq!(kinds(&history), ["Unprocessed"]);
    }

    #[test]
    fn replicas_are_compared_byte_by_byte() {
        let same = vec![vec![1, 2, 3]; 3];
        assert_eq!(differing(&same), None);
        assert_eq!(differing(&[vec![1, 2, 3], vec![1, 2, 3], vec![1, 9, 3]]), Some((2, 1)));
        assert_eq!(differing(&[vec![1, 2, 3], vec![1, 2], vec![1, 2, 3]]), Some((1, 2)), "one is shorter");
    }
}
