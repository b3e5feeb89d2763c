//! `kafka-verifiable-consumer`: reads a topic as a member of a group, and tells of everything that happens to it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use client::Properties;
use client::consumer::{Consumer, Rebalance, Records, Subscription};

use crate::argparse::{self, Argument, Exclusive, Given, Program, Wrong};
use crate::json::quote;
use crate::signals::Signals;
use crate::text;
use crate::tool::{self, Stop};
use crate::verifiable::Event;

const SERVERS: &str = "HOST1:PORT1[,HOST2:PORT2[...]]";
const POLL: Duration = Duration::from_millis(200);

const PROGRAM: Program = Program {
    name: "verifiable-consumer",
    about: "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received messages, and offsets committed) as JSON objects to STDOUT.",
    options: &[
        Argument::value("topic", None, "TOPIC", "What to read.").required(),
        Argument::value(
            "group-protocol",
            None,
            "GROUP-PROTOCOL",
            "How groups work: classic, the default (consumer is not there yet).",
        ),
        Argument::value(
            "group-remote-assignor",
            None,
            "GROUP-REMOTE-ASSIGNOR",
            "The broker's assignor, for the group protocol consumer.",
        ),
        Argument::value("group-id", None, "GROUP-ID", "The group.").required(),
        Argument::value(
            "group-instance-id",
            None,
            "GROUP-INSTANCE-ID",
            "A name that the member keeps when it starts again.",
        ),
        Argument::value("max-messages", None, "MAX-MESSAGES", "How many; -1, the default, for no end."),
        Argument::value("session-timeout", None, "TIMEOUT-MS", "How long the group waits for a silent member."),
        Argument::flag("verbose", "Tell of each record."),
        Argument::flag("enable-autocommit", "Commit now and then, and not after each poll."),
        Argument::value(
            "reset-policy",
            None,
            "RESET-POLICY",
            "Where to begin without a committed offset: earliest, the default, latest or none.",
        ),
        Argument::value(
            "assignment-strategy",
            None,
            "ASSIGNMENT-STRATEGY",
            "The assignor, as org.apache.kafka.clients.consumer.RangeAssignor, which is the default.",
        ),
        Argument::value(
            "consumer.config",
            None,
            "CONFIG-FILE",
            "The same as --command-config (deprecated: use that instead).",
        ),
        Argument::value(
            "command-config",
            None,
            "CONFIG-FILE",
            "A file with settings for the consumer, under Java's names; options count more.",
        ),
        Argument::value("bootstrap-server", None, SERVERS, "REQUIRED: Brokers to begin with."),
        Argument::value("broker-list", None, SERVERS, "The same (the older name for it)."),
    ],
    exclusive: Exclusive::one_of(&["bootstrap-server", "broker-list"]),
    commands: &[],
    example: "bin/kafka-verifiable-consumer.sh --bootstrap-server localhost:9092 --topic test --group-id g --max-messages 10",
    wrong: Wrong::WithUsage,
};

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
    is_verbose: bool,
    commits: bool,
    properties: Properties,
}

impl Plan {
    fn new(given: &Given) -> Result<Plan, Stop> {
        const INT: &str = "Integer (32 bit)";
        let max_messages: i32 = given.number("max-messages", INT)?.unwrap_or(-1);
        let protocol = given.value("group-protocol").unwrap_or("classic");
        let is_classic = protocol.eq_ignore_ascii_case("classic");
        if !is_classic || given.has("group-remote-assignor") {
            let why = format!(
                "argument --group-protocol: '{protocol}' is not there yet, nor are the broker's assignors: use classic"
            );
            return Err(argparse::refuse(given, &why));
        }
        let mut properties = Properties::new();
        for option in ["consumer.config", "command-config"] {
            if let Some(path) = given.value(option) {
                properties.extend(tool::load(path)?);
            }
        }
        let mut set = |name: &str, value: &str| drop(properties.insert(name.into(), value.into()));
        set("bootstrap.servers", given.value("bootstrap-server").or(given.value("broker-list")).unwrap_or_default());
        set("group.id", given.value("group-id").unwrap_or_default());
        set("enable.auto.commit", if given.has("enable-autocommit") { "true" } else { "false" });
        set("auto.offset.reset", given.value("reset-policy").unwrap_or("earliest"));
        let assignor = given.value("assignment-strategy").unwrap_or("org.apache.kafka.clients.consumer.RangeAssignor");
        set("partition.assignment.strategy", assignor);
        if let Some(id) = given.value("group-instance-id") {
            set("group.instance.id", id);
        }
        if let Some(ms) = given.number::<i32>("session-timeout", INT)? {
            set("session.timeout.ms", &ms.to_string());
        }
        Ok(Plan {
            topic: given.value("topic").unwrap_or_default().to_owned(),
            max_messages: u64::try_from(max_messages).ok(),
            is_verbose: given.has("verbose"),
            commits: !given.has("enable-autocommit"),
            properties,
        })
    }
}

