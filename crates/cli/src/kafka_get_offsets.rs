//! `kafka-get-offsets`: offsets of partitions, by time.

use client::admin::{Isolation, OffsetAt};

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};
use client::pattern::Pattern;

const ABOUT: &str = "An interactive shell for getting topic-partition offsets.";

const OPTIONS: &[Opt] = &[
    Opt::text("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: Brokers to begin with."),
    Opt::text("broker-list", "HOST1:PORT1,...,HOST3:PORT3", "The same as --bootstrap-server (Kafka 2's name for it)."),
    Opt::text("command-config", "config file", "A file with settings for the client, under Java's names."),
    Opt::flag("exclude-internal-topics", "Leave out internal topics."),
    HELP,
    Opt::text("partitions", "partition ids", "The partitions, with commas; all of them when not given. Not with --topic-partitions."),
    Opt::text("time", "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload", "Which offset: of the first record with this timestamp (in ms) or a later one, or one of the names.").default("latest"),
    Opt::text("topic", "topic", "The topics, as a regular expression; all of them when not given. Not with --topic-partitions."),
    Opt::text("topic-partitions", "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3", "Topics (regular expressions) with partitions, with commas. Partitions are one number or a range from-to without its end, open at either side; all of them when not given."),
    VERSION,
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        tool::end(run(args).await, OPTIONS, |exception| {
            complain!("Error occurred: {}", exception.message);
            if let Some(cause) = &exception.cause {
                complain!("Caused by: {cause}");
            }
        })
    })
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let options = tool::begin(ABOUT, OPTIONS, args)?;
    let Some(servers) = options.value("bootstrap-server")?.or(options.value("broker-list")?) else {
        return Err(Stop::Usage("Missing required argument \"[bootstrap-server]\"".into()));
    };
    if options.has("topic-partitions") && (options.has("topic") || options.has("partitions")) {
        let message = "--topic-partitions cannot be used with --topic or --partitions";
        return Err(Exception::new("org.apache.kafka.server.util.TerseException", message).into());
    }
    let filter = filter(&options)?;
    let at = parse_time(options.value("time")?.unwrap_or("latest"))?;
    let mut properties = tool::settings(&options, "command-config")?;
    properties.insert("bootstrap.servers".into(), servers.into());
    properties.insert("client.id".into(), "GetOffsetShell".into());
    let admin = tool::admin(&properties).await?;

    let topics = admin.list_topics("listTopics").await?;
    let mut names: Vec<String> = topics
        .into_iter()
        .filter(|t| !(t.is_internal && options.has("exclude-internal-topics")))
        .map(|t| t.name)
        .filter(|name| filter.iter().any(|f| f.topic.matches(name)))
        .collect();
    names.sort();
    let mut wanted = Vec::new();
    if !names.is_empty() {
        for topic in admin.describe_topics(&names, 2000).await? {
            for p in &topic.partitions {
                if filter.iter().any(|f| f.topic.matches(&topic.name) && f.partitions.contains(p.index)) {
                    wanted.push(((topic.name.clone(), p.index), at));
                }
            }
        }
    }
    if wanted.is_empty() {
        let message = "Could not match any topic-partitions with the specified filters";
        return Err(Exception::new("org.apache.kafka.server.util.TerseException", message).into());
    }
    let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await?;
    for ((topic, partition), answer) in found {
        match answer {
            Ok(listed) if listed.offset >= 0 => say!("{topic}:{partition}:{}", listed.offset),
            Ok(_) => {}
            Err(error) => complain!(
                "Skip getting offsets for topic-partition {topic}-{partition} due to error: {}: {error}",
                error.class()
            ),
        }
    }
    Ok(())
}

fn parse_time(text: &str) -> Result<OffsetAt, Exception> {
    Ok(match text {
        "latest" | "-1" => OffsetAt::Latest,
        "earliest" | "-2" => OffsetAt::Earliest,
        "max-timestamp" | "-3" => OffsetAt::MaxTimestamp,
        "earliest-local" | "-4" => OffsetAt::EarliestLocal,
        "latest-tiered" | "-5" => OffsetAt::LatestTiered,
        "earliest-pending-upload" | "-6" => OffsetAt::EarliestPendingUpload,
        text => OffsetAt::Timestamp(text.parse().map_err(|_| {
            Exception::new(
                "org.apache.kafka.server.util.TerseException",
                format!(
                    "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
                ),
            )
        })?),
    })
}

