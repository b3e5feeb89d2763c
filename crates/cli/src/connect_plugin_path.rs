//! `connect-plugin-path list`: the plugins that a worker has, and the jars that it would not run.
//!
//! `sync-manifests` writes into jars what Java's loader wants to find there; there is nothing for it to do here.

use std::path::PathBuf;

use crate::tool::{self, VERSION};
use crate::{complain, say, term};

const USAGE: &str =
    "usage: connect-plugin-path [-h] {list} [--plugin-path PATHS] [--plugin-location DIR] [--worker-config FILE]";

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let code = match args.first().map(String::as_str) {
        Some("--version") => {
            say!("{VERSION}");
            0
        }
        Some("list") => match folders(&args[1..]) {
            Ok(folders) => {
                list(&folders);
                0
            }
            Err(why) => {
                complain!("{USAGE}\nconnect-plugin-path: error: {why}");
                1
            }
        },
        Some("-h" | "--help") => {
            say!("{USAGE}");
            0
        }
        Some("sync-manifests") => {
            complain!(
                "connect-plugin-path: sync-manifests changes jars for Java workers, and this is none: use the tool of the Java worker that runs them"
            );
            1
        }
        _ => {
            complain!("{USAGE}\nconnect-plugin-path: error: invalid choice: choose from 'list'");
            1
        }
    };
    term::flush();
    code
}

/// The folders that the options name.
fn folders(args: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut folders = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("argument {word}: expected one argument"));
        match word.as_str() {
            "--plugin-path" => folders.extend(value()?.split(',').map(|p| PathBuf::from(p.trim()))),
            "--plugin-location" => folders.push(PathBuf::from(value()?)),
            "--worker-config" => {
                let path = value()?;
                let settings = tool::load(path).map_err(|_| format!("{path} cannot be read"))?;
                let paths = settings.get("plugin.path").cloned().unwrap_or_default();
                folders.extend(paths.split(',').map(str::trim).filter(|p| !p.is_empty()).map(PathBuf::from));
            }
            other => return Err(format!("unrecognized arguments: {other}")),
        }
    }
    match folders.iter().find(|f| !f.is_dir()) {
        Some(missing) => Err(format!("{} is no folder", missing.display())),
        None => Ok(folders),
    }
}

/// A line for each plugin, under Kafka's heads of columns; those that are in the binary have no folder.
fn list(folders: &[PathBuf]) {
    say!("pluginName\tfirstAlias\tsecondAlias\tpluginVersion\tpluginType\tisLoadable\thasManifest\tpluginLocation");
    let plugins = connect::plugins::builtin();
    let row = |class: &str, suffix: &str, version: &str, kind: &str| {
        let simple = class.rsplit('.').next().unwrap_or(class);
        let short = simple.strip_suffix(suffix).filter(|s| !s.is_empty()).unwrap_or("N/A");
        say!("{class}\t{simple}\t{short}\t{version}\t{kind}\ttrue\ttrue\tbuilt in");
    };
    for plugin in plugins.connectors() {
        row(plugin.class, "Connector", plugin.version, (plugin.new)().kind().name());
    }
    plugins.transforms().iter().for_each(|p| row(p.class, "Transformation", p.version, "transformation"));
    plugins.predicates().iter().for_each(|p| row(p.class, "Predicate", p.version, "predicate"));
    plugins.converters().iter().for_each(|p| row(p.class, "Converter", p.version, "converter"));
    plugins.header_converters().iter().for_each(|p| row(p.class, "HeaderConverter", p.version, "header_converter"));
    let jars = connect::plugin_path::jars(folders);
    for jar in &jars {
        say!("N/A\tN/A\tN/A\tN/A\tN/A\tfalse\tN/A\t{}", jar.display());
    }
    let total = plugins.connectors().len()
        + plugins.transforms().len()
        + plugins.predicates().len()
        + plugins.converters().len()
        + plugins.header_converters().len();
    say!("\nTotal plugins:                \t{total}");
    say!("Loadable plugins:             \t{total}");
    say!("Jars that need a Java worker: \t{}", jars.len());
}
