//! `kafka-preferred-replica-election`: Kafka 2.1's way to have the preferred replicas lead.

use client::Error;
use client::admin::{Admin, Election, TopicPartition};
use wire::ErrorCode;

use crate::options::{HELP, Opt, VERSION};
use crate::partitions_file::{self, name};
use crate::say;
use crate::tool::{self, Exception, Stop};

const ABOUT: &str = "This tool causes leadership for each partition to be transferred back to the 'preferred replica', it can be used to balance leadership among the servers.";

const OPTIONS: &[Opt] = &[
    HELP,
    Opt::text(
        "path-to-json-file",
        "list of partitions for which preferred replica leader election needs to be triggered",
        "A file with partitions, all when not given, as in\n{\"partitions\":\n\t[{\"topic\": \"foo\", \"partition\": 1},\n\t {\"topic\": \"foobar\", \"partition\": 2}]\n}",
    ),
    VERSION,
    Opt::text("zookeeper", "urls", "REQUIRED: Where the cluster's quorum answers, as host:port."),
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        let (code, result) = match run(args).await {
            // Whatever fails once the work has begun is told, and is no failure of the tool.
            Err(Stop::Thrown(exception)) => {
                say!("Failed to start preferred replica election\n{}", exception.headline());
                (0, Ok(()))
            }
            result => (0, result),
        };
        code.max(tool::end(result, OPTIONS, tool::print_message))
    })
}

async fn run(args: &[String]) -> Result<(), Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    tool::require(&o, &["zookeeper"])?;
    let wanted = match o.value("path-to-json-file")? {
        Some(path) => Some(partitions_file::to_elect(&partitions_file::read(path)?)?),
        None => None,
    };
    let properties = client::Properties::new();
    let admin = tool::admin_by_quorum(o.value("zookeeper")?.unwrap_or_default(), &properties).await?;
    let known = known(&admin).await?;
    let (valid, missing): (Vec<TopicPartition>, Vec<TopicPartition>) = match wanted {
        Some(wanted) => wanted.into_iter().partition(|p| known.contains(p)),
        None => (known, Vec::new()),
    };
    let names: Vec<String> = valid.iter().map(name).collect();
    if !valid.is_empty() {
        let results = admin.elect_leaders(Election::Preferred, Some(&valid)).await?;
        let refused = results.into_iter().find_map(|(p, result)| Some((p, result.err().filter(is_failure)?)));
        if let Some((partition, error)) = refused {
            let message = format!("{}: {error}", name(&partition));
            return Err(Exception::new(&error.class(), message).into());
        }
    }
    say!("Created preferred replica election path with {}", names.join(","));
    say!("Successfully started preferred replica election for partitions Set({})", names.join(", "));
    for partition in missing {
        let partition = name(&partition);
        say!("Skipping preferred replica leader election for partition {partition} since it doesn't exist.");
    }
    Ok(())
}

/// 2.1 only wrote down that an election was wanted; that it could not be had was for the controller's log.
fn is_failure(error: &Error) -> bool {
    let common = [ErrorCode::ElectionNotNeeded, ErrorCode::PreferredLeaderNotAvailable];
    error.error_code().is_none_or(|code| !common.contains(&code))
}

async fn known(admin: &Admin) -> Result<Vec<TopicPartition>, Stop> {
    let names: Vec<String> = admin.list_topics("listTopics").await?.into_iter().map(|t| t.name).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let topics = admin.describe_topics(&names, 2000).await?;
    Ok(topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), p.index))).collect())
}
