//! `kafka-leader-election`: have leaders elected, the preferred ones or uncleanly.

use client::Error;
use client::admin::{Admin, Election, TopicPartition};
use wire::ErrorCode;

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::partitions_file::{self, COMMAND_FAILED, name};
use crate::tool::{self, Exception, Stop};
use crate::{complain, say};

const ABOUT: &str = "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and unclean replicas.";

const OPTIONS: &[Opt] = &[
    Opt::text("admin.config", "config file", "The older name of --command-config."),
    Opt::flag("all-topic-partitions", "All partitions that need an election."),
    Opt::text("bootstrap-server", "host:port", "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2."),
    Opt::text("command-config", "Config file", "A file with settings for the client, under Java's names."),
    Opt::text(
        "election-type",
        "election type",
        "REQUIRED: preferred, where the first replica is in sync and does not lead; or unclean, where nobody leads: what the elected one lacks is lost.",
    ),
    HELP,
    Opt::int("partition", "partition id", "With --topic: the partition."),
    Opt::text(
        "path-to-json-file",
        "Path to JSON file",
        "A file with partitions, as in\n{\"partitions\":\n\t[{\"topic\": \"foo\", \"partition\": 1},\n\t {\"topic\": \"foobar\", \"partition\": 2}]\n}",
    ),
    Opt::text("topic", "topic name", "A topic, with --partition."),
    VERSION,
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        tool::end(run(args).await, OPTIONS, |exception| {
            complain!("{}\n{}", exception.message, exception.headline());
            if let Some(cause) = &exception.cause {
                complain!("{cause}");
            }
        })
    })
}

fn failed(message: impl Into<String>) -> Stop {
    Exception::new(COMMAND_FAILED, message).into()
}

fn election(o: &Parsed) -> Result<Election, Stop> {
    match o.value("election-type")?.unwrap_or_default() {
        word if word.eq_ignore_ascii_case("preferred") => Ok(Election::Preferred),
        word if word.eq_ignore_ascii_case("unclean") => Ok(Election::Unclean),
        word => {
            let class = "joptsimple.OptionArgumentConversionException";
            let message = format!("Cannot parse argument '{word}' of option election-type");
            let cause = format!(
                "Caused by: joptsimple.ValueConversionException: Value [{word}] is not one of [[PREFERRED,UNCLEAN]]"
            );
            Err(Exception { cause: Some(cause), ..Exception::new(class, message) }.into())
        }
    }
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    let election = match o.has("election-type") {
        true => Some(election(&o)?),
        false => None,
    };
    let missing: Vec<&str> = ["bootstrap-server", "election-type"].into_iter().filter(|n| !o.has(n)).collect();
    let (Some(election), true) = (election, missing.is_empty()) else {
        return Err(failed(format!("Missing required option(s): {}", missing.join(", "))));
    };
    const WHICH: [&str; 3] = ["topic", "all-topic-partitions", "path-to-json-file"];
    if WHICH.iter().filter(|n| o.has(n)).count() != 1 {
        let message = format!("One and only one of the following options is required: {}", WHICH.join(", "));
        return Err(failed(message));
    }
    match (o.has("topic"), o.has("partition")) {
        (true, false) => return Err(failed("Missing required option(s): partition")),
        (false, true) => return Err(failed("Option partition is only allowed if topic is used")),
        _ => {}
    }
    let partitions = partitions(&o)?;
    if partitions.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let option = if o.has("command-config") { "command-config" } else { "admin.config" };
    let mut properties = tool::settings(&o, option)?;
    properties.insert("bootstrap.servers".into(), o.value("bootstrap-server")?.unwrap_or_default().into());
    elect(&tool::admin(&properties).await?, election, partitions.as_deref()).await
}

/// `None` is all.
fn partitions(o: &Parsed) -> Result<Option<Vec<TopicPartition>>, Stop> {
    if let Some(path) = o.value("path-to-json-file")? {
        return Ok(Some(partitions_file::to_elect(&partitions_file::read(path)?)?));
    }
    match (o.value("topic")?, o.int("partition")?) {
        (Some(topic), Some(partition)) => Ok(Some(vec![(topic.to_owned(), partition)])),
        _ => Ok(None),
    }
}

async fn elect(admin: &Admin, election: Election, partitions: Option<&[TopicPartition]>) -> Result<(), Stop> {
    let kind = match election {
        Election::Preferred => "PREFERRED",
        Election::Unclean => "UNCLEAN",
    };
    let results = admin.elect_leaders(election, partitions).await.map_err(|error| match error {
        Error::Timeout(_) | Error::Unreachable(_) | Error::Api { code: ErrorCode::RequestTimedOut, .. } => {
            say!("Timeout waiting for election results");
            failed("Timeout waiting for election results")
        }
        error => {
            say!("Error while making request");
            let message = format!("{}: {error}", error.class());
            Exception::new("java.util.concurrent.ExecutionException", message).into()
        }
    })?;
    let (mut elected, mut valid, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (partition, result) in results {
        match result {
            Ok(()) => elected.push(name(&partition)),
            Err(e) if e.error_code() == Some(ErrorCode::ElectionNotNeeded) => valid.push(name(&partition)),
            Err(e) => refused.push((name(&partition), e)),
        }
    }
    if !elected.is_empty() {
        say!("Successfully completed leader election ({kind}) for partitions {}", elected.join(", "));
    }
    if !valid.is_empty() {
        say!("Valid replica already elected for partitions {}", valid.join(", "));
    }
    if refused.is_empty() {
        return Ok(());
    }
    for (partition, error) in &refused {
        say!("Error completing leader election ({kind}) for partition: {partition}: {}: {error}", error.class());
    }
    let suppressed: Vec<String> =
        refused.iter().map(|(_, error)| format!("\tSuppressed: {}: {error}", error.class())).collect();
    let message = format!("{} replica(s) could not be elected", refused.len());
    Err(Exception { cause: Some(suppressed.join("\n")), ..Exception::new(COMMAND_FAILED, message) }.into())
}
