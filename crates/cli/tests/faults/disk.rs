//! A node's disk: a file system of its own, on a loop device, that can lose power, be full, or stall.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::house::run;
use super::power;

/// Bytes. The image has holes, so that it takes what is written to it.
const SIZE: u64 = 768 << 20;

pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Inside of [`super::house`] only: the mount ends with the namespace.
    pub fn new(image: PathBuf, name: &str) -> Disk {
        File::create(&image).and_then(|file| file.set_len(SIZE)).unwrap();
        run("mkfs.ext4", &["-q", "-m", "0", "-E", "lazy_itable_init=1", &image.display().to_string()]);
        let disk = Disk { image, mount: Path::new("/run").join(name) };
        std::fs::create_dir(&disk.mount).unwrap();
        disk.mount();
        disk
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&self) {
        run("mount", &["-o", "loop", &self.image.display().to_string(), &self.mount.display().to_string()]);
    }

    /// From now on nothing gets onto it, and what was not synced never will.
    pub fn cut_power(&self) {
        power::cut(&File::open(&self.mount).unwrap()).unwrap();
    }

    /// After a power cut, when nobody has it open any more.
    pub fn power_up(&self) {
        run("umount", &[&self.mount.display().to_string()]);
        self.mount();
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let file = File::create(self.ballast()).unwrap();
        let (mut end, mut step) = (0, SIZE);
        while step >= 4096 {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), end, step) {
                Ok(()) => end += step,
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(other) => panic!("fallocate: {other}"),
            }
        }
    }

    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    pub fn freeze(&self) {
        run("fsfreeze", &["-f", &self.mount.display().to_string()]);
    }

    pub fn thaw(&self) {
        run("fsfreeze", &["-u", &self.mount.display().to_string()]);
    }
}
