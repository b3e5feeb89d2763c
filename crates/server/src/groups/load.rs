//! Reads a coordinator's state from the log of its partition.

use super::slot::Slot;
use crate::node::Node;
use crate::partitions::Cell;
use coordinator::store::Store;
use coordinator::{LoadError, Loader, Shard};
use metadata::image::Image;
use replication::{Ack, Park};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::ReadError;
use tokio::runtime::Handle;
use tracing::{error, info};
use wire::codec::Records;
use wire::records::batches;
use wire::{ErrorCode, Uuid};

/// Partitions read at once.
const AT_ONCE: usize = 2;
/// Loads that take longer are told of.
const TELL_AFTER_MS: i64 = 1_000;
/// The rest after a load that failed; twice as long after each further one, up to the longer.
const AGAIN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Record(#[from] LoadError),
    #[error("the batch at offset {0} cannot be read: {1}")]
    Batch(i64, String),
}

impl Failed {
    /// It says nothing about the records but that the disk does not give them.
    fn is_of_the_disk(&self) -> bool {
        match self {
            Failed::Log(error) => matches!(error, ReadError::Fault(_)),
            Failed::Io(error) => error.kind() != io::ErrorKind::UnexpectedEof,
            Failed::Record(_) | Failed::Batch(..) => false,
        }
    }
}

/// Loads coordinators, empty ones on the spot, the others on threads that may wait for the disk.
pub fn load(node: &Arc<Node>, slots: Vec<Arc<Slot>>) {
    let is_empty = |slot: &Arc<Slot>| {
        let partition = slot.cell.lock();
        partition.log().log_start_offset() == partition.log().log_end_offset()
    };
    let (empty, rest): (Vec<_>, Vec<_>) = slots.into_iter().partition(is_empty);
    for slot in empty {
        load_one(node, &slot);
    }
    if rest.is_empty() {
        return;
    }
    let workers = rest.len().min(AT_ONCE);
    let queue = Arc::new(Mutex::new(VecDeque::from(rest)));
    for _ in 0..workers {
        let (node, queue) = (node.clone(), queue.clone());
        node.groups.runtime.clone().spawn_blocking(move || {
            loop {
                let Some(slot) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
                load_one(&node, &slot);
            }
        });
    }
}

fn load_one(node: &Arc<Node>, slot: &Arc<Slot>) {
    let started_ms = node.clock.steady_ms();
    let (runtime, cell, epoch) = (node.groups.runtime.clone(), slot.cell.clone(), slot.epoch);
    match read(node, slot) {
        Ok((mut shard, end)) => {
            let took_ms = node.clock.steady_ms() - started_ms;
            if took_ms > TELL_AFTER_MS {
                let groups = shard.store().groups().count();
                info!(partition = slot.cell.index, groups, took_ms, "the group coordinator has loaded");
            }
            let (node, slot) = (node.clone(), slot.clone());
            let serve = move || {
                // What the load itself found due: a rebalance of a group that is too large by now.
                let effects = shard.tick(node.groups.now(&node));
                slot.serve(&node, shard, end, effects);
                // Only now: of topics that are deleted from here on the slot is told. Those of which an offset can be in the
                // log are in the state, which is at least as new as the leadership.
                let store = slot.with_shard(|shard| shard.store().clone()).unwrap_or_default();
                for (topic, id) in topics_gone(&node.image(), &store) {
                    slot.topic_deleted(&node, &topic, id);
                }
            };
            when_committed(&runtime, &cell, Ack { offset: end, epoch, all: true }, serve);
        }
        // The next leader's load is another one.
        Err(_) if cell.lock().check_epoch(epoch).is_err() => slot.give_up(node, ErrorCode::NotCoordinator),
        Err(failed) => {
            error!(
                partition = slot.cell.index,
                error = %failed,
                "the groups of this partition of __consumer_offsets cannot be served"
            );
            slot.give_up(node, ErrorCode::CoordinatorNotAvailable);
            match failed.is_of_the_disk() {
                // Another replica leads from now on, where there is one.
                true => node.log_failed(&cell, &failed),
                false => load_again(node, slot),
            }
        }
    }
}

/// What is damaged may be made good, or be deleted.
fn load_again(node: &Arc<Node>, slot: &Arc<Slot>) {
    let rest = AGAIN.start().saturating_mul(1 << slot.failures.min(6)).min(*AGAIN.end());
    let (node, slot) = (node.clone(), slot.clone());
    node.groups.runtime.clone().spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(rest) => node.groups.reload(&node, &slot, slot.failures.saturating_add(1)),
            _ = node.stopped() => {}
        }
    });
}

/// What was read may be ahead of what is committed, and must not be told before it is. At once, where it is.
fn when_committed(runtime: &Handle, cell: &Arc<Cell>, ack: Ack, serve: impl FnOnce() + Send + 'static) {
    let is_committed = move |cell: &Cell| {
        matches!(cell.lock().acknowledged(&ack), Some(Ok(()) | Err(ErrorCode::NotEnoughReplicasAfterAppend)))
    };
    if is_committed(cell) {
        return serve();
    }
    let cell = cell.clone();
    runtime.spawn(async move {
        let park = Park::new(1);
        cell.lock().park_ack(ack, park.clone());
        park.released().await;
        // Otherwise the leadership is over, and the slot with it.
        if is_committed(&cell) {
            serve();
        }
    });
}

fn read(node: &Arc<Node>, slot: &Slot) -> Result<(Shard, i64), Failed> {
    let (mut from, end) = {
        let partition = slot.cell.lock();
        (partition.log().log_start_offset(), partition.log().log_end_offset())
    };
    let max_bytes = u32::try_from(node.groups.load_buffer).unwrap_or(u32::MAX);
    let mut loader = Loader::new();
    let mut buffer = Vec::new();
    while from < end {
        let read = slot.cell.lock().log().read(from, max_bytes, end, true)?;
        let bytes = match &read.records {
            Records::Bytes(bytes) => &**bytes,
            Records::File(region) => {
                buffer.resize(region.length as usize, 0);
                region.file.read_exact_at(&mut buffer, region.position)?;
                &*buffer
            }
        };
        let before = from;
        for batch in batches(bytes) {
            let batch = batch.map_err(|error| Failed::Batch(from, error.to_string()))?;
            if batch.last_offset() < from {
                continue;
            }
            batch.check_crc().map_err(|error| Failed::Batch(batch.base_offset(), error.to_string()))?;
            loader.batch(&batch)?;
            from = batch.next_offset();
        }
        if from == before {
            return Err(Failed::Batch(from, "there is no whole batch".to_owned()));
        }
    }
    Ok((loader.finish(node.groups.config.clone(), end, node.groups.now(node)), end))
}

/// Topics with committed offsets that were deleted before the offsets could be.
fn topics_gone(image: &Image, store: &Store) -> BTreeSet<(Arc<str>, Uuid)> {
    let named = store.offsets().map(|(key, value)| (key.topic.clone(), value.topic_id));
    named.filter(|(_, id)| !id.is_zero() && image.topics.get(*id).is_none()).collect()
}
