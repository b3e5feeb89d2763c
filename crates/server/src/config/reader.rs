//! Reading typed values out of settings that were checked one by one.

use std::time::Duration;

use client::Properties;
use metadata::config::layers::without_listener_prefix;
use metadata::config::value::invalid;
use metadata::config::{Key, Layers, Value, table};

/// The settings, and what is wrong with how they go together.
pub(super) struct Reader<'a> {
    pub file: &'a Properties,
    pub errors: Vec<String>,
}

/// A sentence for every known key whose value is not allowed.
pub(super) fn wrong_values(file: &Properties) -> Vec<String> {
    let wrong = |(name, value): (&String, &String)| match table::broker_key(name) {
        Some(key) => key.parse(value).err(),
        None => {
            let key = table::broker_key(without_listener_prefix(name)?)?;
            key.parse(value).err().map(|why| format!("{name}: {why}"))
        }
    };
    file.iter().filter_map(wrong).collect()
}

/// The id of a node that was given none.
const DEFAULT_NODE_ID: &str = "1";

/// `node.id` and `broker.id` are one: whichever is there fills in the other. `may_lack`: the node is going to be given one.
pub(super) fn fill_in_node_id(file: &mut Properties, may_lack: bool) -> Result<(), String> {
    let id = |name: &str| file.get(name).map(|id| id.trim().to_owned());
    match (id("node.id"), id("broker.id").filter(|id| id != "-1")) {
        (Some(node), Some(broker)) if node != broker => Err(invalid(
            "broker.id",
            &broker,
            &format!("You must set `node.id` to the same value as `broker.id`; it is {node}"),
        )),
        (Some(id), _) | (None, Some(id)) if id.parse().is_ok_and(|id: i32| id >= 0) => {
            file.insert("node.id".into(), id.clone());
            file.insert("broker.id".into(), id);
            Ok(())
        }
        (Some(id), _) | (None, Some(id)) => Err(invalid("broker.id", &id, "Value must be at least 0, or -1 for none")),
        (None, None) if file.contains_key("process.roles") && !may_lack => {
            Err("Missing required configuration \"node.id\" which has no default value.".to_owned())
        }
        (None, None) => {
            file.insert("node.id".into(), DEFAULT_NODE_ID.into());
            Ok(())
        }
    }
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Properties) -> Reader<'a> {
        Reader { file, errors: Vec::new() }
    }

    /// Notes that a value is not allowed because of `rule`.
    pub fn wrong(&mut self, name: &str, rule: &str) {
        let key = table::broker_key(name);
        let value = match self.file.get(name) {
            _ if key.is_some_and(Key::is_sensitive) => "[hidden]",
            Some(value) => value,
            None => key.and_then(|key| key.default).unwrap_or("null"),
        };
        self.errors.push(invalid(name, value, rule));
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.file.contains_key(name)
    }

    fn value(&self, name: &str) -> Option<Value> {
        let key = table::broker_key(name);
        debug_assert!(key.is_some(), "{name} is not in the table");
        Layers::of_file(self.file).value(key?)
    }

    pub fn whole(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Whole(n)) => n,
            _ => 0,
        }
    }

    pub fn int(&self, name: &str) -> i32 {
        i32::try_from(self.whole(name)).unwrap_or_default()
    }

    /// Kafka types some keys as ints whose place in the protocol is a short.
    pub fn short(&mut self, name: &str) -> i16 {
        let value = i16::try_from(self.whole(name)).ok().filter(|n| *n >= 1 || *n == -1);
        if value.is_none() {
            self.wrong(name, &format!("Value must be between 1 and {}", i16::MAX));
        }
        value.unwrap_or(1)
    }

    /// A size or a number of things; negative ones count as none.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.whole(name)).unwrap_or_default()
    }

    pub fn boolean(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Boolean(true))
    }

    /// `None` for null.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    pub fn ms(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.whole(name)).unwrap_or_default())
    }

    /// `None` where the value is negative or the largest there is.
    pub fn ms_unless_endless(&self, name: &str) -> Option<Duration> {
        let ms = u64::try_from(self.whole(name)).ok()?;
        (ms != i64::MAX as u64).then(|| Duration::from_millis(ms))
    }
}
