//! Carries out what a change of the cluster's state means for this node's partitions (`broker::reconcile`).

use crate::log_dirs::{LogDirs, OpenedLog};
use crate::metrics::Traffic;
use crate::node::{Node, topic_config};
use crate::partitions::{Cell, Table, Topic};
use crate::replicas;
use broker::Command;
use metadata::config::TopicConfigs;
use metadata::image::{self, Image};
use replication::Assignment;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage::Fault;
use tracing::error;
use wire::Uuid;

/// Partitions whose logs were made anew, by log directory.
pub type Made = BTreeMap<PathBuf, BTreeSet<(String, i32)>>;

/// Opens and closes partitions. One owner: commands are carried out one after the other.
pub struct Reconciler {
    pub dirs: Arc<LogDirs>,
    configs: TopicConfigs,
    /// Logs that were opened before the node began to run.
    opened: HashMap<(Uuid, i32), OpenedLog>,
}

impl Reconciler {
    pub fn new(dirs: Arc<LogDirs>) -> Reconciler {
        Reconciler { dirs, configs: TopicConfigs::default(), opened: HashMap::new() }
    }

    /// Logs that were opened ahead of the commands to hold them.
    pub fn opened(&mut self, logs: Vec<((Uuid, i32), OpenedLog)>) {
        self.opened.extend(logs);
    }

    /// Puts aside the logs that were opened ahead of commands that did not come: their topics were deleted meanwhile, or moved
    /// elsewhere. Whoever comes under the same name must not find them.
    pub fn put_aside_unclaimed(&mut self) {
        for (_, opened) in self.opened.drain() {
            self.dirs.put_aside_opened(opened);
        }
    }

    pub fn carry_out(&mut self, node: &Arc<Node>, image: &Image, commands: Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        if commands.contains(&Command::ConfigureAll) {
            self.configs = TopicConfigs::default();
        }
        let mut table = Table::clone(&node.partitions.table());
        let mut made = Made::new();
        let mut held = Vec::new();
        let mut failed: Vec<(PathBuf, Fault)> = Vec::new();
        for command in commands {
            match command {
                Command::Know { topic } => self.know(node, image, &mut table, &topic),
                Command::Hold { topic, partition, directory, assignment } => {
                    match self.hold(node, image, &mut table, &mut made, &topic, partition, directory, &assignment) {
                        Ok(cell) => held.extend(cell),
                        Err(fault) => {
                            let dir = self.dirs.iter().find(|dir| fault.path.starts_with(dir.path()));
                            if dir.is_none_or(|dir| !dir.is_offline()) {
                                error!(topic = %topic.name, partition, error = %fault, "the partition cannot be held");
                            }
                            failed.extend(dir.map(|dir| (dir.path().to_owned(), fault)));
                        }
                    }
                }
                Command::Drop { topic, topic_id, partition } => {
                    drop_partition(node, &mut table, &topic, topic_id, partition);
                }
                Command::Forget { topic_id, .. } => drop(table.remove(&topic_id)),
                Command::Configure { topic } => self.configure(node, image, &mut table, &topic),
                Command::ConfigureAll => {
                    let names: Vec<_> = table.topics().map(|t| t.name.clone()).collect();
                    names.iter().for_each(|name| self.configure(node, image, &mut table, name));
                }
            }
        }
        // New directories must be durable before anything in them is acknowledged.
        for path in made.keys() {
            let synced = self.dirs.by_path(path).map_or(Ok(()), |dir| dir.log_dir.sync());
            failed.extend(synced.err().map(|fault| (path.clone(), fault)));
        }
        node.housekeeping.publish(node, &made, table);
        // Only now, for it must find the partitions that are new in there.
        for (path, fault) in &failed {
            node.log_dir_failed(path, fault);
        }
        node.replicas.follow(node, held);
    }

    fn config(&mut self, node: &Node, image: &Image, topic: &str) -> Arc<metadata::config::TopicConfig> {
        topic_config(&mut self.configs, &node.config, image, topic)
    }

