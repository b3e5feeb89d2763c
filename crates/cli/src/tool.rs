//! What all tools share: how they begin (help, version, settings, a runtime) and how they end.

use std::path::Path;

use client::Properties;

use crate::argparse::Given;
use crate::options::{Opt, OptionError, Parsed, parse, usage};
use crate::{complain, say, term};

/// What `--version` prints: Kafka's version that this is compatible with, and ours.
pub const VERSION: &str = concat!("4.3.1 (Klamm ", env!("CARGO_PKG_VERSION"), ")");

/// How long a tool that then runs for long looks for the first broker that answers.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Why a tool ends before its work is done.
#[derive(Debug)]
pub enum Stop {
    /// The options make no sense together: this message and the table of options, exit code 1.
    Usage(String),
    /// Something failed, as an exception in Java.
    Thrown(Exception),
    /// Everything was said.
    Exit(u8),
}

/// A failure under the name that Java gives it.
#[derive(Clone, Debug)]
pub struct Exception {
    pub class: String,
    pub message: String,
    /// What was behind it, where the message alone does not tell.
    pub cause: Option<String>,
}

impl Exception {
    pub fn new(class: &str, message: impl Into<String>) -> Exception {
        Exception { class: class.to_owned(), message: message.into(), cause: None }
    }

    pub fn illegal_argument(message: impl Into<String>) -> Exception {
        Exception::new("java.lang.IllegalArgumentException", message)
    }

    /// `class: message`, the first line of a stack trace.
    pub fn headline(&self) -> String {
        format!("{}: {}", self.class, self.message)
    }
}

impl From<client::Error> for Exception {
    fn from(error: client::Error) -> Exception {
        Exception { class: error.class(), message: error.to_string(), cause: None }
    }
}

impl From<OptionError> for Exception {
    fn from(error: OptionError) -> Exception {
        Exception::new(error.class, error.message)
    }
}

impl From<client::Error> for Stop {
    fn from(error: client::Error) -> Stop {
        Stop::Thrown(error.into())
    }
}

impl From<OptionError> for Stop {
    fn from(error: OptionError) -> Stop {
        Stop::Thrown(error.into())
    }
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Stop {
        Stop::Thrown(exception)
    }
}

/// Reads the options; answers `--help`, `--version` and no options at all.
pub fn begin(about: &str, table: &'static [Opt], args: &[String]) -> Result<Parsed, Stop> {
    let parsed = parse(table, args)?;
    if args.is_empty() || parsed.has("help") {
        return Err(Stop::Usage(about.to_owned()));
    }
    if parsed.has("version") {
        say!("{VERSION}");
        return Err(Stop::Exit(0));
    }
    Ok(parsed)
}

/// Prints why a tool ended, and gives its exit code. `thrown` prints what failed, where it is not an error in the usage.
pub fn end(result: Result<(), Stop>, table: &[Opt], thrown: impl FnOnce(&Exception)) -> u8 {
    let code = match result {
        Ok(()) => 0,
        Err(Stop::Exit(code)) => code,
        Err(Stop::Usage(message)) => {
            complain!("{message}\n{}", usage(table).trim_end_matches('\n'));
            1
        }
        Err(Stop::Thrown(exception)) => {
            thrown(&exception);
            1
        }
    };
    term::flush();
    code
}

/// Says in one sentence on standard error why a tool ends with exit code 1.
pub fn terse(message: impl std::fmt::Display) -> Stop {
    complain!("{message}");
    Stop::Exit(1)
}

/// The message alone, and what was behind it.
pub fn print_message(exception: &Exception) {
    complain!("{}", exception.message);
    if let Some(cause) = &exception.cause {
        complain!("Caused by: {cause}");
    }
}

/// As Java tells an exception that nobody caught.
pub fn print_uncaught(exception: &Exception) {
    complain!("Exception in thread \"main\" {}", exception.headline());
    if let Some(cause) = &exception.cause {
        complain!("Caused by: {cause}");
    }
}

