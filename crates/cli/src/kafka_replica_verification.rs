//! `kafka-replica-verification`: compares the replicas of topics, batch by batch, until it is stopped.
//!
//! All brokers are asked at once for what they have from the same offsets on; what all replicas of a partition have given
//! is compared, and the next round begins behind it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::admin::{Admin, Isolation, OffsetAt, ReplicaPosition, ReplicaRecords};
use client::pattern::Pattern;
use wire::ErrorCode;
use wire::records::batches;

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{clock, complain, say, term};

const ABOUT: &str = "Validate that all replicas for a set of topics have the same data.";

const OPTIONS: &[Opt] = &[
    Opt::text("broker-list", "hostname:port,...,hostname:port", "REQUIRED: Brokers to begin with."),
    Opt::int("fetch-size", "bytes", "How much of each partition is read at once.").default("1048576"),
    HELP,
    Opt::int("max-wait-ms", "ms", "How long a broker may wait for something new.").default("1000"),
    Opt::int("report-interval-ms", "ms", "How often the largest lag is told.").default("30000"),
    Opt::text(
        "time",
        "timestamp/-1(latest)/-2(earliest)",
        "Where to begin: the first record with this timestamp (in ms) or a later one, the end or the beginning.",
    )
    .default("-1"),
    Opt::text("topic-white-list", "Java regex (String)", "The same as --topics-include (Kafka 2's name for it)."),
    Opt::text("topics-include", "Java regex (String)", "The topics, as a regular expression.").default(".*"),
    VERSION,
];

/// Rest after a broker that could not be asked.
const REST: Duration = Duration::from_millis(500);

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        tool::end(run(args).await, OPTIONS, |exception| {
            complain!("{}", exception.message);
            complain!("{}", exception.headline());
        })
    })
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let options = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&options, &["broker-list"])?;
    let mut properties = client::Properties::new();
    properties.insert("bootstrap.servers".into(), options.value("broker-list")?.unwrap_or_default().into());
    properties.insert("client.id".into(), "ReplicaVerification".into());
    let size = |name: &str| {
        let wrong = || Stop::Usage(format!("--{name} must be 1 or more"));
        options.int(name)?.filter(|n| *n > 0).ok_or_else(wrong)
    };
    let (max_bytes, max_wait) = (size("fetch-size")?, size("max-wait-ms")?);
    let report_every = Duration::from_millis(size("report-interval-ms")?.unsigned_abs().into());
    let admin = tool::admin(&properties).await?;
    let partitions = partitions(&admin, &options).await?;
    say!("{}: verification process is started", now());
    term::flush();
    let reading = Reading { max_bytes, max_wait: Duration::from_millis(max_wait.unsigned_abs().into()) };
    verify(&admin, partitions, &reading, report_every).await
}

fn now() -> String {
    clock::formatted(clock::now_ms(), "yyyy-MM-dd HH:mm:ss,SSS")
}

/// A partition and how far its replicas are known to be alike.
struct Partition {
    at: ReplicaPosition,
    replicas: Vec<i32>,
    /// The highest that a replica has told.
    high_watermark: i64,
}

/// How brokers are read from.
struct Reading {
    max_bytes: i32,
    max_wait: Duration,
}

