//! `kafka-verifiable-producer`: sends rising numbers, and tells of each whether it was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::Properties;
use client::producer::{Producer, ProducerRecord};
use metadata::config::value::java_double;
use tokio::time::sleep;

use crate::argparse::{self, Argument, Exclusive, Given, Program, Wrong};
use crate::signals::Signals;
use crate::tool::{self, Stop};
use crate::verifiable::Event;

const SERVERS: &str = "HOST1:PORT1[,HOST2:PORT2[...]]";

const PROGRAM: Program = Program {
    name: "verifiable-producer",
    about: "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \"send\" request, making externally visible which messages have been acked and which have not.",
    options: &[
        Argument::value("topic", None, "TOPIC", "Where to.").required(),
        Argument::value("max-messages", None, "MAX-MESSAGES", "How many; -1, the default, for no end."),
        Argument::value(
            "throughput",
            None,
            "THROUGHPUT",
            "About so many a second at most; -1, the default, for no limit.",
        ),
        Argument::value("acks", None, "ACKS", "Acknowledgements that count: 0, 1 or -1, which is the default."),
        Argument::value(
            "producer.config",
            None,
            "CONFIG-FILE",
            "The same as --command-config (deprecated: use that instead).",
        ),
        Argument::value(
            "message-create-time",
            None,
            "CREATE-TIME",
            "The time of the first record, in ms since 1970; later ones are so much later as they are.",
        ),
        Argument::value("value-prefix", None, "VALUE-PREFIX", "A number before each value, with a dot between them."),
        Argument::value(
            "repeating-keys",
            None,
            "REPEATING-KEYS",
            "Keys from 0 up to this number, again and again; none without it.",
        ),
        Argument::value(
            "command-config",
            None,
            "CONFIG-FILE",
            "A file with settings for the producer, under Java's names.",
        ),
        Argument::value("bootstrap-server", None, SERVERS, "REQUIRED: Brokers to begin with."),
        Argument::value("broker-list", None, SERVERS, "The same (the older name for it)."),
    ],
    exclusive: Exclusive::one_of(&["bootstrap-server", "broker-list"]),
    commands: &[],
    example: "bin/kafka-verifiable-producer.sh --bootstrap-server localhost:9092 --topic test --max-messages 10",
    wrong: Wrong::WithUsage,
};

/// How long closing may take, for what is on its way.
const CLOSE: Duration = Duration::from_secs(30);

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let help = ["--help".to_owned()];
    let args = if args.is_empty() { &help[..] } else { args };
    let result =
        argparse::parse(&PROGRAM, args).and_then(|given| Plan::new(&given)).and_then(|plan| tool::block_on(run(&plan)));
    tool::end(result, &[], tool::print_uncaught)
}

struct Plan {
    topic: String,
    /// None: no end.
    max_messages: Option<u64>,
    /// Records a second; none for no limit.
    throughput: Option<f64>,
    shown_throughput: i64,
    create_time_ms: Option<i64>,
    value_prefix: Option<i32>,
    repeating_keys: Option<u64>,
    properties: Properties,
}

impl Plan {
    fn new(given: &Given) -> Result<Plan, Stop> {
        const INT: &str = "Integer (32 bit)";
        let max_messages: i64 = given.number::<i32>("max-messages", INT)?.unwrap_or(-1).into();
        let throughput: i32 = given.number("throughput", INT)?.unwrap_or(-1);
        let acks: i32 = given.number("acks", INT)?.unwrap_or(-1);
        if ![-1, 0, 1].contains(&acks) {
            let why = format!("argument --acks: invalid choice: '{acks}' (choose from 0, 1, -1)");
            return Err(argparse::refuse(given, &why));
        }
        let create_time: i64 = given.number("message-create-time", "Long (64 bit)")?.unwrap_or(-1);
        let keys: Option<i32> = given.number("repeating-keys", INT)?;
        let mut properties = Properties::new();
        let servers = given.value("bootstrap-server").or(given.value("broker-list")).unwrap_or_default();
        properties.insert("bootstrap.servers".into(), servers.into());
        properties.insert("acks".into(), acks.to_string());
        // Each record's fate is told as it is: what was sent again would hide a failure.
        properties.insert("retries".into(), "0".into());
        properties.insert("enable.idempotence".into(), "false".into());
        for option in ["producer.config", "command-config"] {
            if let Some(path) = given.value(option) {
                properties.extend(tool::load(path)?);
            }
        }
        Ok(Plan {
            topic: given.value("topic").unwrap_or_default().to_owned(),
            max_messages: u64::try_from(max_messages).ok(),
            throughput: (throughput >= 0).then(|| throughput.into()),
            shown_throughput: throughput.into(),
            create_time_ms: (create_time >= 0).then_some(create_time),
            value_prefix: given.number("value-prefix", INT)?,
            repeating_keys: keys.and_then(|keys| u64::try_from(keys).ok()).filter(|keys| *keys > 0),
            properties,
        })
    }
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    acked: AtomicU64,
}

