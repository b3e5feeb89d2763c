//! Damage to what was on the disk: it is reported and never served, and what lies behind it is still there.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use storage::planted::Bug;
use storage::testing::MemDisk;
use storage::{Disk, Log, LogConfig, OpenMode, Shutdown};

use crate::common::*;

const DIR: &str = "/logs/t-0";

/// Batches, which of them is damaged, and where.
pub fn damage() -> impl Strategy<Value = (usize, usize, usize)> {
    (3..40usize, any::<usize>(), any::<usize>())
        .prop_map(|(batches, which, byte)| (batches, which % (batches - 1), byte))
}

pub fn run((batches, which, byte): (usize, usize, usize), bug: Bug) {
    let disk = MemDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    let config = Arc::new(LogConfig { bug, ..small() });
    let (mut log, _) = Log::open(disk.arc(), Path::new(DIR), config.clone(), None, OpenMode::default(), NOW).unwrap();
    for n in 0..batches {
        append_one(&mut log, batch(&[NOW + n as i64], 40), 1).unwrap();
    }
    let request = log.sync_request().unwrap();
    request.run().unwrap();
    log.synced(request.offset());
    let (end, written) = (log.log_end_offset(), read_all(&log));
    drop(log);
    let hurt = &written[which].1;
    for path in disk.paths().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
        disk.edit(&path, |bytes| {
            if let Some(at) = bytes.windows(hurt.len()).position(|window| window == hurt) {
                bytes[at + 61 + byte % (hurt.len() - 61)] ^= 0x10;
            }
        });
    }
    let open = OpenMode { shutdown: Shutdown::PowerCut, recovery_point: end, ..OpenMode::default() };
    let (log, _) = Log::open(disk.arc(), Path::new(DIR), config, None, open, NOW).unwrap();
    assert_eq!(log.log_end_offset(), end, "nothing is cut off");
    for (base, bytes) in written.iter().skip(which + 1) {
        assert_eq!(&log.read_bytes(*base, 1, end).unwrap(), bytes);
    }
    let served = log.read_bytes(which as i64, 1, end);
    assert!(!served.is_ok_and(|served| served.starts_with(hurt)), "what is damaged is not served as if it were whole");
}

proptest! {
    #[test]
    fn what_lies_behind_damage_stays(damage in damage()) {
        run(damage, Bug::None);
    }
}
