//! The power of a disk. Unsafe: the ioctl has no wrapper.
#![allow(unsafe_code)]

use std::fs::File;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `EXT4_IOC_SHUTDOWN`
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);

/// Without writing back the journal.
const NO_LOG_FLUSH: u32 = 2;

/// Ends all writing to the ext4 file system on which this file is; what was not synced is gone.
pub fn cut(file: &File) -> Result<(), rustix::io::Errno> {
    // SAFETY: the opcode's argument is a pointer to a u32 that is only read, and that is what `Setter` passes.
    unsafe { ioctl(file, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
}