/// Refuses when one of `names` is missing.
pub fn require(options: &Parsed, names: &[&str]) -> Result<(), Stop> {
    match names.iter().find(|n| !options.has(n)) {
        None => Ok(()),
        Some(name) => Err(Stop::Usage(format!("Missing required argument \"[{name}]\""))),
    }
}

/// Refuses when `name` was given together with one of `others`.
pub fn forbid(options: &Parsed, name: &str, others: &[&str]) -> Result<(), Stop> {
    if !options.has(name) {
        return Ok(());
    }
    match others.iter().find(|o| options.has(o)) {
        None => Ok(()),
        Some(other) => Err(Stop::Usage(format!("Option \"[{name}]\" can't be used with option \"[{other}]\""))),
    }
}

/// The settings of a `.properties` file that an option names; none where it was not given.
pub fn settings(options: &Parsed, option: &str) -> Result<Properties, Stop> {
    match options.value(option)? {
        Some(path) => load(path),
        None => Ok(Properties::new()),
    }
}

/// The settings of a tool whose command says where to begin.
pub fn connection_settings(given: &Given) -> Result<Properties, Stop> {
    let mut properties = match given.value("command-config").or(given.value("config")) {
        Some(path) => load(path)?,
        None => Properties::new(),
    };
    let servers = given.value("bootstrap-server").or(given.value("bootstrap-controller")).unwrap_or_default();
    properties.insert("bootstrap.servers".into(), servers.into());
    Ok(properties)
}

/// Reads a `.properties` file.
pub fn load(path: &str) -> Result<Properties, Stop> {
    client::properties::load(Path::new(path)).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
            _ => error.to_string(),
        };
        let class = "java.nio.file.NoSuchFileException";
        Stop::Thrown(Exception::new(class, format!("{path} ({why})")))
    })
}

/// `k=v` words into settings. A word without `=` is an error, or an empty value where that is accepted.
pub fn key_values(words: &[&str], accept_missing: bool) -> Result<Properties, Exception> {
    let mut properties = Properties::new();
    for word in words {
        match word.split_once('=') {
            Some((key, value)) if !value.is_empty() || accept_missing => {
                properties.insert(key.to_owned(), value.to_owned());
            }
            None if accept_missing => {
                properties.insert((*word).to_owned(), String::new());
            }
            _ => {
                let key = word.trim_end_matches('=');
                return Err(Exception::illegal_argument(format!("Missing value for key {key}")));
            }
        }
    }
    Ok(properties)
}

/// Runs to the end on this thread. Warnings of the client go to standard error.
pub fn block_on<F: Future>(future: F) -> F::Output {
    // Only fails when there is one already.
    let _ = tracing::subscriber::set_global_default(term::Warnings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let output = runtime.block_on(future);
            // Nobody waits for a resolver thread that still asks for a name.
            runtime.shutdown_background();
            output
        }
        Err(error) => {
            complain!("The system gives no event queue: {error}");
            std::process::exit(1);
        }
    }
}

/// The administrator's client, as a tool opens it: a failure is told with what is behind it.
pub async fn admin(properties: &Properties) -> Result<client::admin::Admin, Stop> {
    client::admin::Admin::open(properties).await.map_err(|error| {
        let mut exception =
            Exception::new("org.apache.kafka.common.KafkaException", "Failed to create new KafkaAdminClient");
        exception.cause = Some(format!("{}: {error}", error.class()));
        Stop::Thrown(exception)
    })
}

/// The administrator's client of the cluster whose quorum answers at these addresses, for `--zookeeper`.
pub async fn admin_by_quorum(quorum: &str, properties: &Properties) -> Result<client::admin::Admin, Stop> {
    client::admin::Admin::open_by_quorum(quorum, properties).await.map_err(|error| {
        let class = "kafka.zookeeper.ZooKeeperClientTimeoutException";
        let message = "Timed out waiting for connection while in state: CONNECTING";
        match error {
            client::Error::Unreachable(why) => Exception {
                cause: Some(format!("{why} (bin/zkServer.sh start starts what answers at {quorum})")),
                ..Exception::new(class, message)
            }
            .into(),
            error => error.into(),
        }
    })
}
