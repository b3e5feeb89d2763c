//! `docs/configuration.md`, as the table of settings prints it (`metadata::config::reference`). The table's crate runs as a
//! program of its own: this one must compile also where nothing above the message schemas does.

use std::{fs, path::Path, process::Command};

/// Writes the page.
pub fn write(root: &Path) -> Result<String, String> {
    let page = page(root)?;
    let path = root.join("docs/configuration.md");
    if fs::read(&path).is_ok_and(|there| there == page) {
        return Ok("docs/configuration.md is as the table says".to_owned());
    }
    fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok("docs/configuration.md written".to_owned())
}

fn page(root: &Path) -> Result<Vec<u8>, String> {
    let cargo = ["run", "--quiet", "--package", "metadata", "--example", "reference"];
    let output = Command::new("cargo").args(cargo).current_dir(root).output().map_err(|e| format!("cargo: {e}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("cargo {}: {}", cargo.join(" "), String::from_utf8_lossy(&output.stderr))),
    }
}