/// What is to be compared, from where `--time` says.
async fn partitions(admin: &Admin, options: &Parsed) -> Result<Vec<Partition>, Stop> {
    let text = options.value("topic-white-list")?.or(options.value("topics-include")?).unwrap_or(".*");
    let pattern = Pattern::new(text).map_err(|_| {
        Stop::Thrown(Exception::new("java.lang.RuntimeException", format!("{text} is an invalid regex")))
    })?;
    let at = match options.value("time")?.unwrap_or("-1") {
        "-1" => OffsetAt::Latest,
        "-2" => OffsetAt::Earliest,
        time => {
            let wrong = || Stop::Usage(format!("Cannot parse argument '{time}' of option time"));
            OffsetAt::Timestamp(time.parse().map_err(|_| wrong())?)
        }
    };
    let topics = admin.list_topics("listTopics").await?;
    let names: Vec<String> = topics.into_iter().map(|t| t.name).filter(|name| pattern.matches(name)).collect();
    let described = match names.is_empty() {
        true => Vec::new(),
        false => admin.describe_topics(&names, 2000).await?,
    };
    let mut partitions = Vec::new();
    for topic in described {
        for p in topic.partitions {
            let (partition, offset) = (p.index, -1);
            let at = ReplicaPosition { topic: topic.name.clone(), topic_id: topic.id, partition, offset };
            partitions.push(Partition { at, replicas: p.replicas, high_watermark: -1 });
        }
    }
    if partitions.is_empty() {
        complain!(
            "No topics found. [topics-include] if specified, is either filtering out all topics or there is no topic."
        );
        return Err(Stop::Exit(1));
    }
    let wanted: Vec<_> = partitions.iter().map(|p| ((p.at.topic.clone(), p.at.partition), at)).collect();
    let found: BTreeMap<_, _> = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await?.into_iter().collect();
    let ends: Vec<_> = wanted.iter().map(|(key, _)| (key.clone(), OffsetAt::Latest)).collect();
    let ends: BTreeMap<_, _> = admin.list_offsets(&ends, Isolation::ReadUncommitted).await?.into_iter().collect();
    for partition in &mut partitions {
        let key = (partition.at.topic.clone(), partition.at.partition);
        let offset = |listed: &BTreeMap<_, Result<client::admin::ListedOffset, client::Error>>| match listed.get(&key) {
            Some(Ok(listed)) => Ok(listed.offset),
            Some(Err(error)) => Err(Stop::Thrown(Exception {
                class: error.class(),
                message: format!("{}-{}: {error}", key.0, key.1),
                cause: None,
            })),
            None => Ok(-1),
        };
        // Where no record is as young as that, only what comes is compared.
        partition.at.offset = match offset(&found)? {
            -1 => offset(&ends)?,
            at => at,
        };
    }
    Ok(partitions)
}

async fn verify(
    admin: &Admin,
    mut partitions: Vec<Partition>,
    reading: &Reading,
    report_every: Duration,
) -> Result<(), Stop> {
    let mut reported = Instant::now();
    let mut silent: BTreeMap<i32, String> = BTreeMap::new();
    loop {
        let mut of_brokers: BTreeMap<i32, Vec<ReplicaPosition>> = BTreeMap::new();
        for partition in &partitions {
            for replica in &partition.replicas {
                of_brokers.entry(*replica).or_default().push(partition.at.clone());
            }
        }
        let mut asked = tokio::task::JoinSet::new();
        for (broker, positions) in of_brokers {
            let (admin, max_bytes, max_wait) = (admin.clone(), reading.max_bytes, reading.max_wait);
            asked.spawn(async move { (broker, admin.read_replicas(broker, &positions, max_bytes, max_wait).await) });
        }
        let mut answers: BTreeMap<i32, Vec<ReplicaRecords>> = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            let Ok((broker, answer)) = answer else { continue };
            match answer {
                Ok(records) => {
                    silent.remove(&broker);
                    answers.insert(broker, records);
                }
                Err(error) => {
                    let why = error.to_string();
                    // Told once, not in every round.
                    if silent.insert(broker, why.clone()).is_none() {
                        complain!("{}: broker {broker} cannot be read from: {why}", now());
                    }
                }
            }
        }
        for partition in &mut partitions {
            partition.compare(&answers)?;
        }
        term::flush();
        if reported.elapsed() >= report_every {
            reported = Instant::now();
            report(&partitions);
            term::flush();
        }
        if !silent.is_empty() {
            tokio::time::sleep(REST).await;
        }
    }
}

fn report(partitions: &[Partition]) {
    let lag = |p: &Partition| p.high_watermark.saturating_sub(p.at.offset);
    let Some(most) = partitions.iter().rev().max_by_key(|p| lag(p)) else { return };
    say!(
        "{}: max lag is {} for partition {} at offset {} among {} partitions",
        now(),
        lag(most).max(0),
        most.name(),
        most.at.offset,
        partitions.len()
    );
}

/// How replicas differ.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    /// A batch ends at another offset: nothing behind it can be compared. Replica and offset, twice.
    Offset((i32, i64), (i32, i64)),
    /// Offset, replica and checksum, replica and checksum.
    Checksum(i64, (i32, u32), (i32, u32)),
}

impl Partition {
    fn name(&self) -> String {
        format!("{}-{}", self.at.topic, self.at.partition)
    }

