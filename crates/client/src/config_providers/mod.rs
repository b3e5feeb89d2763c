//! Values from elsewhere (KIP-297, KIP-421): `${provider:path:key}` and `${provider:key}` stand for what a provider has
//! under that path and key, so that a secret need not be in the file that names it.
//!
//! `config.providers` lists providers, `config.providers.NAME.class` says of which kind each is, with the class names of
//! Kafka's own three, and `config.providers.NAME.param.*` are its parameters. Brokers, clients, tools and Connect workers
//! all take them. What no provider knows stays as it is written, as in Kafka.

mod allowed_paths;
mod directory;
mod environment;
mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, Properties};
use directory::Directory;
use environment::Environment;
use file::File;

/// The setting that names providers; it, and what begins with its name and a dot, is never filled in from elsewhere
/// before it is read.
pub const CONFIG_PROVIDERS: &str = "config.providers";

/// Fills in a file's variables by the providers that it names itself. Fails with Kafka's sentence where a provider cannot be
/// set up or cannot read; values are in no message.
pub fn resolve(settings: &Properties) -> Result<Properties, Error> {
    ConfigProviders::new(settings)?.resolve(settings)
}

/// The providers that settings name.
pub struct ConfigProviders {
    by_name: BTreeMap<String, Provider>,
}

enum Provider {
    File(File),
    Directory(Directory),
    Environment(Environment),
}

impl ConfigProviders {
    /// Sets up the providers of `config.providers`. One without a class does not exist, as in Kafka.
    pub fn new(settings: &Properties) -> Result<ConfigProviders, Error> {
        let mut by_name = BTreeMap::new();
        for name in settings.get(CONFIG_PROVIDERS).map_or("", |names| names.trim()).split(',').map(str::trim) {
            let key = format!("{CONFIG_PROVIDERS}.{name}.class");
            if let Some(class) = settings.get(&key) {
                by_name.insert(name.to_owned(), Provider::new(&key, class, &parameters(settings, name))?);
            }
        }
        Ok(ConfigProviders { by_name })
    }

    /// Fills in the variables of all values. Every path is read once. What came in is not looked at again: a secret may
    /// contain what looks like a variable.
    pub fn resolve(&self, settings: &Properties) -> Result<Properties, Error> {
        let mut wanted: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for variable in settings.values().flat_map(|value| variables(value)) {
            wanted.entry((variable.provider, variable.path)).or_default().insert(variable.key);
        }
        let mut found = BTreeMap::new();
        for ((name, path), keys) in wanted {
            if let Some(provider) = self.by_name.get(name) {
                let values = provider.get(path, &keys)?;
                for key in keys.iter().filter(|key| !values.contains_key(**key)) {
                    tracing::warn!(
                        "the config provider {name} has no key {key} under the path {path:?}: what asks for it stays as it is"
                    );
                }
                found.insert((name, path), values);
            }
        }
        let filled_in = |value: &str| {
            let (mut text, mut done) = (String::with_capacity(value.len()), 0);
            for variable in variables(value) {
                let values = found.get(&(variable.provider, variable.path));
                if let Some(replacement) = values.and_then(|values| values.get(variable.key)) {
                    text.push_str(&value[done..variable.start]);
                    text.push_str(replacement);
                    done = variable.end;
                }
            }
            text + &value[done..]
        };
        Ok(settings.iter().map(|(name, value)| (name.clone(), filled_in(value))).collect())
    }
}

/// `config.providers.NAME.param.*`, without that prefix.
fn parameters(settings: &Properties, provider: &str) -> Properties {
    let prefix = format!("{CONFIG_PROVIDERS}.{provider}.param.");
    let parameter = |(name, value): (&String, &String)| {
        Some((name.strip_prefix(&prefix).filter(|rest| !rest.is_empty())?.to_owned(), value.clone()))
    };
    settings.iter().filter_map(parameter).collect()
}

impl Provider {
    fn new(key: &str, class: &str, parameters: &Properties) -> Result<Provider, Error> {
        match class.trim().strip_prefix("org.apache.kafka.common.config.provider.") {
            Some("FileConfigProvider") => Ok(Provider::File(File::new(parameters)?)),
            Some("DirectoryConfigProvider") => Ok(Provider::Directory(Directory::new(parameters)?)),
            Some("EnvVarConfigProvider") => Ok(Provider::Environment(Environment::new(parameters)?)),
            _ => Err(Error::Config(format!(
                "Invalid value {class} for configuration {key}: Could not load config provider class or one of its \
                 dependencies; in org.apache.kafka.common.config.provider there are FileConfigProvider, \
                 DirectoryConfigProvider and EnvVarConfigProvider, and Java plugins cannot be loaded"
            ))),
        }
    }

    fn get(&self, path: &str, keys: &BTreeSet<&str>) -> Result<Properties, Error> {
        match self {
            Provider::File(file) => file.get(path, keys),
            Provider::Directory(directory) => directory.get(path, keys),
            Provider::Environment(environment) => environment.get(path, keys),
        }
    }
}

/// `${provider:path:key}` within a value, with where it stands.
struct Variable<'a> {
    provider: &'a str,
    /// Empty where none is given.
    path: &'a str,
    key: &'a str,
    start: usize,
    end: usize,
}

/// The variables of a value: up to the first `}`, divided at the first two colons.
fn variables(value: &str) -> impl Iterator<Item = Variable<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + value[at..].find("${")?;
            let end = start + value[start..].find('}')?;
            at = end + 1;
            if let Some((provider, rest)) = value[start + 2..end].split_once(':') {
                let (path, key) = rest.split_once(':').unwrap_or(("", rest));
                return Some(Variable { provider, path, key, start, end: at });
            }
        }
    })
}