async fn run(plan: &Plan) -> Result<(), Stop> {
    let mut consumer = Consumer::open(&plan.properties).await?;
    consumer.client().any_within(tool::PATIENCE, "metadata").await?;
    Event::new("startup_complete").print();
    let mut signals = Signals::heed();
    consumer.subscribe(Subscription::Topics(vec![plan.topic.clone()]))?;
    let result = tokio::select! {
        result = read(plan, &mut consumer) => result,
        code = signals.ended() => {
            Event::new("shutdown_requested").print();
            Err(Stop::Exit(code))
        }
    };
    let held: Vec<(String, i32)> = consumer.assignment().cloned().collect();
    consumer.close().await;
    if !held.is_empty() {
        tell_partitions("partitions_revoked", &held);
    }
    Event::new("shutdown_complete").print();
    result
}

async fn read(plan: &Plan, consumer: &mut Consumer) -> Result<(), Stop> {
    let mut left = plan.max_messages;
    while left != Some(0) {
        let polled = consumer.poll(POLL).await;
        for rebalance in consumer.rebalances() {
            match rebalance {
                Rebalance::Revoked(partitions) => tell_partitions("partitions_revoked", partitions),
                Rebalance::Assigned(partitions) => tell_partitions("partitions_assigned", partitions),
            }
        }
        let polled = polled?;
        if polled.is_empty() {
            continue;
        }
        let next = tell_records(plan, &polled, &mut left);
        if plan.commits {
            let committed = consumer.commit_offsets(&next).await;
            let offsets: Vec<String> = next
                .iter()
                .map(|((topic, partition), offset)| format!("{{{},\"offset\":{offset}}}", place(topic, *partition)))
                .collect();
            let mut event = Event::new("offsets_committed").plain("offsets", format_args!("[{}]", offsets.join(",")));
            if let Err(error) = &committed {
                event = event.text("error", Some(&error.to_string()));
            }
            event.plain("success", committed.is_ok()).print();
        }
    }
    Ok(())
}

/// `"topic":...,"partition":...`
fn place(topic: &str, partition: i32) -> String {
    let mut json = String::from("\"topic\":");
    quote(topic, &mut json);
    let _ = write!(json, ",\"partition\":{partition}");
    json
}

fn tell_partitions(event: &str, partitions: &[(String, i32)]) {
    let all: Vec<String> =
        partitions.iter().map(|(topic, partition)| format!("{{{}}}", place(topic, *partition))).collect();
    Event::new(event).plain("partitions", format_args!("[{}]", all.join(","))).print();
}

/// Tells of records, of no more than are left to be read; gives the offsets to go on from.
fn tell_records(plan: &Plan, polled: &[Records], left: &mut Option<u64>) -> BTreeMap<(String, i32), i64> {
    // Of each partition: how many, the first and the last offset.
    let mut read: BTreeMap<(String, i32), (u64, i64, i64)> = BTreeMap::new();
    let mut count = 0;
    for record in polled.iter().flat_map(|records| records.iter()) {
        count += 1;
        if *left == Some(0) {
            continue;
        }
        *left = left.map(|left| left - 1);
        let summary =
            read.entry((record.topic.to_owned(), record.partition)).or_insert((0, record.offset, record.offset));
        summary.0 += 1;
        summary.2 = record.offset;
        if plan.is_verbose {
            Event::new("record_data")
                .text("key", record.key.map(text::decode).as_deref())
                .text("value", record.value.map(text::decode).as_deref())
                .text("topic", Some(record.topic))
                .plain("partition", record.partition)
                .plain("offset", record.offset)
                .print();
        }
    }
    let partitions: Vec<String> = read
        .iter()
        .map(|((topic, partition), (count, min, max))| {
            format!("{{{},\"count\":{count},\"minOffset\":{min},\"maxOffset\":{max}}}", place(topic, *partition))
        })
        .collect();
    Event::new("records_consumed")
        .plain("count", count)
        .plain("partitions", format_args!("[{}]", partitions.join(",")))
        .print();
    read.into_iter().map(|(partition, (_, _, max))| (partition, max + 1)).collect()
}