/// Topics and the partitions of them that are wanted.
struct Filter {
    topic: Pattern,
    partitions: Partitions,
}

enum Partitions {
    /// From the first up to but not including the second.
    Range(i32, i32),
    Set(Vec<i32>),
}

impl Partitions {
    fn contains(&self, index: i32) -> bool {
        match self {
            Partitions::Range(from, to) => (*from..*to).contains(&index),
            Partitions::Set(set) => set.contains(&index),
        }
    }
}

fn filter(options: &Parsed) -> Result<Vec<Filter>, Stop> {
    if let Some(list) = options.value("topic-partitions")? {
        return Ok(list.split(',').map(parse_filter).collect::<Result<_, _>>()?);
    }
    let topic = topic_pattern(options.value("topic")?.unwrap_or(".*"))?;
    let partitions = match options.value("partitions")?.filter(|p| !p.is_empty()) {
        None => Partitions::Range(0, i32::MAX),
        Some(list) => {
            let mut set = Vec::new();
            for word in list.split(',') {
                set.push(word.parse().map_err(|_| {
                    Exception::new(
                        "org.apache.kafka.server.util.TerseException",
                        format!(
                            "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
                        ),
                    )
                })?);
            }
            Partitions::Set(set)
        }
    };
    Ok(vec![Filter { topic, partitions }])
}

fn topic_pattern(text: &str) -> Result<Pattern, Exception> {
    let regex = text.trim().replace(' ', "");
    let regex = regex.trim_matches(['"', '\'']).replace(',', "|");
    Pattern::new(&regex)
        .map_err(|_| Exception::new("java.lang.RuntimeException", format!("{regex} is an invalid regex.")))
}

/// `topic:5`, `topic:1-3`, `topic:5-`, `topic:-3`, `topic`, `:5`.
fn parse_filter(text: &str) -> Result<Filter, Exception> {
    let wrong = || Exception::illegal_argument(format!("Invalid rule specification: {text}"));
    let (topic, partitions) = match text.split_once(':') {
        None => (text, None),
        Some((topic, partitions)) => (topic, Some(partitions)),
    };
    let number = |t: &str| match t.bytes().all(|b| b.is_ascii_digit()) {
        true => t.parse::<i32>().map_err(|_| wrong()),
        false => Err(wrong()),
    };
    let partitions = match partitions {
        None | Some("" | "-") => Partitions::Range(0, i32::MAX),
        Some(range) => match range.split_once('-') {
            None => Partitions::Set(vec![number(range)?]),
            Some((from, "")) => Partitions::Range(number(from)?, i32::MAX),
            Some(("", to)) => Partitions::Range(0, number(to)?),
            Some((from, to)) => Partitions::Range(number(from)?, number(to)?),
        },
    };
    let topic = if topic.is_empty() { Pattern::new(".*").map_err(|_| wrong())? } else { topic_pattern(topic)? };
    Ok(Filter { topic, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_choose_topics_and_partitions() {
        let chosen = |rule: &str| -> Vec<i32> {
            let f = parse_filter(rule).unwrap();
            (0..6).filter(|p| f.topic.matches("army") && f.partitions.contains(*p)).collect()
        };
        assert_eq!(chosen("army"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(chosen("army:1"), [1]);
        assert_eq!(chosen("ar.*:1-3"), [1, 2]);
        assert_eq!(chosen("army:4-"), [4, 5]);
        assert_eq!(chosen("army:-2"), [0, 1]);
        assert_eq!(chosen(":5"), [5]);
        assert_eq!(chosen("navy"), [0i32; 0]);
        assert!(parse_filter("army:x").is_err());
    }

    #[test]
    fn times_have_numbers_and_names() {
        assert_eq!(parse_time("-3").unwrap(), OffsetAt::MaxTimestamp);
        assert_eq!(parse_time("latest").unwrap(), OffsetAt::Latest);
        assert_eq!(parse_time("17").unwrap(), OffsetAt::Timestamp(17));
        assert!(parse_time("soon").is_err());
    }
}
