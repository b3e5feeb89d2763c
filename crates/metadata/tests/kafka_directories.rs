//! Metadata logs that Apache Kafka 4.3.1 wrote (`fixtures/kafka-4.3.1-*`): one node with a voter named in its
//! configuration (`static`), one formatted with `--standalone` (`dynamic`); both copied while the node was running.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{CLUSTER, contents, copy_dir, create, heartbeat, registration, run, topic};
use metadata::controller::{Command, Reply};
use metadata::image::{ConfigResource, NO_LEADER};
use metadata::quorum::{KRaftVersion, MetadataNode, MetadataOptions, OpenError};
use storage::RealDisk;
use wire::Uuid;

struct Copy {
    dir: tempfile::TempDir,
    directory_id: Uuid,
}

fn copy(kind: &str) -> Copy {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/kafka-4.3.1-{kind}"));
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&from, dir.path());
    let properties = std::fs::read_to_string(dir.path().join("meta.properties")).unwrap();
    let id = properties.lines().find_map(|line| line.strip_prefix("directory.id=")).unwrap();
    Copy { dir, directory_id: id.parse().unwrap() }
}

impl Copy {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn options(&self) -> MetadataOptions {
        MetadataOptions::new(self.path().to_owned(), CLUSTER.to_owned(), 1, self.directory_id)
    }

    fn open(&self) -> Result<MetadataNode, OpenError> {
        common::start(MetadataNode::open(Arc::new(RealDisk), self.options())?)
    }
}

#[test]
fn a_directory_of_kafka_opens_with_everything_in_it() {
    for kind in ["static", "dynamic"] {
        let copy = copy(kind);
        let opened = MetadataNode::open(Arc::new(RealDisk), copy.options()).unwrap();
        let image = opened.image();
        assert_eq!(image.metadata_version().level(), 30);
        assert_eq!(image.features.level("transaction.version"), 2);
        let army = image.topics.by_name("army").unwrap();
        assert_eq!(army.partitions.len(), 5);
        assert!(image.topics.by_name("gone").is_none());
        let partition = army.partition(4).unwrap();
        assert_eq!((&*partition.replicas, &*partition.isr, partition.leader), (&[1][..], &[1][..], 1));
        assert_eq!(*partition.directories, [copy.directory_id]);
        let configs = &image.configs;
        assert_eq!(configs.value(&ConfigResource::topic("army"), "retention.ms"), Some("60000"));
        let default = ConfigResource::default_broker();
        assert_eq!(configs.value(&default, "min.insync.replicas"), Some("1"));
        assert_eq!(configs.value(&default, "log.retention.ms"), Some("100000000"));
        assert_eq!(configs.value(&ConfigResource::broker(1), "log.cleaner.threads"), Some("2"));
        assert_eq!(image.security.scram_credentials().map(|scram| &*scram.name).collect::<Vec<_>>(), ["alice"]);
        assert_eq!(image.security.quotas().count(), 1);
        assert_eq!(image.security.acls().count(), if kind == "static" { 1 } else { 0 });
        let broker = image.cluster.broker(1).unwrap();
        assert!(!broker.fenced);
        assert_eq!(broker.endpoints[0].host, "127.0.0.1");
        assert_eq!(image.cluster.controllers().count(), 1);
        assert_eq!(image.next_producer_id, Some(1000));
    }
}

#[test]
fn kafkas_log_goes_on_under_a_new_epoch_and_can_be_opened_again() {
    for (kind, version) in [("static", KRaftVersion::Static), ("dynamic", KRaftVersion::Dynamic)] {
        let copy = copy(kind);
        let mut node = copy.open().unwrap();
        assert_eq!((node.epoch(), node.quorum().kraft_version()), (2, version));
        let old = node.image().cluster.broker(1).unwrap().clone();
        let mut request = registration(1, 77);
        request.log_dirs = old.log_dirs.clone();
        request.previous_broker_epoch = old.epoch;
        let Some(Reply::RegisterBroker(Ok(epoch))) = run(&mut node, vec![Command::RegisterBroker(request)]).pop()
        else {
            panic!("the broker registers")
        };
        assert!(epoch > old.epoch);
        // As after a clean shutdown: nobody leads, and the broker may lead again.
        let partition = node.image().topics.by_name("army").unwrap().partition(0).unwrap().clone();
        assert_eq!((partition.leader, &*partition.isr, &*partition.elr), (NO_LEADER, &[][..], &[1][..]));
        run(&mut node, vec![Command::Heartbeat(heartbeat(1, epoch)), create(vec![topic("after", 2, 1)])]);
        let partition = node.image().topics.by_name("army").unwrap().partition(0).unwrap().clone();
        assert_eq!((partition.leader, &*partition.isr, &*partition.elr), (1, &[1][..], &[][..]));
        let image = node.image().clone();
        node.close().unwrap();
        let again = copy.open().unwrap();
        assert_eq!(**again.image(), *image);
        assert_eq!(again.epoch(), 3);
    }
}

#[test]
fn a_directory_that_cannot_be_served_is_refused_untouched() {
    let refusal = |copy: &Copy, options: MetadataOptions| {
        let before = contents(copy.path());
        let error = match MetadataNode::open(Arc::new(RealDisk), options) {
            Err(OpenError::Refused(reason)) => reason,
            Err(other) => panic!("not refused but failed: {other}"),
            Ok(_) => panic!("not refused"),
        };
        assert_eq!(contents(copy.path()), before);
        error
    };
    let copy = copy("dynamic");
    let another = MetadataOptions { directory_id: Uuid::from_u128(5 << 70), ..copy.options() };
    assert!(refusal(&copy, another).contains("voter 1 votes with the log directory"));
    let another = MetadataOptions { node_id: 2, ..copy.options() };
    assert!(refusal(&copy, another).contains("node.id is 2, and the metadata log's voters are [1]"));
}
