//! `kafka-server-start`: runs a broker. (`-daemon` is the shell script's business.)

use std::path::PathBuf;
use std::process::ExitCode;

use server::StartArgs;

use crate::tool::VERSION;
use crate::{complain, say, term};

const USAGE: &str = "USAGE: kafka-server-start.sh [-daemon] [server.properties] [--override property=value]*";

/// The tool.
pub fn main(args: &[String]) -> ExitCode {
    let start = match parse(args) {
        Ok(start) => start,
        Err(code) => {
            term::flush();
            return ExitCode::from(code);
        }
    };
    server::main(start)
}

fn parse(args: &[String]) -> Result<StartArgs, u8> {
    let refuse = |message: String| {
        complain!("{message}\n{USAGE}");
        1
    };
    let mut start = StartArgs::default();
    let mut extra: Vec<&str> = Vec::new();
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let given = match word {
            "--version" => {
                say!("{VERSION}");
                return Err(0);
            }
            "--help" | "-h" => {
                say!(
                    "{USAGE}\n\nWithout a file: a broker on localhost:9092 with everything embedded.\n\nexample:\n  bin/kafka-server-start.sh config/standalone.properties"
                );
                return Err(0);
            }
            "--override" => words.next().ok_or_else(|| refuse("Option override requires an argument".into()))?,
            word => match word.strip_prefix("--override=") {
                Some(given) => given,
                None if word.starts_with("--") => {
                    let name = word.trim_start_matches('-');
                    return Err(refuse(format!("{name} is not a recognized option")));
                }
                None if start.properties_file.is_none() => {
                    start.properties_file = Some(PathBuf::from(word));
                    continue;
                }
                None => {
                    extra.push(word);
                    continue;
                }
            },
        };
        match given.split_once('=') {
            Some((name, value)) if !name.is_empty() => start.overrides.push((name.to_owned(), value.to_owned())),
            _ => return Err(refuse(format!("--override wants property=value, not {given}"))),
        }
    }
    if extra.is_empty() {
        Ok(start)
    } else {
        Err(refuse(format!("Found non argument parameters: {}", extra.join(","))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<StartArgs, u8> {
        parse(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_and_any_number_of_overrides() {
        let start = read(&["s.properties", "--override", "a=b=c", "--override=d="]).unwrap();
        assert_eq!(start.properties_file, Some("s.properties".into()));
        assert_eq!(start.overrides, [("a".into(), "b=c".into()), ("d".into(), String::new())]);
        assert_eq!(read(&[]).unwrap().properties_file, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [&["a", "b"][..], &["--override"], &["--override", "x"], &["--frob"]] {
            assert_eq!(read(words).map(|_| ()), Err(1), "{words:?}");
        }
    }
}
