//! A log directory: lock, identity, checkpoints, and how it tells the ways of going down apart.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;
use std::sync::Arc;
use storage::testing::MemDisk;
use storage::{Checkpoint, Claim, DirName, Disk, LogDir, LogDirError, MetaProperties, Offsets, RealDisk, Shutdown};
use wire::Uuid;

const DIR: &str = "/logs";
const BOOT: &str = "0fa4c0d4-6f3e-4b5a-9d0a-000000000001\n";
const NEXT_BOOT: &str = "0fa4c0d4-6f3e-4b5a-9d0a-000000000002\n";

fn open(disk: &MemDisk, boot_id: &str) -> LogDir {
    LogDir::open(disk.arc(), Path::new(DIR), boot_id).unwrap()
}

#[test]
fn a_second_user_is_refused_in_kafkas_words() {
    let dir = tempfile::tempdir().unwrap();
    let held = LogDir::open(Arc::new(RealDisk), dir.path(), BOOT).unwrap();
    let refused = LogDir::open(Arc::new(RealDisk), dir.path(), BOOT).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "Failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this \
             directory.",
            dir.path().display()
        )
    );
    drop(held);
    LogDir::open(Arc::new(RealDisk), dir.path(), BOOT).unwrap();
    let disk = MemDisk::new();
    let _held = open(&disk, BOOT);
    assert_eq!(
        LogDir::open(disk.arc(), Path::new(DIR), BOOT).unwrap_err(),
        LogDirError::Locked(Path::new(DIR).to_owned())
    );
}

#[test]
fn clean_stop_kill_and_power_cut_are_told_apart() {
    let disk = MemDisk::new();
    let dir = open(&disk, BOOT);
    assert_eq!(dir.shutdown(), Shutdown::PowerCut, "nothing is known of a new directory");
    assert!(!dir.was_ours(), "it may have been Kafka's");
    dir.begin(BOOT).unwrap();
    drop(dir);
    let dir = open(&disk, BOOT);
    assert_eq!(dir.shutdown(), Shutdown::PowerCut, "killed before anybody knew what was lost");
    dir.begin(BOOT).unwrap();
    dir.loss_is_known(BOOT).unwrap();
    drop(dir);
    let dir = open(&disk, BOOT);
    assert_eq!((dir.shutdown(), dir.clean_shutdown_broker_epoch()), (Shutdown::Killed, None));
    dir.begin(BOOT).unwrap();
    drop(dir);
    let dir = open(&disk, NEXT_BOOT);
    assert_eq!(dir.shutdown(), Shutdown::PowerCut);
    drop(dir);
    assert_eq!(open(&disk, BOOT).shutdown(), Shutdown::Killed, "looking changes nothing");
    assert_eq!(open(&disk, "").shutdown(), Shutdown::PowerCut, "an unknown boot id proves nothing");
    let dir = open(&disk, NEXT_BOOT);
    dir.begin(NEXT_BOOT).unwrap();
    dir.mark_clean(12).unwrap();
    drop(dir);
    let marker = disk.bytes(&Path::new(DIR).join(".kafka_cleanshutdown")).unwrap();
    assert_eq!(String::from_utf8(marker).unwrap(), r#"{"version":0,"brokerEpoch":12}"#);
    let dir = open(&disk, BOOT);
    assert_eq!((dir.shutdown(), dir.clean_shutdown_broker_epoch()), (Shutdown::Clean, Some(12)));
    dir.begin(BOOT).unwrap();
    drop(dir);
    assert_eq!(open(&disk, BOOT).shutdown(), Shutdown::Killed, "the marker counts once");
    let dir = open(&disk, BOOT);
    dir.begin(BOOT).unwrap();
    dir.distrust().unwrap();
    dir.distrust().unwrap();
    drop(dir);
    let dir = open(&disk, BOOT);
    assert_eq!(dir.shutdown(), Shutdown::PowerCut, "what a failed disk kept is not known");
    assert!(dir.was_ours(), "it is ours all the same");
}

#[test]
fn a_marker_that_kafka_2_1_left_is_empty_and_counts() {
    let disk = MemDisk::new();
    drop(open(&disk, BOOT));
    disk.open(&Path::new(DIR).join(".kafka_cleanshutdown"), storage::Access::Create).unwrap();
    let dir = open(&disk, BOOT);
    assert_eq!((dir.shutdown(), dir.clean_shutdown_broker_epoch()), (Shutdown::Clean, None));
}

#[test]
fn checkpoints_are_kafkas_and_replaced_in_one_step() {
    let disk = MemDisk::new();
    let dir = open(&disk, BOOT);
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(dir.checkpoint(Checkpoint::RecoveryPoint).unwrap().is_empty());
    let mut offsets = Offsets::new();
    offsets.insert(("army".into(), 0), 17);
    offsets.insert(("a-b.c".into(), 11), 0);
    for which in Checkpoint::ALL {
        dir.write_checkpoint(which, &offsets).unwrap();
        assert_eq!(dir.checkpoint(which).unwrap(), offsets);
    }
    let path = Path::new(DIR).join("recovery-point-offset-checkpoint");
    assert_eq!(disk.bytes(&path).unwrap(), b"0\n2\na-b.c 11 0\narmy 0 17\n");
    let old = disk.bytes(&path).unwrap();
    disk.edit(&path, Vec::clear);
    assert!(dir.checkpoint(Checkpoint::RecoveryPoint).unwrap().is_empty(), "Kafka makes the files empty");
    disk.edit(&path, |bytes| *bytes = old.clone());
    offsets.insert(("army".into(), 1), 99);
    let mut seed = 1u64;
    for cut_after_write in [false, true] {
        if cut_after_write {
            dir.write_checkpoint(Checkpoint::RecoveryPoint, &offsets).unwrap();
        }
        disk.power_cut(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 33
        });
        assert_eq!(disk.bytes(&path).unwrap() == old, !cut_after_write);
    }
    for (text, line) in [
        ("0\n2\nx 0 1\n", "2"),
        ("1\n0\n", "1"),
        ("0\n1\nx 0\n", "x 0"),
        ("0\n1\nx y 1\n", "x y 1"),
        ("0\n1\nx 0 1", "x 0 1"),
    ] {
        disk.edit(&path, |bytes| *bytes = text.into());
        let fault = dir.checkpoint(Checkpoint::RecoveryPoint).unwrap_err();
        assert!(fault.detail.contains(&format!("{line:?}")), "{fault}");
    }
}

