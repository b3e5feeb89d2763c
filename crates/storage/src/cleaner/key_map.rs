//! The latest offset of each key, in bounded memory: keys are kept as 16-byte hashes, as Kafka keeps them.
//!
//! Two keys with one hash would count as one, and the older of them be lost. The hash is keyed with a number that nobody
//! outside knows, so that such keys cannot be made on purpose; by chance they do not meet in the age of the universe.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// Bytes of memory for each slot, as in Kafka: hash and offset.
pub(crate) const SLOT_BYTES: usize = 24;
/// Slots to begin with, roughly.
const FIRST_SLOTS: usize = 1024;

/// What is kept of a key.
pub(crate) type Hash = [u64; 2];

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Never both 0 in a slot that is taken.
    hash: Hash,
    offset: i64,
}

/// See the module.
pub(crate) struct KeyMap {
    seed: [u8; 16],
    slots: Vec<Slot>,
    taken: usize,
    /// Slots at most.
    slots_max: usize,
    load_factor: f64,
    /// Keys at which the table must grow.
    grow_at: usize,
}

impl KeyMap {
    /// A map that takes at most `bytes`, filled at most up to `load_factor`. The table begins small and doubles; while
    /// it does, the old and the new one together stay within `bytes`.
    pub fn new(bytes: usize, load_factor: f64, seed: [u8; 16]) -> KeyMap {
        let load_factor = if load_factor > 0.0 { load_factor.min(0.95) } else { 0.9 };
        let slots_max = (bytes / SLOT_BYTES * 2 / 3).max(4);
        let mut slots = slots_max;
        while slots > 2 * FIRST_SLOTS {
            slots = slots.div_ceil(2);
        }
        let mut map = KeyMap { seed, slots: Vec::new(), taken: 0, slots_max, load_factor, grow_at: 0 };
        map.resize(slots);
        map
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
        self.grow_at = ((slots as f64 * self.load_factor) as usize).clamp(1, slots - 1);
        for slot in old.iter().filter(|slot| slot.hash != [0, 0]) {
            let at = self.place(slot.hash);
            self.slots[at] = *slot;
        }
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> Hash {
        let mut hasher = SipHasher13::new_with_key(&self.seed);
        hasher.write(key);
        let hash = hasher.finish128();
        if (hash.h1, hash.h2) == (0, 0) { [0, 1] } else { [hash.h1, hash.h2] }
    }

    /// Where to begin looking for a hash.
    #[inline]
    fn home(&self, hash: Hash) -> usize {
        ((u128::from(hash[0]) * self.slots.len() as u128) >> 64) as usize
    }

    /// Brings the places of these hashes into the processor's cache, many at once: waiting for memory one by one would
    /// take longer than all the rest of a cleaning.
    pub fn warm(&self, hashes: impl Iterator<Item = Hash>) {
        std::hint::black_box(hashes.fold(0, |sum, hash| sum ^ self.slots[self.home(hash)].hash[0]));
    }

    /// Where a hash is, or would be.
    #[inline]
    fn place(&self, hash: Hash) -> usize {
        let count = self.slots.len();
        let mut at = self.home(hash);
        // Never full, so this ends.
        while self.slots[at].hash != hash && self.slots[at].hash != [0, 0] {
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }

    /// Notes that the key of `hash` is at `offset`, which is beyond all before it. Says no when there is no room for another key.
    #[inline]
    pub fn put(&mut self, hash: Hash, offset: i64) -> bool {
        let mut at = self.place(hash);
        if self.slots[at].hash == [0, 0] {
            if self.taken >= self.grow_at {
                if self.slots.len() >= self.slots_max {
                    return false;
                }
                self.resize((2 * self.slots.len()).min(self.slots_max));
                at = self.place(hash);
            }
            self.taken += 1;
        }
        self.slots[at] = Slot { hash, offset };
        true
    }

    /// The latest offset of the key of `hash`.
    #[inline]
    pub fn get(&self, hash: Hash) -> Option<i64> {
        let slot = self.slots[self.place(hash)];
        (slot.hash != [0, 0]).then_some(slot.offset)
    }

    pub fn len(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_offset_of_each_key_is_found_and_memory_is_bounded() {
        for bytes in [0, 100, 1000, 100_000, 1 << 20] {
            let mut map = KeyMap::new(bytes, 0.9, [7; 16]);
            let mut count = 0u32;
            while map.put(map.hash(&count.to_be_bytes()), i64::from(count)) {
                count += 1;
                assert!(count < 1 << 20, "it ends");
            }
            assert!(count >= 1 && map.len() == count as usize);
            assert!(map.slots.len() * SLOT_BYTES * 3 / 2 <= bytes.max(4 * SLOT_BYTES * 3 / 2) + SLOT_BYTES);
            if bytes >= 100_000 {
                assert!(count as usize * SLOT_BYTES >= bytes / 2, "{count} keys in {bytes} bytes");
            }
            for key in 0..count {
                // A known key always has room.
                assert!(map.put(map.hash(&key.to_be_bytes()), i64::from(key) + 1_000_000));
            }
            let get = |key: &[u8]| map.get(map.hash(key));
            assert!((0..count).all(|key| get(&key.to_be_bytes()) == Some(i64::from(key) + 1_000_000)));
            assert_eq!(get(b"another"), None);
        }
    }
}
