//! What the log costs beside the system calls that it cannot do without. `cargo bench -p storage [DIR]`; figures are
//! comparable only within one run. DIR (default: the target's temporary folder) should be on the disk in question.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // a program that measures

use std::fs::File;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::{
    Access, Append, Disk, DiskFile, Entry, FdBudget, LockGuard, Log, LogConfig, OpenMode, RealDisk, Shutdown,
};
use wire::codec::Records;
use wire::records::{Batch, BatchBuilder, BatchInfo, Codec};

const NOW: i64 = 1_700_000_000_000;
/// Bytes written in one round, and rounds of which the best counts: the machine may have other things to do.
const ROUND: usize = 128 << 20;
const ROUNDS: usize = 7;

fn batch(size: usize, producer: bool) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    if producer {
        builder = builder.producer(1, 0, 0);
    }
    let value = vec![b'x'; size.saturating_sub(80).clamp(1, 1000)];
    builder.append(NOW, None, Some(&value), &[]);
    while builder.size() + value.len() + 20 <= size {
        builder.append(NOW, None, Some(&value), &[]);
    }
    builder.build(0, -1)
}

fn info(bytes: &[u8]) -> BatchInfo {
    BatchInfo::of_header(&Batch::parse(bytes).unwrap()).unwrap()
}

/// A disk whose log files swallow what is written: what is left is the work of the log itself.
#[derive(Debug)]
struct NullDisk;

#[derive(Debug)]
struct NullFile(Arc<dyn DiskFile>);

impl Disk for NullDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, access)?;
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        Ok(if is_log { Arc::new(NullFile(file)) } else { file })
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir(dir)
    }
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_volume(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        RealDisk.lock(path)
    }
    fn space(&self, dir: &Path) -> io::Result<(u64, u64)> {
        RealDisk.space(dir)
    }
}