#[test]
fn identity_is_written_as_version_1_and_read_back() {
    let disk = MemDisk::new();
    let mut dir = open(&disk, BOOT);
    assert_eq!(dir.meta(), None);
    let meta = MetaProperties {
        version: 0,
        cluster_id: Some("4L6g3nShT-eMCtK--X86sw".into()),
        node_id: Some(1),
        directory_id: Some(Uuid([9; 16])),
    };
    dir.write_meta(&meta, 1_795_365_736_035).unwrap();
    let text = String::from_utf8(disk.bytes(&Path::new(DIR).join("meta.properties")).unwrap()).unwrap();
    assert_eq!(
        text,
        "#\n#Sun Nov 22 16:42:16 UTC 2026\nnode.id=1\ndirectory.id=CQkJCQkJCQkJCQkJCQkJCQ\nversion=1\n\
         cluster.id=4L6g3nShT-eMCtK--X86sw\n"
    );
    drop(dir);
    assert_eq!(open(&disk, BOOT).meta(), Some(&MetaProperties { version: 1, ..meta }));
}

#[test]
fn a_deleted_partition_frees_its_name_at_once() {
    let disk = MemDisk::new();
    let dir = open(&disk, BOOT);
    let path = dir.partition_path("gone", 0);
    disk.create_dir(&path).unwrap();
    disk.open(&path.join("00000000000000000000.log"), storage::Access::Create).unwrap();
    let deleted = dir.mark_deleted("gone", 0, Uuid([0xab; 16])).unwrap();
    disk.create_dir(&path).unwrap();
    let kinds: Vec<DirName> = dir.directories().unwrap().into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [DirName::Partition { topic: "gone".into(), partition: 0 }, DirName::Deleted]);
    dir.remove(&deleted).unwrap();
    dir.remove(&deleted).unwrap();
    assert_eq!(dir.directories().unwrap().len(), 1);
    dir.probe().unwrap();
}

#[test]
fn a_partition_that_does_not_say_whose_it_is_is_taken_but_not_after_a_power_cut() {
    let (ours, theirs) = (Uuid([1; 16]), Uuid([2; 16]));
    let disk = MemDisk::new();
    let dir = open(&disk, BOOT);
    dir.loss_is_known(BOOT).unwrap();
    assert_eq!(dir.claim("t", 0, ours).unwrap(), Claim::Nothing);
    let path = dir.partition_path("t", 0);
    disk.create_dir(&path).unwrap();
    drop(dir);
    let dir = open(&disk, BOOT);
    assert_eq!(dir.claim("t", 0, ours).unwrap(), Claim::Ours, "as an old version left it");
    assert_eq!(dir.claim("t", 0, ours).unwrap(), Claim::Ours);
    let aside = |unique: &str| Claim::PutAside(Path::new(DIR).join(format!("t-0.{unique}-stray")));
    assert_eq!(dir.claim("t", 0, theirs).unwrap(), aside(&"01".repeat(16)));
    drop(dir);
    let dir = open(&disk, NEXT_BOOT);
    for unique in [format!("{:032x}", 0), format!("{:032x}", 1)] {
        disk.create_dir(&path).unwrap();
        assert_eq!(dir.claim("t", 0, ours).unwrap(), aside(&unique), "it may be anybody's");
        assert_eq!(dir.claim("t", 0, ours).unwrap(), Claim::Nothing);
    }
}

