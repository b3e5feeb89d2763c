//! What a configuration says of a node's directories and of its place in the quorum.

use std::path::Path;

use client::{Properties, config_providers, properties};
use metadata::config::Layers;
use metadata::config::table;
use metadata::config::value::{Value, parse_endpoint, split_list};
use metadata::quorum::VoterEndpoint;
use server::config::zoo::ZooConfig;

use crate::tool::{Exception, Stop};

/// Kafka's id for a node that nobody numbered, where the file leaves roles and quorum to us.
const DEFAULT_NODE_ID: i32 = 1;

/// A node as its configuration describes it.
pub struct Node {
    pub id: i32,
    pub is_controller: bool,
    /// Nothing is said of roles: the node is broker and controller in one, and nobody else.
    pub is_embedded: bool,
    /// `controller.quorum.voters` is set.
    pub has_static_voters: bool,
    /// `log.dirs`, and the metadata log's own directory where it has one.
    pub directories: Vec<String>,
    /// Where the metadata log goes; one of `directories`.
    pub metadata_directory: String,
    /// The first of the names of controllers' listeners.
    pub controller_listener: String,
    /// Where other controllers reach this one.
    pub controller_endpoint: Option<VoterEndpoint>,
}

impl Node {
    /// Reads the configuration. Only what concerns directories and the quorum is looked at: the node may be one of
    /// Apache Kafka.
    pub fn read(path: &str) -> Result<Node, Stop> {
        let file = file(path)?;
        let list = |key: &str| -> Result<Vec<String>, Stop> {
            match value(&file, key)? {
                Some(Value::List(items)) => Ok(items),
                _ => Ok(Vec::new()),
            }
        };
        let roles = list("process.roles")?;
        if let Some(role) = roles.iter().find(|role| !["broker", "controller"].contains(&role.as_str())) {
            return Err(wrong(format!(
                "Invalid value {role} for configuration process.roles: String must be one of: broker, controller"
            )));
        }
        let is_embedded = roles.is_empty();
        let directories = match list("log.dirs")? {
            dirs if dirs.is_empty() => list("log.dir")?,
            dirs => dirs,
        };
        let Some(first) = directories.first().cloned() else {
            return Err(wrong("At least one log directory must be defined via log.dirs or log.dir.".to_owned()));
        };
        let metadata_directory = file.get("metadata.log.dir").map_or(first, |dir| dir.trim().to_owned());
        let mut all: Vec<String> = Vec::new();
        for directory in directories.into_iter().chain([metadata_directory.clone()]) {
            if !all.contains(&directory) {
                all.push(directory);
            }
        }
        let names = list("controller.listener.names")?;
        Ok(Node {
            id: id(&file, is_embedded)?,
            is_controller: is_embedded || roles.iter().any(|role| role == "controller"),
            is_embedded,
            has_static_voters: !list("controller.quorum.voters")?.is_empty(),
            directories: all,
            metadata_directory,
            controller_endpoint: controller_endpoint(&file, &names),
            controller_listener: names.into_iter().next().unwrap_or_default(),
        })
    }
}

fn file(path: &str) -> Result<Properties, Stop> {
    let given = properties::load(Path::new(path)).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Exception::new("java.nio.file.NoSuchFileException", path),
        _ => Exception::new("java.io.IOException", format!("{path}: {e}")),
    })?;
    // A zoo.cfg says the same in ZooKeeper's words.
    if given.contains_key("dataDir") {
        return Ok(ZooConfig::load(Path::new(path)).map_err(|e| wrong(e.to_string()))?.settings());
    }
    Ok(config_providers::resolve(&given)?)
}

fn wrong(message: String) -> Stop {
    Exception::new("org.apache.kafka.common.config.ConfigException", message).into()
}

/// A setting with its default, checked.
fn value(file: &Properties, name: &str) -> Result<Option<Value>, Stop> {
    let Some(key) = table::broker_key(name) else { return Ok(None) };
    if let Some(text) = file.get(name) {
        key.parse(text).map_err(wrong)?;
    }
    Ok(Layers::of_file(file).value(key))
}

fn id(file: &Properties, is_embedded: bool) -> Result<i32, Stop> {
    let given = file.get("node.id").or_else(|| file.get("broker.id"));
    match given.map(|text| text.trim().parse::<i32>()) {
        Some(Ok(id)) if id >= 0 => Ok(id),
        Some(Ok(-1)) | None if is_embedded => Ok(DEFAULT_NODE_ID),
        None => Err(wrong("Missing required configuration \"node.id\" which has no default value.".to_owned())),
        Some(_) => Err(wrong(format!(
            "Invalid value {} for configuration node.id: Value must be at least 0",
            given.map_or("", |text| text.as_str())
        ))),
    }
}

/// The first listener of controllers, as others are to know it.
fn controller_endpoint(file: &Properties, names: &[String]) -> Option<VoterEndpoint> {
    ["advertised.listeners", "listeners"].into_iter().find_map(|key| {
        split_list(file.get(key)?).iter().find_map(|text| {
            let (name, rest) = text.split_once("://")?;
            let name = names.iter().find(|known| known.eq_ignore_ascii_case(name))?;
            let (host, port) = match rest.strip_prefix(':') {
                Some(port) => (String::new(), port.parse().ok()?),
                None => parse_endpoint(rest)?,
            };
            let host = if host.is_empty() { "localhost".to_owned() } else { host };
            Some(VoterEndpoint { name: name.to_ascii_uppercase(), host, port })
        })
    })
}
