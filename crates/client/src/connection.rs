//! One connection to one broker: requests go out in the order they are started, answers come back in that order.
//!
//! Invariant: a frame is written whole or the connection is dead. Whoever gives up in the middle of a write closes it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use wire::ApiKey;
use wire::codec::{Decoder, Encoder, Message, Request};
use wire::header::{parse_response_header, write_request_header};

use crate::dialogue::Dialogue;
use crate::versions::ApiVersions;
use crate::{ClientConfig, Error};

/// A handle; clones share the connection, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// As warnings name it: `localhost/127.0.0.1:9092`.
    peer: String,
    client_id: String,
    request_timeout: Duration,
    write: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Arc<Waiting>,
    versions: ApiVersions,
    reader: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    answers: VecDeque<Expected>,
    next_correlation_id: i32,
    /// Why the connection ended.
    ended: Option<String>,
}

#[derive(Debug)]
struct Expected {
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    to: oneshot::Sender<Result<Reply, Error>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, why: &str) {
        let answers = {
            let mut queue = self.lock();
            queue.ended.get_or_insert_with(|| why.to_owned());
            std::mem::take(&mut queue.answers)
        };
        for expected in answers {
            let _ = expected.to.send(Err(Error::Disconnected(why.to_owned())));
        }
    }
}

/// An answer, still in its frame.
#[derive(Debug)]
pub struct Reply {
    frame: Vec<u8>,
    body: usize,
    pub version: i16,
    pub correlation_id: i32,
}

impl Reply {
    /// The whole answer without its length, for who remembers places in it.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Reads the answer; it borrows from the frame.
    pub fn decode<'r, M: Message<'r>>(&'r self) -> Result<M, Error> {
        Ok(M::decode(&mut Decoder::new(&self.frame[self.body..]), self.version)?)
    }
}

/// A request whose answer has not come yet.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Reply, Error>>,
    deadline: Instant,
    connection: Connection,
    name: &'static str,
}

impl Pending {
    /// Waits for the answer. When none comes in time the connection is closed, for answers come in order.
    pub async fn reply(self) -> Result<Reply, Error> {
        match timeout_at(self.deadline, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Disconnected("The connection was closed".into())),
            Err(_) => {
                let why = format!("{} to {} was not answered in time", self.name, self.connection.inner.peer);
                self.connection.close(&why);
                Err(Error::Timeout(why))
            }
        }
    }
}

/// Closes the connection unless it is told that the write came to its end.
struct WholeOrDead<'a> {
    waiting: &'a Waiting,
    done: bool,
}

impl Drop for WholeOrDead<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.waiting.end("a request was given up while it was being written");
        }
    }
}

impl Connection {
    /// Connects and asks for the versions that the broker knows.
    pub async fn open(address: SocketAddr, host: &str, config: &ClientConfig) -> Result<Connection, Error> {
        let (peer, stream, versions, next_correlation_id) = Dialogue::open(address, host, config).await?.into_parts();
        let (read, write) = stream.into_split();
        let waiting = Arc::new(Waiting(Mutex::new(Queue { next_correlation_id, ..Queue::default() })));
        let answers = read_answers(read, peer.clone(), waiting.clone(), config.frame_bytes_max);
        let reader = tokio::spawn(answers).abort_handle();
        let inner = Inner {
            peer,
            client_id: config.client_id.clone(),
            request_timeout: config.request_timeout,
            write: tokio::sync::Mutex::new(write),
            waiting,
            versions,
            reader,
        };
        Ok(Connection { inner: Arc::new(inner) })
    }

    /// The versions that the broker knows.
    pub fn versions(&self) -> &ApiVersions {
        &self.inner.versions
    }

    /// The newest version that both sides know.
    pub fn version(&self, key: ApiKey) -> Result<i16, Error> {
        self.versions()
            .common(key)
            .ok_or_else(|| Error::Unsupported(format!("The node does not support {}", java_name(key))))
    }

    /// Sends a request in the newest common version and waits for the answer.
    pub async fn call<'q, R: Request + Message<'q>>(&self, request: &R) -> Result<Reply, Error> {
        self.call_at(self.version(R::KEY)?, request).await
    }

    /// Sends a request in the given version and waits for the answer.
    pub async fn call_at<'q, R: Request + Message<'q>>(&self, version: i16, request: &R) -> Result<Reply, Error> {
        self.start(version, request).await?.reply().await
    }

    /// Sends a request; returns when it is written.
    pub async fn start<'q, R: Request + Message<'q>>(&self, version: i16, request: &R) -> Result<Pending, Error> {
        self.start_within(version, request, self.inner.request_timeout).await
    }

