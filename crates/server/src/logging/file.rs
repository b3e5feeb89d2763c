//! A log file that is put aside when it is full: `server.log` becomes `server.log.1`, that becomes `server.log.2`, and the
//! last one goes. Several processes may write to one file, as brokers started from one folder do.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub struct LogFile {
    path: PathBuf,
    file: File,
    max_bytes: u64,
    max_count: usize,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

impl LogFile {
    /// Opens the file to go on at its end; makes its folder where there is none. An error names the path.
    pub fn open(path: &Path, max_bytes: u64, max_count: usize) -> io::Result<LogFile> {
        let said = |e: io::Error| io::Error::new(e.kind(), format!("cannot log to {}: {e}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(said)?;
        }
        let file = append_to(path).map_err(said)?;
        Ok(LogFile { path: path.to_owned(), file, max_bytes, max_count, lost: 0 })
    }

    /// Writes a line, with its end. One that cannot be written is lost, and that is told as soon as another can.
    pub fn write(&mut self, line: &str) {
        if self.lost > 0 {
            let told = format!("{} lines of the log are missing here: they could not be written\n", self.lost);
            if self.try_write(&told).is_ok() {
                self.lost = 0;
            }
        }
        if self.try_write(line).is_err() {
            self.lost += 1;
        }
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        if size > 0 && size + line.len() as u64 > self.max_bytes {
            // Where it cannot be put aside, it grows: a log that is too long is better than none.
            let _ = self.rotate();
        }
        self.file.write_all(line.as_bytes())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Held until the file is closed: of several processes one puts it aside, the others find it gone.
        self.file.lock()?;
        let is_ours = fs::metadata(&self.path).is_ok_and(|there| self.is_open(&there));
        if is_ours {
            if self.max_count == 0 {
                fs::remove_file(&self.path)?;
            } else {
                for n in (1..self.max_count).rev() {
                    match fs::rename(self.aside(n), self.aside(n + 1)) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                        _ => {}
                    }
                }
                fs::rename(&self.path, self.aside(1))?;
            }
        }
        self.file = append_to(&self.path)?;
        Ok(())
    }

    fn is_open(&self, there: &fs::Metadata) -> bool {
        self.file.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (there.dev(), there.ino()))
    }

    fn aside(&self, n: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{n}"));
        name.into()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap()))
            .collect();
        all.sort();
        all
    }

    fn expected(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn size_and_number_of_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(&folder.path().join("server.log"), 10, 2).unwrap();
        for line in ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n", "ffff\n", "gggg\n"] {
            log.write(line);
        }
        let files = [("server.log", "gggg\n"), ("server.log.1", "eeee\nffff\n"), ("server.log.2", "cccc\ndddd\n")];
        assert_eq!(texts(folder.path()), expected(&files));
    }

    #[test]
    fn a_line_longer_than_the_file_may_be_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(&folder.path().join("a/server.log"), 3, 0).unwrap();
        log.write("aaaa\n");
        log.write("bbbb\n");
        assert_eq!(texts(&folder.path().join("a")), expected(&[("server.log", "bbbb\n")]));
    }

    #[test]
    fn two_writers_put_the_file_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let open = || LogFile::open(&folder.path().join("server.log"), 10, 3).unwrap();
        let (mut one, mut two) = (open(), open());
        one.write("aaaa\n");
        two.write("bbbb\n");
        one.write("cccc\n");
        two.write("dddd\n");
        let files = [("server.log", "cccc\ndddd\n"), ("server.log.1", "aaaa\nbbbb\n")];
        assert_eq!(texts(folder.path()), expected(&files));
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let mut log = LogFile::open(&path, 1000, 1).unwrap();
        log.file = File::open(&path).unwrap();
        log.write("lost\n");
        log.write("lost too\n");
        log.file = append_to(&path).unwrap();
        log.write("back\n");
        let told = "2 lines of the log are missing here: they could not be written\nback\n";
        assert_eq!(texts(folder.path()), expected(&[("server.log", told)]));
    }
}
