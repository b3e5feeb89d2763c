//! The metrics page, read over and over by a thread of its own as a monitoring system would, only faster. Every page has to
//! be one, and no counter may run backwards while the broker lives.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::broker::wait_until;

/// A page: what follows `name{labels}`, by that.
pub type Page = HashMap<String, f64>;

pub struct Metrics {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    address: String,
    stop: AtomicBool,
    pages: AtomicUsize,
    /// The page before; none while the broker is not there.
    last: Mutex<Option<Page>>,
}

impl Metrics {
    pub fn of(address: String) -> Metrics {
        let shared = Arc::new(Shared {
            address,
            stop: AtomicBool::new(false),
            pages: AtomicUsize::new(0),
            last: Mutex::new(None),
        });
        let of_thread = shared.clone();
        let reader = std::thread::spawn(move || {
            while !of_thread.stop.load(Ordering::Relaxed) {
                let mut last = of_thread.last.lock().unwrap();
                // Only the test itself says when there is a broker.
                if last.is_some() {
                    of_thread.read(&mut last);
                }
                drop(last);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Metrics { shared, reader: Some(reader) }
    }

    pub fn wait_for_the_broker(&self) {
        wait_until("the broker is ready", || self.get("/readyz").is_some_and(|(status, _)| status == 200));
        self.shared.last.lock().unwrap().get_or_insert_default();
    }

    /// Nothing is read from now on until the broker was waited for again.
    pub fn pause(&self) {
        *self.shared.last.lock().unwrap() = None;
    }

    /// A page as it is now.
    pub fn page(&self) -> Page {
        let mut last = self.shared.last.lock().unwrap();
        self.shared.read(&mut last);
        last.clone().unwrap()
    }

    /// What a series is now.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.page().get(series).copied()
    }

    /// Waits until a series has this value.
    pub fn wait_for(&self, series: &str, value: f64) {
        wait_until(&format!("{series} is {value}"), || self.value(series) == Some(value));
    }

    /// Status and body of an answer; none when nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.shared.get(path)
    }

    /// Ends the reading, which has to have gone well, and says how many pages there were.
    pub fn end(&mut self) -> usize {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("every page is well-formed");
        }
        self.shared.pages.load(Ordering::Relaxed)
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn read(&self, last: &mut Option<Page>) {
        let (status, body) = self.get("/metrics").expect("the broker answers /metrics");
        assert_eq!(status, 200);
        let page = parse(&body);
        for (series, before) in last.iter().flatten().filter(|(series, _)| is_counter(series)) {
            // Series of a topic that was deleted go.
            let now = page.get(series).copied().unwrap_or(*before);
            assert!(now >= *before, "{series} went from {before} to {now}");
        }
        *last = Some(page);
        self.pages.fetch_add(1, Ordering::Relaxed);
    }
}

fn is_counter(series: &str) -> bool {
    series.split('{').next().is_some_and(|name| name.ends_with("_total"))
}

fn parse(body: &str) -> Page {
    assert!(body.ends_with('\n'), "a page that was cut off");
    let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let parsed = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        (series.to_owned(), value.parse().unwrap_or_else(|e| panic!("{e}: {line}")))
    });
    let mut page = Page::new();
    for (series, value) in parsed {
        assert!(page.insert(series.clone(), value).is_none(), "{series} is there twice");
    }
    page
}
