//! Command lines of the kind that Kafka's newer tools read (their parser is argparse4j): a subcommand with options, long
//! and short, and a usage in two lines.

use std::collections::HashMap;

use crate::tool::Stop;
use crate::{complain, say, tool};

/// A tool whose first word says what it does.
pub struct Program {
    pub name: &'static str,
    pub about: &'static str,
    pub commands: &'static [Command],
    pub example: &'static str,
}

/// One of the things that a tool does.
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    pub options: &'static [Argument],
    /// Of these, one has to be given.
    pub one_of: &'static [&'static str],
}

/// An option of a command.
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

    pub const fn required(mut self) -> Argument {
        self.is_required = true;
        self
    }
}

/// Where to begin, and settings: what the commands of a cluster's tools share.
pub const BOOTSTRAP_SERVER: Argument = Argument::value(
    "bootstrap-server",
    Some('b'),
    "BOOTSTRAP_SERVER",
    "Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
);
pub const BOOTSTRAP_CONTROLLER: Argument =
    Argument::value("bootstrap-controller", Some('C'), "BOOTSTRAP_CONTROLLER", "Controllers to begin with.");
pub const COMMAND_CONFIG: Argument = Argument::value(
    "command-config",
    Some('c'),
    "COMMAND_CONFIG",
    "A file with settings for the client, under Java's names.",
);
pub const CONFIG: Argument =
    Argument::value("config", None, "CONFIG", "The same as --command-config (the older name for it).");

/// What was given to a command.
pub struct Given {
    pub command: &'static str,
    values: HashMap<&'static str, String>,
}

impl Given {
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// Reads the words; answers help, the version, and words that make no sense.
pub fn parse(program: &'static Program, args: &[String]) -> Result<Given, Stop> {
    let mut words = args.iter();
    let name = match words.next().map(String::as_str) {
        None => return Err(wrong(&usage(program), program, "too few arguments")),
        Some("-h" | "--help") => {
            help(program);
            return Err(Stop::Exit(0));
        }
        Some("--version") => {
            say!("{}", tool::VERSION);
            return Err(Stop::Exit(0));
        }
        Some(name) => name,
    };
    let Some(command) = program.commands.iter().find(|c| c.name == name) else {
        let all: Vec<String> = program.commands.iter().map(|c| format!("'{}'", c.name)).collect();
        let why = format!("invalid choice: '{name}' (choose from {})", all.join(", "));
        return Err(wrong(&usage(program), program, &why));
    };
    let refuse = |why: &str| Err(wrong(&command_usage(program, command), program, why));
    let mut given = Given { command: command.name, values: HashMap::new() };
    while let Some(word) = words.next() {
        if ["-h", "--help"].contains(&word.as_str()) {
            command_help(program, command);
            return Err(Stop::Exit(0));
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let found = command.options.iter().find(|a| match name.strip_prefix("--") {
            Some(long) => a.long == long,
            None => a.short.is_some_and(|short| name == format!("-{short}")),
        });
        let Some(argument) = found else { return refuse(&format!("unrecognized arguments: '{word}'")) };
        let value = match (argument.value, inline) {
            (None, None) => String::new(),
            (None, Some(_)) => return refuse(&format!("argument --{}: ignored explicit argument", argument.long)),
            (Some(_), Some(value)) => value,
            (Some(_), None) => match words.next() {
                Some(value) => value.clone(),
                None => return refuse(&format!("argument {}: expected one argument", shown(argument))),
            },
        };
        given.values.insert(argument.long, value);
    }
    if let Some(missing) = command.options.iter().find(|a| a.is_required && !given.has(a.long)) {
        return refuse(&format!("argument {} is required", shown(missing)));
    }
    let chosen = command.one_of.iter().filter(|name| given.has(name)).count();
    if !command.one_of.is_empty() && chosen != 1 {
        let all: Vec<String> = command
            .options
            .iter()
            .filter(|a| command.one_of.contains(&a.long))
            .map(|a| if chosen == 0 { shown(a) } else { format!("--{}", a.long) })
            .collect();
        return match chosen {
            0 => refuse(&format!("one of the arguments {} is required", all.join(" "))),
            _ => refuse(&format!("only one of {} may be given", all.join(" and "))),
        };
    }
    Ok(given)
}

fn shown(argument: &Argument) -> String {
    match argument.short {
        Some(short) => format!("--{}/-{short}", argument.long),
        None => format!("--{}", argument.long),
    }
}

fn wrong(usage: &str, program: &Program, why: &str) -> Stop {
    complain!("{usage}\n{}: error: {why}", program.name);
    Stop::Exit(1)
}

fn usage(program: &Program) -> String {
    let names: Vec<&str> = program.commands.iter().map(|c| c.name).collect();
    format!("usage: {} [-h] {{{}}} ...", program.name, names.join(","))
}

fn command_usage(program: &Program, command: &Command) -> String {
    let mut text = format!("usage: {} {} [-h]", program.name, command.name);
    for a in command.options {
        let word = match a.value {
            Some(value) => format!("--{} {value}", a.long),
            None => format!("--{}", a.long),
        };
        let is_needed = a.is_required || command.one_of == [a.long];
        text += &if is_needed { format!(" {word}") } else { format!(" [{word}]") };
    }
    text
}

fn help(program: &Program) {
    say!("{}\n\n{}\n\ncommands:", usage(program), program.about);
    for command in program.commands {
        say!("  {:20} {}", command.name, command.about);
    }
    say!("\noptions:\n  {:20} show this help, or that of a command behind its name\n", "-h, --help");
    say!("example:\n  {}", program.example);
}

fn command_help(program: &Program, command: &Command) {
    say!("{}\n\n{}\n\noptions:", command_usage(program, command), command.about);
    for a in command.options {
        let names = match a.short {
            Some(short) => format!("--{}, -{short}", a.long),
            None => format!("--{}", a.long),
        };
        say!("  {} {}\n      {}", names, a.value.unwrap_or_default(), a.about);
    }
}