    /// Compares what its replicas answered, and moves behind what all have.
    fn compare(&mut self, answers: &BTreeMap<i32, Vec<ReplicaRecords>>) -> Result<(), Stop> {
        let mut replicas = Vec::new();
        for id in &self.replicas {
            let of_broker = answers.get(id).into_iter().flatten();
            let Some(answer) =
                of_broker.into_iter().find(|a| a.partition == self.at.partition && a.topic == self.at.topic)
            else {
                return Ok(()); // it is not there now, and is asked again
            };
            if answer.error != ErrorCode::None {
                complain!(
                    "Error in processing replica {id} in partition {} at offset {}: {}",
                    self.name(),
                    self.at.offset,
                    answer.error.name()
                );
                return Ok(());
            }
            self.high_watermark = self.high_watermark.max(answer.high_watermark);
            replicas.push((*id, answer.records.as_slice()));
        }
        let (next, differences) = differences(&replicas);
        for difference in differences {
            match difference {
                Difference::Offset((a, at_a), (b, at_b)) => {
                    say!(
                        "{}: partition {}: replica {b}'s offset {at_b} doesn't match replica {a}'s offset {at_a}",
                        now(),
                        self.name()
                    );
                    return Err(Stop::Exit(1));
                }
                Difference::Checksum(at, (a, of_a), (b, of_b)) => say!(
                    "{}: partition {} has unmatched checksum at offset {at}; replica {a}'s checksum {of_a}; replica {b}'s checksum {of_b}",
                    now(),
                    self.name()
                ),
            }
        }
        self.at.offset = next.unwrap_or(self.at.offset).max(self.at.offset);
        Ok(())
    }
}

/// Compares replicas (id, batches from one offset on) as far as all of them go: the offset behind that, and what differs.
fn differences(replicas: &[(i32, &[u8])]) -> (Option<i64>, Vec<Difference>) {
    let mut all: Vec<_> = replicas.iter().map(|(id, records)| (*id, batches(records))).collect();
    let (mut next, mut found) = (None, Vec::new());
    loop {
        let mut first = None;
        let mut behind = None;
        for (id, batches) in &mut all {
            let Some(Ok(batch)) = batches.next() else { return (next, found) };
            let (last, crc) = (batch.last_offset(), batch.crc());
            match first {
                None => (first, behind) = (Some((*id, last, crc)), Some(batch.next_offset())),
                Some((other, at, _)) if at != last => {
                    found.push(Difference::Offset((other, at), (*id, last)));
                    return (next, found);
                }
                Some((other, at, sum)) if sum != crc => found.push(Difference::Checksum(at, (other, sum), (*id, crc))),
                Some(_) => {}
            }
        }
        if behind.is_none() {
            return (next, found);
        }
        next = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::records::{BatchBuilder, Codec};

    /// Batches with these values, one record each, from offset 0 on.
    fn log(values: &[&str]) -> Vec<u8> {
        let batch = |(at, value): (usize, &&str)| {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.append(1000, None, Some(value.as_bytes()), &[]);
            builder.build(at as i64, 0)
        };
        values.iter().enumerate().flat_map(batch).collect()
    }

    #[test]
    fn replicas_are_alike_as_far_as_the_shortest_goes() {
        let (long, short) = (log(&["a", "b", "c"]), log(&["a", "b"]));
        assert_eq!(differences(&[(1, &long), (2, &short), (3, &long)]), (Some(2), vec![]));
        let cut = &long[..long.len() - 1];
        assert_eq!(differences(&[(1, &long), (2, cut)]), (Some(2), vec![]));
        assert_eq!(differences(&[(1, &long), (2, &[])]), (None, vec![]));
        assert_eq!(differences(&[]), (None, vec![]));
    }

    #[test]
    fn what_differs_is_named_with_both_replicas() {
        let (a, b) = (log(&["a", "b", "c"]), log(&["a", "x", "c"]));
        let (next, found) = differences(&[(1, &a), (2, &b)]);
        assert_eq!(next, Some(3));
        assert!(matches!(found[..], [Difference::Checksum(1, (1, x), (2, y))] if x != y), "{found:?}");
        let gap = [&log(&["a"])[..], &a[2 * a.len() / 3..]].concat();
        assert_eq!(differences(&[(5, &a), (6, &gap)]), (Some(1), vec![Difference::Offset((5, 1), (6, 2))]));
    }
}
