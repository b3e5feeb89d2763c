//! Moments between an append and its commit, each brought about in its order.

use super::*;
use crate::config::BrokerConfig;
use crate::controller::Queue;
use crate::housekeeping::Housekeeping;
use crate::joining;
use crate::log_dirs::LogDirs;
use crate::logging::loggers::Loggers;
use crate::net::reactors::Reactors;
use crate::node::Process;
use crate::quorum::peers::Peers;
use crate::reconciler::Reconciler;
use crate::remote_controller::RemoteController;
use crate::stop::Stopping;
use coordinator::request::{CommitPartition, CommitRequest, CommitTopic};
use metadata::quorum::VoterSet;
use replication::{Answer, Assignment, Brokers, Durability, Partition, Settings};
use std::path::PathBuf;
use storage::testing::MemDisk;
use storage::{FdBudget, Log, LogConfig, OpenMode};
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinHandle, yield_now};
use wire::records::Codec;

/// A node that does nothing by itself.
fn node() -> Arc<Node> {
    let settings = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.bootstrap.servers", "127.0.0.1:1"),
        ("listeners", "PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1"),
        ("controller.listener.names", "CONTROLLER"),
        ("log.dirs", "/data"),
    ];
    let file = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = BrokerConfig::new(file, None).unwrap();
    let queue = Queue::new();
    let client = joining::client_config(&config);
    let voters = VoterSet::new(Vec::new());
    let peers = Peers::new("cluster".to_owned(), client, Vec::new(), &voters, queue.sender.clone(), Handle::current());
    let controller = queue.handle(1, RemoteController::new(peers));
    let dirs = Arc::new(LogDirs::new(MemDisk::new().arc(), Vec::new(), FdBudget::new(10), &config).unwrap());
    let (reconciler, housekeeping) = (Reconciler::new(dirs.clone()), Housekeeping::new(dirs));
    let stop = Stopping::on_signals().unwrap();
    let loggers = Arc::new(Loggers::new(&[]));
    let process = Process { loggers, stop, reactors: Reactors::new(&[]).unwrap() };
    Arc::new(Node::new(config, "cluster".to_owned(), controller, reconciler, housekeeping, process))
}

fn assignment(leader: i32, leader_epoch: i32, isr: &[i32]) -> Assignment {
    let replicas = [1, 2].into();
    Assignment { leader, leader_epoch, partition_epoch: leader_epoch, replicas, isr: isr.into() }
}

/// A coordinator of an empty partition that broker 1 leads in epoch 1.
fn slot(node: &Arc<Node>, isr: &[i32]) -> Arc<Slot> {
    let brokers = Arc::new(Brokers::default());
    brokers.set([(1, 101), (2, 102)]);
    let dir = PathBuf::from("/data/__consumer_offsets-0");
    let config = Arc::new(LogConfig::default());
    let log = Log::create(MemDisk::new().arc(), &dir, config, None, OpenMode::default(), 0).unwrap();
    let mut partition = Partition::new(1, log, Settings::new(Durability::PageCache), brokers, 0);
    partition.assign(&assignment(1, 1, isr), 0).unwrap();
    let cell = Cell::new("__consumer_offsets".into(), Uuid::from_u128(500), 0, "/data".into(), partition);
    let slot = Arc::new(Slot::new(Arc::new(cell), 1, 0));
    let shard = Shard::empty(coordinator::Config::default(), node.groups.now(node));
    slot.serve(node, shard, 0, Effects::default());
    slot
}

fn commit(offset: i64) -> Request {
    let partition = CommitPartition { index: 0, offset, leader_epoch: -1, metadata: None };
    let topic = CommitTopic { name: "t".into(), id: Uuid::from_u128(501), partitions: vec![partition] };
    Request::CommitOffsets(CommitRequest {
        version: 7,
        group_id: "g".to_owned(),
        generation: -1,
        member_id: String::new(),
        instance_id: None,
        retention_ms: -1,
        topics: vec![topic],
    })
}

fn ask(node: &Arc<Node>, slot: &Arc<Slot>, request: Request) -> JoinHandle<Result<Reply, ErrorCode>> {
    let (node, slot) = (node.clone(), slot.clone());
    tokio::spawn(async move { slot.ask(&node, request).await })
}

/// What a commit was told.
fn outcome(answer: Result<Reply, ErrorCode>) -> ErrorCode {
    match answer {
        Ok(Reply::CommitOffsets(reply)) => reply.topics[0].partitions[0].1,
        Ok(other) => panic!("an answer to something else: {other:?}"),
        Err(error) => error,
    }
}

fn end_offset(slot: &Slot) -> i64 {
    slot.cell.lock().log().log_end_offset()
}

/// The offset that is committed.
fn committed(slot: &Slot) -> Option<i64> {
    let found = slot.with_shard(|shard| shard.store().offsets().next().map(|(_, value)| value.offset));
    found.unwrap_or_default()
}

/// One thread, on which nothing happens before the test waits.
fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// What this leader appended is not committed because the next one has something else at those offsets.
#[test]
fn another_leaders_high_watermark_commits_nothing_here() {
    run(async {
        let node = node();
        let slot = slot(&node, &[1, 2]);
        let asked = ask(&node, &slot, commit(7));
        while end_offset(&slot) == 0 {
            yield_now().await;
        }
        assert_eq!(committed(&slot), None, "the other replica does not have it");
        {
            let mut partition = slot.cell.lock();
            partition.assign(&assignment(2, 2, &[1, 2]), 0).unwrap();
            let position = partition.position().unwrap();
            let mut builder = BatchBuilder::new(Codec::None);
            builder.append(0, Some(b"key"), None, &[]);
            let records = builder.build(position.offset, 2);
            let high_watermark = position.offset + 1;
            let answer = Answer { high_watermark, log_start_offset: 0, diverging: None, records: &records };
            partition.take_answer(&position, &answer, 0, 0).unwrap();
            assert_eq!(partition.high_watermark(), high_watermark);
        }
        slot.commit(&node);
        assert_eq!(outcome(asked.await.unwrap()), ErrorCode::NotCoordinator);
    });
}

/// While one request's records are on their way to the log, the next is decided on top of them: where the log takes none of
/// them, nothing of both counts.
#[test]
fn what_was_decided_on_top_of_refused_records_goes_with_them() {
    run(async {
        let node = node();
        let slot = slot(&node, &[1]);
        // Somebody appends, and has the first request's records in hand when the second is decided.
        slot.inner().appending = true;
        let first = ask(&node, &slot, commit(7));
        while slot.inner().outbox.is_empty() {
            yield_now().await;
        }
        let in_hand = std::mem::take(&mut slot.inner().outbox);
        let second = ask(&node, &slot, commit(8));
        while slot.inner().outbox.is_empty() {
            yield_now().await;
        }
        drop(in_hand);
        slot.undo(&node, &mut slot.inner(), ErrorCode::CoordinatorNotAvailable);
        slot.append(&node);
        for asked in [first, second] {
            assert_eq!(outcome(asked.await.unwrap()), ErrorCode::CoordinatorNotAvailable);
        }
        assert_eq!((end_offset(&slot), committed(&slot)), (0, None));
        let third = ask(&node, &slot, commit(9));
        assert_eq!(outcome(third.await.unwrap()), ErrorCode::None);
        assert_eq!((end_offset(&slot), committed(&slot)), (1, Some(9)));
    });
}
