//! `EnvVarConfigProvider` (KIP-887): keys are the names of environment variables; there are no paths.

use std::collections::BTreeSet;

use crate::pattern::Pattern;
use crate::{Error, Properties};

const ALLOWLIST: &str = "allowlist.pattern";

pub(super) struct Environment {
    /// Names of variables that may be seen; `None` allows all of them.
    allowed: Option<Pattern>,
}

impl Environment {
    pub fn new(parameters: &Properties) -> Result<Environment, Error> {
        let compiled = parameters.get(ALLOWLIST).map(|text| {
            Pattern::new(text)
                .map_err(|why| Error::Config(format!("Invalid value {text} for configuration {ALLOWLIST}: {why}")))
        });
        Ok(Environment { allowed: compiled.transpose()? })
    }

    pub fn get(&self, path: &str, keys: &BTreeSet<&str>) -> Result<Properties, Error> {
        if !path.is_empty() {
            let said = format!("Path is not supported for EnvVarConfigProvider, invalid value '{path}'");
            return Err(Error::Config(said));
        }
        let is_name = |key: &&&str| !key.is_empty() && !key.contains(['=', '\0']);
        let seen = keys.iter().filter(is_name).filter(|key| self.allowed.as_ref().is_none_or(|p| p.matches(key)));
        let value = |key: &&str| Some(((*key).to_owned(), std::env::var_os(key)?.to_string_lossy().into_owned()));
        Ok(seen.filter_map(value).collect())
    }
}
