//! `kafka-console-consumer`: prints the records of topics.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::Arc;
use std::time::Duration;

use client::Properties;
use client::consumer::{Consumer, Records, Seek, Subscription};

use crate::console::formatter::{Formatter, Trouble};
use crate::console::replaced;
use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::signals::Signals;
use crate::tool::{self, Exception, Stop};
use crate::{complain, say, term};
use client::pattern::Pattern;

const ABOUT: &str = "This tool helps to read data from Kafka topics and outputs it to standard output.";
const LOGGER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

const FORMATTER_ABOUT: &str = "How a record is printed. May be given several times.\n print.timestamp=true|false\n print.partition=true|false\n print.offset=true|false\n print.epoch=true|false\n print.headers=true|false\n print.key=true|false\n print.value=true|false\n key.separator=<text between fields>\n line.separator=<text after a record>\n headers.separator=<text>\n null.literal=<text>\n key.deserializer=<class>\n value.deserializer=<class>\n headers.deserializer=<class>";

const OPTIONS: &[Opt] = &[
    Opt::text("bootstrap-server", "server to connect to", "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2."),
    Opt::text("command-config", "config file", "A file with settings for the consumer, under Java's names."),
    Opt::text("command-property", "consumer_prop", "A setting for the consumer, key=value; it wins over --command-config."),
    Opt::text("consumer-property", "consumer_prop", "(DEPRECATED) The same as --command-property."),
    Opt::text("consumer.config", "config file", "(DEPRECATED) The same as --command-config."),
    Opt::flag("enable-systest-events", "Also tell when the consumer is done (for Kafka's system tests)."),
    Opt::text("formatter", "class", "What prints records: DefaultMessageFormatter, LoggingMessageFormatter or NoOpMessageFormatter of org.apache.kafka.tools.consumer.").default("org.apache.kafka.tools.consumer.DefaultMessageFormatter"),
    Opt::text("formatter-config", "config file", "A file with settings for printing; --formatter-property wins over it."),
    Opt::text("formatter-property", "prop", FORMATTER_ABOUT),
    Opt::flag("from-beginning", "Begin with the first record there is, where the group has no committed offset."),
    Opt::text("group", "consumer group id", "The group to take part in; one of its own when not given."),
    HELP,
    Opt::text("include", "Java regex (String)", "The topics to read, as a regular expression."),
    Opt::text("isolation-level", "", "read_committed leaves out records of transactions that were not committed.").default("read_uncommitted"),
    Opt::text("key-deserializer", "deserializer for keys", "A class of org.apache.kafka.common.serialization, for keys."),
    Opt::int("max-messages", "num_messages", "End after so many records."),
    Opt::text("offset", "consume offset", "With --partition: the offset to begin with, 'earliest' or 'latest'.").default("latest"),
    Opt::int("partition", "partition", "Read this partition only, from its end unless --offset says otherwise."),
    Opt::text("property", "prop", "(DEPRECATED) The same as --formatter-property."),
    Opt::flag("skip-message-on-error", "Go on when a record cannot be printed."),
    Opt::long("timeout-ms", "timeout_ms", "End when no record comes for so long."),
    Opt::text("topic", "topic", "The topic to read."),
    Opt::text("value-deserializer", "deserializer for values", "A class of org.apache.kafka.common.serialization, for values."),
    VERSION,
    Opt::text("whitelist", "Java regex (String)", "The same as --include (Kafka 2's name for it)."),
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(stop) => return tool::end(Err(stop), OPTIONS, tool::print_uncaught),
    };
    tool::block_on(async {
        tool::end(run(plan).await, OPTIONS, |exception| {
            term::log("ERROR", "Unknown error when running consumer: ", LOGGER);
            complain!("{}", exception.headline());
        })
    })
}

/// What is to be read, from where, and how it is printed.
struct Plan {
    options: Parsed,
    properties: Properties,
    formatter: Formatter,
    source: Source,
    begin: Seek,
    timeout: Option<Duration>,
}

enum Source {
    Topic(String),
    Partition(String, i32),
    Matching(String),
}

