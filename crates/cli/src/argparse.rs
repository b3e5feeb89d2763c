//! Command lines of the kind that Kafka's newer tools read (their parser is argparse4j): a subcommand with options, long
//! and short, and a usage in two lines. Some of them have no commands.

use std::collections::HashMap;

use crate::tool::Stop;
use crate::{complain, say, tool};

/// A tool whose words are options, or a command with options.
pub struct Program {
    pub name: &'static str,
    pub about: &'static str,
    /// Options of the tool itself; they may stand on either side of the command.
    pub options: &'static [Argument],
    /// Of these, at most one may be given.
    pub exclusive: Exclusive,
    /// None: the options are all there is.
    pub commands: &'static [Command],
    pub example: &'static str,
    pub wrong: Wrong,
}

/// One of the things that a tool does.
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    pub options: &'static [Argument],
    pub exclusive: Exclusive,
}

/// Options of which at most one may be given.
#[derive(Clone, Copy)]
pub struct Exclusive {
    pub names: &'static [&'static str],
    /// One of them must be.
    pub is_required: bool,
}

impl Exclusive {
    pub const NONE: Exclusive = Exclusive { names: &[], is_required: false };

    pub const fn one_of(names: &'static [&'static str]) -> Exclusive {
        Exclusive { names, is_required: true }
    }

    pub const fn at_most_one_of(names: &'static [&'static str]) -> Exclusive {
        Exclusive { names, is_required: false }
    }
}

/// How words that make no sense are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The usage, and what is wrong.
    WithUsage,
    /// One line.
    InOneLine,
}

/// An option.
pub struct Argument {
    pub long: &'static str,
    pub short: Option<char>,
    /// What its value is called; none for a flag.
    pub value: Option<&'static str>,
    pub is_required: bool,
    pub about: &'static str,
}

impl Argument {
    pub const fn value(long: &'static str, short: Option<char>, value: &'static str, about: &'static str) -> Argument {
        Argument { long, short, value: Some(value), is_required: false, about }
    }

    pub const fn flag(long: &'static str, about: &'static str) -> Argument {
        Argument { long, short: None, value: None, is_required: false, about }
    }

    pub const fn short(mut self, short: char) -> Argument {
        self.short = Some(short);
        self
    }

    pub const fn required(mut self) -> Argument {
        self.is_required = true;
        self
    }
}

/// Where to begin, and settings: what the commands of a cluster's tools share.
pub const BOOTSTRAP_SERVER: Argument =
    Argument::value("bootstrap-server", None, "BOOTSTRAP_SERVER", "Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.");
pub const BOOTSTRAP_CONTROLLER: Argument =
    Argument::value("bootstrap-controller", None, "BOOTSTRAP_CONTROLLER", "Controllers to begin with.");
pub const COMMAND_CONFIG: Argument = Argument::value(
    "command-config",
    None,
    "COMMAND_CONFIG",
    "A file with settings for the client, under Java's names.",
);

/// What was given.
pub struct Given {
    /// Empty for a tool without commands.
    pub command: &'static str,
    values: HashMap<&'static str, Vec<String>>,
    program: &'static Program,
}

impl Given {
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The last value that was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    /// All values, for options that may be given again.
    pub fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// A whole number, of Java's type `java_type`.
    pub fn number<T: std::str::FromStr>(&self, name: &str, java_type: &str) -> Result<Option<T>, Stop> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let scope = Scope::of(self.program, self.command);
        text.parse()
            .map(Some)
            .map_err(|_| scope.wrong(&format!("argument --{name}: could not convert '{text}' to {java_type}")))
    }
}

/// The options that count: the program's, and those of one of its commands.
#[derive(Clone, Copy)]
struct Scope {
    program: &'static Program,
    command: Option<&'static Command>,
}

impl Scope {
    fn of(program: &'static Program, command: &str) -> Scope {
        Scope { program, command: program.commands.iter().find(|c| c.name == command) }
    }

