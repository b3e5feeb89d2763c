//! A tiny HTTP/1.1 server for `GET /metrics`, `/healthz` and `/readyz`, with bounds: a few connections, a small head, a
//! deadline for each step. One page of metrics is made at a time, off the threads that serve clients.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

/// Connections at once. More wait to be accepted.
const CONNECTIONS: usize = 16;
/// Bytes of a request's head at most.
const HEAD_BYTES: usize = 8 * 1024;
/// Time for a whole head to come.
const READ: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// Time for an answer to go.
const WRITE: Duration = Duration::from_secs(10);
/// Pause after accepting failed, which happens when file descriptors run out.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What is answered.
pub struct Answers {
    /// Makes the page of metrics.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Why the broker does not serve, if it does not.
    pub not_ready: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let pages = Arc::new(Semaphore::new(1));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (answers, pages) = (answers.clone(), pages.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, answers, &pages).await {
                        debug!(%peer, %error, "a metrics connection ended early");
                    }
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(EXHAUSTED).await,
        }
    }
}

/// Answers one request and closes: whoever scrapes comes back seconds later.
async fn connection(mut stream: TcpStream, answers: Arc<Answers>, pages: &Semaphore) -> io::Result<()> {
    let head = timeout(READ, read_head(&mut stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let (request, head_only) = request_of(&head);
    let (status, body) = match request {
        Request::Metrics => {
            let _turn = pages.acquire().await.map_err(io::Error::other)?;
            let page = tokio::task::spawn_blocking(move || (answers.metrics)()).await.map_err(io::Error::other)?;
            ("200 OK", page)
        }
        Request::Health => ("200 OK", "ok\n".to_owned()),
        Request::Readiness => match (answers.not_ready)() {
            None => ("200 OK", "ready\n".to_owned()),
            Some(why) => ("503 Service Unavailable", format!("not ready: {why}\n")),
        },
        Request::Wrong(status) => {
            (status, format!("{status}\nMetrics are at GET /metrics, health at /healthz and /readyz\n"))
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: \
         close\r\n\r\n",
        body.len()
    );
    let answer = async {
        stream.write_all(head.as_bytes()).await?;
        if !head_only {
            stream.write_all(body.as_bytes()).await?;
        }
        stream.shutdown().await
    };
    timeout(WRITE, answer).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Reads up to the empty line, or as much as is allowed; too much is answered as such.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() <= HEAD_BYTES {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => head.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(head)
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Metrics,
    Health,
    Readiness,
    Wrong(&'static str),
}

/// What is asked for, and whether only the head of the answer is.
fn request_of(head: &[u8]) -> (Request, bool) {
    let wrong = |status| (Request::Wrong(status), false);
    if head.len() > HEAD_BYTES {
        return wrong("431 Request Header Fields Too Large");
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, version] = words[..] else { return wrong("400 Bad Request") };
    if !version.starts_with(b"HTTP/1.") {
        return wrong("400 Bad Request");
    }
    if ![&b"GET"[..], b"HEAD"].contains(&method) {
        return wrong("405 Method Not Allowed");
    }
    let request = match target.split(|b| *b == b'?').next().unwrap_or_default() {
        b"/metrics" => Request::Metrics,
        b"/healthz" => Request::Health,
        b"/readyz" => Request::Readiness,
        _ => Request::Wrong("404 Not Found"),
    };
    (request, method == b"HEAD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_and_health_are_served() {
        let request = |text: &str| request_of(text.as_bytes()).0;
        assert_eq!(request("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Request::Metrics);
        assert_eq!(request("GET /metrics?name=x HTTP/1.0\r\n\r\n"), Request::Metrics);
        assert_eq!(request_of(b"HEAD /metrics HTTP/1.1\r\n\r\n"), (Request::Metrics, true));
        assert_eq!(request_of(b"GET /healthz HTTP/1.1\r\n\r\n"), (Request::Health, false));
        assert_eq!(request("GET /readyz HTTP/1.1\r\n\r\n"), Request::Readiness);
        assert_eq!(request("GET / HTTP/1.1\r\n\r\n"), Request::Wrong("404 Not Found"));
        assert_eq!(request("POST /metrics HTTP/1.1\r\n\r\n"), Request::Wrong("405 Method Not Allowed"));
        for garbage in
            ["", "GET\r\n\r\n", "GET /metrics FTP/1\r\n", "\x16\x03\x01\r\n\r\n", "GET  /metrics HTTP/1.1\r\n"]
        {
            assert_eq!(request(garbage), Request::Wrong("400 Bad Request"), "{garbage:?}");
        }
    }

    async fn server() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Answers {
            metrics: Box::new(|| "up 1\n".repeat(100_000)),
            not_ready: Box::new(|| Some("the disk is full".to_owned())),
        };
        tokio::spawn(serve(listener, Arc::new(answers)));
        address
    }

    async fn ask(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A refused head may be reset before all of the answer was read.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_page_is_served_whole_with_its_length() {
        let address = server().await;
        let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("Content-Length: 500000"), "{head}");
        assert_eq!(body.len(), 500_000);
        let head_only = ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(head_only.ends_with("\r\n\r\n"));
    }

    #[tokio::test]
    async fn health_and_readiness_are_told_apart() {
        let address = server().await;
        let alive = ask(address, b"GET /healthz HTTP/1.1\r\n\r\n").await;
        assert!(alive.starts_with("HTTP/1.1 200 OK") && alive.ends_with("\r\n\r\nok\n"), "{alive}");
        let ready = ask(address, b"GET /readyz HTTP/1.1\r\n\r\n").await;
        let ends = ready.ends_with("\r\n\r\nnot ready: the disk is full\n");
        assert!(ready.starts_with("HTTP/1.1 503 Service Unavailable") && ends, "{ready}");
    }

    #[tokio::test]
    async fn an_endless_head_is_refused() {
        let answer = ask(server().await, &vec![b'a'; HEAD_BYTES + 1]).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_others_out_for_long() {
        let address = server().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = timeout(READ + Duration::from_secs(2), ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")).await;
        assert!(answer.unwrap().starts_with("HTTP/1.1 200"));
    }
}