    /// As [`start`](Self::start), with a time limit of its own.
    pub async fn start_within<'q, R: Request + Message<'q>>(
        &self,
        version: i16,
        request: &R,
        limit: Duration,
    ) -> Result<Pending, Error> {
        let inner = &*self.inner;
        let deadline = Instant::now() + limit;
        let (to, answer) = oneshot::channel();
        let mut e = Encoder::new();
        let frame = e.begin_frame();
        write_request_header(&mut e, R::KEY, version, 0, Some(&inner.client_id))?;
        request.encode(&mut e, version)?;
        e.end_frame(frame)?;
        {
            let mut write = inner.write.lock().await;
            {
                let mut queue = inner.waiting.lock();
                if let Some(why) = &queue.ended {
                    return Err(Error::Disconnected(why.clone()));
                }
                let correlation_id = queue.next_correlation_id;
                queue.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
                // After the frame's length, the key and the version.
                e.bytes_mut()[8..12].copy_from_slice(&correlation_id.to_be_bytes());
                queue.answers.push_back(Expected { correlation_id, key: R::KEY, version, to });
            }
            let mut guard = WholeOrDead { waiting: &inner.waiting, done: false };
            let written = timeout_at(deadline, write.write_all(e.bytes())).await;
            guard.done = matches!(written, Ok(Ok(())));
        }
        Ok(Pending { answer, deadline, connection: self.clone(), name: R::KEY.name() })
    }

    /// Sends a request that is never answered (Produce with acks 0).
    pub async fn send_only<'q, R: Request + Message<'q>>(&self, version: i16, request: &R) -> Result<(), Error> {
        let inner = &*self.inner;
        let mut e = Encoder::new();
        let frame = e.begin_frame();
        write_request_header(&mut e, R::KEY, version, 0, Some(&inner.client_id))?;
        request.encode(&mut e, version)?;
        e.end_frame(frame)?;
        let mut write = inner.write.lock().await;
        if let Some(why) = &inner.waiting.lock().ended {
            return Err(Error::Disconnected(why.clone()));
        }
        let mut guard = WholeOrDead { waiting: &inner.waiting, done: false };
        guard.done = matches!(timeout(inner.request_timeout, write.write_all(e.bytes())).await, Ok(Ok(())));
        if guard.done { Ok(()) } else { Err(Error::Disconnected(format!("{}: the connection broke", inner.peer))) }
    }

    /// Whether the connection can still be used, as far as known.
    pub fn is_open(&self) -> bool {
        self.inner.waiting.lock().ended.is_none()
    }

    /// As warnings name it: `localhost/127.0.0.1:9092`.
    pub fn peer(&self) -> &str {
        &self.inner.peer
    }

    fn close(&self, why: &str) {
        self.inner.waiting.end(why);
        self.inner.reader.abort();
    }
}

async fn read_answers(read: OwnedReadHalf, peer: String, waiting: Arc<Waiting>, frame_bytes_max: usize) {
    // A small answer comes with its length in one read.
    let mut read = BufReader::new(read);
    let why = loop {
        match read_frame(&mut read, frame_bytes_max).await {
            Ok(frame) => {
                let Some(expected) = waiting.lock().answers.pop_front() else {
                    break "the broker sent an answer that nobody asked for".to_owned();
                };
                match parse_response_header(&frame, expected.key, expected.version) {
                    Ok((id, body)) if id == expected.correlation_id => {
                        let _ =
                            expected.to.send(Ok(Reply { frame, body, version: expected.version, correlation_id: id }));
                    }
                    Ok((id, _)) => {
                        let why = format!("the broker answered {id} instead of {}", expected.correlation_id);
                        let _ = expected.to.send(Err(Error::Protocol(why.clone())));
                        break why;
                    }
                    Err(error) => {
                        let _ = expected.to.send(Err(error.into()));
                        break "the broker's answer cannot be read".to_owned();
                    }
                }
            }
            Err(error) => break plain(&error),
        }
    };
    waiting.end(&format!("{} ({why})", peer.trim_start_matches('/')));
}

async fn read_frame(read: &mut BufReader<OwnedReadHalf>, frame_bytes_max: usize) -> std::io::Result<Vec<u8>> {
    /// The claimed length is believed up to here; beyond, memory grows with what arrives.
    const BELIEVED: usize = 1 << 20;
    let mut length = [0; 4];
    read.read_exact(&mut length).await?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > frame_bytes_max {
        let why = format!("an answer of {length} bytes is more than is read ({frame_bytes_max})");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
    }
    let mut frame = Vec::with_capacity(length.min(BELIEVED));
    let mut limited = read.take(length as u64);
    while frame.len() < length {
        if frame.len() == frame.capacity() {
            frame.reserve_exact(frame.len().min(length - frame.len()));
        }
        if limited.read_buf(&mut frame).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame)
}

/// An I/O error in a few words, without the number that the system gives it.
pub(crate) fn plain(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, UnexpectedEof};
    match error.kind() {
        ConnectionRefused => "connection refused".into(),
        UnexpectedEof => "the broker closed the connection".into(),
        ConnectionReset => "the broker reset the connection".into(),
        _ => error.to_string(),
    }
}

/// `DESCRIBE_CLIENT_QUOTAS`, as Java calls an API.
pub(crate) fn java_name(key: ApiKey) -> String {
    let mut name = String::new();
    for c in key.name().chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
