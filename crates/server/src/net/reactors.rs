//! Which thread serves which connection.
//!
//! Each reactor is a thread with an event queue of its own. Everything begins on the first one and stays there as long
//! as that thread keeps up: work that is spread over threads wakes them for one another, which costs more than most requests
//! do. Once the thread of a reactor uses most of a core, some of its connections go on another; once two
//! reactors have little to do, one of them takes it all.
//!
//! What a thread does is told by its CPU time, not by how seldom it sleeps: on a machine that is busy with others it
//! hardly sleeps, and two threads would get no more done.

use crate::threads::CpuClock;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};

/// How often the load is looked at, where there is any.
const WINDOW: Duration = Duration::from_millis(25);
/// A reactor that uses more of a core than this gives connections away, to one that uses less by [`GAP`] at least.
const FULL: f64 = 0.65;
const GAP: f64 = 0.25;
/// Two reactors that use less of a core than this together, for a second or so, are one too many.
const LITTLE: f64 = 0.4;
/// How much of the last load is forgotten in each window: of the one that spreads, and of the one that gathers.
const QUICK: f64 = 0.5;
const SLOW: f64 = 1.0 / 32.0;
/// A pause counts as so many windows at most; nothing is left of a load after them.
const LONG_PAUSE: f64 = 1000.0;

/// The threads that serve connections.
pub struct Reactors {
    all: Vec<Reactor>,
    started: Instant,
    /// Grows with each window.
    window: AtomicU32,
    /// When the current window ends, in nanoseconds since the start.
    window_ends: AtomicU64,
    loads: Mutex<Loads>,
}

struct Reactor {
    handle: Handle,
    clock: CpuClock,
    /// Connections that did something in this window.
    active: AtomicU32,
    /// See [`Departure`].
    departure: AtomicU64,
    moved: AtomicU64,
}

/// Where something is that may be moved: a connection of a client, or one to a leader.
#[derive(Debug, Default)]
pub struct Place {
    pub reactor: usize,
    /// The last window in which it was counted.
    counted: u32,
}

/// How many connections shall leave a reactor, and for which other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Departure {
    connections: u32,
    to: u32,
}

/// Whoever comes by shall leave.
const ALL: u32 = u32::MAX;

impl Departure {
    fn to_bits(self) -> u64 {
        u64::from(self.connections) << 32 | u64::from(self.to)
    }

    fn of_bits(bits: u64) -> Departure {
        Departure { connections: (bits >> 32) as u32, to: bits as u32 }
    }

    /// What is left once one more has gone.
    fn after_one(self) -> Option<Departure> {
        match self.connections {
            0 => None,
            ALL => Some(self),
            connections => Some(Departure { connections: connections - 1, ..self }),
        }
    }
}

struct Loads {
    at: Instant,
    each: Vec<Load>,
}

/// What a reactor has to do.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// CPU time since its start.
    used: Duration,
    /// The share of a core that it used of late.
    quick: f64,
    /// The most that it used in the last second or so.
    slow: f64,
    /// Connections that did something in the last window.
    active: u32,
    departure: Departure,
}

/// What a reactor has done since the start.
pub struct Done {
    pub cpu: Duration,
    /// Connections that went on on another reactor.
    pub moved: u64,
}

impl Reactors {
    /// Of these runtimes, of one worker each.
    ///
    /// # Errors
    /// The system cannot tell what a thread uses.
    pub fn new(runtimes: &[Runtime]) -> io::Result<Reactors> {
        let mut all = Vec::new();
        for runtime in runtimes {
            let clock = runtime.block_on(runtime.spawn(async { CpuClock::of_this_thread() }))??;
            all.push(Reactor {
                handle: runtime.handle().clone(),
                clock,
                active: AtomicU32::default(),
                departure: AtomicU64::default(),
                moved: AtomicU64::default(),
            });
        }
        let started = Instant::now();
        let loads = Mutex::new(Loads { at: started, each: vec![Load::default(); all.len()] });
        Ok(Reactors { all, started, window: AtomicU32::default(), window_ends: AtomicU64::default(), loads })
    }

    /// The runtime of what is at `place`.
    pub fn at(&self, place: &Place) -> &Handle {
        &self.all[place.reactor].handle
    }

    pub fn handles(&self) -> impl ExactSizeIterator<Item = &Handle> {
        self.all.iter().map(|reactor| &reactor.handle)
    }

    pub fn done(&self) -> impl Iterator<Item = Done> {
        self.all.iter().map(|reactor| Done {
            cpu: reactor.clock.used().unwrap_or_default(),
            moved: reactor.moved.load(Ordering::Relaxed),
        })
    }

