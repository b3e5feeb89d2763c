//! Open files on a budget. A partition may have hundreds of segments and a node thousands of partitions, so a file is
//! opened when it is needed and closed when others need the room; a reader that still holds the handle keeps it alive.

use crate::disk::{Access, Disk, DiskFile, Lent, Named};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many files all logs together keep open between uses. Files that are closed here while an answer still holds them
/// come on top, up to an eighth of the budget: beyond that, reads copy instead of lending the file.
///
/// Closing a file whose bytes are not on the disk yet is safe: Linux reports a failed write-back to the next
/// descriptor that syncs the file.
#[derive(Debug)]
pub struct FdBudget {
    limit: usize,
    /// The hand of a clock goes round: who was used since its last visit stays.
    clock: Mutex<VecDeque<Weak<Slot>>>,
    /// Files closed here that somebody held at that time.
    lent: Mutex<Vec<Lent>>,
    /// Length of `lent`, to be read without its lock.
    lent_count: AtomicUsize,
}

impl FdBudget {
    /// A budget of `limit` files, at least 1.
    pub fn new(limit: usize) -> Arc<FdBudget> {
        Arc::new(FdBudget { limit: limit.max(1), ..FdBudget::default() })
    }

    /// The most files that stay open because they were lent when they were closed.
    pub fn lent_max(&self) -> usize {
        (self.limit / 8).max(1)
    }

    /// Whether no more files should be lent for the time being.
    pub(crate) fn is_stretched(&self) -> bool {
        if self.lent_count.load(Ordering::Relaxed) < self.lent_max() {
            return false;
        }
        let mut lent = lock(&self.lent);
        lent.retain(Lent::is_held);
        self.lent_count.store(lent.len(), Ordering::Relaxed);
        lent.len() >= self.lent_max()
    }

    fn note_lent(&self, file: Lent) {
        let mut lent = lock(&self.lent);
        lent.push(file);
        self.lent_count.store(lent.len(), Ordering::Relaxed);
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Files that are open now. For metrics; walks all of them.
    pub fn open_files(&self) -> usize {
        let clock = lock(&self.clock);
        clock.iter().filter_map(Weak::upgrade).filter(|slot| lock(&slot.file).is_some()).count()
    }

    fn admit(&self, slot: &Arc<Slot>) {
        let mut clock = lock(&self.clock);
        let mut visits = 2 * clock.len();
        while clock.len() >= self.limit {
            let Some(oldest) = clock.pop_front() else { break };
            let Some(candidate) = oldest.upgrade() else { continue };
            // Closing a file that somebody holds frees nothing: only when there is no other.
            if visits > 0 && (candidate.touched.swap(false, Ordering::Relaxed) || candidate.is_lent()) {
                visits -= 1;
                clock.push_back(oldest);
                continue;
            }
            let closed = lock(&candidate.file).take();
            if let Some(file) = closed.and_then(Lent::of).filter(Lent::is_held) {
                self.note_lent(file);
            }
        }
        clock.push_back(Arc::downgrade(slot));
    }
}

impl Default for FdBudget {
    /// No bound worth the name; for tests and tools.
    fn default() -> FdBudget {
        FdBudget { limit: usize::MAX, clock: Mutex::default(), lent: Mutex::default(), lent_count: AtomicUsize::new(0) }
    }
}

/// What every file of a log needs to be opened: shared by all of them.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub disk: Arc<dyn Disk>,
    pub budget: Arc<FdBudget>,
    pub dir: Arc<Path>,
}

impl Folder {
    /// Path of the file that holds `suffix` (with its dot) of the segment at `base_offset`.
    pub fn path(&self, base_offset: i64, suffix: &str) -> PathBuf {
        self.dir.join(format!("{base_offset:020}{suffix}"))
    }

    pub fn slot(&self, base_offset: i64, suffix: &'static str) -> FileSlot {
        let (folder, touched) = (self.clone(), AtomicBool::new(true));
        FileSlot(Arc::new(Slot { folder, base_offset, suffix, file: Mutex::default(), touched }))
    }
}

/// One file of a segment, open or not.
#[derive(Clone, Debug)]
pub(crate) struct FileSlot(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    folder: Folder,
    base_offset: i64,
    suffix: &'static str,
    file: Mutex<Option<Arc<dyn DiskFile>>>,
    touched: AtomicBool,
}

impl Slot {
    /// Whether somebody holds the open file.
    fn is_lent(&self) -> bool {
        let open = lock(&self.file);
        let Some(file) = &*open else { return false };
        Arc::strong_count(file) > 1 || file.as_file().is_some_and(|file| Arc::strong_count(file) > 1)
    }
}

impl Named for FileSlot {
    fn named(&self) -> PathBuf {
        self.path()
    }
}

impl FileSlot {
    pub fn path(&self) -> PathBuf {
        self.0.folder.path(self.0.base_offset, self.0.suffix)
    }

    /// The folder has another name now. What is open stays open.
    pub fn rehome(&mut self, folder: &Folder) {
        let file = lock(&self.0.file).take();
        let (is_open, touched) = (file.is_some(), AtomicBool::new(true));
        let (base_offset, suffix) = (self.0.base_offset, self.0.suffix);
        self.0 = Arc::new(Slot { folder: folder.clone(), base_offset, suffix, file: Mutex::new(file), touched });
        if is_open {
            folder.budget.admit(&self.0);
        }
    }

    /// The open file; it stays open for the next use.
    pub fn get(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.open(Access::Write)
    }

    /// Like [`FileSlot::get`], making the file when it is missing.
    pub fn create(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.open(Access::Create)
    }

    /// The file for one use: a file that was closed is closed again afterwards.
    pub fn once(&self, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        match &*lock(&self.0.file) {
            Some(file) => Ok(file.clone()),
            None => self.0.folder.disk.open(&self.path(), access),
        }
    }

    /// The file if it is open anyway.
    pub fn opened(&self) -> Option<Arc<dyn DiskFile>> {
        lock(&self.0.file).clone()
    }

    pub fn close(&self) {
        *lock(&self.0.file) = None;
    }

    fn open(&self, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = lock(&self.0.file);
        if let Some(file) = &*open {
            if !self.0.touched.load(Ordering::Relaxed) {
                self.0.touched.store(true, Ordering::Relaxed);
            }
            return Ok(file.clone());
        }
        let file = self.0.folder.disk.open(&self.path(), access)?;
        *open = Some(file.clone());
        drop(open);
        self.0.folder.budget.admit(&self.0);
        Ok(file)
    }
}

/// The data is valid whatever its last user did: every critical section is a single assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