    fn arguments(self) -> impl Iterator<Item = &'static Argument> {
        self.command.into_iter().flat_map(|c| c.options).chain(self.program.options)
    }

    fn find(self, long: &str) -> Option<&'static Argument> {
        self.arguments().find(|a| a.long == long)
    }

    /// The option that a word names; a part of its name will do where only one begins so.
    fn named(self, word: &str) -> Option<&'static Argument> {
        match word.strip_prefix("--") {
            Some("") => None,
            Some(long) => self.find(long).or_else(|| {
                let mut begin_so = self.arguments().filter(|a| a.long.starts_with(long));
                begin_so.next().filter(|_| begin_so.next().is_none())
            }),
            None => self.arguments().find(|a| a.short.is_some_and(|short| word == format!("-{short}"))),
        }
    }

    fn exclusives(self) -> impl Iterator<Item = Exclusive> {
        self.command.map(|c| c.exclusive).into_iter().chain([self.program.exclusive])
    }

    fn usage(self) -> String {
        let mut text = format!("usage: {}", self.program.name);
        if let Some(command) = self.command {
            text += &format!(" {}", command.name);
        }
        text += " [-h]";
        for a in self.arguments() {
            let word = match a.value {
                Some(value) => format!("--{} {value}", a.long),
                None => format!("--{}", a.long),
            };
            let is_needed = a.is_required || self.exclusives().any(|e| e.is_required && e.names == [a.long]);
            text += &if is_needed { format!(" {word}") } else { format!(" [{word}]") };
        }
        if self.command.is_none() && !self.program.commands.is_empty() {
            let names: Vec<&str> = self.program.commands.iter().map(|c| c.name).collect();
            text += &format!(" {{{}}} ...", names.join(","));
        }
        text
    }

    fn wrong(self, why: &str) -> Stop {
        match self.program.wrong {
            Wrong::WithUsage => complain!("{}\n{}: error: {why}", self.usage(), self.program.name),
            Wrong::InOneLine => complain!("Command line error: {why}. Type --help for help."),
        }
        Stop::Exit(1)
    }

    fn help(self) {
        say!("{}\n\n{}", self.usage(), self.command.map_or(self.program.about, |c| c.about));
        if self.command.is_none() && !self.program.commands.is_empty() {
            say!("\ncommands:");
            for command in self.program.commands {
                say!("  {:20} {}", command.name, command.about);
            }
        }
        say!("\noptions:\n  --help, -h\n      Show this help, or that of a command behind its name.");
        for a in self.arguments() {
            let names = match a.short {
                Some(short) => format!("--{}, -{short}", a.long),
                None => format!("--{}", a.long),
            };
            let value = a.value.map(|value| format!(" {value}")).unwrap_or_default();
            say!("  {names}{value}\n      {}", a.about);
        }
        if self.command.is_none() {
            say!("  --version\n      Show which Kafka this is, and which Klamm.");
        }
        say!("\nexample:\n  {}", self.program.example);
    }

    fn check(self, given: &Given) -> Result<(), Stop> {
        for exclusive in self.exclusives().filter(|e| e.is_required) {
            if !exclusive.names.iter().any(|name| given.has(name)) {
                let all: Vec<String> = exclusive.names.iter().filter_map(|n| self.find(n)).map(shown).collect();
                return Err(self.wrong(&format!("one of the arguments {} is required", all.join(" "))));
            }
        }
        match self.arguments().find(|a| a.is_required && !given.has(a.long)) {
            Some(missing) => Err(self.wrong(&format!("argument {} is required", shown(missing)))),
            None => Ok(()),
        }
    }
}

/// Reads the words; answers help, the version, and words that make no sense.
pub fn parse(program: &'static Program, args: &[String]) -> Result<Given, Stop> {
    let mut scope = Scope { program, command: None };
    let mut given = Given { command: "", values: HashMap::new(), program };
    let mut words = args.iter().peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => {
                scope.help();
                return Err(Stop::Exit(0));
            }
            "--version" => {
                // Kafka's tools of this kind have no such option, and print nothing where others would read on.
                complain!("{}", tool::VERSION);
                return Err(Stop::Exit(0));
            }
            _ => {}
        }
        if !word.starts_with('-') && scope.command.is_none() && !program.commands.is_empty() {
            let Some(command) = program.commands.iter().find(|c| c.name == word) else {
                let all: Vec<String> = program.commands.iter().map(|c| format!("'{}'", c.name)).collect();
                return Err(scope.wrong(&format!("invalid choice: '{word}' (choose from {})", all.join(", "))));
            };
            scope.command = Some(command);
            given.command = command.name;
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let Some(argument) = scope.named(name) else {
            return Err(scope.wrong(&format!("unrecognized arguments: '{word}'")));
        };
        let value = match (argument.value, inline) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(scope.wrong(&format!("argument --{}: ignored explicit argument", argument.long)));
            }
            (Some(_), Some(value)) => Some(value),
            (Some(_), None) => match words.next_if(|next| scope.named(next).is_none()) {
                Some(value) => Some(value.clone()),
                None => return Err(scope.wrong(&format!("argument {}: expected one argument", shown(argument)))),
            },
        };
        for exclusive in scope.exclusives().filter(|e| e.names.contains(&argument.long)) {
            let other = exclusive.names.iter().find(|name| **name != argument.long && given.has(name));
            if let Some(other) = other.and_then(|name| scope.find(name)) {
                let why = format!("argument {}: not allowed with argument {}", shown(argument), shown(other));
                return Err(scope.wrong(&why));
            }
        }
        given.values.entry(argument.long).or_default().extend(value);
    }
    if scope.command.is_none() && !program.commands.is_empty() {
        return Err(scope.wrong("too few arguments"));
    }
    scope.check(&given)?;
    Ok(given)
}

fn shown(argument: &Argument) -> String {
    match argument.short {
        Some(short) => format!("--{}/-{short}", argument.long),
        None => format!("--{}", argument.long),
    }
}

/// The words are right each for itself and wrong together.
pub fn refuse(given: &Given, why: &str) -> Stop {
    Scope::of(given.program, given.command).wrong(why)
}