#[test]
fn a_log_that_is_made_anew_does_not_inherit_the_offsets_of_an_earlier_one() {
    let disk = MemDisk::new();
    let dir = open(&disk, BOOT);
    let (old, other) = (("t".to_owned(), 0), ("t".to_owned(), 1));
    for which in Checkpoint::ALL {
        dir.write_checkpoint(which, &Offsets::from([(old.clone(), 50), (other.clone(), 60)])).unwrap();
    }
    disk.sync_dir(Path::new("/")).unwrap();
    dir.forget(&[old].into()).unwrap();
    let writes = disk.writes();
    dir.forget(&[("new".to_owned(), 0)].into()).unwrap();
    assert_eq!(disk.writes(), writes, "nothing is known of it");
    disk.power_cut(|| 0);
    for which in Checkpoint::ALL {
        assert_eq!(dir.checkpoint(which).unwrap(), Offsets::from([(other.clone(), 60)]), "{which:?}");
    }
}

#[test]
fn what_a_power_cut_left_without_a_name_is_put_aside_before_anybody_forgets_the_power_cut() {
    let disk = MemDisk::new();
    let dir = open(&disk, BOOT);
    for (topic, id) in [("named", Some(Uuid([1; 16]))), ("nameless", None), ("kept", None)] {
        let path = dir.partition_path(topic, 0);
        disk.create_dir(&path).unwrap();
        if let Some(id) = id {
            storage::partition_dir::write_metadata(&disk, &path, id).unwrap();
        }
    }
    let aside = dir.put_aside_nameless("kept").unwrap();
    assert_eq!(aside, [Path::new(DIR).join(format!("nameless-0.{}-stray", "0".repeat(32)))]);
    assert_eq!(dir.put_aside_nameless("kept").unwrap(), [] as [std::path::PathBuf; 0]);
    dir.loss_is_known(BOOT).unwrap();
    drop(dir);
    assert_eq!(open(&disk, BOOT).put_aside_nameless("").unwrap(), [] as [std::path::PathBuf; 0], "an old version's");
}

/// Two directories of a node, in which one disk fails.
#[test]
fn what_one_directory_lost_is_known_of_all_of_them() {
    let disk = MemDisk::new();
    let (one, other) = (Path::new("/one"), Path::new("/other"));
    let open = || {
        let mut dirs = [one, other].map(|path| LogDir::open(disk.arc(), path, BOOT).unwrap());
        LogDir::agree(&mut dirs);
        dirs
    };
    let how = |dirs: &[LogDir; 2]| [dirs[0].shutdown(), dirs[1].shutdown()];
    let begin = |dirs: &[LogDir; 2]| dirs.iter().for_each(|dir| dir.begin(BOOT).unwrap());
    let serve = |dirs: &[LogDir; 2]| dirs.iter().for_each(|dir| dir.loss_is_known(BOOT).unwrap());
    let dirs = open();
    begin(&dirs);
    serve(&dirs);
    drop(dirs);
    let dirs = open();
    assert_eq!(how(&dirs), [Shutdown::Killed; 2]);
    begin(&dirs);
    disk.break_below(one);
    assert!(dirs[0].distrust().is_err());
    LogDir::distrust_first(dirs.iter()).unwrap();
    drop(dirs);
    disk.mend(one);
    let dirs = open();
    assert_eq!(how(&dirs), [Shutdown::PowerCut; 2], "killed then");
    begin(&dirs);
    serve(&dirs);
    disk.break_below(one);
    LogDir::distrust_first(dirs.iter()).unwrap();
    dirs[1].mark_clean(7).unwrap();
    drop(dirs);
    disk.mend(one);
    for why in ["ended in order, without the one that failed", "and killed before the cluster knew"] {
        let dirs = open();
        assert_eq!(how(&dirs), [Shutdown::PowerCut; 2], "{why}");
        begin(&dirs);
    }
    let dirs = open();
    disk.break_below(one);
    disk.break_below(other);
    assert!(LogDir::distrust_first(dirs.iter()).is_err(), "nobody can take it");
}

/// One of two was not in use for a while.
#[test]
fn a_directory_that_was_left_otherwise_than_the_others_is_not_trusted() {
    let disk = MemDisk::new();
    let open = || ["/one", "/other"].map(|path| LogDir::open(disk.arc(), Path::new(path), BOOT).unwrap());
    let dirs = open();
    for dir in &dirs {
        dir.begin(BOOT).unwrap();
        dir.loss_is_known(BOOT).unwrap();
    }
    dirs[1].mark_clean(7).unwrap();
    drop(dirs);
    for why in ["one was closed in order", "killed again before the cluster knew"] {
        let mut dirs = open();
        LogDir::agree(&mut dirs);
        assert_eq!([dirs[0].shutdown(), dirs[1].shutdown()], [Shutdown::PowerCut; 2], "{why}");
        dirs[1].begin(BOOT).unwrap();
    }
}
