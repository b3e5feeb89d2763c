//! The seam to the disk. Everything in this crate reaches files through [`Disk`], so that the simulation can cut the
//! power, tear a write or fail an fsync under the product's own code.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading an existing file.
    Read,
    /// Reading and writing an existing file.
    Write,
    /// Reading and writing; the file is made when it is missing, and kept as it is otherwise.
    Create,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    /// Bytes of a file; without meaning for a directory.
    pub len: u64,
    /// Last modification, ms since the epoch.
    pub modified_ms: i64,
}

/// Holds the lock of a file until it is dropped.
pub trait LockGuard: Send + Sync {}

/// A file system, or a simulated one. Every call may fail; none is retried.
pub trait Disk: Send + Sync + fmt::Debug {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Files and directories in `dir`, in no particular order. Names that are not UTF-8 are left out: none is ours.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Makes `dir` and what is missing above it.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or a directory; an existing file at `to` is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and everything in it.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes names in `dir` (created, renamed, removed) durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes everything durable that was written anywhere on the volume of `dir`.
    fn sync_volume(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of `path`, making the file. `None` when another process, or this one, holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;

    /// Total and usable bytes of the volume that holds `dir`.
    fn space(&self, dir: &Path) -> io::Result<(u64, u64)>;

    /// The whole of a small file. `max` guards against files that are not what they should be.
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Access::Read)?;
        let len = file.len()?;
        if len > max {
            let text = format!("file of {len} bytes where at most {max} were expected");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Replaces `path` by `bytes` in one step, through a `.tmp` file beside it. With `sync` it is durable on return.
    fn write_atomically(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open(&temporary, Access::Create)?;
        file.truncate(0)?;
        file.write_at(&mut [IoSlice::new(bytes)], 0)?;
        if sync {
            file.sync()?;
        }
        drop(file);
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(dir) if sync => self.sync_dir(dir),
            _ => Ok(()),
        }
    }
}

/// An open file. Reads and writes name their position; there is no cursor.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Fills `buf` from `position`; fewer bytes only at the end of the file.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `parts`, or fails. After a failure nothing is known about the bytes from `position` on.
    fn write_at(&self, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()>;

    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable. A failure must not be followed by a second try: the kernel has dropped what
    /// it could not write and would report success (reliability: S7).
    fn sync(&self) -> io::Result<()>;

    /// Starts writing `len` bytes at `position` back, without waiting: a hint that paces dirty pages.
    fn start_write_back(&self, position: u64, len: u64) -> io::Result<()>;

    /// Reserves room up to `len` without changing what a reader sees, except that the file may become longer (zeros).
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Has blocks put aside for `len` bytes at `position`, beyond the end, where writes that find them there are
    /// cheaper. The file does not become longer; [`truncate`](Self::truncate) gives them back. A hint.
    fn make_room(&self, position: u64, len: u64) -> io::Result<()>;

    /// The file for `sendfile`; `None` when there is no file of the operating system behind this.
    fn as_file(&self) -> Option<&Arc<File>>;
}

/// A file that was given up here, and may be held by somebody else still.
#[derive(Debug)]
pub(crate) struct Lent(Weak<File>);

impl Lent {
    /// Gives the file up; `None` when there is no file of the operating system behind it.
    #[allow(clippy::needless_pass_by_value)] // the point is that the caller has it no longer
    pub fn of(file: Arc<dyn DiskFile>) -> Option<Lent> {
        file.as_file().map(|file| Lent(Arc::downgrade(file)))
    }

    pub fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// A log directory's disk failed: the log that met it is offline, and its owner takes the directory offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was being done, as in "could not {action} {path}".
    pub action: &'static str,
    pub path: PathBuf,
    pub kind: io::ErrorKind,
    pub detail: String,
}

impl Fault {
    pub fn new(action: &'static str, path: impl Into<PathBuf>, error: &io::Error) -> Fault {
        Fault { action, path: path.into(), kind: error.kind(), detail: error.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} {}: {}", self.action, self.path.display(), self.detail)
    }
}

impl std::error::Error for Fault {}

/// Something with a path that is only worth building when it is needed.
pub(crate) trait Named {
    fn named(&self) -> PathBuf;
}

impl Named for Path {
    fn named(&self) -> PathBuf {
        self.to_owned()
    }
}

impl Named for PathBuf {
    fn named(&self) -> PathBuf {
        self.clone()
    }
}

impl Named for Arc<Path> {
    fn named(&self) -> PathBuf {
        self.to_path_buf()
    }
}

/// Turns an `io::Result` into one that says what was tried.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, place: &(impl Named + ?Sized)) -> Result<T, Fault>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, place: &(impl Named + ?Sized)) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(action, place.named(), &error))
    }
}