async fn run(plan: &Plan) -> Result<(), Stop> {
    let producer = Producer::open(&plan.properties).await?;
    producer.client().any_within(tool::PATIENCE, "metadata").await?;
    let mut signals = Signals::heed();
    let begun = Instant::now();
    Event::new("startup_complete").print();
    let counts = Arc::new(Counts::default());
    let result = tokio::select! {
        result = send_all(plan, &producer, begun, &counts) => result,
        code = signals.ended() => Err(Stop::Exit(code)),
    };
    producer.close(CLOSE).await;
    Event::new("shutdown_complete").print();
    let (sent, acked) = (counts.sent.load(Ordering::Relaxed), counts.acked.load(Ordering::Relaxed));
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    Event::new("tool_data")
        .plain("sent", sent)
        .plain("acked", acked)
        .plain("target_throughput", plan.shown_throughput)
        .plain("avg_throughput", java_double(acked as f64 / seconds))
        .print();
    result
}

async fn send_all(plan: &Plan, producer: &Producer, begun: Instant, counts: &Arc<Counts>) -> Result<(), Stop> {
    let mut number: u64 = 0;
    while plan.max_messages.is_none_or(|max| number < max) {
        if let Some(rate) = plan.throughput {
            if rate == 0.0 {
                std::future::pending::<()>().await;
            }
            let due = Duration::from_secs_f64(number as f64 / rate);
            sleep(due.saturating_sub(begun.elapsed())).await;
        }
        let key = plan.repeating_keys.map(|keys| (number % keys).to_string());
        let value = match plan.value_prefix {
            Some(prefix) => format!("{prefix}.{number}"),
            None => number.to_string(),
        };
        let record = ProducerRecord {
            topic: &plan.topic,
            timestamp: plan.create_time_ms.map(|first| first + begun.elapsed().as_millis() as i64),
            key: key.as_deref().map(str::as_bytes),
            value: Some(value.as_bytes()),
            ..ProducerRecord::default()
        };
        counts.sent.fetch_add(1, Ordering::Relaxed);
        let told = {
            let (key, value, topic, counts) = (key.clone(), value.clone(), plan.topic.clone(), counts.clone());
            move |delivered: Result<client::producer::Delivered, client::Error>| match delivered {
                Ok(delivered) => {
                    counts.acked.fetch_add(1, Ordering::Relaxed);
                    Event::new("producer_send_success")
                        .text("key", key.as_deref())
                        .text("value", Some(&value))
                        .plain("offset", delivered.offset.unwrap_or(-1))
                        .text("topic", Some(&topic))
                        .plain("partition", delivered.partition)
                        .print();
                }
                Err(error) => tell_failure(&error, key.as_deref(), &value, &topic),
            }
        };
        if let Err(error) = producer.send(&record, Some(Box::new(told))).await {
            tell_failure(&error, key.as_deref(), &value, &plan.topic);
        }
        number += 1;
    }
    producer.flush().await;
    Ok(())
}

fn tell_failure(error: &client::Error, key: Option<&str>, value: &str, topic: &str) {
    Event::new("producer_send_error")
        .text("exception", Some(&format!("class {}", error.class())))
        .text("message", Some(&error.to_string()))
        .text("key", key)
        .text("value", Some(value))
        .text("topic", Some(topic))
        .print();
}
