//! Where the REST server listens.

use connect_api::{Error, Result};

/// `http://host:port`; without a host on all interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub host: String,
    pub port: u16,
}

impl Listener {
    /// Reads one of `listeners`.
    pub fn parse(text: &str) -> Result<Listener> {
        let invalid = |why: &str| Error::config(format!("Invalid value {text} for configuration listeners: {why}"));
        let (scheme, address) =
            text.split_once("://").ok_or_else(|| invalid("a listener is a URL: http://host:port"))?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err(invalid("this worker serves http only; a proxy in front of it can serve https")),
            _ => return Err(invalid("the scheme must be http")),
        }
        let (host, port) = address.trim_end_matches('/').rsplit_once(':').ok_or_else(|| invalid("there is no port"))?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| invalid("the port is no number up to 65535"))?;
        Ok(Listener { host: host.to_owned(), port })
    }

    /// The address to bind to.
    pub fn bind_address(&self) -> (&str, u16) {
        (if self.host.is_empty() { "0.0.0.0" } else { &self.host }, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_urls() {
        assert_eq!(Listener::parse("http://:8083").unwrap(), Listener { host: String::new(), port: 8083 });
        assert_eq!(Listener::parse("HTTP://[::1]:80").unwrap().host, "::1");
        for wrong in ["8083", "https://:8083", "ftp://x:1", "http://x", "http://x:99999"] {
            assert!(Listener::parse(wrong).is_err(), "{wrong}");
        }
    }
}
