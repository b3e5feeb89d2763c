//! DescribeLogDirs (35), versions 1–5: the log directories, what is in them and how full they are.
//!
//! Version 3 has an error for the whole answer, 4 sizes of the volume (KIP-827), 5 cordoned directories (KIP-1066).

use super::{Close, Cx, Reply};
use crate::log_dirs::Dir;
use crate::moves::Move;
use crate::partitions::Cell;
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use wire::ErrorCode;
use wire::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

pub const VERSIONS: RangeInclusive<i16> = 1..=5;

pub async fn handle(cx: &Cx<'_>, request: DescribeLogDirsRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let wanted: Option<HashSet<(String, i32)>> = request.topics.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|t| {
            let name = t.topic.to_string();
            t.partitions.to_vec().into_iter().map(move |p| (name.clone(), p))
        });
        partitions.collect()
    });
    let is_wanted = |cell: &Cell| wanted.as_ref().is_none_or(|w| w.contains(&(cell.topic.to_string(), cell.index)));
    let table = cx.node.partitions.table();
    let mut copies = cx.node.moves.all();
    // Looked up once: a replica that moves meanwhile is in one of its directories.
    let cells = table.cells().filter(|cell| is_wanted(cell));
    let cells: Vec<_> = cells.map(|cell| (cell, cell.log_dir())).collect();
    copies.retain(|m| is_wanted(&m.cell) && !m.cell.is_in(m.dir.path()));
    let dirs = cx.node.housekeeping.dirs.iter().filter(|dir| dir.has_partitions());
    let results = dirs.map(|dir| describe(dir, &cells, &copies));
    reply.send(&DescribeLogDirsResponse { results: results.collect(), ..Default::default() })
}

fn describe<'a>(
    dir: &Dir,
    cells: &[(&'a Arc<Cell>, Arc<PathBuf>)],
    copies: &'a [Arc<Move>],
) -> DescribeLogDirsResult<'static> {
    let log_dir = dir.path().display().to_string().into();
    if dir.is_offline() {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir,
            ..Default::default()
        };
    }
    let mut topics: BTreeMap<&'a str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (cell, _) in cells.iter().filter(|(_, place)| place.as_path() == dir.path()) {
        let partition = cell.lock();
        topics.entry(&cell.topic).or_default().push(DescribeLogDirsPartition {
            partition_index: cell.index,
            partition_size: partition.log().size_bytes() as i64,
            // Only a copy is behind.
            offset_lag: 0,
            is_future_key: false,
        });
    }
    for m in copies.iter().filter(|m| m.dir.path() == dir.path()) {
        let seen = m.seen();
        topics.entry(&m.cell.topic).or_default().push(DescribeLogDirsPartition {
            partition_index: m.cell.index,
            partition_size: seen.bytes as i64,
            offset_lag: (m.cell.lock().log().log_end_offset() - seen.end).max(0),
            is_future_key: true,
        });
    }
    let (total_bytes, usable_bytes) = match dir.log_dir.space() {
        Ok((total, usable)) => (total as i64, usable as i64),
        Err(_) => (-1, -1),
    };
    DescribeLogDirsResult {
        error_code: 0,
        log_dir,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic {
                name: name.to_owned().into(),
                partitions: partitions.into(),
            })
            .collect(),
        total_bytes,
        usable_bytes,
        is_cordoned: false,
    }
}