impl DiskFile for NullFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buf, position)
    }
    fn write_at(&self, parts: &mut [IoSlice<'_>], _position: u64) -> io::Result<()> {
        black_box(parts);
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn start_write_back(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn preallocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn make_room(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    fn as_file(&self) -> Option<&Arc<File>> {
        None
    }
}

fn open(disk: Arc<dyn Disk>, dir: &Path, shutdown: Shutdown) -> Log {
    let config = Arc::new(LogConfig { segment_bytes: 1 << 30, ..LogConfig::default() });
    Log::open(disk, dir, config, None, OpenMode { shutdown, ..OpenMode::default() }, NOW).unwrap().0
}

/// ns of the calling thread's CPU.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// ns of CPU for one of `times`.
fn time(times: usize, mut work: impl FnMut(usize)) -> f64 {
    let cpu = cpu_ns();
    for at in 0..times {
        work(at);
    }
    (cpu_ns() - cpu) as f64 / times as f64
}

/// The best of some rounds.
fn measure(name: &str, times: usize, mut work: impl FnMut(usize)) {
    let best = (0..ROUNDS).map(|_| time(times, &mut work)).fold(f64::INFINITY, f64::min);
    println!("{name:<60} {best:>10.0} ns");
}

/// The floor: the same bytes with one pwritev a call. ns a batch.
fn raw(dir: &Path, bytes: &[Vec<u8>]) -> f64 {
    let path = dir.join("raw");
    let _ = std::fs::remove_file(&path);
    let (file, mut position) = (File::create(&path).unwrap(), 0u64);
    let calls = ROUND / (bytes[0].len() * bytes.len());
    let cpu = time(calls, |_| {
        let parts: Vec<IoSlice<'_>> = bytes.iter().map(|b| IoSlice::new(b)).collect();
        position += rustix::io::pwritev(&file, &parts, position).unwrap() as u64;
    });
    cpu / bytes.len() as f64
}

/// ns a batch through the log.
fn append(disk: Arc<dyn Disk>, dir: &Path, bytes: &mut [Vec<u8>], idempotent: bool) -> f64 {
    let log_dir = dir.join("log-0");
    let _ = std::fs::remove_dir_all(&log_dir);
    std::fs::create_dir_all(&log_dir).unwrap();
    let mut log = open(disk, &log_dir, Shutdown::Clean);
    let mut infos: Vec<BatchInfo> = bytes.iter().map(|b| info(b)).collect();
    let records = infos[0].record_count;
    let calls = ROUND / (bytes[0].len() * bytes.len());
    let mut sequence = 0i32;
    let cpu = time(calls, |at| {
        for info in &mut infos {
            info.max_timestamp = NOW + at as i64;
            if idempotent {
                (info.producer_id, info.producer_epoch, info.base_sequence) = (1, 0, sequence);
                sequence = sequence.wrapping_add(records) & i32::MAX;
            }
        }
        let mut appends: Vec<Append<'_>> = bytes.iter_mut().zip(&infos).map(|(b, i)| Append::new(b, *i)).collect();
        log.append(&mut appends, 0, NOW).unwrap();
        assert!(appends.iter().all(|append| append.outcome.is_ok_and(|outcome| !outcome.duplicate)));
    });
    cpu / bytes.len() as f64
}

fn appends(dir: &Path, size: usize, per_call: usize) {
    let mut bytes: Vec<Vec<u8>> = (0..per_call).map(|_| batch(size, false)).collect();
    let mut best = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        let figures = [
            raw(dir, &bytes),
            append(Arc::new(RealDisk), dir, &mut bytes, false),
            append(Arc::new(NullDisk), dir, &mut bytes, false),
            append(Arc::new(NullDisk), dir, &mut bytes, true),
        ];
        for (best, figure) in best.iter_mut().zip(figures) {
            *best = best.min(figure);
        }
    }
    let [floor, ours, own, own_idempotent] = best;
    let len = bytes[0].len();
    println!(
        "{per_call:>4} x {len:>7} B a call, ns a batch: pwritev {floor:>8.0}, append {ours:>8.0}; without the write \
         {own:>5.0}, idempotent {own_idempotent:>5.0}"
    );
}

fn reads(dir: &Path, max_bytes: u32) {
    let mut bytes: Vec<Vec<u8>> = (0..16).map(|_| batch(16 << 10, false)).collect();
    append(Arc::new(RealDisk), dir, &mut bytes, false);
    let log = open(Arc::new(RealDisk), &dir.join("log-0"), Shutdown::Killed);
    let end = log.log_end_offset();
    let tail = log.log_end_offset() - 1;
    measure("read at the very end", 200_000, |_| {
        black_box(log.read(tail, max_bytes, end, true).unwrap());
    });
    let mut from = 0;
    measure(&format!("read of {max_bytes} B from the beginning on, no bytes touched"), 20_000, |_| {
        let read = log.read(from, max_bytes, end, true).unwrap();
        let Records::File(region) = &read.records else { panic!("not a file") };
        let batches = i64::from(region.length / read.first_batch_bytes).max(1);
        let records = i64::from(read.first_batch_bytes / 1010).max(1);
        from = (read.base_offset + batches * records) % end;
    });
    let mut seed = 1u64;
    measure("read at random", 100_000, |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        black_box(log.read((seed >> 1) as i64 % end, max_bytes, end, true).unwrap());
    });
}

fn restarts(dir: &Path) {
    for shutdown in [Shutdown::Clean, Shutdown::Killed, Shutdown::PowerCut] {
        measure(&format!("open 128 MiB after {shutdown:?}"), 3, |_| {
            drop(black_box(open(Arc::new(RealDisk), &dir.join("log-0"), shutdown)));
        });
    }
    let many: Vec<PathBuf> = (0..1000).map(|n| dir.join(format!("many-{n}"))).collect();
    let (config, fds) = (Arc::new(LogConfig::default()), FdBudget::new(10_000));
    let mode = OpenMode { shutdown: Shutdown::Killed, fds, ..OpenMode::default() };
    let rss = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let once = |name: &str, work: &mut dyn FnMut(usize)| println!("{name:<60} {:>10.0} ns", time(1000, work));
    once("create a partition", &mut |n| {
        let id = Some(wire::Uuid([1; 16]));
        let mode = OpenMode { shutdown: Shutdown::Clean, ..mode.clone() };
        drop(Log::create(Arc::new(RealDisk), &many[n], config.clone(), id, mode, NOW).unwrap());
    });
    let before = rss();
    let mut logs = Vec::with_capacity(1000);
    let disk = Arc::new(RealDisk);
    once("open an empty partition after a kill", &mut |n| {
        logs.push(Log::open(disk.clone(), &many[n], config.clone(), None, mode.clone(), NOW).unwrap());
    });
    println!("{:<60} {:>10} bytes each", "1000 idle logs", (rss() - before) / 1000);
    let mut bytes = batch(1000, true);
    let info = info(&bytes);
    once("first append to a partition", &mut |n| {
        logs[n].0.append(&mut [Append::new(&mut bytes, info)], 0, NOW).unwrap();
    });
    println!("{:<60} {:>10} bytes each", "1000 logs with one producer", (rss() - before) / 1000);
    drop(logs);
    for dir in many {
        let _ = std::fs::remove_dir_all(dir);
    }
}

fn main() {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map(PathBuf::from);
    let dir = given.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("storage-bench"));
    std::fs::create_dir_all(&dir).unwrap();
    for (size, per_call) in [(16 << 10, 1), (16 << 10, 16), (64 << 10, 1), (1 << 20, 1), (200, 1), (200, 500)] {
        appends(&dir, size, per_call);
    }
    reads(&dir, 64 << 10);
    restarts(&dir);
    let _ = std::fs::remove_dir_all(&dir);
}
