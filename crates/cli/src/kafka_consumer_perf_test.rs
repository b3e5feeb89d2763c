//! `kafka-consumer-perf-test`: read records as fast as it goes, and tell how that went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Properties;
use client::consumer::{Consumer, Subscription};

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::signals::Signals;
use crate::tool::{self, Exception, Stop};
use crate::{clock, complain, say, term};
use client::pattern::Pattern;

const ABOUT: &str = "This tool is used to verify the consumer performance.";

const OPTIONS: &[Opt] = &[
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text("broker-list", "server to connect to", "The same as --bootstrap-server (Kafka 2's name for it)."),
    Opt::text("command-config", "config file", "A file with settings of the consumer, under Java's names."),
    Opt::text("command-property", "prop1=val1", "A setting of the consumer; it counts before those of files."),
    Opt::text("consumer.config", "config file", "The same as --command-config (the older name for it)."),
    Opt::text("date-format", "date format", "How times are printed, of y M d H m s and S.")
        .default("yyyy-MM-dd HH:mm:ss:SSS"),
    Opt::int("fetch-size", "size", "Bytes to fetch of a partition at most.").default("1048576"),
    Opt::flag("from-latest", "Begin with new records where the group has committed nothing."),
    Opt::text("group", "gid", "The group to read in; one of its own when not given."),
    HELP,
    Opt::flag("hide-header", "Leave out the names of the columns."),
    Opt::text("include", "Java regex (String)", "Read all topics with such names."),
    Opt::long("messages", "count", "The same as --num-records (the older name for it)."),
    Opt::long(
        "num-records",
        "count",
        "REQUIRED: How many records to read. Example: --topic test --num-records 1000000",
    ),
    Opt::long("reporting-interval", "interval_ms", "With --show-detailed-stats: how often, in ms.").default("5000"),
    Opt::flag("show-detailed-stats", "Tell how it goes from time to time."),
    Opt::int("socket-buffer-size", "size", "The size of the socket's receive buffer.").default("2097152"),
    Opt::int("threads", "count", "No longer of use (Kafka 2's)."),
    Opt::long("timeout", "milliseconds", "How long to wait for records.").default("10000"),
    Opt::text("topic", "topic", "The topic to read."),
    VERSION,
];

const MIB: f64 = (1 << 20) as f64;

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        let result = match options(args) {
            Ok(options) => run(&options).await,
            Err(Stop::Thrown(e)) if e.class.starts_with("joptsimple.") => Err(Stop::Usage(e.message)),
            Err(stop) => Err(stop),
        };
        tool::end(result, OPTIONS, |exception| {
            complain!("{}\n{}", exception.message, exception.headline());
        })
    })
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    if !o.has("broker-list") {
        tool::require(&o, &["bootstrap-server"])?;
    }
    let exactly_one = |names: [&str; 2]| match names.iter().filter(|n| o.has(n)).count() {
        1 => Ok(()),
        _ => Err(Stop::Usage(format!(
            "Exactly one of the following arguments is required: [{}], [{}]",
            names[0], names[1]
        ))),
    };
    exactly_one(["messages", "num-records"])?;
    exactly_one(["include", "topic"])?;
    if o.has("messages") {
        say!("Warning: --messages is deprecated. Use --num-records instead.");
    }
    Ok(o)
}

fn settings(o: &Parsed) -> Result<Properties, Stop> {
    let mut all = tool::settings(o, "consumer.config")?;
    all.extend(tool::settings(o, "command-config")?);
    all.extend(tool::key_values(&o.values("command-property"), true)?);
    let servers = o.value("bootstrap-server")?.or(o.value("broker-list")?).unwrap_or_default();
    all.insert("bootstrap.servers".into(), servers.into());
    let group = match o.value("group")? {
        Some(group) => group.to_owned(),
        None => format!("perf-consumer-{}", client::random::below(100_000)),
    };
    all.insert("group.id".into(), group);
    for (name, option) in [("max.partition.fetch.bytes", "fetch-size"), ("receive.buffer.bytes", "socket-buffer-size")]
    {
        all.insert(name.into(), o.int(option)?.unwrap_or_default().to_string());
    }
    let reset = if o.has("from-latest") { "latest" } else { "earliest" };
    all.insert("auto.offset.reset".into(), reset.into());
    all.insert("check.crcs".into(), "false".into());
    all.entry("client.id".into()).or_insert_with(|| "perf-consumer-client".into());
    Ok(all)
}

