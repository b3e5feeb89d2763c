//! The order in which `java.util.HashMap` hands out its entries: Kafka builds maps of values without a schema with it, so
//! it is the order of the members in a topic's JSON and of the fields in a file sink's lines.

use std::collections::BTreeMap;

use connect_api::Value;

/// Builds a map whose entries come out in the order that Java's would have.
///
/// Keys whose hash Java does not fix (bytes and structs) keep the order in which they came. So do more than eight keys
/// in one bucket, which Java would put into a tree.
#[derive(Debug)]
pub struct HashMap {
    /// In the order they came, each with its spread hash; a removed one leaves None.
    entries: Vec<Option<(i32, Value, Value)>>,
    /// Where the keys of each hash stand in `entries`.
    places: BTreeMap<i32, Vec<usize>>,
    size: usize,
    capacity: usize,
}

impl HashMap {
    /// An empty map of Java's usual size.
    pub fn new() -> HashMap {
        HashMap::with_capacity(16)
    }

    /// An empty map that was asked to have room for `capacity` buckets.
    pub fn with_capacity(capacity: usize) -> HashMap {
        let capacity = capacity.next_power_of_two();
        HashMap { entries: Vec::new(), places: BTreeMap::new(), size: 0, capacity }
    }

    /// A copy of a map's entries, as Java 17 sizes it.
    pub fn copy_of(pairs: &[(Value, Value)]) -> HashMap {
        let buckets = if pairs.is_empty() { 16 } else { pairs.len() * 4 / 3 + 1 };
        let mut map = HashMap::with_capacity(buckets);
        for (key, value) in pairs {
            map.put(key.clone(), value.clone());
        }
        map
    }

    /// Sets a key's value; a key that is there keeps its place.
    pub fn put(&mut self, key: Value, value: Value) {
        if let Some(at) = self.find(&key) {
            if let Some(entry) = &mut self.entries[at] {
                entry.2 = value;
            }
            return;
        }
        let hash = spread(&key);
        self.places.entry(hash).or_default().push(self.entries.len());
        self.entries.push(Some((hash, key, value)));
        self.size += 1;
        if self.size > self.capacity * 3 / 4 {
            self.capacity *= 2;
        }
    }

    /// A key's value.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.entries[self.find(key)?].as_ref().map(|entry| &entry.2)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &Value) {
        if let Some(at) = self.find(key) {
            self.entries[at] = None;
            self.size -= 1;
            if let Some(places) = self.places.get_mut(&spread(key)) {
                places.retain(|place| *place != at);
            }
        }
    }

    fn find(&self, key: &Value) -> Option<usize> {
        let places = self.places.get(&spread(key))?;
        places.iter().copied().find(|at| self.entries[*at].as_ref().is_some_and(|entry| entry.1 == *key))
    }

    /// The map, in Java's order.
    pub fn into_value(self) -> Value {
        let mask = self.capacity - 1;
        let mut entries: Vec<_> = self.entries.into_iter().flatten().collect();
        entries.sort_by_key(|entry| entry.0 as u32 as usize & mask);
        Value::Map(entries.into_iter().map(|(_, key, value)| (key, value)).collect())
    }
}

fn spread(key: &Value) -> i32 {
    let hash = hash_code(key);
    hash ^ (hash as u32 >> 16) as i32
}

/// Java's `hashCode`.
fn hash_code(value: &Value) -> i32 {
    let long = |n: i64| (n ^ (n as u64 >> 32) as i64) as i32;
    match value {
        Value::Null | Value::Bytes(_) | Value::Struct(_) => 0,
        Value::Int8(n) => i32::from(*n),
        Value::Int16(n) => i32::from(*n),
        Value::Int32(n) => *n,
        Value::Int64(n) | Value::Instant(n) => long(*n),
        Value::Float32(n) if n.is_nan() => 0x7fc0_0000,
        Value::Float32(n) => n.to_bits() as i32,
        Value::Float64(n) if n.is_nan() => 0x7ff8_0000,
        Value::Float64(n) => long(n.to_bits() as i64),
        Value::Boolean(true) => 1231,
        Value::Boolean(false) => 1237,
        Value::String(text) => {
            text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
        }
        Value::Array(items) => {
            items.iter().fold(1, |hash: i32, item| hash.wrapping_mul(31).wrapping_add(hash_code(item)))
        }
        Value::Map(pairs) => {
            pairs.iter().fold(0, |hash: i32, (key, value)| hash.wrapping_add(hash_code(key) ^ hash_code(value)))
        }
        Value::Decimal(number) => {
            // Java hashes the magnitude, four bytes at a time.
            let negative = number.unscaled().first().is_some_and(|byte| byte & 0x80 != 0);
            let mut magnitude = number.unscaled().to_vec();
            if negative {
                let mut carry = true;
                for byte in magnitude.iter_mut().rev() {
                    (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
                }
            }
            let words = magnitude.rchunks(4).rev();
            let hash = words.fold(0i32, |hash, word| {
                let word = word.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
                hash.wrapping_mul(31).wrapping_add(word as i32)
            });
            let signed = if negative { hash.wrapping_neg() } else { hash };
            signed.wrapping_mul(31).wrapping_add(number.scale())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(map: HashMap) -> Vec<String> {
        match map.into_value() {
            Value::Map(pairs) => pairs.into_iter().map(|(key, _)| key.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_come_in_the_order_of_javas_buckets() {
        let mut map = HashMap::new();
        for key in ["zeta", "alpha", "mid", "k1", "k2", "Aa", "BB"] {
            map.put(key.into(), Value::Null);
        }
        // As Java 17 prints it; "Aa" and "BB" have the same hash.
        assert_eq!(keys(map), ["zeta", "Aa", "BB", "k1", "alpha", "k2", "mid"]);
    }

    #[test]
    fn a_key_that_comes_again_keeps_its_place_and_a_removed_one_is_gone() {
        let mut map = HashMap::new();
        map.put("Aa".into(), 1.into());
        map.put("BB".into(), 2.into());
        map.put("Aa".into(), 3.into());
        assert_eq!(map.get(&"Aa".into()), Some(&3.into()));
        map.remove(&"Aa".into());
        assert_eq!(map.get(&"Aa".into()), None);
        map.put("Aa".into(), 4.into());
        assert_eq!(keys(map), ["BB", "Aa"]);
    }
}
