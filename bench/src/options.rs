//! `--name value` pairs.

use crate::Outcome;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// The options of one command; what is left over at the end is a mistake.
pub struct Options(BTreeMap<String, String>);

impl Options {
    pub fn parse(words: &[String]) -> Outcome<Options> {
        let mut options = BTreeMap::new();
        for pair in words.chunks(2) {
            match pair {
                [name, value] if name.starts_with("--") => options.insert(name[2..].to_owned(), value.clone()),
                _ => return Err(format!("expected --name value, got {}", pair.join(" ")).into()),
            };
        }
        Ok(Options(options))
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub fn number<T>(&mut self, name: &str, default: T) -> Outcome<T>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = self.take(name) else { return Ok(default) };
        value.parse().map_err(|e| format!("--{name} {value}: {e}").into())
    }

    pub fn needed(&mut self, name: &str) -> Outcome<String> {
        self.take(name).ok_or_else(|| format!("--{name} is needed").into())
    }

    pub fn end(self) -> Outcome<()> {
        match self.0.into_keys().next() {
            Some(name) => Err(format!("--{name} is no option of this command").into()),
            None => Ok(()),
        }
    }
}