/// What was read so far.
struct Progress {
    begun: Instant,
    begun_ms: i64,
    records: i64,
    bytes: u64,
    /// How long it took until there was something to read from; none while there is not.
    joined_after: Option<Duration>,
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    let properties = settings(o)?;
    let wanted = o.long("num-records")?.or(o.long("messages")?).unwrap_or_default();
    let timeout = Duration::from_millis(o.long("timeout")?.unwrap_or_default().max(0) as u64);
    let interval = o.long("reporting-interval")?.unwrap_or_default();
    if interval <= 0 {
        return Err(Stop::Usage("Reporting interval must be greater than 0.".into()));
    }
    let mut consumer = Consumer::open(&properties).await?;
    let subscription = match (o.value("topic")?, o.value("include")?) {
        (Some(topic), _) => Subscription::Topics(vec![topic.to_owned()]),
        (None, include) => {
            let text = include.unwrap_or_default();
            let pattern = Pattern::new(text)
                .map_err(|why| Exception::new("java.util.regex.PatternSyntaxException", format!("{why}\n{text}")))?;
            Subscription::Matching(Arc::new(move |name: &str| pattern.matches(name)))
        }
    };
    consumer.subscribe(subscription)?;
    let mut signals = Signals::heed();
    let format = o.value("date-format")?.unwrap_or_default();
    let detailed = o.has("show-detailed-stats");
    if !o.has("hide-header") {
        let times = if detailed { "time, threadId" } else { "start.time, end.time" };
        say!(
            "{times}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
        );
        term::flush();
    }
    let mut progress =
        Progress { begun: Instant::now(), begun_ms: clock::now_ms(), records: 0, bytes: 0, joined_after: None };
    let report = detailed.then_some((Duration::from_millis(interval as u64), format));
    let result = tokio::select! {
        result = read(&mut consumer, &mut progress, wanted, timeout, report) => result,
        code = signals.ended() => Err(Stop::Exit(code)),
    };
    let elapsed = progress.begun.elapsed();
    if progress.records < wanted && result.is_ok() {
        say!(
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the --timeout option to increase the timeout.",
            timeout.as_millis()
        );
    }
    if !detailed {
        let joined = progress.joined_after.unwrap_or_default();
        let end_ms = progress.begun_ms + elapsed.as_millis() as i64;
        say!(
            "{}, {}, {}",
            clock::formatted(progress.begun_ms, format),
            clock::formatted(end_ms, format),
            figures(progress.records, progress.bytes, elapsed, joined, elapsed)
        );
    }
    tokio::select! {
        () = consumer.close() => {}
        code = signals.ended() => return Err(Stop::Exit(code)),
    }
    result
}

async fn read(
    consumer: &mut Consumer,
    progress: &mut Progress,
    wanted: i64,
    timeout: Duration,
    report: Option<(Duration, &str)>,
) -> Result<(), Stop> {
    let mut last = (Instant::now(), 0, 0, Duration::ZERO);
    let mut last_read = Instant::now();
    while progress.records < wanted && last_read.elapsed() < timeout {
        let polled = consumer.poll(Duration::from_millis(100)).await?;
        if progress.joined_after.is_none() && consumer.assignment().next().is_some() {
            progress.joined_after = Some(progress.begun.elapsed());
        }
        for records in &polled {
            for record in records.iter() {
                progress.records += 1;
                progress.bytes += record.key.map_or(0, <[u8]>::len) as u64;
                progress.bytes += record.value.map_or(0, <[u8]>::len) as u64;
            }
        }
        if !polled.is_empty() {
            last_read = Instant::now();
        }
        let Some((interval, format)) = report else { continue };
        let (since, records, bytes, joined_before) = last;
        let elapsed = since.elapsed();
        if elapsed >= interval {
            let joined = progress.joined_after.unwrap_or_else(|| progress.begun.elapsed());
            say!(
                "{}, 0, {}",
                clock::formatted(clock::now_ms(), format),
                figures_since(progress, (records, bytes), elapsed, joined.saturating_sub(joined_before))
            );
            term::flush();
            last = (Instant::now(), progress.records, progress.bytes, joined);
        }
    }
    Ok(())
}

/// The columns behind the times, for all that was read.
fn figures(records: i64, bytes: u64, elapsed: Duration, joining: Duration, whole: Duration) -> String {
    let (mib, seconds) = (bytes as f64 / MIB, elapsed.as_secs_f64().max(0.001));
    let fetching = whole.saturating_sub(joining);
    let fetching_s = fetching.as_secs_f64().max(0.001);
    format!(
        "{mib:.4}, {:.4}, {records}, {:.4}, {}, {}, {:.4}, {:.4}",
        mib / seconds,
        records as f64 / seconds,
        joining.as_millis(),
        fetching.as_millis(),
        mib / fetching_s,
        records as f64 / fetching_s
    )
}

/// The same for an interval: totals, and rates of what came since.
fn figures_since(progress: &Progress, before: (i64, u64), elapsed: Duration, joining: Duration) -> String {
    let records = (progress.records - before.0) as f64;
    let mib = (progress.bytes - before.1) as f64 / MIB;
    let seconds = elapsed.as_secs_f64().max(0.001);
    let fetching = elapsed.saturating_sub(joining);
    let fetching_s = fetching.as_secs_f64().max(0.001);
    format!(
        "{:.4}, {:.4}, {}, {:.4}, {}, {}, {:.4}, {:.4}",
        progress.bytes as f64 / MIB,
        mib / seconds,
        progress.records,
        records / seconds,
        joining.as_millis(),
        fetching.as_millis(),
        mib / fetching_s,
        records / fetching_s
    )
}
