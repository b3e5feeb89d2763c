//! Which partition a record goes to: by its key as all of Kafka's clients do it, else one partition for a while.

use crate::random;

/// The hash that Kafka's Java client has always used for keys (murmur2, seed 0x9747b28c).
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition of a key.
pub fn for_key(key: &[u8], partitions: usize) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) as usize % partitions.max(1)) as i32
}

/// Records without a key stay on one partition until it has had about a batch of them (KIP-794), so that batches fill.
#[derive(Clone, Debug, Default)]
pub struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of `size` bytes, out of those that have a leader (or all, when none has).
    pub fn next(&mut self, size: usize, batch_size: usize, partitions: usize, available: &[i32]) -> i32 {
        let current = self.partition.filter(|p| self.bytes < batch_size && (*p as usize) < partitions);
        let partition = match current {
            Some(partition) => partition,
            None => {
                self.bytes = 0;
                match available {
                    [] => random::below(partitions) as i32,
                    some => some[random::below(some.len())],
                }
            }
        };
        self.partition = Some(partition);
        self.bytes += size;
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // From Kafka's own test of its hash.
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn records_without_key_stay_until_a_batch_is_full() {
        let mut sticky = Sticky::default();
        let first = sticky.next(60, 100, 10, &[3, 4]);
        assert!([3, 4].contains(&first));
        assert_eq!(sticky.next(60, 100, 10, &[3, 4]), first);
        let chosen: Vec<i32> = (0..100).map(|_| sticky.next(100, 100, 10, &[3, 4])).collect();
        assert!(chosen.contains(&3) && chosen.contains(&4));
        assert!((0..2).contains(&sticky.next(100, 100, 2, &[])));
    }
}
