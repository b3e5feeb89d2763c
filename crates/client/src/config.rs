//! The settings that all clients share, under Java's property names.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Error;

/// Java-style settings: name and value.
pub type Properties = BTreeMap<String, String>;

/// How long an administrator's tool waits for a broker that says nothing.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Which of Kafka's clients this one stands for: its name appears in warnings and in client ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    Producer,
    Consumer,
}

impl Role {
    /// As in `[AdminClient clientId=adminclient-1]`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Admin => "AdminClient",
            Role::Producer => "Producer",
            Role::Consumer => "Consumer",
        }
    }
}

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub role: Role,
    /// Host and port of brokers to begin with.
    pub bootstrap_servers: Vec<(String, u16)>,
    pub client_id: String,
    /// How the client calls itself in warnings, in square brackets.
    pub log_name: String,
    /// How long one request may take (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How long an operation may take, retries included (`default.api.timeout.ms`).
    pub api_timeout: Duration,
    /// How long every known address may refuse before an operation gives up; none: as long as the operation may take.
    pub patience: Option<Duration>,
    /// How long a broker that accepts a connection may take for its first answer; none: as long as for any request.
    pub first_answer_timeout: Option<Duration>,
    pub retry_backoff: Duration,
    pub retry_backoff_max: Duration,
    pub reconnect_backoff: Duration,
    pub reconnect_backoff_max: Duration,
    pub connection_setup_timeout: Duration,
    pub metadata_max_age: Duration,
    /// The longest answer that is read, in bytes.
    pub frame_bytes_max: usize,
}

impl ClientConfig {
    /// The Java client's defaults, without any address to begin with.
    pub fn bare(role: Role, client_id: &str) -> ClientConfig {
        ClientConfig {
            role,
            bootstrap_servers: Vec::new(),
            client_id: client_id.to_owned(),
            log_name: format!("{} clientId={client_id}", role.name()),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            patience: None,
            first_answer_timeout: None,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            connection_setup_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            frame_bytes_max: 1 << 30,
        }
    }

    /// Reads settings whose variables are filled in ([`crate::config_providers`]); those that are not there get the Java
    /// client's defaults.
    pub fn new(role: Role, properties: &Properties) -> Result<ClientConfig, Error> {
        refuse_unsupported(properties)?;
        let servers = properties.get("bootstrap.servers").ok_or_else(|| {
            Error::Config("Missing required configuration \"bootstrap.servers\" which has no default value.".into())
        })?;
        let default_id = match role {
            Role::Admin => "adminclient-1",
            Role::Producer => "producer-1",
            Role::Consumer => "consumer-1",
        };
        let client_id = match properties.get("client.id").map(|id| id.trim()) {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => default_id.to_owned(),
        };
        let (api_default, patience) = match role {
            Role::Admin => (60_000, Some(Duration::from_secs(3))),
            _ => (60_000, None),
        };
        // Whoever sets a time limit means it.
        let patience = patience.filter(|_| !properties.contains_key("default.api.timeout.ms"));
        let first_answer_timeout = patience.filter(|_| !properties.contains_key("request.timeout.ms"));
        let first_answer_timeout = first_answer_timeout.map(|_| FIRST_ANSWER);
        Ok(ClientConfig {
            role,
            bootstrap_servers: parse_servers(servers)?,
            log_name: format!("{} clientId={client_id}", role.name()),
            client_id,
            request_timeout: millis(properties, "request.timeout.ms", 30_000)?,
            api_timeout: millis(properties, "default.api.timeout.ms", api_default)?,
            patience,
            first_answer_timeout,
            retry_backoff: millis(properties, "retry.backoff.ms", 100)?,
            retry_backoff_max: millis(properties, "retry.backoff.max.ms", 1_000)?,
            reconnect_backoff: millis(properties, "reconnect.backoff.ms", 50)?,
            reconnect_backoff_max: millis(properties, "reconnect.backoff.max.ms", 1_000)?,
            connection_setup_timeout: millis(properties, "socket.connection.setup.timeout.ms", 10_000)?,
            metadata_max_age: millis(properties, "metadata.max.age.ms", 300_000)?,
            frame_bytes_max: 1 << 30,
        })
    }
}

/// What protects a connection and is not there yet must not be left out silently.
fn refuse_unsupported(properties: &Properties) -> Result<(), Error> {
    match properties.get("security.protocol").map(|p| p.trim()) {
        None | Some("" | "PLAINTEXT") => Ok(()),
        Some(other) => Err(Error::Config(format!(
            "Invalid value {other} for configuration security.protocol: this client connects by PLAINTEXT only"
        ))),
    }
}

/// `host:port,[::1]:9092`: Java's rules and messages.
fn parse_servers(list: &str) -> Result<Vec<(String, u16)>, Error> {
    let mut servers = Vec::new();
    for url in list.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        let invalid = || Error::Config(format!("Invalid url in bootstrap.servers: {url}"));
        // A protocol in front is allowed and means nothing.
        let address = url.rsplit_once("://").map_or(url, |(_, address)| address);
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let port = port.parse().map_err(|_| Error::Config(format!("Invalid port in bootstrap.servers: {url}")))?;
        servers.push((host.to_owned(), port));
    }
    if servers.is_empty() {
        return Err(Error::Config("No resolvable bootstrap urls given in bootstrap.servers".into()));
    }
    Ok(servers)
}

/// A number under a name, or the default.
pub fn number<T: std::str::FromStr>(properties: &Properties, name: &str, default: T, kind: &str) -> Result<T, Error> {
    match properties.get(name) {
        None => Ok(default),
        Some(text) => text.trim().parse().map_err(|_| {
            Error::Config(format!("Invalid value {text} for configuration {name}: Not a number of type {kind}"))
        }),
    }
}

/// A non-negative number of milliseconds under a name.
pub fn millis(properties: &Properties, name: &str, default: u64) -> Result<Duration, Error> {
    let value: i64 = number(properties, name, default as i64, "LONG")?;
    match u64::try_from(value) {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) => {
            Err(Error::Config(format!("Invalid value {value} for configuration {name}: Value must be at least 0")))
        }
    }
}

/// `true` or `false` under a name.
pub fn boolean(properties: &Properties, name: &str, default: bool) -> Result<bool, Error> {
    match properties.get(name).map(|v| v.trim()) {
        None => Ok(default),
        Some(v) if v.eq_ignore_ascii_case("true") => Ok(true),
        Some(v) if v.eq_ignore_ascii_case("false") => Ok(false),
        Some(v) => Err(Error::Config(format!(
            "Invalid value {v} for configuration {name}: Expected value to be either true or false"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_java_reads_them() {
        let expected = vec![("localhost".to_owned(), 9092), ("::1".to_owned(), 9093)];
        assert_eq!(parse_servers("localhost:9092, PLAINTEXT://[::1]:9093,").unwrap(), expected);
        for wrong in ["foo", ":9092", "foo:", "foo:x", "foo:99999", "", ","] {
            assert!(parse_servers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_tell_which_setting_is_wrong() {
        let mut properties = Properties::new();
        properties.insert("request.timeout.ms".into(), "abc".into());
        let error = millis(&properties, "request.timeout.ms", 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid value abc for configuration request.timeout.ms: Not a number of type LONG"
        );
    }
}
