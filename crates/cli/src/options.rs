//! A tool's options as one table, read and printed as Kafka's tools do it (their parser is joptsimple): no
//! abbreviations, `--name value`, `--name=value` and `-name value`, repeated options, and a usage table of 80 columns.
//!
//! Options that Kafka 4 no longer knows but 2.1 did (`--broker-list`) stand in the same table.

use std::collections::HashMap;

use metadata::config::suggest::nearest;

/// What an option takes, and how its value is called in the usage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is there or it is not.
    Nothing,
    /// A value, always. Type and description, as in `<Integer: size>`.
    Value(Kind, &'static str),
    /// A value, unless the next word is an option, as in `[String: compression-codec]`.
    Maybe(Kind, &'static str),
}

/// The type of a value: it is printed in the table, and checked when the tool asks for the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    Long,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "String",
            Kind::Int => "Integer",
            Kind::Long => "Long",
        }
    }
}

/// One row of a tool's table.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub name: &'static str,
    pub takes: Takes,
    pub about: &'static str,
    pub default: Option<&'static str>,
}

impl Opt {
    pub const fn flag(name: &'static str, about: &'static str) -> Opt {
        Opt { name, takes: Takes::Nothing, about, default: None }
    }

    pub const fn text(name: &'static str, value: &'static str, about: &'static str) -> Opt {
        Opt { name, takes: Takes::Value(Kind::Text, value), about, default: None }
    }

    pub const fn int(name: &'static str, value: &'static str, about: &'static str) -> Opt {
        Opt { name, takes: Takes::Value(Kind::Int, value), about, default: None }
    }

    pub const fn long(name: &'static str, value: &'static str, about: &'static str) -> Opt {
        Opt { name, takes: Takes::Value(Kind::Long, value), about, default: None }
    }

    pub const fn maybe_text(name: &'static str, value: &'static str, about: &'static str) -> Opt {
        Opt { name, takes: Takes::Maybe(Kind::Text, value), about, default: None }
    }

    pub const fn default(mut self, default: &'static str) -> Opt {
        self.default = Some(default);
        self
    }
}

/// `--help` and `--version`, which every tool has.
pub const HELP: Opt = Opt::flag("help", "Print usage information.");
pub const VERSION: Opt = Opt::flag("version", "Display Kafka version.");

/// The words were wrong: joptsimple's message, and the Java class that Kafka's tools name with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    pub class: &'static str,
    pub message: String,
}

impl OptionError {
    fn new(class: &'static str, message: String) -> OptionError {
        OptionError { class, message }
    }
}

/// The command line, read by a table.
#[derive(Debug)]
pub struct Parsed {
    table: &'static [Opt],
    /// For each option that was given, its values; an option given without one adds nothing.
    given: HashMap<&'static str, Vec<String>>,
    /// The options as they came, repeated ones too.
    order: Vec<&'static str>,
    /// Words that belong to no option, in order.
    pub words: Vec<String>,
}

/// Reads `args` (without the program's name) by `table`.
pub fn parse(table: &'static [Opt], args: &[String]) -> Result<Parsed, OptionError> {
    let mut parsed = Parsed { table, given: HashMap::new(), order: Vec::new(), words: Vec::new() };
    let mut rest = args.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        if word == "--" {
            parsed.words.extend(rest.by_ref().map(str::to_owned));
            break;
        }
        let Some(body) = option_body(word) else {
            parsed.words.push(word.to_owned());
            continue;
        };
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some(opt) = table.iter().find(|o| o.name == name) else {
            // A single dash starts a cluster of one-letter options, of which there are none: its first letter is named.
            let long = word.starts_with("--");
            let shown = if long { name } else { &body[..body.chars().next().map_or(0, char::len_utf8)] };
            let meant = nearest(name, table.iter().map(|o| o.name));
            let meant = meant.map(|name| format!("; did you mean --{name}?")).unwrap_or_default();
            return Err(OptionError::new(
                "joptsimple.UnrecognizedOptionException",
                format!("{shown} is not a recognized option{meant}"),
            ));
        };
        parsed.order.push(opt.name);
        let values = parsed.given.entry(opt.name).or_default();
        match (opt.takes, inline) {
            (Takes::Nothing, Some(_)) => {
                return Err(OptionError::new(
                    "joptsimple.OptionDoesNotAcceptArgumentException",
                    format!("Option {name} does not accept an argument"),
                ));
            }
            (Takes::Nothing, None) => {}
            (Takes::Value(..), None) => match rest.next() {
                Some(value) => values.push(value.to_owned()),
                None => {
                    return Err(OptionError::new(
                        "joptsimple.OptionMissingRequiredArgumentException",
                        format!("Option {name} requires an argument"),
                    ));
                }
            },
            (Takes::Maybe(..), None) => {
                if let Some(value) = rest.next_if(|next| option_body(next).is_none()) {
                    values.push(value.to_owned());
                }
            }
            (_, Some(value)) => values.push(value.to_owned()),
        }
    }
    Ok(parsed)
}

