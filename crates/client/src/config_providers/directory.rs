//! `DirectoryConfigProvider`: the path is a folder, each key a file in it, and the file as it is the value. Made for the
//! secrets that Kubernetes mounts.

use std::collections::BTreeSet;
use std::path::Path;

use super::allowed_paths::AllowedPaths;
use crate::{Error, Properties};

pub(super) struct Directory {
    allowed: AllowedPaths,
}

impl Directory {
    pub fn new(parameters: &Properties) -> Result<Directory, Error> {
        Ok(Directory { allowed: AllowedPaths::new(parameters)? })
    }

    pub fn get(&self, path: &str, keys: &BTreeSet<&str>) -> Result<Properties, Error> {
        let Some(folder) = Some(path).filter(|path| !path.is_empty()).and_then(|path| self.allowed.check(path)) else {
            return Ok(Properties::new());
        };
        if !folder.is_dir() {
            tracing::warn!("The path {path} is not a directory");
            return Ok(Properties::new());
        }
        // A key is a name in this folder, and never a way out of it.
        let is_name = |key: &str| Path::new(key).file_name().is_some_and(|name| name == key);
        let files = keys.iter().filter(|key| is_name(key)).map(|key| (*key, folder.join(key)));
        let values = files.filter(|(_, file)| file.is_file()).map(|(key, file)| {
            let failed = |e| Error::Config(format!("Could not read file {} for property {key}: {e}", file.display()));
            let bytes = super::read(&file).map_err(failed)?;
            Ok((key.to_owned(), String::from_utf8_lossy(&bytes).into_owned()))
        });
        values.collect()
    }
}
