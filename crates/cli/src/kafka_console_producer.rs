//! `kafka-console-producer`: sends the lines of standard input as records.

use std::io::IsTerminal;
use std::time::Duration;

use client::producer::{Producer, ProducerRecord};
use client::{Error, Properties};
use tokio::sync::oneshot;

use crate::console::{lines::Lines, reader::LineReader, reader::Parts, replaced};
use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::signals::Signals;
use crate::tool::{self, Exception, Stop};
use crate::{complain, say, term, text};

const ABOUT: &str = "This tool helps to read data from standard input and publish it to Kafka.";
const LOGGER: &str = "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback";
const READER: &str = "org.apache.kafka.tools.LineMessageReader";

const READER_ABOUT: &str = "How a line is read. May be given several times.\n parse.key=false\n parse.headers=false\n ignore.error=false\n key.separator=\\t\n headers.delimiter=\\t\n headers.separator=,\n headers.key.separator=:\n null.marker=   (a key, value or header value of this text is null)\nWith parse.headers and parse.key:\n \"h1:v1,h2:v2\\tkey\\tvalue\"";

const OPTIONS: &[Opt] = &[
    Opt::int("batch-size", "size", "Bytes of a batch (batch.size).").default("16384"),
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text("broker-list", "broker-list", "The same as --bootstrap-server (Kafka 2's name for it)."),
    Opt::text("command-config", "config file", "A file with settings for the producer, under Java's names."),
    Opt::text(
        "command-property",
        "producer_prop",
        "A setting for the producer, key=value; it wins over --command-config.",
    ),
    Opt::maybe_text(
        "compression-codec",
        "compression-codec",
        "'none', 'gzip', 'snappy', 'lz4' or 'zstd'; 'gzip' when no name follows.",
    ),
    HELP,
    Opt::text("line-reader", "reader_class", "What reads standard input; there is only this one.").default(READER),
    Opt::long("max-block-ms", "max block on send", "How long sending may wait for metadata and memory.")
        .default("60000"),
    Opt::long("max-memory-bytes", "total memory in bytes", "Memory for records on their way (buffer.memory).")
        .default("33554432"),
    Opt::int("max-partition-memory-bytes", "memory in bytes per partition", "(Deprecated) The same as --batch-size.")
        .default("16384"),
    Opt::int("message-send-max-retries", "", "How often a batch is sent again (retries).").default("3"),
    Opt::long(
        "metadata-expiry-ms",
        "metadata expiration interval",
        "After how long metadata is asked for again (metadata.max.age.ms).",
    )
    .default("300000"),
    Opt::text("producer-property", "producer_prop", "(DEPRECATED) The same as --command-property."),
    Opt::text("producer.config", "config file", "(DEPRECATED) The same as --command-config."),
    Opt::text("property", "prop", "(DEPRECATED) The same as --reader-property."),
    Opt::text(
        "reader-config",
        "config file",
        "A file with settings for reading lines; --reader-property wins over it.",
    ),
    Opt::text("reader-property", "prop", READER_ABOUT),
    Opt::text(
        "request-required-acks",
        "request required acks",
        "Replicas that must have a record: 0, 1, or -1 for all in sync (acks).",
    )
    .default("-1"),
    Opt::int("request-timeout-ms", "request timeout ms", "How long one request may take; more than 0.").default("1500"),
    Opt::long("retry-backoff-ms", "", "Pause before a batch is sent again (retry.backoff.ms).").default("100"),
    Opt::int("socket-buffer-size", "size", "Accepted; the system chooses its buffers.").default("102400"),
    Opt::flag("sync", "Send one record at a time."),
    Opt::long("timeout", "timeout_ms", "How long a record may wait for others to fill its batch (linger.ms).")
        .default("1000"),
    Opt::text("topic", "topic", "REQUIRED: The topic to send to."),
    VERSION,
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        tool::end(run(args).await, OPTIONS, |exception| match exception.class.starts_with("joptsimple") {
            true => complain!("{}", exception.message),
            false => complain!("{}", exception.headline()),
        })
    })
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let usage = |stop| match stop {
        Stop::Thrown(exception) => Stop::Usage(exception.message),
        stop => stop,
    };
    let o = tool::begin(ABOUT, OPTIONS, args).map_err(usage)?;
    tool::require(&o, &["topic"])?;
    if !o.has("bootstrap-server") && !o.has("broker-list") {
        return Err(Stop::Usage("Error while validating the bootstrap address\n".into()));
    }
    let note = |text: String| say!("Warning: {text}");
    replaced(&o, "producer-property", "command-property", "command-property", note)?;
    replaced(&o, "producer.config", "command-config", "command-config", note)?;
    replaced(&o, "property", "reader-property", "reader-property", note)?;
    if o.has("max-partition-memory-bytes") {
        say!(
            "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use --batch-size instead."
        );
    }
    Ok(o)
}

