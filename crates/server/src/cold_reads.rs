//! Reads that miss the page cache: brought in on a bounded pool, so that `sendfile` never waits for a disk on a reactor.

use rustix::io::{IoSliceMut, ReadWriteFlags, pread, preadv2};
use std::io;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wire::codec::FileRegion;

/// Slow reads under way at once; more would only make the disk seek.
const AT_ONCE: usize = 8;
/// What one step of a slow read brings.
const STEP: usize = 256 << 10;

/// See the module.
pub struct ColdReads {
    permits: Semaphore,
    runtime: Handle,
}

impl ColdReads {
    /// On the pool of this runtime.
    pub fn new(runtime: Handle) -> ColdReads {
        ColdReads { permits: Semaphore::new(AT_ONCE), runtime }
    }

    /// Returns when the region is in the page cache, as far as that can be known. A failed read is left for the one
    /// that follows to report.
    pub async fn warm(&self, region: &FileRegion) {
        if is_resident(region) {
            return;
        }
        let Ok(_permit) = self.permits.acquire().await else { return };
        let region = region.clone();
        let _ = self.runtime.spawn_blocking(move || read_through(&region)).await;
    }
}

/// Looks at the region's last byte: what leads up to it was read ahead with it, or is about to be.
fn is_resident(region: &FileRegion) -> bool {
    if region.length == 0 {
        return true;
    }
    let mut byte = [0];
    let last = region.position + region.length as u64 - 1;
    preadv2(&region.file, &mut [IoSliceMut::new(&mut byte)], last, ReadWriteFlags::NOWAIT).is_ok()
}

fn read_through(region: &FileRegion) -> io::Result<()> {
    let mut scratch = vec![0; STEP.min(region.length as usize)];
    let (mut position, end) = (region.position, region.position + region.length as u64);
    while position < end {
        let step = scratch.len().min((end - position) as usize);
        match pread(&region.file, &mut scratch[..step], position)? {
            0 => break,
            n => position += n as u64,
        }
    }
    Ok(())
}
