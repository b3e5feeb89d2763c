//! `kafka-e2e-latency`: how long a record takes from a producer to a consumer, one record at a time.

use std::time::{Duration, Instant};

use client::admin::{Admin, NewTopic};
use client::consumer::{Consumer, Seek};
use client::producer::{Delivered, Producer, ProducerRecord};
use client::{Error, Properties};
use tokio::sync::oneshot;

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::signals::Signals;
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};

const ABOUT: &str = "This tool measures end-to-end latency in Kafka by sending messages and timing their reception.";

const OPTIONS: &[Opt] = &[
    Opt::text("bootstrap-server", "bootstrap-server", "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2."),
    Opt::maybe_text(
        "command-config",
        "config-file",
        "A file with settings for producer, consumer and administrator, under Java's names.",
    ),
    HELP,
    Opt::int("num-headers", "count", "How many headers each record has.").default("0"),
    Opt::int("num-records", "count", "REQUIRED: How many records to send."),
    Opt::text("producer-acks", "producer-acks", "REQUIRED: When the producer counts a record as sent: '1' or 'all'."),
    Opt::int("record-header-key-size", "bytes", "The size of a header's key.").default("0"),
    Opt::int("record-header-size", "bytes", "The size of a header's value; -1 for none.").default("0"),
    Opt::int("record-key-size", "bytes", "The size of a record's key; 0 for none.").default("0"),
    Opt::int("record-size", "bytes", "REQUIRED: The size of a record's value."),
    Opt::text("topic", "topic-name", "REQUIRED: The topic. It is created, with one partition, when it is not there."),
    VERSION,
];

/// Options by the places that they had in Kafka before 4.3.
const PLACES: [&str; 6] =
    ["bootstrap-server", "topic", "num-records", "producer-acks", "record-size", "command-config"];

/// How long one record may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = options(args).and_then(|o| Plan::new(&o)).and_then(|plan| tool::block_on(run(&plan)));
    tool::end(result, OPTIONS, |exception| {
        complain!("{}\n{}", exception.message, exception.headline());
        if let Some(cause) = &exception.cause {
            complain!("Caused by: {cause}");
        }
    })
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    if args.is_empty() || args.iter().any(|word| word.starts_with("--")) {
        return tool::begin(ABOUT, OPTIONS, args).map_err(|stop| match stop {
            Stop::Thrown(e) => Stop::Usage(e.message),
            stop => stop,
        });
    }
    if !(5..=6).contains(&args.len()) {
        return Err(tool::terse(format!(
            "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {}. Usage: bootstrap-server topic \
             num-records producer-acks record-size [optional] command-config",
            args.len()
        )));
    }
    say!(
        "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named \
         arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, --command-config"
    );
    let named: Vec<String> = PLACES.iter().zip(args).map(|(name, value)| format!("--{name}={value}")).collect();
    tool::begin(ABOUT, OPTIONS, &named)
}

/// What is sent, and how often.
struct Plan {
    topic: String,
    records: u64,
    key_size: usize,
    value_size: usize,
    headers: usize,
    header_key_size: usize,
    /// None: headers have no value.
    header_value_size: Option<usize>,
    properties: Properties,
    acks: String,
}

impl Plan {
    fn new(o: &Parsed) -> Result<Plan, Stop> {
        tool::require(o, &["bootstrap-server", "topic", "num-records", "producer-acks", "record-size"])?;
        let number = |name: &str, least: i32, what: &str| {
            let wrong = || Stop::Usage(format!("Value for --{name} must be a {what}."));
            o.int(name)?.filter(|n| *n >= least).ok_or_else(wrong)
        };
        let size = |name: &str| number(name, 0, "non-negative integer").map(|n| n.unsigned_abs() as usize);
        let records = number("num-records", 1, "positive integer")?;
        let value_size = size("record-size")?;
        let key_size = size("record-key-size")?;
        let headers = size("num-headers")?;
        let header_key_size = size("record-header-key-size")?;
        let header_value = number("record-header-size", -1, "non-negative integer or -1 for null header value")?;
        let acks = o.value("producer-acks")?.unwrap_or_default().to_owned();
        if !["1", "all"].contains(&acks.as_str()) {
            let message = "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please \
                           use '1' or 'all'.";
            return Err(Stop::Usage(message.to_owned()));
        }
        let mut properties = tool::settings(o, "command-config")?;
        properties.insert("bootstrap.servers".into(), o.value("bootstrap-server")?.unwrap_or_default().into());
        Ok(Plan {
            topic: o.value("topic")?.unwrap_or_default().to_owned(),
            records: records.unsigned_abs().into(),
            key_size,
            value_size,
            headers,
            header_key_size,
            header_value_size: usize::try_from(header_value).ok(),
            properties,
            acks,
        })
    }

    /// The settings with others on top of them.
    fn settings(&self, own: &[(&str, &str)]) -> Properties {
        let mut properties = self.properties.clone();
        properties.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        properties
    }
}

