//! Chance, for placements, ids and names that nobody shall guess or meet twice.

use std::hash::{BuildHasher, Hasher, RandomState};
use wire::Uuid;

/// A source of numbers; the hasher's keys come from the system's randomness.
pub fn random() -> impl FnMut() -> u64 {
    let state = RandomState::new();
    let mut count = 0_u64;
    move || {
        count += 1;
        let mut hasher = state.build_hasher();
        hasher.write_u64(count);
        hasher.finish()
    }
}

/// A new id.
pub fn uuid() -> Uuid {
    let mut random = random();
    Uuid::from_u128((u128::from(random()) << 64) | u128::from(random()))
}
