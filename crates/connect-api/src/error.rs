//! Errors, with the names that Kafka's own have in traces and dead-letter headers.

use std::fmt;

/// What connectors and the worker's plugins return.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of trouble it is, which decides what the worker does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The task cannot go on.
    Connect,
    /// A value is not what its schema or its reader wants.
    Data,
    /// A schema contradicts itself.
    SchemaBuilder,
    /// It may work when it is tried again: the worker does so.
    Retriable,
    /// A setting is missing or wrong.
    Config,
    /// Bytes are not what a converter writes.
    Serialization,
    /// Anything else, under the name of Java's class.
    Other(&'static str),
}

/// An error, what it came from, and so on.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    pub cause: Option<Box<Error>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), cause: None }
    }

    /// The task cannot go on.
    pub fn connect(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Connect, message)
    }

    /// A value is not what its schema or its reader wants.
    pub fn data(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Data, message)
    }

    /// It may work when it is tried again.
    pub fn retriable(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Retriable, message)
    }

    /// A setting is missing or wrong.
    pub fn config(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, message)
    }

    /// Names what this error came from.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Error>) -> Error {
        self.cause = Some(Box::new(cause.into()));
        self
    }

    pub fn is_retriable(&self) -> bool {
        self.kind == ErrorKind::Retriable
    }

    /// The full name of the class that Kafka throws.
    pub fn class(&self) -> &'static str {
        match self.kind {
            ErrorKind::Connect => "org.apache.kafka.connect.errors.ConnectException",
            ErrorKind::Data => "org.apache.kafka.connect.errors.DataException",
            ErrorKind::SchemaBuilder => "org.apache.kafka.connect.errors.SchemaBuilderException",
            ErrorKind::Retriable => "org.apache.kafka.connect.errors.RetriableException",
            ErrorKind::Config => "org.apache.kafka.common.config.ConfigException",
            ErrorKind::Serialization => "org.apache.kafka.common.errors.SerializationException",
            ErrorKind::Other(class) => class,
        }
    }

    /// The error and its causes, one to a line, as a Java trace without its frames.
    pub fn trace(&self) -> String {
        let mut text = format!("{}: {}\n", self.class(), self.message);
        let mut cause = self.cause.as_deref();
        while let Some(error) = cause {
            text.push_str(&format!("Caused by: {}: {}\n", error.class(), error.message));
            cause = error.cause.as_deref();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|e| e as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::new(ErrorKind::Other("java.io.IOException"), error.to_string())
    }
}
