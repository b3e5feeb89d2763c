//! What clients did and were told, in the order in which it was over. A record's value is its number in the history.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A partition, by its place in the list of all that are written.
pub type Key = usize;

/// What is known of a record that was handed to a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was acknowledged with this offset.
    Ok(i64),
    /// It was never handed over.
    Fail,
    /// Nobody knows: no answer, or one that does not say.
    Info,
}

#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Producers have numbers that are not used again.
    pub producer: u32,
    pub key: Key,
    pub fate: Fate,
}

/// One record as a consumer got it.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Reads of one key with the same number came one after the other, without a seek or a rebalance between them.
    pub session: u32,
    /// Whether the group's members read it.
    pub group: bool,
    pub key: Key,
    pub offset: i64,
    pub value: u64,
}

/// What was done with the group's offset of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Commit {
    Ok(i64),
    Info(i64),
    /// It was asked for after all that came before, and this was the answer.
    Fetched(Option<i64>),
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// By value.
    pub sends: Vec<Sent>,
    pub reads: Vec<Read>,
    pub commits: Vec<(Key, Commit)>,
}

/// Takes down a history from many clients.
pub struct Recorder {
    begun: Instant,
    history: Mutex<History>,
    /// By key: when the latest record that was acknowledged was sent, in ms since the beginning; plus one.
    written: Vec<AtomicU64>,
    /// By key: the highest offset that was acknowledged.
    highest: Vec<AtomicU64>,
    /// By key: when it was acknowledged last, and the longest pause since [`Recorder::watch`], in ms.
    pauses: Mutex<Vec<(u64, u64)>>,
    next: AtomicU64,
}

impl Recorder {
    pub fn new(keys: usize) -> Recorder {
        let zeros = || (0..keys).map(|_| AtomicU64::new(0)).collect();
        Recorder {
            begun: Instant::now(),
            history: Mutex::default(),
            written: zeros(),
            highest: zeros(),
            pauses: Mutex::new(vec![(0, 0); keys]),
            next: AtomicU64::new(0),
        }
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In ms since the beginning.
    pub fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// A number for a producer or a session.
    pub fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) as u32
    }

    /// The value of a record that is going to be sent.
    pub fn sending(&self, producer: u32, key: Key) -> u64 {
        let mut history = self.history();
        history.sends.push(Sent { producer, key, fate: Fate::Info });
        history.sends.len() as u64 - 1
    }

    pub fn failed(&self, value: u64) {
        self.history().sends[value as usize].fate = Fate::Fail;
    }

    pub fn acknowledged(&self, value: u64, offset: i64, sent_ms: u64) {
        let key = {
            let sent = &mut self.history().sends[value as usize];
            sent.fate = Fate::Ok(offset);
            sent.key
        };
        self.written[key].fetch_max(sent_ms + 1, Ordering::Relaxed);
        self.highest[key].fetch_max(offset as u64, Ordering::Relaxed);
        let now = self.now();
        let mut pauses = self.pauses();
        let (last, longest) = &mut pauses[key];
        *longest = (*longest).max(now.saturating_sub(*last));
        *last = now;
    }

    fn pauses(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look for the longest pause between two acknowledgements of a partition.
    pub fn watch(&self) {
        self.pauses().iter_mut().for_each(|(_, longest)| *longest = 0);
    }

    /// That of the partition that had the longest.
    pub fn longest_pause(&self) -> Duration {
        Duration::from_millis(self.pauses().iter().map(|(_, longest)| *longest).max().unwrap_or_default())
    }

    pub fn highest(&self, key: Key) -> i64 {
        self.highest[key].load(Ordering::Relaxed) as i64
    }

    /// Whether every key acknowledged something that was sent after this moment.
    pub fn all_written_since(&self, ms: u64) -> bool {
        self.written.iter().all(|written| written.load(Ordering::Relaxed) > ms)
    }
}