    fn know(&mut self, node: &Node, image: &Image, table: &mut Table, topic: &image::Topic) {
        let known = table.by_id(&topic.id).cloned();
        let mut partitions = known.as_ref().map(|t| t.partitions.clone()).unwrap_or_default();
        let count = topic.partitions.len();
        if known.is_some() && partitions.len() >= count {
            return;
        }
        partitions.resize(count, None);
        let config = known.as_ref().map_or_else(|| self.config(node, image, &topic.name), |t| t.config.clone());
        let traffic = known.map_or_else(|| Arc::new(Traffic::default()), |t| t.traffic.clone());
        table.insert(Arc::new(Topic { name: topic.name.clone(), id: topic.id, config, traffic, partitions }));
    }

    #[allow(clippy::too_many_arguments)] // one command's fields, and where they go
    fn hold(
        &mut self,
        node: &Arc<Node>,
        image: &Image,
        table: &mut Table,
        made: &mut Made,
        topic: &image::Topic,
        index: i32,
        directory: Uuid,
        assignment: &Assignment,
    ) -> Result<Option<Arc<Cell>>, Fault> {
        let Some(entry) = table.by_id(&topic.id).cloned() else { return Ok(None) };
        let cell = match entry.cell(index) {
            Some(cell) => cell.clone(),
            None => {
                let opened = self.opened.remove(&(topic.id, index)).map(Ok);
                let mut opened = opened.unwrap_or_else(|| {
                    self.dirs.open_log(topic, index, directory, &entry.config, node.clock.now_ms())
                })?;
                if opened.is_new {
                    let here = made.entry(opened.dir.path().to_owned()).or_default();
                    here.insert((topic.name.to_string(), index));
                }
                // It may have been opened under settings that have changed since.
                opened.partition.log_mut().set_config(self.dirs.log_config(&entry.config));
                let dir = opened.dir.path().to_owned();
                let cell = Arc::new(Cell::new(topic.name.clone(), topic.id, index, dir, opened.partition));
                if let Some(copy) = opened.copy {
                    node.moves.begin(node, &cell, copy);
                }
                let mut entry = Topic::clone(&entry);
                entry.partitions[index as usize] = Some(cell.clone());
                table.insert(Arc::new(entry));
                cell
            }
        };
        let config = self.config(node, image, &topic.name);
        let settings = self.dirs.replica_settings(&config);
        let mut partition = cell.lock();
        let assigned = partition.assign_under(settings, assignment, node.clock.steady_ms());
        let is_behind = partition.is_behind();
        drop(partition);
        assigned?;
        if is_behind {
            node.sync(&cell);
        }
        if directory != self.dirs.id_of(&cell) && !node.moves.goes_to(replicas::key(&cell), directory) {
            node.assignments.add(&cell);
        }
        Ok(Some(cell))
    }

    fn configure(&mut self, node: &Arc<Node>, image: &Image, table: &mut Table, name: &str) {
        let Some(topic) = table.by_name(name).cloned() else { return };
        let config = self.config(node, image, name);
        if *config == *topic.config {
            return;
        }
        let log_config = self.dirs.log_config(&config);
        for cell in topic.partitions.iter().flatten() {
            let mut partition = cell.lock();
            partition.log_mut().set_config(log_config.clone());
            partition.set_settings(self.dirs.replica_settings(&config));
            let is_behind = partition.is_behind();
            drop(partition);
            if is_behind {
                node.sync(cell);
            }
        }
        table.insert(Arc::new(Topic { config, ..Topic::clone(&topic) }));
    }
}

fn drop_partition(node: &Arc<Node>, table: &mut Table, topic: &str, id: Uuid, index: i32) {
    let Some(entry) = table.by_id(&id) else { return };
    let Some(cell) = entry.cell(index).cloned() else { return };
    let mut entry = Topic::clone(entry);
    entry.partitions[index as usize] = None;
    let delay_ms = entry.config.file_delete_delay_ms;
    table.insert(Arc::new(entry));
    let mut partition = cell.lock();
    cell.dropped.store(true, Ordering::Release);
    partition.resign();
    // Whoever still holds the cell must not write to files that are on their way out.
    partition.log_mut().fail(Fault::new("use", cell.log_dir().join(topic), &std::io::ErrorKind::NotFound.into()));
    drop(partition);
    node.replicas.forget(replicas::key(&cell));
    node.moves.forget(node, &cell);
    node.cleaner.forget(node, &cell);
    node.housekeeping.delete_partition(node, &cell, topic, index, delay_ms);
}
