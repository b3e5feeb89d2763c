//! Reading the page.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::harness::Broker;

/// A broker that serves metrics.
pub struct Measured {
    pub broker: Broker,
    port: u16,
}

/// The page as it was at one time.
#[derive(Clone)]
pub struct Page {
    pub text: String,
}

impl Measured {
    pub fn start() -> Measured {
        let port = testkit::free_port();
        let broker = Broker::with_settings(&format!("klamm.metrics.listener=127.0.0.1:{port}\n"));
        Measured { broker, port }
    }

    pub fn page(&self) -> Page {
        // Listened on a moment after the broker's own port.
        let begun = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(e) => assert!(begun.elapsed() < Duration::from_secs(20), "no metrics: {e}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        Page { text: text.to_owned() }
    }

    /// The first page of which `wanted` makes something.
    pub fn wait_for<T>(&self, what: &str, wanted: impl Fn(&Page) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let page = self.page();
            if let Some(found) = wanted(&page) {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not come:\n{}", page.text);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Page {
    /// The value of a sample, given with its labels as the page writes it.
    pub fn value(&self, sample: &str) -> Option<f64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// All families with their kinds.
    pub fn families(&self) -> BTreeMap<String, String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').unwrap()).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
    }
}
