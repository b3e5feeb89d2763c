//! What lies on `plugin.path`.

use std::path::{Path, PathBuf};

/// How deep plugins may lie: a folder of folders of jars.
const DEPTH: usize = 2;

/// The jars in these folders, each plugin's folder once.
pub fn jars(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        collect(folder, DEPTH, &mut found);
    }
    found.sort();
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, found);
        } else if path.extension().is_some_and(|e| e == "jar" || e == "class") {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jars_are_found_where_java_looks_for_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugin")).unwrap();
        std::fs::write(folder.path().join("plugin/a.jar"), "").unwrap();
        std::fs::write(folder.path().join("readme"), "").unwrap();
        assert_eq!(jars(&[folder.path().to_owned()]), [folder.path().join("plugin/a.jar")]);
        assert!(jars(&[folder.path().join("missing")]).is_empty());
    }
}
