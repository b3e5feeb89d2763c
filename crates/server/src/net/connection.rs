//! One client's connection: reads whatever is there, handles all whole frames of a read together, answers in order.
//!
//! Consecutive Produce requests of one read are staged and appended together, so that batches of one partition share a
//! write (`api/produce.rs`); every other request is handled alone, in its turn. Answers of a read leave with one write.
//! While nothing of a frame is there, the connection owns no buffer.

use super::buffers::{CHUNK, Chunk};
use super::output;
use super::reactors::Place;
use super::vitals::Registered;
use super::waves::{self, Waves};
use super::works::Large;
use crate::api::produce::{self, Staged};
use crate::api::{self, Close, Scope};
use crate::config::zoo;
use crate::four_letter_words::{self, Vitals};
use crate::logging::requests::{self, Completed};
use crate::metrics::{Answered, Connection, Timed, Times};
use crate::node::Node;
use crate::registration;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{unconstrained, yield_now};
use wire::ApiKey;
use wire::codec::Encoder;
use wire::header::parse_request_header;

/// After so many reads, or bytes read, without a pause a connection lets others have their turn.
const TURN_READS: u32 = 64;
const TURN_BYTES: usize = 4 << 20;
/// Buffers larger than this are not held on to between reads.
const KEPT_OUTPUT: usize = 64 << 10;
/// So many answered requests may be noted in what is kept.
const KEPT_ANSWERED: usize = 256;

/// What handlers may know of the connection.
pub struct Peer {
    pub address: SocketAddr,
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    pub connection: Connection,
    /// The listener is for the quorum.
    pub is_controller: bool,
    /// The broker that registered, or told that it lives, over this connection, and its epoch.
    broker: Mutex<Option<(i32, i64)>>,
}

impl Peer {
    pub fn new(address: SocketAddr, listener: Arc<str>, connection: Connection, is_controller: bool) -> Peer {
        Peer { address, listener, connection, is_controller, broker: Mutex::default() }
    }

    /// Which APIs it may use.
    pub fn scope(&self) -> Scope {
        if self.is_controller { Scope::Controller } else { Scope::Broker }
    }

    /// A broker says over this connection that it lives: when the connection ends, it may have ended too.
    pub fn lives_as(&self, broker_id: i32, broker_epoch: i64) {
        *self.broker.lock().unwrap_or_else(PoisonError::into_inner) = Some((broker_id, broker_epoch));
    }

    fn lived_as(&self) -> Option<(i32, i64)> {
        *self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// Whether it came to the port that a `zoo.cfg` names.
    fn is_zookeepers(&self) -> bool {
        &*self.listener == zoo::CLIENT_LISTENER
    }
}

/// What a connection uses while it is busy; pooled, because most connections are idle most of the time.
pub struct Work {
    chunk: Chunk,
    /// The share of the memory budget that a large chunk takes.
    share: Option<OwnedSemaphorePermit>,
    start: usize,
    end: usize,
    out: Encoder,
    produce: Staged,
    /// Requests whose answers are in `out`.
    answered: Vec<Answered>,
    /// When the last bytes came.
    arrived: Instant,
    /// When the last step was done; what is handled next begins then. So that a step needs one look at the clock.
    now: Instant,
}

impl Work {
    pub fn new(chunk: Chunk) -> Work {
        let now = Instant::now();
        Work {
            chunk,
            share: None,
            start: 0,
            end: 0,
            out: Encoder::new(),
            produce: Staged::default(),
            answered: Vec::new(),
            arrived: now,
            now,
        }
    }

    /// Goes on in a larger chunk; returns the old one.
    pub fn enlarge(&mut self, (mut chunk, share): Large) -> Chunk {
        let have = self.end - self.start;
        chunk[..have].copy_from_slice(&self.chunk[self.start..self.end]);
        (self.start, self.end) = (0, have);
        self.share = Some(share);
        std::mem::replace(&mut self.chunk, chunk)
    }

    pub fn into_chunk(self) -> Chunk {
        self.chunk
    }

    pub fn size(&self) -> usize {
        self.chunk.len()
    }

    /// Makes it fit for another connection.
    pub fn reset(&mut self) {
        (self.start, self.end) = (0, 0);
        self.out.clear();
        if self.out.bytes().len() > KEPT_OUTPUT {
            self.out = Encoder::new();
        }
        self.produce.clear();
        self.answered.clear();
        self.answered.shrink_to(KEPT_ANSWERED);
    }

