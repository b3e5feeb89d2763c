//! What was worked out before, the least recently used of it forgotten first.

use std::collections::BTreeMap;
use std::sync::Arc;

use connect_api::SchemaRef;

/// A bounded map. A capacity of 0 remembers nothing.
#[derive(Debug)]
pub struct Cache<K, V> {
    capacity: usize,
    /// With the time of the last use.
    values: BTreeMap<K, (u64, V)>,
    used: BTreeMap<u64, K>,
    now: u64,
}

impl<K: Ord + Clone, V: Clone> Cache<K, V> {
    pub fn new(capacity: usize) -> Cache<K, V> {
        Cache { capacity, values: BTreeMap::new(), used: BTreeMap::new(), now: 0 }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        let (time, value) = self.values.get_mut(key)?;
        self.now += 1;
        if let Some(key) = self.used.remove(time) {
            self.used.insert(self.now, key);
        }
        *time = self.now;
        Some(value.clone())
    }

    pub fn put(&mut self, key: K, value: V) {
        if self.capacity == 0 {
            return;
        }
        self.now += 1;
        if let Some((time, _)) = self.values.insert(key.clone(), (self.now, value)) {
            self.used.remove(&time);
        }
        self.used.insert(self.now, key);
        if self.values.len() > self.capacity
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.values.remove(&oldest);
        }
    }
}

/// What was made of schemas. They are known by their address, which is cheap and enough: connectors and converters hand
/// out the same schema with every record.
#[derive(Debug)]
pub struct SchemaCache<V> {
    /// The schema is kept so that its address stays its own.
    cache: Cache<usize, (SchemaRef, V)>,
}

impl<V: Clone> SchemaCache<V> {
    pub fn new(capacity: usize) -> SchemaCache<V> {
        SchemaCache { cache: Cache::new(capacity) }
    }

    /// What was made of the schema before, or what `make` makes of it now.
    pub fn get_or<E>(&mut self, schema: &SchemaRef, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let address = Arc::as_ptr(schema) as usize;
        if let Some((_, value)) = self.cache.get(&address) {
            return Ok(value);
        }
        let value = make()?;
        self.cache.put(address, (schema.clone(), value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_forgotten() {
        let mut cache = Cache::new(2);
        cache.put(1, 'a');
        cache.put(2, 'b');
        assert_eq!(cache.get(&1), Some('a'));
        cache.put(3, 'c');
        assert_eq!(cache.get(&2), None);
        assert_eq!(cache.get(&1), Some('a'));
        cache.put(1, 'd');
        assert_eq!(cache.get(&1), Some('d'));
        assert_eq!((cache.values.len(), cache.used.len()), (2, 2));
        let mut none = Cache::new(0);
        none.put(1, 1);
        assert_eq!(none.get(&1), None);
    }
}