impl Plan {
    fn new(args: &[String]) -> Result<Plan, Stop> {
        let usage = |stop| match stop {
            Stop::Thrown(exception) => Stop::Usage(exception.message),
            stop => stop,
        };
        let o = tool::begin(ABOUT, OPTIONS, args).map_err(usage)?;
        let note = |text: String| say!("Option {text}");
        replaced(&o, "consumer-property", "command-property", "consumer-property", note)?;
        replaced(&o, "consumer.config", "command-config", "consumer.config", note)?;
        replaced(&o, "property", "formatter-property", "property", note)?;
        let include = o.value("include")?.or(o.value("whitelist")?);
        if o.has("topic") == include.is_some() {
            let message = "Exactly one of the following arguments is required: [topic], [include]";
            return Err(Stop::Usage(message.into()));
        }
        tool::require(&o, &["bootstrap-server"])?;
        let topic = o.value("topic")?.map(str::to_owned);
        if o.has("partition") {
            if topic.is_none() {
                return Err(Stop::Usage("The topic is required when partition is specified.".into()));
            }
            if o.has("from-beginning") && o.has("offset") {
                let message = "Options from-beginning and offset cannot be specified together.";
                return Err(Stop::Usage(message.into()));
            }
        } else if o.has("offset") {
            return Err(Stop::Usage("The partition is required when offset is specified.".into()));
        }
        let (properties, own_group) = settings(&o)?;
        if own_group && o.has("partition") {
            return Err(Stop::Usage("Options group and partition cannot be specified together.".into()));
        }
        let source = match (topic, o.int("partition")?, include) {
            (Some(topic), Some(partition), _) => Source::Partition(topic, partition),
            (Some(topic), None, _) => Source::Topic(topic),
            (None, _, include) => Source::Matching(include.unwrap_or_default().to_owned()),
        };
        let timeout = o.long("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        Ok(Plan { begin: begin(&o)?, formatter: formatter(&o)?, options: o, properties, source, timeout })
    }
}

fn begin(o: &Parsed) -> Result<Seek, Stop> {
    let offset = match o.has("offset") {
        true => o.value("offset")?.unwrap_or_default().to_lowercase(),
        false => String::new(),
    };
    match offset.as_str() {
        "" if o.has("from-beginning") => Ok(Seek::Beginning),
        "" | "latest" => Ok(Seek::End),
        "earliest" => Ok(Seek::Beginning),
        text => text.parse::<u64>().ok().and_then(|n| i64::try_from(n).ok()).map(Seek::To).ok_or_else(|| {
            let given = o.value("offset").ok().flatten().unwrap_or_default();
            Stop::Usage(format!(
                "The provided offset value '{given}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ))
        }),
    }
}

fn formatter(o: &Parsed) -> Result<Formatter, Stop> {
    let mut properties =
        tool::settings(o, "formatter-config").map_err(|stop| match (&stop, o.value("formatter-config")) {
            (Stop::Thrown(_), Ok(Some(path))) => Stop::Usage(path.to_owned()),
            _ => stop,
        })?;
    for option in ["property", "formatter-property"] {
        properties.extend(tool::key_values(&o.values(option), true)?);
    }
    for (option, name) in [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")] {
        if let Some(class) = o.value(option)? {
            properties.insert(name.into(), class.into());
        }
    }
    Formatter::new(o.value("formatter")?.unwrap_or_default(), &properties)
}

/// The consumer's settings, and whether a group was named.
fn settings(o: &Parsed) -> Result<(Properties, bool), Stop> {
    let mut from_file = tool::settings(o, "command-config")?;
    from_file.extend(tool::settings(o, "consumer.config")?);
    let mut single = Properties::new();
    for option in ["command-property", "consumer-property"] {
        single.extend(tool::key_values(&o.values(option), true)?);
    }
    let mut groups: Vec<String> = Vec::new();
    let given = o.value("group")?.map(str::to_owned);
    for group in [given, single.get("group.id").cloned(), from_file.get("group.id").cloned()].into_iter().flatten() {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    if groups.len() > 1 {
        let groups: Vec<String> = groups.iter().map(|g| format!("'{g}'")).collect();
        return Err(Stop::Usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: {}",
            groups.join(", ")
        )));
    }
    let mut all = from_file;
    all.extend(single);
    match all.get("auto.offset.reset") {
        Some(reset) if o.has("from-beginning") && reset != "earliest" => {
            complain!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            );
            return Err(Stop::Exit(1));
        }
        Some(_) => {}
        None => {
            let reset = if o.has("from-beginning") { "earliest" } else { "latest" };
            all.insert("auto.offset.reset".into(), reset.into());
        }
    }
    all.insert("bootstrap.servers".into(), o.value("bootstrap-server")?.unwrap_or_default().into());
    all.entry("client.id".into()).or_insert_with(|| "console-consumer".into());
    if o.has("isolation-level") || !all.contains_key("isolation.level") {
        all.insert("isolation.level".into(), o.value("isolation-level")?.unwrap_or_default().into());
    }
    let own_group = !groups.is_empty();
    match groups.pop() {
        Some(group) => all.insert("group.id".into(), group),
        None => {
            // Nobody comes back to this group: its offsets are not worth keeping.
            all.entry("enable.auto.commit".into()).or_insert_with(|| "false".into());
            all.insert("group.id".into(), format!("console-consumer-{}", client::random::below(100_000)))
        }
    };
    Ok((all, own_group))
}

async fn run(plan: Plan) -> Result<(), Stop> {
    let mut consumer = Consumer::open(&plan.properties).await?;
    let mut signals = Signals::heed();
    match &plan.source {
        Source::Topic(topic) => consumer.subscribe(Subscription::Topics(vec![topic.clone()]))?,
        Source::Matching(text) => {
            let pattern = Pattern::new(text)
                .map_err(|why| Exception::new("java.util.regex.PatternSyntaxException", format!("{why}\n{text}")))?;
            consumer.subscribe(Subscription::Matching(Arc::new(move |name: &str| pattern.matches(name))))?;
        }
        Source::Partition(topic, partition) => {
            let partition = (topic.clone(), *partition);
            consumer.assign([partition.clone()]);
            consumer.seek(&partition, plan.begin);
        }
    }
    let mut printer = Printer {
        formatter: plan.formatter,
        out: BufWriter::with_capacity(64 * 1024, io::stdout()),
        skip: plan.options.has("skip-message-on-error"),
        count: 0,
    };
    term::flush();
    let result = match plan.options.int("max-messages") {
        Err(error) => Err(error.into()),
        Ok(max) => {
            let reading = read(&mut consumer, &mut printer, max.unwrap_or(-1), plan.timeout);
            tokio::select! {
                result = reading => result,
                code = signals.ended() => Err(Stop::Exit(code)),
            }
        }
    };
    let _ = printer.out.flush();
    tokio::select! {
        () = consumer.close() => {}
        code = signals.ended() => return Err(Stop::Exit(code)),
    }
    complain!("Processed a total of {} messages", printer.count);
    if plan.options.has("enable-systest-events") {
        say!("shutdown_complete");
    }
    result
}

struct Printer {
    formatter: Formatter,
    out: BufWriter<Stdout>,
    skip: bool,
    count: i64,
}

/// Prints records until there are enough of them, none come any more, or nobody reads what is printed.
async fn read(consumer: &mut Consumer, printer: &mut Printer, max: i32, timeout: Option<Duration>) -> Result<(), Stop> {
    const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
    let enough = |count: i64| max != -1 && count >= i64::from(max);
    while !enough(printer.count) {
        if printer.out.flush().is_err() {
            return Ok(());
        }
        let polled = match consumer.poll(timeout.unwrap_or(FOR_EVER)).await {
            Ok(polled) => polled,
            Err(error) => {
                term::log("ERROR", "Error processing message, terminating consumer process: ", LOGGER);
                complain!("{}: {error}", error.class());
                return Ok(());
            }
        };
        if polled.is_empty() {
            if timeout.is_some() {
                term::log("ERROR", "Error processing message, terminating consumer process: ", LOGGER);
                complain!("org.apache.kafka.common.errors.TimeoutException");
                return Ok(());
            }
            continue;
        }
        if let Some(result) = print(consumer, printer, &polled, enough) {
            return result;
        }
    }
    Ok(())
}

/// Prints what one poll brought. What is not printed any more is as if it had not been read.
fn print(
    consumer: &mut Consumer,
    printer: &mut Printer,
    polled: &[Records],
    enough: impl Fn(i64) -> bool,
) -> Option<Result<(), Stop>> {
    let mut result = None;
    for records in polled {
        for record in records.iter() {
            if result.is_some() || enough(printer.count) {
                consumer.seek(&(record.topic.to_owned(), record.partition), Seek::To(record.offset));
                break;
            }
            printer.count += 1;
            match printer.formatter.write(&record, &mut printer.out) {
                Ok(()) => {}
                Err(Trouble::Output) => result = Some(Ok(())),
                Err(Trouble::Record(exception)) if printer.skip => {
                    term::log("ERROR", "Error processing message, skipping this message: ", LOGGER);
                    complain!("{}", exception.headline());
                }
                Err(Trouble::Record(exception)) => result = Some(Err(exception.into())),
            }
        }
    }
    result
}
