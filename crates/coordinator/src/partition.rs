//! Which partition of `__consumer_offsets` coordinates a group.

/// The partition that `group_id` belongs to, as Kafka computes it: Java's `String.hashCode` (over UTF-16 units), its
/// absolute value with the one exception that the smallest integer counts as 0, modulo the number of partitions.
///
/// # Panics
/// When `partitions` is not positive.
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "__consumer_offsets has {partitions} partitions");
    let hash = group_id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_hashed_as_java_hashes_strings() {
        // What `Math.abs(s.hashCode()) % 50` prints in Java.
        let cases = [("", 0), ("a", 47), ("ab", 5), ("test-group", 12), ("😀", 49), ("그룹", 19)];
        for (group, expected) in cases {
            assert_eq!(partition_for(group, 50), expected, "{group:?}");
        }
    }

    #[test]
    fn the_smallest_hash_belongs_to_partition_zero() {
        // Java: "polygenelubricants".hashCode() == Integer.MIN_VALUE.
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("polygenelubricants", 7), 0);
    }
}