/// The part after the dashes when the word looks like an option: a lone `-` does not.
fn option_body(word: &str) -> Option<&str> {
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    if body.is_empty() { None } else { Some(body) }
}

impl Parsed {
    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(self.table.iter().any(|o| o.name == name), "no option {name} in the table");
        self.given.contains_key(name)
    }

    /// The options in the order in which they were given, each as often as it was.
    pub fn order(&self) -> &[&'static str] {
        &self.order
    }

    /// All values that were given; without any, the default.
    pub fn values(&self, name: &str) -> Vec<&str> {
        match self.given.get(name) {
            Some(values) if !values.is_empty() => values.iter().map(String::as_str).collect(),
            _ => self.table.iter().find(|o| o.name == name).and_then(|o| o.default).into_iter().collect(),
        }
    }

    /// The value that was given, or the default. An option given twice is an error.
    pub fn value(&self, name: &str) -> Result<Option<&str>, OptionError> {
        let values = self.values(name);
        match values.len() {
            0 => Ok(None),
            1 => Ok(Some(values[0])),
            _ => Err(OptionError::new(
                "joptsimple.MultipleArgumentsForOptionException",
                format!("Found multiple arguments for option {name}, but you asked for only one"),
            )),
        }
    }

    /// The value of an `Integer` option.
    pub fn int(&self, name: &str) -> Result<Option<i32>, OptionError> {
        self.number(name)
    }

    /// The value of a `Long` option.
    pub fn long(&self, name: &str) -> Result<Option<i64>, OptionError> {
        self.number(name)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, OptionError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        value.parse().map(Some).map_err(|_| {
            OptionError::new(
                "joptsimple.OptionArgumentConversionException",
                format!("Cannot parse argument '{value}' of option {name}"),
            )
        })
    }
}

/// The usage table, as joptsimple prints it: rows sorted by name, two columns fitted into 80 characters.
pub fn usage(table: &[Opt]) -> String {
    const WIDTH: usize = 80;
    const BETWEEN: usize = 2;
    let mut rows: Vec<(String, String)> = Vec::with_capacity(table.len());
    let mut sorted: Vec<&Opt> = table.iter().collect();
    sorted.sort_by_key(|o| o.name);
    for opt in sorted {
        let left = match opt.takes {
            Takes::Nothing => format!("--{}", opt.name),
            Takes::Value(kind, value) => format!("--{} <{}>", opt.name, called(kind, value)),
            Takes::Maybe(kind, value) => format!("--{} [{}]", opt.name, called(kind, value)),
        };
        let right = match opt.default {
            Some(default) => format!("{} (default: {default})", opt.about),
            None => opt.about.to_owned(),
        };
        rows.push((left, right));
    }
    let widest = |f: fn(&(String, String)) -> &String| rows.iter().map(|r| f(r).chars().count()).max().unwrap_or(0);
    let left_width = widest(|r| &r.0).min((WIDTH - BETWEEN) / 2);
    let right_width = widest(|r| &r.1).min(WIDTH - BETWEEN - left_width);
    let mut lines = vec![("Option".to_owned(), "Description".to_owned())];
    lines.push(("------".to_owned(), "-----------".to_owned()));
    for (left, right) in &rows {
        let (left, right) = (fold(left, left_width), fold(right, right_width));
        for i in 0..left.len().max(right.len()) {
            lines.push((left.get(i).cloned().unwrap_or_default(), right.get(i).cloned().unwrap_or_default()));
        }
    }
    let left_width = lines.iter().map(|l| l.0.chars().count()).max().unwrap_or(0);
    let right_width = lines.iter().map(|l| l.1.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(l, r)| format!("{l:left_width$}  {r:right_width$}\n")).collect()
}

fn called(kind: Kind, value: &str) -> String {
    if value.is_empty() { kind.name().to_owned() } else { format!("{}: {value}", kind.name()) }
}

