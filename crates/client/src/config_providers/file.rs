//! `FileConfigProvider`: the path is a properties file.

use std::collections::BTreeSet;

use super::allowed_paths::AllowedPaths;
use crate::{Error, Properties, properties};

pub(super) struct File {
    allowed: AllowedPaths,
}

impl File {
    pub fn new(parameters: &Properties) -> Result<File, Error> {
        Ok(File { allowed: AllowedPaths::new(parameters)? })
    }

    pub fn get(&self, path: &str, keys: &BTreeSet<&str>) -> Result<Properties, Error> {
        let Some(file) = Some(path).filter(|path| !path.is_empty()).and_then(|path| self.allowed.check(path)) else {
            return Ok(Properties::new());
        };
        let failed = |why: String| Error::Config(format!("Could not read properties from file {path}: {why}"));
        let bytes = super::read(&file).map_err(|e| failed(e.to_string()))?;
        let mut values = properties::parse(&bytes).map_err(failed)?;
        values.retain(|name, _| keys.contains(name.as_str()));
        Ok(values)
    }
}