    /// The first bytes of what is not handled yet.
    fn first(&self) -> Option<[u8; 4]> {
        (self.end - self.start >= 4).then(|| [0, 1, 2, 3].map(|i| self.chunk[self.start + i]))
    }

    /// The next whole frame, without its length; or the bytes that the incomplete one needs in all.
    fn next_frame(&mut self, limit: usize) -> Result<Result<Range<usize>, usize>, Close> {
        let have = self.end - self.start;
        let Some(length) = self.first() else { return Ok(Err(4)) };
        let length = i32::from_be_bytes(length);
        let length = usize::try_from(length).ok().filter(|l| *l <= limit).ok_or(Close::FrameLength(length))?;
        if have < 4 + length {
            return Ok(Err(4 + length));
        }
        let frame = self.start + 4..self.start + 4 + length;
        self.start = frame.end;
        Ok(Ok(frame))
    }
}

enum Pause {
    /// Nothing buffered, nothing to read.
    Idle,
    /// The client closed.
    Closed,
    /// It goes on on another reactor, with what it has in hand.
    Leaves,
}

/// What a connection did since it last let others have their turn.
#[derive(Default)]
struct Turn {
    reads: u32,
    bytes: usize,
}

impl Turn {
    fn read(&mut self, bytes: usize) {
        self.reads += 1;
        self.bytes += bytes;
    }

