//! How far sources are read: keys and values as bytes of JSON, `["connector",{partition}]` and `{offset}`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connect_api::{Error, Result, SourceMap, Value};
use serde_json::Value as Json;

use super::{TopicLog, java_map};
use crate::config::WorkerConfig;
use crate::config::worker::TopicSpec;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The offsets of all connectors.
pub struct Offsets {
    map: Arc<Mutex<Map>>,
    backing: Backing,
}

enum Backing {
    File { path: PathBuf, turn: tokio::sync::Mutex<()> },
    Topic(TopicLog),
}

impl Offsets {
    /// Reads a file; one that is missing or empty has no offsets.
    pub fn file(path: &Path) -> Result<Offsets> {
        let failed = |why: String| Error::connect(format!("Failed to read the offsets in {}: {why}", path.display()));
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        let entries = if bytes.is_empty() { Vec::new() } else { java_map::read(&bytes).map_err(failed)? };
        let map = entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let backing = Backing::File { path: path.to_owned(), turn: tokio::sync::Mutex::default() };
        Ok(Offsets { map: Arc::new(Mutex::new(map)), backing })
    }

    /// Reads a topic, and goes on reading it.
    pub async fn topic(config: &WorkerConfig, spec: &TopicSpec) -> Result<Offsets> {
        let map = Arc::new(Mutex::new(Map::new()));
        let read = map.clone();
        let reader = move |key: Option<&[u8]>, value: Option<&[u8]>, _| {
            if let Some(key) = key {
                learn(&read, key, value);
            }
        };
        let log = TopicLog::open(config, spec, "connect-offsets", Box::new(reader)).await?;
        Ok(Offsets { map, backing: Backing::Topic(log) })
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that was written before, by any worker, is known here.
    pub async fn refresh(&self) -> Result<()> {
        match &self.backing {
            Backing::Topic(log) => log.read_to_end().await,
            Backing::File { .. } => Ok(()),
        }
    }

    /// How far a part of a connector's source is read.
    pub fn get(&self, connector: &str, partition: &SourceMap) -> Result<Option<SourceMap>> {
        let map = self.map();
        let Some(value) = map.get(&key_of(connector, partition)) else { return Ok(None) };
        match serde_json::from_slice(value) {
            Ok(Json::Null) => Ok(None),
            Ok(json) => source_map(&json).map(Some),
            Err(error) => Err(Error::data(format!("The offset of {connector} cannot be read: {error}"))),
        }
    }

    /// All parts of a connector's source that have an offset.
    pub fn of_connector(&self, connector: &str) -> Vec<(SourceMap, SourceMap)> {
        let map = self.map();
        let read = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            let Ok(Json::Array(key)) = serde_json::from_slice(key) else { return None };
            let [Json::String(name), partition] = &key[..] else { return None };
            if name != connector {
                return None;
            }
            let offset: Json = serde_json::from_slice(value).ok()?;
            Some((source_map(partition).ok()?, source_map(&offset).ok()?))
        };
        map.iter().filter_map(read).collect()
    }

    /// Writes offsets, and returns when they will survive; no offset forgets one.
    pub async fn set(&self, connector: &str, changes: &[(&SourceMap, Option<&SourceMap>)]) -> Result<()> {
        let encoded: Vec<(Vec<u8>, Option<Vec<u8>>)> = changes
            .iter()
            .map(|(partition, offset)| {
                let value = offset.map(|o| source_map_json(o).to_string().into_bytes());
                (key_of(connector, partition), value)
            })
            .collect();
        match &self.backing {
            Backing::File { path, turn } => {
                let _turn = turn.lock().await;
                for (key, value) in &encoded {
                    learn(&self.map, key, value.as_deref());
                }
                let bytes = {
                    let map = self.map();
                    java_map::write(map.iter().map(|(k, v)| (&k[..], &v[..])))
                };
                let path = path.clone();
                tokio::task::spawn_blocking(move || replace(&path, &bytes))
                    .await
                    .map_err(|e| Error::connect(e.to_string()))?
            }
            Backing::Topic(log) => {
                log.send_all(encoded.iter().map(|(k, v)| (&k[..], v.as_deref()))).await?;
                for (key, value) in &encoded {
                    learn(&self.map, key, value.as_deref());
                }
                Ok(())
            }
        }
    }
}

fn learn(map: &Mutex<Map>, key: &[u8], value: Option<&[u8]>) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    match value {
        Some(value) => map.insert(key.to_vec(), value.to_vec()),
        None => map.remove(key),
    };
}

/// A file is replaced as a whole: whoever reads it after a crash finds the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let fresh = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|e| Error::connect(format!("Failed to write the offsets to {}", path.display())).caused_by(e))
}

fn key_of(connector: &str, partition: &SourceMap) -> Vec<u8> {
    Json::Array(vec![Json::from(connector), source_map_json(partition)]).to_string().into_bytes()
}

/// Names and values from a JSON object of simple values.
pub fn source_map(json: &Json) -> Result<SourceMap> {
    let Json::Object(object) = json else {
        return Err(Error::data(format!("{json} is no object of names and values")));
    };
    let mut map = SourceMap::new();
    for (name, value) in object {
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Boolean(*b),
            Json::String(text) => Value::String(text.clone()),
            Json::Number(n) => match n.as_i64() {
                Some(n) => Value::Int64(n),
                None => Value::Float64(n.as_f64().unwrap_or_default()),
            },
            _ => return Err(Error::data(format!("{name} is neither a number nor a text: {value}"))),
        };
        map.insert(name.clone(), value);
    }
    Ok(map)
}

/// Names and values as a JSON object.
pub fn source_map_json(map: &SourceMap) -> Json {
    let simple = |value: &Value| match value {
        Value::Null => Json::Null,
        Value::Boolean(b) => Json::Bool(*b),
        Value::Float32(n) => Json::from(*n),
        Value::Float64(n) => Json::from(*n),
        Value::String(text) => Json::from(text.as_str()),
        other => other.as_i64().map_or_else(|| Json::from(other.to_string()), Json::from),
    };
    Json::Object(map.iter().map(|(name, value)| (name.to_owned(), simple(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn offsets_survive_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        let offsets = Offsets::file(&path).unwrap();
        let (partition, offset) = (SourceMap::of("filename", "ä.txt"), SourceMap::of("position", 21i64));
        offsets.set("c", &[(&partition, Some(&offset))]).await.unwrap();
        let again = Offsets::file(&path).unwrap();
        assert_eq!(again.get("c", &partition).unwrap(), Some(offset.clone()));
        assert_eq!(again.get("d", &partition).unwrap(), None);
        assert_eq!(again.of_connector("c"), [(partition.clone(), offset)]);
        again.set("c", &[(&partition, None)]).await.unwrap();
        assert_eq!(Offsets::file(&path).unwrap().of_connector("c"), []);
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        std::fs::write(&path, "rubbish").unwrap();
        assert!(Offsets::file(&path).err().unwrap().message.contains("offsets"));
    }
}
