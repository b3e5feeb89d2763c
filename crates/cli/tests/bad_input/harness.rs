//! A broker of one's own, and a client that can say anything.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wire::codec::{Decoder, Encoder, Message, Request};
use wire::messages::*;
use wire::{ApiKey, ErrorCode, header};

/// Ends a test that would hang; nothing is expected to take so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// How much resident memory may grow in a test that does not say otherwise.
const GROWTH_MIB: f64 = 64.0;

pub struct Broker {
    pub address: String,
    process: Option<(Child, TempDir)>,
    bystander: Client,
    memory_before: f64,
    pub growth_mib: f64,
    stopped: bool,
}

impl Broker {
    pub fn start() -> Broker {
        Broker::with(&[])
    }

    /// A broker with these settings besides the test's own.
    pub fn with(settings: &[(&str, &str)]) -> Broker {
        Broker::launch(settings, None)
    }

    /// A broker that may have no more files open than this.
    pub fn with_descriptors(limit: u32) -> Broker {
        Broker::launch(&[], Some(limit))
    }

    fn launch(settings: &[(&str, &str)], descriptors: Option<u32>) -> Broker {
        if let Ok(address) = std::env::var("BAD_INPUT_BROKER") {
            let bystander = Client::connect(&address);
            return Broker {
                address,
                process: None,
                bystander,
                memory_before: 0.0,
                growth_mib: f64::MAX,
                stopped: false,
            };
        }
        let folder = tempfile::Builder::new().prefix("bad-input-").tempdir().unwrap();
        let port = testkit::free_port();
        let address = format!("127.0.0.1:{port}");
        let properties = folder.path().join("server.properties");
        let data = folder.path().join("data").display().to_string();
        let listeners = format!("PLAINTEXT://{address}");
        let own = [
            ("listeners", listeners.as_str()),
            ("log.dirs", &data),
            ("offsets.topic.num.partitions", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        let lines: String = own.iter().chain(settings).map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(&properties, lines).unwrap();
        let output = File::create(folder.path().join("output")).unwrap();
        let limit = descriptors.map_or(String::new(), |limit| format!("ulimit -n {limit}; "));
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{limit}exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_klamm"))
            .arg("kafka-server-start")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !Client::try_connect(&address).is_some_and(|mut client| client.is_served()) {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the broker ended with {status}: {}", said(folder.path()));
            }
            assert!(started.elapsed() < DEADLINE, "the broker does not answer: {}", said(folder.path()));
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut bystander = Client::connect(&address);
        assert!(bystander.is_served());
        let memory_before = resident_mib(child.id());
        Broker {
            address,
            process: Some((child, folder)),
            bystander,
            memory_before,
            growth_mib: GROWTH_MIB,
            stopped: false,
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// What must hold whatever was sent. Called at the end of each test, and after each step where that says more.
    pub fn is_well(&mut self) {
        assert!(self.bystander.is_served(), "a client that did nothing wrong lost its connection");
        assert!(self.connect().is_served(), "new clients are not served");
        let Some((child, folder)) = &mut self.process else { return };
        assert!(child.try_wait().unwrap().is_none(), "the broker ended: {}", said(folder.path()));
        let output = fs::read_to_string(folder.path().join("output")).unwrap();
        assert!(!output.contains("panicked"), "{output}");
        assert!(!output.contains("cannot be encoded"), "an answer says what its version has no place for: {output}");
        let growth = resident_mib(child.id()) - self.memory_before;
        assert!(growth < self.growth_mib, "resident memory grew by {growth:.0} MiB, allowed: {} MiB", self.growth_mib);
    }

    /// Asks the broker to end, as `kill` does, while clients are connected.
    pub fn ask_to_stop(&self) {
        let (child, _) = self.process.as_ref().expect("a broker of one's own");
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
    }

    /// Waits until the broker has ended in order.
    pub fn has_stopped(mut self) {
        self.stopped = true;
        let (child, folder) = self.process.as_mut().expect("a broker of one's own");
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "the broker ended with {status}: {}", said(folder.path()));
                return;
            }
            assert!(started.elapsed() < DEADLINE, "the broker does not end: {}", said(folder.path()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The folder with the broker's data; none where the broker is somebody else's.
    pub fn data(&self) -> Option<PathBuf> {
        self.process.as_ref().map(|(_, folder)| folder.path().join("data"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.stopped {
            self.is_well();
        }
        if let Some((child, folder)) = &mut self.process {
            child.kill().ok();
            child.wait().ok();
            if std::thread::panicking() {
                eprintln!("the broker said: {}", said(folder.path()));
            }
        }
    }
}

fn said(folder: &Path) -> String {
    let output = fs::read_to_string(folder.join("output")).unwrap_or_default();
    let from = output.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
    output[from..].to_owned()
}

fn resident_mib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// What came back for a request.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// A frame, from the correlation id on.
    Frame(Vec<u8>),
    Closed,
    /// Nothing within the time that the caller gave.
    Silence,
}

pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: &str) -> Client {
        Client::try_connect(address).expect("a connection to the broker")
    }

    pub fn try_connect(address: &str) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        Some(Client { stream, correlation_id: 0 })
    }

    /// Sends bytes as they are. That the broker closes before it has them all is an answer too.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if ![ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {
                panic!("{error}")
            }
            _ => {}
        }
    }

