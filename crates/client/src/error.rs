//! What can go wrong between a client and its cluster, in the words of Kafka's Java client.

use std::fmt;

use wire::ErrorCode;
use wire::codec::{DecodeError, EncodeError};

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The broker refused. Its message, when it sent one.
    Api { code: ErrorCode, message: Option<String> },
    /// No answer in time.
    Timeout(String),
    /// No broker could be reached in the time that one waits for that.
    Unreachable(String),
    /// The connection ended, or could not be made.
    Disconnected(String),
    /// The broker has no version of this request that can say what was asked.
    Unsupported(String),
    /// A setting is wrong.
    Config(String),
    /// What was asked makes no sense.
    IllegalArgument(String),
    /// The answer cannot be read.
    Protocol(String),
    /// The client was closed.
    Closed,
}

impl Error {
    /// A refusal with the code's own text.
    pub fn code(code: ErrorCode) -> Error {
        Error::Api { code, message: None }
    }

    /// A refusal with the broker's text, if it sent one.
    pub fn refused(code: ErrorCode, message: Option<&str>) -> Error {
        Error::Api { code, message: message.map(str::to_owned) }
    }

    /// `Ok` for code 0.
    pub fn check(code: ErrorCode, message: Option<&str>) -> Result<(), Error> {
        if code == ErrorCode::None { Ok(()) } else { Err(Error::refused(code, message)) }
    }

    /// The error code, when a broker sent one.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Error::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Api { code, .. } => code.is_retriable(),
            Error::Timeout(_) | Error::Unreachable(_) | Error::Disconnected(_) => true,
            _ => false,
        }
    }

    /// The name of the Java exception that Kafka's client throws for it.
    pub fn class(&self) -> String {
        let name = match self {
            Error::Api { code, .. } => return exception_class(*code),
            Error::Timeout(_) | Error::Unreachable(_) => "errors.TimeoutException",
            Error::Disconnected(_) => "errors.DisconnectException",
            Error::Unsupported(_) => "errors.UnsupportedVersionException",
            Error::Config(_) => "config.ConfigException",
            Error::IllegalArgument(_) => return "java.lang.IllegalArgumentException".to_owned(),
            Error::Protocol(_) => "protocol.types.SchemaException",
            Error::Closed => return "java.lang.IllegalStateException".to_owned(),
        };
        format!("org.apache.kafka.common.{name}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Api { message: Some(message), .. } => f.write_str(message),
            Error::Api { code, message: None } => f.write_str(code.message()),
            Error::Timeout(message)
            | Error::Unreachable(message)
            | Error::Disconnected(message)
            | Error::Unsupported(message)
            | Error::Config(message)
            | Error::IllegalArgument(message)
            | Error::Protocol(message) => f.write_str(message),
            Error::Closed => f.write_str("The client is closed."),
        }
    }
}

impl std::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Error {
        Error::Protocol(format!("The broker's answer cannot be read: {error}"))
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Error {
        Error::Unsupported(error.to_string())
    }
}

/// Java's exception for a code: its name in camel case, but for those that go by another name.
fn exception_class(code: ErrorCode) -> String {
    let name = match code.name() {
        "UNKNOWN_SERVER_ERROR" => "UnknownServerException",
        "CORRUPT_MESSAGE" => "CorruptRecordException",
        "REQUEST_TIMED_OUT" => "TimeoutException",
        "MESSAGE_TOO_LARGE" => "RecordTooLargeException",
        "STALE_CONTROLLER_EPOCH" => "ControllerMovedException",
        "OFFSET_METADATA_TOO_LARGE" => "OffsetMetadataTooLarge",
        "NETWORK_EXCEPTION" => "NetworkException",
        "INVALID_TOPIC_EXCEPTION" => "InvalidTopicException",
        "RECORD_LIST_TOO_LARGE" => "RecordBatchTooLargeException",
        "TOPIC_ALREADY_EXISTS" => "TopicExistsException",
        "INVALID_CONFIG" => "InvalidConfigurationException",
        "OUT_OF_ORDER_SEQUENCE_NUMBER" => "OutOfOrderSequenceException",
        "DUPLICATE_SEQUENCE_NUMBER" => "DuplicateSequenceException",
        "INVALID_PRODUCER_ID_MAPPING" => "InvalidPidMappingException",
        "INVALID_TRANSACTION_TIMEOUT" => "InvalidTxnTimeoutException",
        "KAFKA_STORAGE_ERROR" => "KafkaStorageException",
        "DELEGATION_TOKEN_AUTH_DISABLED" => "DelegationTokenDisabledException",
        "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED" => "UnsupportedByAuthenticationException",
        "NON_EMPTY_GROUP" => "GroupNotEmptyException",
        "PRINCIPAL_DESERIALIZATION_FAILURE" => "PrincipalDeserializationException",
        "FETCH_SESSION_TOPIC_ID_ERROR" => "FetchSessionTopicIdException",
        "INVALID_REGULAR_EXPRESSION" => "InvalidRegularExpression",
        name => {
            let base =
                name.strip_suffix("_FAILED").filter(|b| b.contains("_AUTHORIZATION") || b.contains("_AUTHENTICATION"));
            let mut camel = String::from("org.apache.kafka.common.errors.");
            for word in base.unwrap_or(name).split('_') {
                let (first, rest) = word.split_at(word.len().min(1));
                camel.push_str(first);
                camel.push_str(&rest.to_ascii_lowercase());
            }
            camel.push_str("Exception");
            return camel;
        }
    };
    format!("org.apache.kafka.common.errors.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_javas_exceptions() {
        for (code, class) in [
            (ErrorCode::UnknownTopicOrPartition, "UnknownTopicOrPartitionException"),
            (ErrorCode::TopicAlreadyExists, "TopicExistsException"),
            (ErrorCode::TopicAuthorizationFailed, "TopicAuthorizationException"),
            (ErrorCode::InvalidReplicationFactor, "InvalidReplicationFactorException"),
            (ErrorCode::InvalidConfig, "InvalidConfigurationException"),
        ] {
            assert_eq!(Error::code(code).class(), format!("org.apache.kafka.common.errors.{class}"));
        }
    }
}
