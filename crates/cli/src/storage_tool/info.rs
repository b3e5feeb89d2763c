//! `kafka-storage info`: what is in a node's directories, and what is wrong with them.

use std::path::Path;

use storage::{MetaProperties, RealDisk};

use super::node::Node;
use crate::say;

/// Prints what is found; the exit code is 1 when something is wrong.
pub fn print(node: &Node) -> u8 {
    let mut directories: Vec<&str> = node.directories.iter().map(String::as_str).collect();
    directories.sort_unstable();
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut first: Option<MetaProperties> = None;
    for directory in directories {
        let path = Path::new(directory);
        if !path.is_dir() {
            let what = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{directory} {what}"));
            continue;
        }
        found.push(directory);
        match (MetaProperties::read(&RealDisk, path), &first) {
            (Err(e), _) => problems.push(format!("Error loading {directory}/meta.properties: {e}")),
            (Ok(None), _) => problems.push(format!("{directory} is not formatted.")),
            (Ok(Some(meta)), None) => first = Some(meta),
            (Ok(Some(meta)), Some(before)) if meta.cluster_id != before.cluster_id => {
                problems.push("Mismatched cluster IDs between storage directories.".to_owned());
            }
            (Ok(Some(meta)), Some(before)) if meta.node_id != before.node_id => {
                problems.push("Mismatched node IDs between storage directories.".to_owned());
            }
            _ => {}
        }
    }
    if first.as_ref().is_some_and(|meta| meta.version == 0) {
        problems.push(
            "The kafka configuration file appears to be for a KRaft cluster, but the directories are formatted for \
             legacy mode."
                .to_owned(),
        );
    }
    list(&["Found log directory:", "Found log directories:"], &found);
    if let Some(meta) = first {
        say!("Found metadata: {}\n", shown(&meta));
    }
    list(&["Found problem:", "Found problems:"], &problems);
    u8::from(!problems.is_empty())
}

fn list(titles: &[&str; 2], items: &[impl AsRef<str>]) {
    if items.is_empty() {
        return;
    }
    say!("{}", titles[usize::from(items.len() > 1)]);
    for item in items {
        say!("  {}", item.as_ref());
    }
    say!("");
}

fn shown(meta: &MetaProperties) -> String {
    let node = if meta.version == 0 { "broker.id" } else { "node.id" };
    let parts = [
        ("cluster.id", meta.cluster_id.clone()),
        ("directory.id", meta.directory_id.map(|id| id.to_string())),
        (node, meta.node_id.map(|id| id.to_string())),
        ("version", Some(meta.version.to_string())),
    ];
    let mut parts: Vec<String> =
        parts.into_iter().filter_map(|(key, value)| value.map(|value| format!("{key}={value}"))).collect();
    parts.sort();
    format!("{{{}}}", parts.join(", "))
}
