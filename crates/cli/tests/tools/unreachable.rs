//! Tools whose broker is none: what they say, and how soon.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use super::harness::run;

/// A port with somebody behind it who reads a little, answers with `answer`, and then closes or keeps the connection.
fn stranger(answer: &'static [u8], closes: bool) -> String {
    let listener = TcpListener::bind(("127.0.0.1", testkit::free_port())).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 8];
            if stream.read_exact(&mut asked).is_ok() && stream.write_all(answer).is_ok() && closes {
                let _ = stream.shutdown(Shutdown::Both);
            }
            kept.push(stream);
        }
    });
    address
}

/// The tool's words on standard error, and how long it took.
fn complaint(address: &str, more: &[&str]) -> (String, Duration) {
    let begun = Instant::now();
    let done = run("kafka-topics", &[&["--bootstrap-server", address, "--list"], more].concat());
    assert_eq!(done.code, Some(1), "{done:?}");
    (format!("{}{}", done.out, done.err), begun.elapsed())
}

#[test]
fn who_says_nothing_is_named_within_seconds() {
    let address = stranger(b"", false);
    let (said, took) = complaint(&address, &[]);
    assert!(said.contains("Timed out waiting for a node assignment. Call: listTopics"), "{said}");
    assert!(said.contains(&format!("{address} (connected, and no answer in 10000 ms)")), "{said}");
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[test]
fn a_time_limit_of_the_user_holds_for_who_says_nothing() {
    let address = stranger(b"", false);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits").display().to_string();
    std::fs::write(&file, "default.api.timeout.ms=1500\n").unwrap();
    let (said, took) = complaint(&address, &["--command-config", &file]);
    assert!(said.contains(&format!("{address} (no answer in time)")), "{said}");
    assert!((Duration::from_millis(1400)..Duration::from_secs(8)).contains(&took), "{took:?}");
    std::fs::write(&file, "request.timeout.ms=1000\n").unwrap();
    let (said, took) = complaint(&address, &["--command-config", &file]);
    assert!(said.contains(&format!("{address} (connected, and no answer in 1000 ms)")), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn who_speaks_another_protocol_is_asked_about() {
    let answers: [(&'static [u8], &str); 2] =
        [(b"", "the broker closed the connection"), (b"HTTP/1.1 400 Bad Request\r\n", "an answer of 1213486160 bytes")];
    for (answer, why) in answers {
        let address = stranger(answer, true);
        let (said, took) = complaint(&address, &[]);
        assert!(said.contains(&format!("{address} ({why}")), "{said}");
        assert!(said.contains("is this a listener of Kafka's protocol, without TLS?"), "{said}");
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}