    /// Sends a frame of this content.
    pub fn send_frame(&mut self, content: &[u8]) {
        let mut frame = (content.len() as i32).to_be_bytes().to_vec();
        frame.extend_from_slice(content);
        self.send_bytes(&frame);
    }

    /// The next frame, or how the connection ended.
    pub fn answer(&mut self) -> Answer {
        self.answer_within(DEADLINE)
    }

    pub fn answer_within(&mut self, time: Duration) -> Answer {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut length = [0; 4];
        match self.fill(&mut length) {
            Answer::Frame(_) => {}
            other => return other,
        }
        let length = i32::from_be_bytes(length);
        assert!((0..100 << 20).contains(&length), "a frame of {length} bytes");
        let mut frame = vec![0; length as usize];
        match self.fill(&mut frame) {
            Answer::Frame(_) => Answer::Frame(frame),
            other => panic!("a frame was broken off: {other:?}"),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Answer {
        match self.stream.read_exact(bytes) {
            Ok(()) => Answer::Frame(Vec::new()),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => Answer::Silence,
            Err(_) => Answer::Closed,
        }
    }

    /// Expects the broker to close this connection.
    pub fn is_closed(&mut self) {
        let answer = self.answer();
        assert_eq!(answer, Answer::Closed, "the connection should be closed");
    }

    /// The content of a request's frame.
    pub fn encode<'a, M: Request + Message<'a>>(&mut self, version: i16, request: &M) -> Vec<u8> {
        self.correlation_id += 1;
        let mut e = Encoder::new();
        header::write_request_header(&mut e, M::KEY, version, self.correlation_id, Some("bad-input")).unwrap();
        request.encode(&mut e, version).unwrap();
        e.into_bytes()
    }

    pub fn send<'a, M: Request + Message<'a>>(&mut self, version: i16, request: &M) {
        let content = self.encode(version, request);
        self.send_frame(&content);
    }

    /// Sends a request and gives its response to `look`.
    pub fn call<'a, M: Request + Message<'a>, T>(
        &mut self,
        version: i16,
        request: &M,
        look: impl for<'r> FnOnce(M::Response<'r>) -> T,
    ) -> T {
        self.send(version, request);
        self.receive::<M, T>(version, 0, look)
    }

    /// The answer to a request behind which `later` others were sent.
    pub fn receive<'a, M: Request + Message<'a>, T>(
        &mut self,
        version: i16,
        later: i32,
        look: impl for<'r> FnOnce(M::Response<'r>) -> T,
    ) -> T {
        let Answer::Frame(frame) = self.answer() else { panic!("{} v{version} got no answer", M::NAME) };
        let (correlation_id, body) = header::parse_response_header(&frame, M::KEY, version).unwrap();
        assert_eq!(correlation_id, self.correlation_id - later);
        let mut d = Decoder::new(&frame[body..]);
        let response = M::Response::decode(&mut d, version).unwrap();
        assert_eq!(d.remaining(), 0, "bytes behind the response");
        look(response)
    }

    /// Whether the broker answers ApiVersions on this connection.
    pub fn is_served(&mut self) -> bool {
        self.correlation_id += 1;
        let mut e = Encoder::new();
        header::write_request_header(&mut e, ApiKey::ApiVersions, 0, self.correlation_id, None).unwrap();
        self.send_frame(&e.into_bytes());
        matches!(self.answer(), Answer::Frame(frame) if frame.get(4..6) == Some(&[0, 0]))
    }

    /// Makes a topic with one partition and waits until its leader answers.
    pub fn create_topic(&mut self, name: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| create_topics_request::CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        });
        let topic = create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic].into(), timeout_ms: 30_000, ..Default::default() };
        let code = self.call(7, &request, |r| r.topics.first().unwrap().error_code);
        assert_eq!(name_of(code), "NONE", "creating {name}");
        let started = Instant::now();
        while self.end_offset(name).is_none() {
            assert!(started.elapsed() < DEADLINE, "{name} has no leader");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The end of partition 0's log; none without a leader.
    pub fn end_offset(&mut self, topic: &str) -> Option<i64> {
        let partition =
            list_offsets_request::ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: -1 };
        let topic = list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition].into() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic].into(), ..Default::default() };
        self.call(5, &request, |r| {
            let topic = r.topics.first().unwrap();
            let partition = topic.partitions.first().unwrap();
            (partition.error_code == 0).then_some(partition.offset)
        })
    }
}

/// A topic's name that no other test has, also where all tests share one broker.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn name_of(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}
