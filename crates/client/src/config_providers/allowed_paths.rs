//! `allowed.paths`: where a provider may read.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Properties};

/// `None` allows every path.
pub(super) struct AllowedPaths(Option<Vec<PathBuf>>);

impl AllowedPaths {
    pub fn new(parameters: &Properties) -> Result<AllowedPaths, Error> {
        let Some(list) = parameters.get("allowed.paths").filter(|list| !list.is_empty()) else {
            return Ok(AllowedPaths(None));
        };
        let allowed = list.split(',').map(|text| {
            let path = normal(Path::new(text));
            let shown = path.display();
            match path.is_absolute() {
                false => Err(Error::Config(format!("Path {shown} is not absolute"))),
                true if !path.exists() => Err(Error::Config(format!("Path {shown} does not exist"))),
                true => Ok(path),
            }
        });
        Ok(AllowedPaths(Some(allowed.collect::<Result<_, _>>()?)))
    }

    /// The path as it may be read; `None`, which is logged, where it may not.
    pub fn check(&self, path: &str) -> Option<PathBuf> {
        let Some(allowed) = &self.0 else { return Some(PathBuf::from(path)) };
        let within = Some(normal(Path::new(path))).filter(|path| allowed.iter().any(|above| path.starts_with(above)));
        if within.is_none() {
            tracing::warn!("The path {path} is not allowed to be accessed");
        }
        within
    }
}

/// Without `.`, and with `..` taken back, by the text alone: links are followed only once the path is allowed.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            other => normal.push(other),
        }
    }
    normal
}
