//! The order in which a Java `HashMap` of strings gives its entries: what Kafka's tools print settings in.

/// Sorts by the keys' places in a `HashMap` that they were put into one after another.
pub fn sort<T>(items: &mut [T], key: impl Fn(&T) -> &str) {
    sort_by_hash(items, |item| hash_code(key(item)));
}

/// The same for keys that are a topic and a partition.
pub fn sort_partitions<T>(items: &mut [T], key: impl Fn(&T) -> (&str, i32)) {
    sort_by_hash(items, |item| {
        let (topic, partition) = key(item);
        31u32.wrapping_mul(31u32.wrapping_add(partition as u32)).wrapping_add(hash_code(topic))
    });
}

fn sort_by_hash<T>(items: &mut [T], hash: impl Fn(&T) -> u32) {
    // The map doubles its table beyond three quarters of it.
    let mut table: u32 = 16;
    while items.len() > table as usize / 4 * 3 {
        table *= 2;
    }
    // Within one place the order of arrival stays.
    items.sort_by_key(|item| {
        let hash = hash(item);
        (hash ^ (hash >> 16)) & (table - 1)
    });
}

/// `String.hashCode`.
fn hash_code(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(hash_code("retention.ms"), 2955746934);
        assert_eq!(hash_code(""), 0);
        assert_eq!(hash_code("a"), 97);
        assert_eq!(hash_code("ab"), 97 * 31 + 98);
    }

    #[test]
    fn names_come_in_the_order_of_their_places() {
        let mut names = vec!["b", "a", "q", "c"];
        sort(&mut names, |n| n);
        // 'q' shares the place of 'a' in a table of 16.
        assert_eq!(names, ["a", "q", "b", "c"]);
        let mut partitions = vec![("multiple", 0), ("multiple", 1)];
        sort_partitions(&mut partitions, |p| *p);
        assert_eq!(partitions, [("multiple", 1), ("multiple", 0)]);
    }
}
