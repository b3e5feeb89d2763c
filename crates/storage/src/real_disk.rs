//! The operating system's files.
#![allow(unsafe_code)] // one call, sync_file_range, which rustix does not wrap

use crate::disk::{Access, Disk, DiskFile, Entry, LockGuard};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// `IOV_MAX` of Linux: the most parts that one vectored write takes.
const PARTS_MAX: usize = 1024;

/// What `statfs` says of ext4, and of its ancestors.
const EXT4_MAGIC: rustix::fs::FsWord = 0xEF53;

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(Arc<File>);

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(access != Access::Read)
            .create(access == Access::Create)
            .truncate(false)
            .open(path)?;
        Ok(Arc::new(RealFile(Arc::new(file))))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A file may be removed while the directory is read.
            let meta = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            let modified_ms = meta.mtime().saturating_mul(1000).saturating_add(meta.mtime_nsec() / 1_000_000);
            entries.push(Entry { name, is_dir: meta.is_dir(), len: meta.len(), modified_ms });
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_volume(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // Two kinds of lock that do not see each other: flock(2) keeps a second user in this process away, the POSIX
        // lock is the one that Apache Kafka's JVM takes.
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(Some(Box::new(HeldLock { _file: file }))),
        }
    }

    fn space(&self, dir: &Path) -> io::Result<(u64, u64)> {
        let volume = rustix::fs::statvfs(dir)?;
        Ok((volume.f_blocks.saturating_mul(volume.f_frsize), volume.f_bavail.saturating_mul(volume.f_frsize)))
    }
}

/// Closing the file releases both locks.
struct HeldLock {
    _file: File,
}

impl LockGuard for HeldLock {}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, mut parts: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let count = parts.len().min(PARTS_MAX);
            match rustix::io::pwritev(&*self.0, &parts[..count], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn start_write_back(&self, position: u64, len: u64) -> io::Result<()> {
        let (position, len) = (position as i64, len as i64);
        // SAFETY: a system call on an open descriptor and plain numbers; it touches no memory of ours.
        match unsafe { libc::sync_file_range(self.0.as_raw_fd(), position, len, libc::SYNC_FILE_RANGE_WRITE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&*self.0, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len)?)
    }

    fn make_room(&self, position: u64, len: u64) -> io::Result<()> {
        // XFS does as much by itself, tmpfs would take the memory at once, and others were not measured.
        if rustix::fs::fstatfs(&*self.0)?.f_type != EXT4_MAGIC {
            return Ok(());
        }
        Ok(rustix::fs::fallocate(&*self.0, rustix::fs::FallocateFlags::KEEP_SIZE, position, len)?)
    }

    fn as_file(&self) -> Option<&Arc<File>> {
        Some(&self.0)
    }
}