/// What a secret or a file of secrets may have at most.
const MAX_BYTES: u64 = 8 << 20;

/// Reads a file that is no larger than anybody means.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: &str = "org.apache.kafka.common.config.provider.";

    /// One setting `x`, with the providers `file`, `dir` and `env` and a parameter of each.
    fn x(value: &str, parameters: &[(&str, &str)]) -> Result<String, String> {
        let mut settings = Properties::from([
            ("config.providers".into(), "file, dir,env,ghost".into()),
            ("config.providers.file.class".into(), format!("{CLASSES}FileConfigProvider")),
            ("config.providers.dir.class".into(), format!("{CLASSES}DirectoryConfigProvider")),
            ("config.providers.env.class".into(), format!("{CLASSES}EnvVarConfigProvider")),
            ("x".into(), value.into()),
        ]);
        for (name, value) in parameters {
            settings.insert(format!("config.providers.{name}"), (*value).to_owned());
        }
        resolve(&settings).map(|resolved| resolved["x"].clone()).map_err(|e| e.to_string())
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s.properties"), "user=jim\npw=a\\:b ${env:HOME}\n").unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        std::fs::write(folder.path().join("keys/key"), "-----BEGIN-----\n").unwrap();
        folder
    }

    #[test]
    fn values_come_from_files_folders_and_the_environment() {
        let folder = folder();
        let at = folder.path().display();
        let home = std::env::var("HOME").unwrap();
        for (value, expected) in [
            (format!("<${{file:{at}/s.properties:user}}:${{file:{at}/s.properties:pw}}>"), "<jim:a:b ${env:HOME}>"),
            (format!("${{dir:{at}/keys:key}}"), "-----BEGIN-----\n"),
            ("$${env:HOME}/${env::HOME}".to_owned(), &format!("${home}/{home}")),
        ] {
            assert_eq!(x(&value, &[]).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_no_provider_knows_stays_as_it_is() {
        let folder = folder();
        let at = folder.path().display();
        for value in [
            format!("${{file:{at}/s.properties:none}}"),
            format!("${{dir:{at}/keys:none}} ${{dir:{at}/none:key}} ${{dir:{at}/keys:../s.properties}}"),
            "${env:KLAMM_NO_SUCH_VARIABLE}${ghost:a:b}${other:a}${file:user}".to_owned(),
            "${topic}-${env:HOME ${} $} ${".to_owned(),
        ] {
            assert_eq!(x(&value, &[]).as_ref(), Ok(&value));
        }
        let without = Properties::from([("x".into(), "${env:HOME}".into())]);
        assert_eq!(resolve(&without), Ok(without));
    }

    #[test]
    fn paths_outside_of_the_allowed_ones_are_not_read() {
        let folder = folder();
        let at = folder.path().display();
        let keys = format!("{at}/./keys");
        let allowed = [("file.param.allowed.paths", keys.as_str()), ("dir.param.allowed.paths", keys.as_str())];
        for value in [
            format!("${{file:{at}/s.properties:user}}"),
            format!("${{file:{at}/keys/../s.properties:user}}"),
            format!("${{dir:{at}:s.properties}}"),
        ] {
            assert_eq!(x(&value, &allowed).as_ref(), Ok(&value));
        }
        assert_eq!(x(&format!("${{dir:{at}/keys/../keys:key}}"), &allowed).as_deref(), Ok("-----BEGIN-----\n"));
    }

    #[test]
    fn only_variables_that_the_pattern_allows_are_seen() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(x("${env:HOME}", &[("env.param.allowlist.pattern", "HO|H.*E")]), Ok(home));
        assert_eq!(x("${env:HOME}", &[("env.param.allowlist.pattern", "HO")]).as_deref(), Ok("${env:HOME}"));
    }

    #[test]
    fn failures_are_told_with_kafkas_words() {
        let folder = folder();
        let at = folder.path().display();
        std::fs::write(folder.path().join("wrong"), "pw=secret\\u12").unwrap();
        for (value, parameters, said) in [
            (format!("${{file:{at}/none:a}}"), &[][..], format!("Could not read properties from file {at}/none: ")),
            (format!("${{file:{at}:a}}"), &[], format!("Could not read properties from file {at}: ")),
            (
                format!("${{file:{at}/wrong:pw}}"),
                &[],
                format!("Could not read properties from file {at}/wrong: line 1"),
            ),
            ("${env:p:HOME}".into(), &[], "Path is not supported for EnvVarConfigProvider, invalid value 'p'".into()),
            (String::new(), &[("file.param.allowed.paths", "rel")], "Path rel is not absolute".into()),
            (String::new(), &[("dir.param.allowed.paths", "/no/such")], "Path /no/such does not exist".into()),
            (String::new(), &[("env.param.allowlist.pattern", "H(O")], "Invalid value H(O for configuration ".into()),
            (
                String::new(),
                &[("env.class", "org.example.Vault")],
                "Invalid value org.example.Vault for configuration config.providers.env.class: Could not load config \
                 provider class or one of its dependencies"
                    .into(),
            ),
        ] {
            let told = x(&value, parameters).unwrap_err();
            assert!(told.starts_with(&said) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn what_never_ends_is_not_read_to_the_end() {
        let told = x("${file:/dev/zero:a}", &[]).unwrap_err();
        assert_eq!(told, "Could not read properties from file /dev/zero: it has more than 8388608 bytes");
    }
}
