//! One connection with one request under way at a time.
//!
//! It has no task: whoever asks also reads, into a buffer that is kept from one answer to the next. This is how every
//! connection begins; most become a [`Connection`](crate::Connection) then. A follower, which asks its leader the same
//! thing thousands of times a second, stays with it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::codec::{Decoder, Encoder, Message, Request};
use wire::header::{parse_response_header, write_request_header};
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use wire::{ApiKey, ErrorCode};

use crate::connection::{java_name, plain};
use crate::versions::ApiVersions;
use crate::{ClientConfig, Error};

/// The kernel's copies into a buffer that does not begin with a page cost up to twice the CPU.
const PAGE: usize = 4096;
/// Room that an answer finds.
const ROOM: usize = 256 << 10;
/// The claimed length is believed up to here; beyond, room grows with what arrives.
const BELIEVED: usize = 1 << 20;
const LENGTH: usize = 4;
/// What to think of where the first answer is none.
const STRANGER: &str = "is this a listener of Kafka's protocol, without TLS?";
/// After so many answers that needed little of a large buffer, its memory is given back.
const UNUSED_MAX: u32 = 64;

/// See the module. After an error, or a call of [`Dialogue::send`] that was given up, it is of no use any more.
#[derive(Debug)]
pub struct Dialogue {
    /// As warnings name it: `localhost/127.0.0.1:9092`.
    peer: String,
    client_id: String,
    frame_bytes_max: usize,
    stream: TcpStream,
    versions: ApiVersions,
    correlation_id: i32,
    request: Encoder,
    asked: Option<(ApiKey, i16)>,
    buffer: Buffer,
    /// Where the answer's body begins in the buffer; `None` while it is not whole.
    body: Option<usize>,
}

impl Dialogue {
    /// Connects and asks for the versions that the broker knows.
    pub async fn open(address: SocketAddr, host: &str, config: &ClientConfig) -> Result<Dialogue, Error> {
        let peer =
            if host.parse::<std::net::IpAddr>().is_ok() { format!("/{address}") } else { format!("{host}/{address}") };
        let refused = |why: &str| Error::Disconnected(format!("{} ({why})", peer.trim_start_matches('/')));
        let stream = match timeout(config.connection_setup_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(refused(&plain(&error))),
            Err(_) => return Err(refused("no answer to the connection attempt")),
        };
        let _ = stream.set_nodelay(true);
        let mut dialogue = Dialogue {
            peer,
            client_id: config.client_id.clone(),
            frame_bytes_max: config.frame_bytes_max,
            stream,
            versions: ApiVersions::default(),
            correlation_id: 0,
            request: Encoder::new(),
            asked: None,
            buffer: Buffer::default(),
            body: None,
        };
        let limit = config.first_answer_timeout.unwrap_or(config.request_timeout);
        let asked = dialogue.ask_versions(limit).await;
        let peer = dialogue.peer.trim_start_matches('/');
        dialogue.versions = asked.map_err(|error| match error {
            Error::Timeout(_) => {
                Error::Disconnected(format!("{peer} (connected, and no answer in {} ms)", limit.as_millis()))
            }
            Error::Disconnected(why) => Error::Disconnected(format!("{peer} ({why}; {STRANGER})")),
            Error::Protocol(why) => Error::Protocol(format!("{peer}: {why}; {STRANGER}")),
            other => other,
        })?;
        Ok(dialogue)
    }