/// The file's settings, then single ones, then what options say: an option counts where it was given or nothing else was.
fn settings(o: &Parsed) -> Result<Properties, Stop> {
    let mut all = tool::settings(o, "command-config")?;
    all.extend(tool::settings(o, "producer.config")?);
    for option in ["command-property", "producer-property"] {
        all.extend(tool::key_values(&o.values(option), true)?);
    }
    let servers = o.value("bootstrap-server")?.or(o.value("broker-list")?).unwrap_or_default();
    all.insert("bootstrap.servers".into(), servers.into());
    let codec = match o.value("compression-codec")? {
        Some(codec) if !codec.is_empty() => codec,
        _ if o.has("compression-codec") => "gzip",
        _ => "none",
    };
    all.insert("compression.type".into(), codec.into());
    all.entry("client.id".into()).or_insert_with(|| "console-producer".into());
    o.int("request-timeout-ms")?;
    for (name, option) in [
        ("linger.ms", "timeout"),
        ("acks", "request-required-acks"),
        ("request.timeout.ms", "request-timeout-ms"),
        ("retries", "message-send-max-retries"),
        ("retry.backoff.ms", "retry-backoff-ms"),
        ("buffer.memory", "max-memory-bytes"),
        ("batch.size", "batch-size"),
        ("metadata.max.age.ms", "metadata-expiry-ms"),
        ("max.block.ms", "max-block-ms"),
    ] {
        if option != "request-required-acks" {
            o.long(option)?;
        }
        if (o.has(option) || !all.contains_key(name))
            && let Some(value) = o.value(option)?
        {
            all.insert(name.into(), value.into());
        }
    }
    if o.has("max-partition-memory-bytes")
        && let Some(bytes) = o.int("max-partition-memory-bytes")?
    {
        all.insert("batch.size".into(), bytes.to_string());
    }
    Ok(all)
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let o = options(args)?;
    let reader_class = o.value("line-reader")?.unwrap_or(READER);
    if reader_class != READER {
        return Err(Exception::new("java.lang.ClassNotFoundException", reader_class).into());
    }
    let mut reading = tool::settings(&o, "reader-config")?;
    for option in ["property", "reader-property"] {
        reading.extend(tool::key_values(&o.values(option), true)?);
    }
    let mut reader = LineReader::new(&reading)?;
    let topic = o.value("topic")?.unwrap_or_default();
    let producer = Producer::open(&settings(&o)?).await?;
    let mut signals = Signals::heed();
    let result = tokio::select! {
        result = async {
            // Every line would wait for a broker in vain, and for a minute.
            producer.client().any_within(tool::PATIENCE, "metadata").await?;
            send_lines(&producer, &mut reader, topic, o.has("sync")).await
        } => result,
        code = signals.ended() => Err(Stop::Exit(code)),
    };
    // Also after a bad line and after Ctrl-C: what was typed before is sent.
    tokio::select! {
        () = producer.close(Duration::MAX) => {}
        code = signals.ended() => return Err(Stop::Exit(code)),
    }
    result
}

async fn send_lines(producer: &Producer, reader: &mut LineReader, topic: &str, sync: bool) -> Result<(), Stop> {
    let prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut lines = Lines::stdin();
    loop {
        if prompt {
            term::out_bytes(b">");
            term::flush();
        }
        let line = lines.next().await.map_err(|e| Exception::new("java.io.IOException", e.to_string()))?;
        let Some(line) = line else { return Ok(()) };
        let line = text::decode(&line);
        let parts = reader.read(&line)?;
        let headers: Vec<(&str, Option<&[u8]>)> =
            parts.headers.iter().map(|(k, v)| (*k, v.map(str::as_bytes))).collect();
        let record = ProducerRecord {
            topic,
            key: parts.key.map(str::as_bytes),
            value: parts.value.map(str::as_bytes),
            headers: &headers,
            ..Default::default()
        };
        if sync {
            send_one(producer, &record).await?;
        } else {
            send(producer, &record, &parts).await?;
        }
    }
}

/// Hands the record over; what becomes of it is logged when it is not good.
async fn send(producer: &Producer, record: &ProducerRecord<'_>, parts: &Parts<'_>) -> Result<(), Stop> {
    let bytes = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), |t| format!("{} bytes", t.len()));
    let about = (record.topic.to_owned(), parts.key.map(str::len), parts.value.map(str::len));
    let (key, value) = (bytes(parts.key), bytes(parts.value));
    let told = Box::new(move |result: Result<_, Error>| {
        if let Err(error) = result {
            let (topic, key, value) = about;
            let bytes = |n: Option<usize>| n.map_or_else(|| "null".to_owned(), |n| format!("{n} bytes"));
            log_failure(&topic, &bytes(key), &bytes(value), &error);
        }
    });
    match producer.send(record, Some(told)).await {
        Err(Error::IllegalArgument(why)) => Err(Exception::illegal_argument(why).into()),
        Err(error) => {
            log_failure(record.topic, &key, &value, &error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn log_failure(topic: &str, key: &str, value: &str, error: &Error) {
    let message = format!("Error when sending message to topic {topic} with key: {key}, value: {value} with error:");
    term::log("ERROR", &message, LOGGER);
    complain!("{}: {error}", error.class());
}

/// Sends the record and waits for what becomes of it.
async fn send_one(producer: &Producer, record: &ProducerRecord<'_>) -> Result<(), Stop> {
    let (to, told) = oneshot::channel();
    let delivery = Box::new(move |result| {
        let _ = to.send(result);
    });
    let result = match producer.send(record, Some(delivery)).await {
        Ok(()) => {
            producer.flush().await;
            told.await.unwrap_or(Err(Error::Closed)).map(|_| ())
        }
        Err(error) => Err(error),
    };
    result.map_err(|error| {
        let inner = format!("{}: {error}", error.class());
        Stop::Thrown(Exception::new("java.util.concurrent.ExecutionException", inner))
    })
}