async fn run(plan: &Plan) -> Result<(), Stop> {
    let admin = tool::admin(&plan.properties).await?;
    create_topic(&admin, &plan.topic).await?;
    let latest = [("auto.offset.reset", "latest"), ("fetch.max.wait.ms", "0"), ("enable.auto.commit", "false")];
    let mut consumer = Consumer::open(&plan.settings(&latest)).await?;
    let producer = Producer::open(&plan.settings(&[("linger.ms", "0"), ("acks", &plan.acks)])).await?;
    let mut signals = Signals::heed();
    let result = tokio::select! {
        result = measure(plan, &admin, &producer, &mut consumer) => result,
        code = signals.ended() => Err(Stop::Exit(code)),
    };
    producer.close(Duration::from_secs(5)).await;
    consumer.close().await;
    let mut latencies = result?;
    let total: Duration = latencies.iter().sum();
    say!("Avg latency: {:.4} ms", ms(total) / latencies.len() as f64);
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() as f64 * share) as usize).min(latencies.len() - 1)].as_millis();
    say!("Percentiles: 50th = {}, 99th = {}, 99.9th = {}", at(0.5), at(0.99), at(0.999));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0 / 1000.0
}

async fn create_topic(admin: &Admin, topic: &str) -> Result<(), Stop> {
    let topics = admin.list_topics("listTopics").await?;
    if topics.iter().any(|known| known.name == topic) {
        return Ok(());
    }
    say!("Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1");
    let new =
        NewTopic { name: topic.to_owned(), partitions: Some(1), replication_factor: Some(1), ..NewTopic::default() };
    match admin.create_topic(&new).await {
        // Somebody else was faster.
        Err(Error::Api { code: wire::ErrorCode::TopicAlreadyExists, .. }) => Ok(()),
        result => Ok(result?),
    }
}

/// One random record.
struct Record {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    fn random(plan: &Plan) -> Record {
        let letters = |size: usize| -> Vec<u8> { (0..size).map(|_| b'A' + client::random::below(26) as u8).collect() };
        let text = |size: usize| String::from_utf8(letters(size)).unwrap_or_default();
        Record {
            key: (plan.key_size > 0).then(|| letters(plan.key_size)),
            value: letters(plan.value_size),
            headers: (0..plan.headers)
                .map(|_| (text(plan.header_key_size), plan.header_value_size.map(letters)))
                .collect(),
        }
    }
}

/// Sends records and waits for each; gives how long each took.
async fn measure(
    plan: &Plan,
    admin: &Admin,
    producer: &Producer,
    consumer: &mut Consumer,
) -> Result<Vec<Duration>, Stop> {
    let described = admin.describe_topics(std::slice::from_ref(&plan.topic), 2000).await?;
    let partitions: Vec<(String, i32)> = described
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (plan.topic.clone(), partition.index)))
        .collect();
    consumer.assign(partitions.clone());
    for partition in &partitions {
        consumer.seek(partition, Seek::End);
    }
    // From where it reads has to be known before the first record is sent.
    let begun = Instant::now();
    while partitions.iter().any(|partition| consumer.position(partition).is_none()) {
        if begun.elapsed() > PATIENCE {
            return Err(timed_out().into());
        }
        consumer.poll(Duration::from_millis(20)).await?;
    }
    let mut latencies = Vec::new();
    for i in 0..plan.records {
        let record = Record::random(plan);
        let begun = Instant::now();
        send(producer, &plan.topic, &record).await?;
        receive(consumer, &record).await?;
        let elapsed = begun.elapsed();
        if i % 1000 == 0 {
            say!("{i}\t{}", ms(elapsed));
            crate::term::flush();
        }
        latencies.push(elapsed);
    }
    Ok(latencies)
}

fn timed_out() -> Exception {
    let message = format!("poll() timed out before finding a result (timeout:[{}ms])", PATIENCE.as_millis());
    Exception::new("java.lang.RuntimeException", message)
}

async fn send(producer: &Producer, topic: &str, record: &Record) -> Result<Delivered, Error> {
    let headers: Vec<(&str, Option<&[u8]>)> =
        record.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    let sent = ProducerRecord {
        topic,
        key: record.key.as_deref(),
        value: Some(&record.value),
        headers: &headers,
        ..ProducerRecord::default()
    };
    let (tell, told) = oneshot::channel();
    producer.send(&sent, Some(Box::new(move |delivered| drop(tell.send(delivered))))).await?;
    told.await.unwrap_or(Err(Error::Closed))
}

async fn receive(consumer: &mut Consumer, sent: &Record) -> Result<(), Stop> {
    let wrong = |message: String| Err(Exception::new("java.lang.RuntimeException", message).into());
    let polled = consumer.poll(PATIENCE).await?;
    let mut records = polled.iter().flat_map(|records| records.iter());
    let Some(read) = records.next() else { return Err(timed_out().into()) };
    let text = |bytes: Option<&[u8]>| bytes.map_or_else(|| "null".to_owned(), |b| crate::text::decode(b).into_owned());
    if read.value != Some(&sent.value[..]) {
        let (read, sent) = (text(read.value), text(Some(&sent.value)));
        return wrong(format!("The message value read [{read}] did not match the message value sent [{sent}]"));
    }
    if read.key != sent.key.as_deref() {
        let (read, sent) = (text(read.key), text(sent.key.as_deref()));
        return wrong(format!("The message key read [{read}] did not match the message key sent [{sent}]"));
    }
    let headers = sent.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
    if !read.headers().eq(headers) {
        return wrong("The headers read did not match the headers sent".to_owned());
    }
    match 1 + records.count() {
        1 => Ok(()),
        count => wrong(format!("Only one result was expected during this test. We found [{count}]")),
    }
}