    /// Something is done at `now`, and what is at `place` could go on elsewhere: changes the place and says so, if it shall.
    pub fn leaves(&self, place: &mut Place, now: Instant) -> bool {
        if self.all.len() < 2 {
            return false;
        }
        let here = &self.all[place.reactor];
        let window = self.window.load(Ordering::Relaxed);
        if place.counted != window {
            place.counted = window;
            here.active.fetch_add(1, Ordering::Relaxed);
        }
        let since = now.saturating_duration_since(self.started).as_nanos() as u64;
        if since >= self.window_ends.load(Ordering::Relaxed) {
            self.look(now);
        }
        let one = |bits| Departure::of_bits(bits).after_one().map(Departure::to_bits);
        let Ok(bits) = here.departure.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one) else { return false };
        here.moved.fetch_add(1, Ordering::Relaxed);
        place.reactor = Departure::of_bits(bits).to as usize;
        true
    }

    /// Ends the window, unless somebody else is about to.
    fn look(&self, now: Instant) {
        let Ok(mut loads) = self.loads.try_lock() else { return };
        let passed = now.saturating_duration_since(loads.at);
        if passed < WINDOW {
            return;
        }
        loads.at = now;
        let (passed, windows) = (passed.as_secs_f64(), passed.as_secs_f64() / WINDOW.as_secs_f64());
        for (reactor, load) in self.all.iter().zip(&mut loads.each) {
            let used = reactor.clock.used().unwrap_or(load.used);
            load.note(used.saturating_sub(load.used).as_secs_f64() / passed, windows);
            load.used = used;
            load.active = reactor.active.swap(0, Ordering::Relaxed);
        }
        plan(&mut loads.each);
        for (reactor, load) in self.all.iter().zip(&loads.each) {
            reactor.departure.store(load.departure.to_bits(), Ordering::Relaxed);
        }
        self.window.fetch_add(1, Ordering::Relaxed);
        let ends = now.saturating_duration_since(self.started) + WINDOW;
        self.window_ends.store(ends.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Load {
    /// It used this share of a core for so many windows.
    fn note(&mut self, share: f64, windows: f64) {
        let windows = windows.min(LONG_PAUSE);
        self.quick = share + (self.quick - share) * (1.0 - QUICK).powf(windows);
        self.slow = self.quick.max(self.slow * (1.0 - SLOW).powf(windows));
    }

    fn takes_others(&self) -> bool {
        self.departure.connections == 0
    }
}

/// Says how many shall leave each reactor for which other.
fn plan(loads: &mut [Load]) {
    for load in loads.iter_mut().filter(|load| load.departure.connections != ALL) {
        load.departure = Departure::default();
    }
    spread(loads);
    gather(loads);
}

/// Connections of the fullest reactor go to the emptiest, as many as make the two equal if each costs the same; so do those of
/// the next two.
fn spread(loads: &mut [Load]) {
    let mut by_load: Vec<usize> = (0..loads.len()).collect();
    by_load.sort_by(|a, b| loads[*a].quick.total_cmp(&loads[*b].quick));
    let pairs = loads.len() / 2;
    for (&empty, &full) in by_load.iter().zip(by_load.iter().rev()).take(pairs) {
        let (most, least, active) = (loads[full].quick, loads[empty].quick, loads[full].active);
        if most < FULL || most - least < GAP {
            return;
        }
        let leave = f64::from(active) * (most - least) / (2.0 * most);
        // One alone would be no better off elsewhere.
        let connections = (leave.round() as u32).min(active.saturating_sub(1));
        loads[full].departure = Departure { connections, to: empty as u32 };
        loads[empty].departure = Departure::default();
    }
}

/// The last reactor that has anything to do leaves it to another, if both have little to do.
fn gather(loads: &mut [Load]) {
    let Some(last) = (1..loads.len()).rev().find(|i| loads[*i].active > 0 && loads[*i].takes_others()) else { return };
    let others = (0..last).filter(|i| loads[*i].takes_others());
    let Some(to) = others.max_by(|a, b| loads[*a].slow.total_cmp(&loads[*b].slow)) else { return };
    if loads[last].slow + loads[to].slow < LITTLE {
        loads[last].departure = Departure { connections: ALL, to: to as u32 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads;
    use std::sync::Arc;

    fn load(quick: f64, active: u32) -> Load {
        Load { quick, slow: quick, active, ..Load::default() }
    }

    /// `(connections, to)` of each.
    fn planned(loads: &[Load]) -> Vec<(u32, u32)> {
        let mut loads = loads.to_vec();
        plan(&mut loads);
        loads.iter().map(|load| (load.departure.connections, load.departure.to)).collect()
    }

    #[test]
    fn one_reactor_is_enough_until_it_is_full() {
        assert_eq!(planned(&[load(0.6, 100), load(0.0, 0)]), [(0, 0), (0, 0)]);
        assert_eq!(planned(&[load(0.9, 100), load(0.0, 0)]), [(50, 1), (0, 0)]);
        assert_eq!(planned(&[load(0.9, 3), load(0.0, 0), load(0.0, 0)]), [(2, 1), (0, 0), (0, 0)]);
        assert_eq!(planned(&[load(0.9, 100), load(0.5, 0)]), [(22, 1), (0, 0)]);
    }

    #[test]
    fn the_emptiest_takes_what_the_fullest_has_too_much_of() {
        assert_eq!(planned(&[load(0.9, 10), load(1.0, 10), load(0.5, 3)]), [(0, 0), (3, 2), (0, 0)]);
        assert_eq!(planned(&[load(0.9, 10), load(0.8, 10)]), [(0, 0), (0, 0)]);
        let four = [load(0.9, 8), load(0.0, 0), load(1.0, 8), load(0.1, 0)];
        assert_eq!(planned(&four), [(4, 3), (0, 0), (4, 1), (0, 0)], "many cores are filled in a few windows");
    }

    #[test]
    fn a_connection_alone_stays() {
        assert_eq!(planned(&[load(1.0, 1), load(0.0, 0)])[0].0, 0);
        assert_eq!(planned(&[load(1.0, 0), load(0.0, 0)])[0].0, 0);
    }

    #[test]
    fn two_that_have_little_to_do_become_one() {
        assert_eq!(planned(&[load(0.1, 5), load(0.2, 5)]), [(0, 0), (ALL, 0)]);
        assert_eq!(planned(&[load(0.3, 5), load(0.2, 5)]), [(0, 0), (0, 0)]);
        assert_eq!(planned(&[load(0.1, 5), load(0.3, 5), load(0.05, 1)]), [(0, 0), (0, 0), (ALL, 1)]);
        // What comes back to life there later leaves too.
        let left = Load { departure: Departure { connections: ALL, to: 0 }, ..load(0.0, 0) };
        assert_eq!(planned(&[load(0.1, 5), left]), [(0, 0), (ALL, 0)]);
    }

    #[test]
    fn who_is_being_left_takes_others_again_when_they_are_needed() {
        let left = Load { departure: Departure { connections: ALL, to: 0 }, ..load(0.0, 0) };
        assert_eq!(planned(&[load(0.9, 4), left]), [(2, 1), (0, 0)]);
    }

    #[test]
    fn a_burst_is_remembered_for_a_second_and_forgotten_after_some() {
        let mut load = Load::default();
        (0..4).for_each(|_| load.note(1.0, 1.0));
        assert!(load.quick > FULL, "a tenth of a second is enough: {load:?}");
        load.note(0.0, 20.0);
        assert!(load.quick < 0.01 && load.slow > LITTLE, "{load:?}");
        load.note(0.0, 100.0);
        assert!(load.slow < 0.05, "{load:?}");
        load.note(0.5, f64::MAX);
        assert!((load.quick - 0.5).abs() < 1e-9, "a long pause leaves nothing of before: {load:?}");
    }

    #[test]
    fn whoever_keeps_a_thread_busy_is_moved_and_gathered_in_when_it_is_over() {
        let runtimes = [threads::reactor().unwrap(), threads::reactor().unwrap()];
        let reactors = Arc::new(Reactors::new(&runtimes).unwrap());
        let (there, mut places) = (reactors.clone(), [Place::default(), Place::default()]);
        let busy = async move {
            let clock = CpuClock::of_this_thread().unwrap();
            loop {
                // The time that passes is what the thread uses: it is as busy as can be, whatever the machine does.
                let now = there.started + clock.used().unwrap();
                if places.iter_mut().any(|place| there.leaves(place, now)) {
                    return (places, now);
                }
            }
        };
        let (mut places, mut now) = runtimes[0].block_on(runtimes[0].spawn(busy)).unwrap();
        let on = |places: &[Place; 2]| [places[0].reactor, places[1].reactor];
        assert_eq!(on(&places).iter().sum::<usize>(), 1, "one of the two has moved: {places:?}");
        while on(&places) != [0, 0] {
            now += WINDOW;
            places.iter_mut().for_each(|place| _ = reactors.leaves(place, now));
            assert!(now < reactors.started + Duration::from_secs(3600), "{places:?}");
        }
        assert_eq!(reactors.done().map(|done| done.moved).collect::<Vec<_>>(), [1, 1]);
    }
}