/// Folds a text into lines of at most `width` characters; continued lines are indented by two.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for part in text.split('\n') {
        let mut line = String::new();
        for word in breakable(part) {
            if line.chars().count() + word.chars().count() > width {
                lines.push(line.trim_end().to_owned());
                line = format!("  {word}");
            } else {
                line.push_str(word);
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// The pieces between which Java's line breaker allows a break: after blanks, and after `-`, `.`, `:` and `,` inside words
/// where a letter follows.
fn breakable(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut start = 0;
    for pair in chars.windows(2) {
        let ((_, here), (at, next)) = (pair[0], pair[1]);
        let after_blank = here.is_whitespace() && !next.is_whitespace();
        let in_word = match here {
            '-' | '.' | ':' | ',' => next.is_alphabetic(),
            _ => false,
        };
        if after_blank || in_word {
            pieces.push(&text[start..at]);
            start = at;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Opt] = &[
        Opt::flag("list", "List all."),
        Opt::text("topic", "topic", "The topic."),
        Opt::int("partitions", "# of partitions", "How many."),
        Opt::maybe_text("compression-codec", "compression-codec", "The codec."),
        Opt::long("timeout", "ms", "How long.").default("1000"),
    ];

    fn read(words: &[&str]) -> Result<Parsed, OptionError> {
        parse(TABLE, &words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
    }

    fn message(words: &[&str]) -> String {
        read(words).expect_err("refused").message
    }

    #[test]
    fn values_come_after_a_blank_an_equals_sign_or_a_single_dash() {
        for words in [&["--topic", "a"][..], &["--topic=a"], &["-topic", "a"], &["-topic=a"]] {
            assert_eq!(read(words).unwrap().value("topic"), Ok(Some("a")), "{words:?}");
        }
        assert_eq!(read(&["--topic", "--list"]).unwrap().value("topic"), Ok(Some("--list")));
        assert_eq!(read(&["--topic=a=b"]).unwrap().value("topic"), Ok(Some("a=b")));
    }

    #[test]
    fn wrong_words_are_told_as_joptsimple_does() {
        assert_eq!(message(&["--frob"]), "frob is not a recognized option");
        assert_eq!(message(&["--topik", "a"]), "topik is not a recognized option; did you mean --topic?");
        assert_eq!(message(&["-frob"]), "f is not a recognized option");
        assert_eq!(message(&["--top", "a"]), "top is not a recognized option");
        assert_eq!(message(&["--topic"]), "Option topic requires an argument");
        assert_eq!(message(&["--list=1"]), "Option list does not accept an argument");
        let twice = read(&["--topic", "a", "--topic", "b"]).unwrap();
        assert_eq!(
            twice.value("topic").unwrap_err().message,
            "Found multiple arguments for option topic, but you asked for only one"
        );
        assert_eq!(twice.values("topic"), ["a", "b"]);
        assert_eq!(
            read(&["--partitions", "x"]).unwrap().int("partitions").unwrap_err().message,
            "Cannot parse argument 'x' of option partitions"
        );
    }

    #[test]
    fn an_optional_value_is_not_the_next_option() {
        let bare = read(&["--compression-codec", "--list"]).unwrap();
        assert!(bare.has("compression-codec") && bare.has("list"));
        assert_eq!(bare.value("compression-codec"), Ok(None));
        assert_eq!(read(&["--compression-codec", "lz4"]).unwrap().value("compression-codec"), Ok(Some("lz4")));
    }

    #[test]
    fn defaults_count_as_values_but_not_as_given() {
        let parsed = read(&["a", "--", "--list"]).unwrap();
        assert_eq!(parsed.long("timeout"), Ok(Some(1000)));
        assert!(!parsed.has("timeout"));
        assert_eq!(parsed.words, ["a", "--list"]);
    }

    #[test]
    fn the_table_is_folded_into_eighty_columns() {
        const LONG: &[Opt] = &[
            Opt::text("bootstrap-server", "server to connect to", "REQUIRED: The Kafka server to connect to."),
            Opt::flag("alter", "Alter the number of partitions and replica assignment. (To alter topic things, wait.)"),
        ];
        let expected = [
            "Option                                 Description",
            "------                                 -----------",
            "--alter                                Alter the number of partitions and",
            "                                         replica assignment. (To alter topic",
            "                                         things, wait.)",
            "--bootstrap-server <String: server to  REQUIRED: The Kafka server to connect",
            "  connect to>                            to.",
        ];
        let printed = usage(LONG);
        // Both columns shrink to their widest line.
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        assert_eq!(lines, expected);
    }
}