    /// KIP-511: begins with our newest version; a broker that does not know it says so in version 0.
    async fn ask_versions(&mut self, limit: Duration) -> Result<ApiVersions, Error> {
        let mut version = *ApiKey::ApiVersions.stable_versions().end();
        loop {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = "klamm".into();
                request.client_software_version = env!("CARGO_PKG_VERSION").into();
            }
            let answer = timeout(limit, async {
                self.send(version, &request).await?;
                self.answer().await
            });
            match answer.await {
                Ok(answer) => answer?,
                Err(_) => {
                    return Err(Error::Timeout(format!("ApiVersions to {} was not answered in time", self.peer)));
                }
            }
            let unsupported = self.body().get(..2) == Some(&35i16.to_be_bytes()[..]);
            if unsupported {
                self.asked = Some((ApiKey::ApiVersions, 0));
            }
            let response: ApiVersionsResponse<'_> = self.decode()?;
            if !unsupported {
                Error::check(ErrorCode::from_code(response.error_code), None)?;
                return Ok(ApiVersions::from(&response));
            }
            let offered = ApiVersions::from(&response).common(ApiKey::ApiVersions).unwrap_or(0);
            if version == 0 || offered >= version {
                return Err(Error::Unsupported("The broker does not answer ApiVersions".into()));
            }
            version = offered;
        }
    }

    /// The newest version that both sides know.
    pub fn version(&self, key: ApiKey) -> Result<i16, Error> {
        let common = self.versions.common(key);
        common.ok_or_else(|| Error::Unsupported(format!("The node does not support {}", java_name(key))))
    }

    /// Sends a request; returns when it is written. The answer before is forgotten.
    pub async fn send<'q, R: Request + Message<'q>>(&mut self, version: i16, request: &R) -> Result<(), Error> {
        let e = &mut self.request;
        e.clear();
        let frame = e.begin_frame();
        write_request_header(e, R::KEY, version, self.correlation_id, Some(&self.client_id))?;
        request.encode(e, version)?;
        e.end_frame(frame)?;
        self.asked = Some((R::KEY, version));
        self.body = None;
        self.buffer.clear();
        self.stream.write_all(self.request.bytes()).await.map_err(|error| self.broken(&error))
    }

    /// Waits for the answer to what was sent, to be read with [`Dialogue::decode`]. May be given up and called again.
    pub async fn answer(&mut self) -> Result<(), Error> {
        loop {
            let need = self.frame_bytes()?;
            if need <= self.buffer.filled {
                break;
            }
            match self.stream.read(self.buffer.room(need)).await {
                Ok(0) => return Err(self.broken(&std::io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => self.buffer.filled += n,
                Err(error) => return Err(self.broken(&error)),
            }
        }
        let Some((key, version)) = self.asked else {
            return Err(Error::Protocol("the broker sent an answer that nobody asked for".into()));
        };
        let (id, body) = parse_response_header(&self.buffer.bytes()[LENGTH..], key, version)?;
        if id != self.correlation_id {
            let why = format!("the broker answered {id} instead of {}", self.correlation_id);
            return Err(Error::Protocol(why));
        }
        self.correlation_id = id.wrapping_add(1) & i32::MAX;
        self.body = Some(LENGTH + body);
        Ok(())
    }

    /// The bytes that the answer has in all, as far as that is known.
    fn frame_bytes(&self) -> Result<usize, Error> {
        let Some(length) = self.buffer.bytes().first_chunk::<LENGTH>() else { return Ok(LENGTH) };
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > self.frame_bytes_max {
            let most = self.frame_bytes_max;
            return Err(Error::Disconnected(format!("an answer of {length} bytes is more than is read ({most})")));
        }
        if self.buffer.filled > LENGTH + length {
            return Err(Error::Protocol("the broker sent an answer that nobody asked for".into()));
        }
        Ok(LENGTH + length)
    }

    fn body(&self) -> &[u8] {
        self.body.and_then(|body| self.buffer.bytes().get(body..)).unwrap_or_default()
    }

    /// Reads the answer that came; it borrows from the buffer.
    pub fn decode<'r, M: Message<'r>>(&'r self) -> Result<M, Error> {
        match (self.asked, self.body) {
            (Some((_, version)), Some(_)) => Ok(M::decode(&mut Decoder::new(self.body()), version)?),
            _ => Err(Error::Protocol("no answer has come".into())),
        }
    }

    /// Sends a request in the newest common version, and waits for its answer.
    pub async fn call<'q, R: Request + Message<'q>>(&mut self, request: &R, limit: Duration) -> Result<(), Error> {
        let version = self.version(R::KEY)?;
        let answered = timeout(limit, async {
            self.send(version, request).await?;
            self.answer().await
        });
        let why = || Error::Timeout(format!("{} was not answered in time", R::KEY.name()));
        answered.await.map_err(|_| why())?
    }

    fn broken(&self, error: &std::io::Error) -> Error {
        Error::Disconnected(plain(error))
    }

    /// What a [`Connection`](crate::Connection) is made of: the peer's name, the socket, the versions, the next request's
    /// correlation id.
    pub(crate) fn into_parts(self) -> (String, TcpStream, ApiVersions, i32) {
        (self.peer, self.stream, self.versions, self.correlation_id)
    }
}

/// Where answers are read into: it begins with a page, and grows as bytes arrive.
#[derive(Debug, Default)]
struct Buffer {
    /// With what comes before the first page in it.
    bytes: Vec<u8>,
    start: usize,
    filled: usize,
    /// Answers in a row that needed less than a quarter of it.
    unused: u32,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.filled]
    }

    fn size(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Forgets what is in it; and its room, where many answers in a row needed little of it: new pages are dear, and
    /// large answers come with small ones between them.
    fn clear(&mut self) {
        let is_large = self.size() > BELIEVED && self.filled < self.size() / 4;
        self.unused = if is_large { self.unused + 1 } else { 0 };
        if self.unused >= UNUSED_MAX {
            *self = Buffer::default();
        }
        self.filled = 0;
    }

    /// Where what comes next of a frame of `need` bytes is read to; there is always room.
    fn room(&mut self, need: usize) -> &mut [u8] {
        if self.filled == self.size() || need > self.size() && need <= BELIEVED {
            let size = need.min((2 * self.size()).max(BELIEVED)).max(ROOM).next_power_of_two();
            let bytes = vec![0; size + PAGE];
            let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
            let before = std::mem::replace(self, Buffer { bytes, start, filled: self.filled, unused: 0 });
            self.bytes[start..start + self.filled].copy_from_slice(before.bytes());
            self.bytes.truncate(start + size);
        }
        let from = self.start + self.filled;
        &mut self.bytes[from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_with_a_page_keeps_what_it_has_and_grows_with_what_arrives() {
        let mut buffer = Buffer::default();
        let need = 5 << 20;
        let mut sent = 0u32;
        while buffer.filled < need {
            let size = buffer.size();
            let room = buffer.room(need);
            let n = room.len().min(1000);
            room[..n].iter_mut().for_each(|byte| {
                *byte = sent as u8;
                sent = sent.wrapping_add(7);
            });
            buffer.filled += n;
            assert_eq!(buffer.bytes().as_ptr().align_offset(PAGE), 0);
            assert!(buffer.size() <= (4 * buffer.filled).max(BELIEVED), "{} for {}", buffer.size(), buffer.filled);
            assert!(buffer.size() >= size);
        }
        assert!(buffer.bytes().iter().enumerate().all(|(at, byte)| *byte == (at as u32).wrapping_mul(7) as u8));
        buffer.clear();
        assert!(buffer.size() >= need, "the next answer may be as large");
        for _ in 1..UNUSED_MAX {
            buffer.filled = 100;
            buffer.clear();
        }
        assert!(buffer.size() >= need, "small ones come in between");
        buffer.filled = need;
        buffer.clear();
        for _ in 0..UNUSED_MAX {
            assert!(buffer.size() >= need);
            buffer.filled = 100;
            buffer.clear();
        }
        assert_eq!(buffer.size(), 0, "nobody needs it any more");
    }
}
