//! What simulations are made of: numbers that look random, a schedule of events, links that can be cut, and seeds run on
//! all cores. All of it does the same again from the same seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that look random and are the same in each run (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x1234_5678_9abc_def1))
    }

    #[allow(clippy::should_implement_trait)] // it never ends
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to `bound`, without it; 0 where that is none.
    pub fn below(&mut self, bound: i64) -> i64 {
        (self.next() % bound.max(1) as u64) as i64
    }

    /// `percent` in a hundred.
    pub fn is(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    /// # Panics
    /// When there is none.
    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as i64) as usize]
    }
}

/// Events in the order of their times; those of one time in the order in which they were made.
pub struct Schedule<E> {
    now_ms: i64,
    due: BinaryHeap<Reverse<(i64, u64)>>,
    events: BTreeMap<u64, E>,
    made: u64,
}

impl<E> Default for Schedule<E> {
    fn default() -> Schedule<E> {
        Schedule { now_ms: 0, due: BinaryHeap::new(), events: BTreeMap::new(), made: 0 }
    }
}

impl<E> Schedule<E> {
    /// The time of the last event.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub fn after(&mut self, delay_ms: i64, event: E) {
        self.made += 1;
        self.due.push(Reverse((self.now_ms + delay_ms.max(0), self.made)));
        self.events.insert(self.made, event);
    }

    /// The next event; time goes on to it.
    pub fn take(&mut self) -> Option<E> {
        let Reverse((at_ms, number)) = self.due.pop()?;
        self.now_ms = at_ms;
        self.events.remove(&number)
    }
}

/// Tells two runs apart: a hash of what happened, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    pub fn mix(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

/// Ways from one place to another that are cut until a time.
#[derive(Clone, Debug, Default)]
pub struct Links(BTreeMap<(i32, i32), i64>);

impl Links {
    /// One way only.
    pub fn cut(&mut self, from: i32, to: i32, until_ms: i64) {
        self.0.insert((from, to), until_ms);
    }

    pub fn is_cut(&self, from: i32, to: i32, now_ms: i64) -> bool {
        self.0.get(&(from, to)).is_some_and(|until_ms| *until_ms > now_ms)
    }

    pub fn heal(&mut self) {
        self.0.clear();
    }
}

/// The seeds to run: `SIMULATION_SEED=7` for one, `SIMULATION_SEEDS=1000..2000` for others than `default`.
///
/// # Panics
/// When the variable is not that.
pub fn seeds(default: Range<u64>) -> Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    if let Some(seed) = only_seed() {
        return seed..seed + 1;
    }
    match std::env::var("SIMULATION_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("a range such as 1000..2000");
            number(from)..number(to)
        }
        Err(_) => default,
    }
}

/// The seed of `SIMULATION_SEED`, whose events are to be told.
///
/// # Panics
/// When it is not a number.
pub fn only_seed() -> Option<u64> {
    std::env::var("SIMULATION_SEED").ok().map(|seed| seed.trim().parse().expect("a number"))
}

/// What became of seeds.
#[derive(Debug, Default)]
pub struct Runs<T> {
    pub done: BTreeMap<u64, T>,
    /// What went wrong.
    pub failed: BTreeMap<u64, String>,
}

/// After so many failures no more seeds are run.
const FAILURES_MAX: usize = 10;

/// Runs seeds on all cores, in no order. A panic is a failure.
pub fn run<T: Send>(seeds: Range<u64>, one: impl Fn(u64) -> Result<T, String> + Sync) -> Runs<T> {
    let next = AtomicU64::new(seeds.start);
    let runs = Mutex::new(Runs { done: BTreeMap::new(), failed: BTreeMap::new() });
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || runs.lock().expect("no panic here").failed.len() >= FAILURES_MAX {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| one(seed))).unwrap_or_else(|panic| Err(text_of(&*panic)));
            let mut runs = runs.lock().expect("no panic here");
            match outcome {
                Ok(result) => drop(runs.done.insert(seed, result)),
                Err(why) => drop(runs.failed.insert(seed, why)),
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    runs.into_inner().expect("no panic here")
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("(no text)"))
}