    /// Whether it was.
    async fn end_if_long(&mut self) -> bool {
        let is_long = self.reads >= TURN_READS || self.bytes >= TURN_BYTES;
        if is_long {
            *self = Turn::default();
            yield_now().await;
        }
        is_long
    }
}

/// What a connection is besides its socket, wherever it is served.
struct Served {
    peer: Peer,
    registered: Registered,
    /// What its buffer shall have.
    size: usize,
    turn: Turn,
    waves: Waves,
    place: Place,
    /// What it had in hand when it was moved.
    work: Option<Work>,
}

/// Serves a connection until it closes.
///
/// # Errors
/// The runtime does not let go of the socket, which is closed.
pub fn serve(node: &Arc<Node>, stream: TcpStream, peer: Peer, registered: Registered) -> io::Result<()> {
    registered.aside();
    let stream = stream.into_std()?;
    let served = Served {
        peer,
        registered,
        size: CHUNK,
        turn: Turn::default(),
        waves: Waves::default(),
        place: Place::default(),
        work: None,
    };
    serve_there(node.clone(), stream, served);
    Ok(())
}

/// Serves a connection on the reactor where its place is, and where that changes, on the next one. Its socket is aside.
fn serve_there(node: Arc<Node>, stream: std::net::TcpStream, mut served: Served) {
    let reactor = node.reactors.at(&served.place).clone();
    // A connection yields by its own count: the runtime's budget would make a read look like an empty socket.
    reactor.spawn(unconstrained(async move {
        match until_moved(&node, stream, &mut served).await {
            Ok(Some(stream)) => return serve_there(node, stream, served),
            Ok(None) => {}
            Err(close) => node.log_close(&served.peer, &close),
        }
        drop(served.registered);
        if let Some((broker_id, broker_epoch)) = served.peer.lived_as() {
            registration::connection_ended(&node, broker_id, broker_epoch).await;
        }
    }));
}

/// Returns the socket where it shall go on elsewhere.
async fn until_moved(
    node: &Arc<Node>,
    stream: std::net::TcpStream,
    served: &mut Served,
) -> Result<Option<std::net::TcpStream>, Close> {
    let stream = TcpStream::from_std(stream)?;
    served.registered.back(&stream);
    let result = until_leaving(node, &stream, served).await;
    // From here on it may be closed.
    served.registered.aside();
    match result? {
        true => Ok(Some(stream.into_std()?)),
        false => Ok(None),
    }
}

/// Returns whether it leaves for another reactor, rather than ends.
async fn until_leaving(node: &Arc<Node>, stream: &TcpStream, served: &mut Served) -> Result<bool, Close> {
    loop {
        let mut work = match served.work.take() {
            Some(work) => work,
            None => {
                stream.readable().await?;
                node.works.take(served.size).await?
            }
        };
        let result = busy(node, stream, served, &mut work).await;
        // A connection that had a large frame will have another: it starts with a buffer of that size next time.
        served.size = work.size();
        if let Ok(Pause::Leaves) = result {
            served.work = Some(work);
            return Ok(true);
        }
        let now = work.now;
        node.works.put(work);
        match result? {
            Pause::Closed => return Ok(false),
            Pause::Idle | Pause::Leaves => {}
        }
        if node.reactors.leaves(&mut served.place, now) {
            return Ok(true);
        }
    }
}

/// Reads and answers until nothing is left to read.
async fn busy(node: &Arc<Node>, stream: &TcpStream, served: &mut Served, work: &mut Work) -> Result<Pause, Close> {
    let Served { peer, registered, turn, waves, place, .. } = served;
    let limit = node.config.socket_request_max_bytes;
    let vitals = &registered.vitals;
    // The bytes of the last requests, where they had to wait for their acknowledgements.
    let mut acknowledged = 0;
    loop {
        if turn.end_if_long().await && node.reactors.leaves(place, work.now) {
            return Ok(Pause::Leaves);
        }
        let came = match std::mem::take(&mut acknowledged) {
            0 => read(stream, &mut work.chunk[work.end..])?,
            acknowledged => read_wave(stream, work, waves, acknowledged).await?,
        };
        match came {
            None if work.start == work.end => return Ok(Pause::Idle),
            None => {
                stream.readable().await?;
                continue;
            }
            Some(0) if work.start == work.end => return Ok(Pause::Closed),
            Some(0) => return Err(Close::InsideFrame),
            Some(n) => {
                work.end += n;
                turn.read(n);
                vitals.more(n);
                work.now = Instant::now();
                work.arrived = work.now;
                node.metrics.read(&peer.connection, n);
            }
        }
        if let Some(answer) = work.first().and_then(|first| word_answer(node, peer, registered, first)) {
            output::send_bytes(stream, answer.as_bytes(), false).await?;
            return Ok(Pause::Closed);
        }
        let before = work.start;
        let need = loop {
            let frame = match work.next_frame(limit)? {
                Ok(frame) => frame,
                Err(need) => break need,
            };
            handle(node, stream, peer, registered, work, frame).await?;
        };
        if !work.produce.is_empty() {
            let waited = commit(node, stream, peer, registered, work).await?;
            acknowledged = if waited { work.start - before } else { 0 };
        }
        flush(node, stream, peer, work).await?;
        if work.start == work.end {
            vitals.moved();
            (work.start, work.end) = (0, 0);
        } else {
            if work.start != before {
                vitals.moved();
            }
            vitals.partial(work.end - work.start);
            make_room(node, work, need).await?;
        }
    }
}

/// What a four-letter word is answered with, on the port where ZooKeeper's would be.
fn word_answer(node: &Node, peer: &Peer, registered: &Registered, first: [u8; 4]) -> Option<String> {
    let zoo = node.config.zoo.as_ref().filter(|_| peer.is_zookeepers())?;
    let word = four_letter_words::word(first)?;
    Some(four_letter_words::answer(word, zoo, &Vitals::of(node, registered.open_connections())))
}

async fn handle(
    node: &Arc<Node>,
    stream: &TcpStream,
    peer: &Peer,
    registered: &Registered,
    work: &mut Work,
    frame: Range<usize>,
) -> Result<(), Close> {
    let bytes = &work.chunk[frame.clone()];
    if peer.is_zookeepers() && four_letter_words::is_connect_request(bytes) {
        return Err(Close::ZooKeeperClient);
    }
    let (header, body) = parse_request_header(bytes).map_err(Close::Malformed)?;
    let key = header.key;
    if key == ApiKey::Produce as i16 {
        if peer.is_controller {
            return Err(Close::Version { key, version: header.version });
        }
        return produce::stage(node, &header, &work.chunk, frame, body, &mut work.produce);
    }
    if !work.produce.is_empty() {
        commit(node, stream, peer, registered, work).await?;
    }
    if api::may_wait(key) {
        flush(node, stream, peer, work).await?;
    }
    let bytes = &work.chunk[frame];
    let (header, body) = parse_request_header(bytes).map_err(Close::Malformed)?;
    registered.vitals.waiting(true);
    let (slot, waited) = Timed::new(Box::pin(api::dispatch(node, peer, &header, &bytes[body..], &mut work.out))).await;
    registered.vitals.waiting(false);
    let (version, bytes) = (header.version, bytes.len());
    let done = Instant::now();
    let begun = std::mem::replace(&mut work.now, done);
    let times = Times { arrived: work.arrived, begun, done, waited };
    work.answered.push(Answered { slot: slot?, version, bytes, has_answer: true, times });
    if let Ok(key) = ApiKey::try_from(key) {
        requests::completed(|| Completed {
            peer: peer.address,
            listener: &peer.listener,
            key,
            version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.as_deref(),
            times,
            bytes,
        });
    }
    Ok(())
}

/// Appends what was staged, waits for the acknowledgements it asked for, and adds the answers. Returns whether it waited.
async fn commit(
    node: &Arc<Node>,
    stream: &TcpStream,
    peer: &Peer,
    registered: &Registered,
    work: &mut Work,
) -> Result<bool, Close> {
    let (arrived, begun, mut waited) = (work.arrived, work.now, Duration::ZERO);
    let waits = produce::append(node, &mut work.chunk, &mut work.produce);
    let waits_for_others = waits.is_some();
    if let Some(wait) = waits {
        flush(node, stream, peer, work).await?;
        registered.vitals.waiting(true);
        ((), waited) = Timed::new(pin!(produce::acknowledged(wait, &mut work.produce))).await;
        registered.vitals.waiting(false);
    }
    produce::answer(node, &peer.listener, &work.chunk, &work.produce, &mut work.out)?;
    work.now = Instant::now();
    let times = Times { arrived, begun, done: work.now, waited };
    work.answered.extend(work.produce.answered(times));
    work.produce.log(peer, &work.chunk, times);
    work.produce.clear();
    Ok(waits_for_others)
}

/// Sends the answers that there are, and counts their requests.
async fn flush(node: &Node, stream: &TcpStream, peer: &Peer, work: &mut Work) -> io::Result<()> {
    if work.answered.is_empty() {
        return Ok(());
    }
    let (bytes, begun) = (work.out.len(), work.now);
    if bytes > 0 {
        output::flush(&node.works, &node.cold_reads, stream, &mut work.out).await?;
        work.now = Instant::now();
    }
    node.metrics.answered(&peer.connection, &mut work.answered, bytes, begun, work.now);
    Ok(())
}

/// Moves the incomplete frame to the front, into a larger buffer where it does not fit: twice the size at a time, as
/// its bytes come, never by its claimed length alone.
async fn make_room(node: &Node, work: &mut Work, need: usize) -> Result<(), Close> {
    let have = work.end - work.start;
    let size = work.chunk.len();
    if need > size && have == size {
        let larger = node.works.large((2 * size).min(need.next_power_of_two())).await?;
        node.works.put_chunk(work.enlarge(larger));
    } else if work.start > 0 && (work.end == size || work.start + need > size) {
        work.chunk.copy_within(work.start..work.end, 0);
        (work.start, work.end) = (0, have);
    }
    Ok(())
}

/// What one read brings after requests of `acknowledged` bytes were answered: with the rest of what the client is sending, where it
/// was seen to send more.
async fn read_wave(
    stream: &TcpStream,
    work: &mut Work,
    waves: &mut Waves,
    acknowledged: usize,
) -> io::Result<Option<usize>> {
    let had = work.end - work.start;
    let room = work.chunk.len() - work.end;
    let awaited = waves.awaited().map(|bytes| bytes.min(had + room));
    if let Some(awaited) = awaited
        && awaited > had
    {
        waves::gather(stream, awaited - had, waves::PATIENCE).await?;
    }
    let came = read(stream, &mut work.chunk[work.end..])?;
    let have = had + came.unwrap_or(0);
    match awaited {
        Some(awaited) => waves.gathered(awaited, have),
        None => waves.followed(acknowledged, have),
    }
    Ok(came)
}

/// What one read brings; `None` when there is nothing.
///
/// Asks the socket even where the last read seems to have emptied it: the answer that left since has woken the client,
/// whose next request is often there already, and going to sleep for it costs many times the question.
fn read(stream: &TcpStream, into: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.try_read(into) {
        Ok(n) => Ok(Some(n)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}
