//! `kafka-reassign-partitions`: move replicas between brokers, and between the log directories of a broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::admin::{Admin, TopicPartition};

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::partitions_file::{self, COMMAND_FAILED, Move, ids, name};
use crate::reassign::throttle::{self, Plan};
use crate::reassign::{self, Assignment, directories, placement};
use crate::tool::{self, Exception, Stop};
use crate::{say, zookeeper_reassign};

const ABOUT: &str = "This tool helps to move topic partitions between replicas.";
/// A failure that is told without its class.
const TERSE: &str = "org.apache.kafka.tools.TerseException";

const OPTIONS: &[Opt] = &[
    Opt::flag("additional", "With --execute: besides those under way, or with another throttle for them."),
    Opt::text(
        "bootstrap-controller",
        "bootstrap controller to connect to",
        "Controllers instead of brokers, for --cancel and --list.",
    ),
    Opt::text(
        "bootstrap-server",
        "Server(s) to use for bootstrapping",
        "Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text("broker-list", "brokerlist", "With --generate: the brokers to use, as \"0,1,2\"."),
    Opt::flag("cancel", "Take back what is under way of --reassignment-json-file."),
    Opt::text(
        "command-config",
        "Admin client property file",
        "A file with settings for the client, under Java's names.",
    ),
    Opt::flag("disable-rack-aware", "With --generate: pass over the brokers' racks."),
    Opt::flag("disallow-replication-factor-change", "With --execute: refuse to change the number of replicas."),
    Opt::flag("execute", "Begin to move what --reassignment-json-file says."),
    Opt::flag("generate", "Propose an assignment; nothing is moved."),
    HELP,
    Opt::flag("list", "List what is under way."),
    Opt::flag("preserve-throttles", "With --verify or --cancel: leave throttles as they are."),
    Opt::text(
        "reassignment-json-file",
        "manual assignment json file path",
        "A file with partitions and their replicas, as in\n{\"partitions\":\n\t[{\"topic\": \"foo\",\n\t  \"partition\": 1,\n\t  \"replicas\": [1,2,3] }],\n\"version\":1\n}",
    ),
    Opt::long(
        "replica-alter-log-dirs-throttle",
        "replicaAlterLogDirsThrottle",
        "With --execute: bytes a second that each broker may move between its directories.",
    )
    .default("-1"),
    Opt::long("throttle", "throttle", "With --execute: bytes a second that the moves may take of each broker.")
        .default("-1"),
    Opt::long("timeout", "timeout", "Milliseconds to wait for the begin of moves between directories.")
        .default("10000"),
    Opt::text(
        "topics-to-move-json-file",
        "topics to reassign json file path",
        "With --generate: a file with the topics, as in\n{\"topics\":\n\t[{\"topic\": \"foo\"},{\"topic\": \"foo1\"}],\n\"version\":1\n}",
    ),
    Opt::flag("verify", "Tell how far it is, and remove the throttles of what is done."),
    VERSION,
    Opt::text(
        "zookeeper",
        "urls",
        "Instead of --bootstrap-server, as in Kafka 2.1 and in its words: where the cluster's quorum answers.",
    ),
];

/// An action, the options that it needs, and those that it takes besides.
type Action = (&'static str, &'static [&'static str], &'static [&'static str]);

const ACTIONS: [Action; 5] = [
    ("generate", &["topics-to-move-json-file", "broker-list"], &["disable-rack-aware"]),
    (
        "execute",
        &["reassignment-json-file"],
        &["additional", "disallow-replication-factor-change", "replica-alter-log-dirs-throttle", "throttle", "timeout"],
    ),
    ("verify", &["reassignment-json-file"], &["preserve-throttles"]),
    ("cancel", &["reassignment-json-file"], &["bootstrap-controller", "preserve-throttles", "timeout"]),
    ("list", &[], &["bootstrap-controller"]),
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    tool::block_on(async {
        let options = match options(args) {
            Ok(options) => options,
            stop => return tool::end(stop.map(|_| ()), OPTIONS, print),
        };
        if options.has("zookeeper") {
            return zookeeper_reassign::main(&options, OPTIONS).await;
        }
        tool::end(run(&options).await, OPTIONS, print)
    })
}

/// On standard output, as Kafka's tool does.
fn print(exception: &Exception) {
    if exception.class == TERSE {
        return say!("{}", exception.message);
    }
    say!("Error: {}\n{}", exception.message, exception.headline());
    if let Some(cause) = &exception.cause {
        say!("{cause}");
    }
    say!("");
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    if o.has("zookeeper") {
        tool::forbid(&o, "zookeeper", &["bootstrap-server", "bootstrap-controller"])?;
        zookeeper_reassign::check(&o)?;
        return Ok(o);
    }
    let usage = |message: String| Err(Stop::Usage(message));
    let chosen: Vec<&Action> = ACTIONS.iter().filter(|(action, ..)| o.has(action)).collect();
    let [(action, needs, takes)] = chosen[..] else {
        let names: Vec<String> = ACTIONS.iter().map(|(action, ..)| format!("--{action}")).collect();
        return usage(format!("Command must include exactly one action: {}", names.join(", ")));
    };
    let servers = ["bootstrap-server", "bootstrap-controller"];
    match servers.iter().filter(|server| o.has(server)).count() {
        1 => {}
        0 => return usage("Please specify either --bootstrap-server or --bootstrap-controller".to_owned()),
        _ => return usage("Please don't specify both --bootstrap-server and --bootstrap-controller".to_owned()),
    }
    tool::require(&o, needs)?;
    let common = ["bootstrap-server", "command-config", "help", "version", action];
    let foreign = OPTIONS
        .iter()
        .map(|option| option.name)
        .find(|name| o.has(name) && !common.contains(name) && !needs.contains(name) && !takes.contains(name));
    match foreign {
        Some(name) => usage(format!("Option \"[{name}]\" can't be used with action \"[{action}]\"")),
        None => Ok(o),
    }
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    let mut properties = tool::settings(o, "command-config")?;
    let servers = o.value("bootstrap-server")?.or(o.value("bootstrap-controller")?).unwrap_or_default();
    properties.insert("bootstrap.servers".into(), servers.into());
    let admin = tool::admin(&properties).await?;
    if o.has("list") {
        return list(&admin).await;
    }
    if o.has("generate") {
        let (current, proposed) = generated(o, &admin).await?;
        say!(
            "Current partition replica assignment\n{current}\n\nProposed partition reassignment configuration\n{proposed}"
        );
        return Ok(());
    }
    let moves = moves(o)?;
    if o.has("execute") {
        execute(o, &admin, &moves).await
    } else if o.has("verify") {
        verify(&admin, &moves, o.has("preserve-throttles")).await
    } else {
        cancel(&admin, &moves, timeout(o)?, o.has("preserve-throttles")).await
    }
}

/// What `--reassignment-json-file` says.
pub fn moves(o: &Parsed) -> Result<Vec<Move>, Stop> {
    let path = o.value("reassignment-json-file")?.unwrap_or_default();
    Ok(partitions_file::moves(&partitions_file::read(path)?)?)
}

async fn list(admin: &Admin) -> Result<(), Stop> {
    let ongoing: BTreeMap<TopicPartition, _> = admin.list_reassignments().await?.into_iter().collect();
    if ongoing.is_empty() {
        say!("No partition reassignments found.");
        return Ok(());
    }
    say!("Current partition reassignments:");
    for (partition, r) in ongoing {
        let (replicas, adding, removing) = (ids(&r.replicas, ","), ids(&r.adding, ","), ids(&r.removing, ","));
        let part = |what: &str, ids: String| if ids.is_empty() { String::new() } else { format!(" {what}: {ids}.") };
        say!("{}: replicas: {replicas}.{}{}", name(&partition), part("adding", adding), part("removing", removing));
    }
    Ok(())
}

/// The assignment as it is and as it might be.
pub async fn generated(o: &Parsed, admin: &Admin) -> Result<(String, String), Stop> {
    let mut brokers = Vec::new();
    for word in o.value("broker-list")?.unwrap_or_default().split(',').map(str::trim) {
        let class = "java.lang.NumberFormatException";
        let wrong = || Exception::new(class, format!("For input string: \"{word}\""));
        brokers.push(word.parse::<i32>().map_err(|_| wrong())?);
    }
    let twice = partitions_file::twice(brokers.iter().copied());
    if !twice.is_empty() {
        let message = format!("Broker list contains duplicate entries: [{}]", ids(&twice, ", "));
        return Err(Exception::new(COMMAND_FAILED, message).into());
    }
    let path = o.value("topics-to-move-json-file")?.unwrap_or_default();
    let topics: Vec<String> = partitions_file::topics(&partitions_file::read(path)?)?;
    let twice = partitions_file::twice(topics.iter().cloned());
    if !twice.is_empty() {
        let message = format!("List of topics to reassign contains duplicate entries: [{}]", twice.join(", "));
        return Err(Exception::new(COMMAND_FAILED, message).into());
    }
    let described = reassign::describe(admin, &topics.into_iter().collect()).await?;
    let mut current = Assignment::new();
    for topic in &described {
        current.extend(topic.partitions.iter().map(|p| ((topic.name.clone(), p.index), p.replicas.clone())));
    }
    let proposed = proposal(&current, &usable(o, admin, &brokers).await?)?;
    let directories = reassign::directories(admin, &current).await?;
    Ok((reassign::to_json(&current, &directories), reassign::to_json(&proposed, &BTreeMap::new())))
}

/// Those of the brokers that are there, in the order in which replicas are given out.
async fn usable(o: &Parsed, admin: &Admin, wanted: &[i32]) -> Result<Vec<i32>, Stop> {
    let alive = admin.brokers().await?.into_iter().map(|b| b.node);
    let found: Vec<(i32, Option<String>)> = alive.filter(|n| wanted.contains(&n.id)).map(|n| (n.id, n.rack)).collect();
    if o.has("disable-rack-aware") {
        return Ok(found.into_iter().map(|(id, _)| id).collect());
    }
    let racks = found.iter().filter(|(_, rack)| rack.is_some()).count();
    if racks > 0 && racks < found.len() {
        let message = "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica \
                       assignment without rack information.";
        return Err(Exception::new("org.apache.kafka.tools.AdminOperationException", message).into());
    }
    Ok(placement::order(&found))
}

fn proposal(current: &Assignment, brokers: &[i32]) -> Result<Assignment, Stop> {
    let refuse = |message: String| {
        Err(Exception::new("org.apache.kafka.common.errors.InvalidReplicationFactorException", message).into())
    };
    if brokers.is_empty() {
        return refuse("All brokers are currently fenced, or have all their log directories cordoned.".to_owned());
    }
    let mut proposed = Assignment::new();
    let topics: BTreeSet<&String> = current.keys().map(|(topic, _)| topic).collect();
    for topic in topics {
        let partitions: Vec<(&TopicPartition, &Vec<i32>)> = current.iter().filter(|(p, _)| p.0 == *topic).collect();
        let factor = partitions.first().map_or(0, |(_, replicas)| replicas.len());
        if factor > brokers.len() {
            return refuse(format!(
                "The target replication factor of {factor} cannot be reached because only {} broker(s) are registered or some \
                 brokers have all their log directories cordoned.",
                brokers.len()
            ));
        }
        let start = (client::random::unit() * brokers.len() as f64) as usize;
        let placed = placement::place(brokers, partitions.len(), factor, start);
        proposed.extend(partitions.into_iter().map(|(p, _)| p.clone()).zip(placed));
    }
    Ok(proposed)
}

async fn execute(o: &Parsed, admin: &Admin, moves: &[Move]) -> Result<(), Stop> {
    if !o.has("additional") && !admin.list_reassignments().await?.is_empty() {
        let message = "Cannot execute because there is an existing partition assignment.  Use --additional to override this \
                       and create a new partition assignment in addition to the existing one. The --additional flag can also \
                       be used to change the throttle by resubmitting the current reassignment.";
        return Err(Exception::new(TERSE, message).into());
    }
    reassign::check_brokers(admin, moves).await?;
    let partitions: Vec<TopicPartition> = moves.iter().map(|m| m.partition.clone()).collect();
    let current = reassign::current(admin, &partitions).await?;
    let json = reassign::to_json(&current, &reassign::directories(admin, &current).await?);
    say!(
        "Current partition replica assignment\n\n{json}\n\nSave this to use as the --reassignment-json-file option during \
         rollback"
    );
    let (rate, dir_rate) =
        (o.long("throttle")?.unwrap_or(-1), o.long("replica-alter-log-dirs-throttle")?.unwrap_or(-1));
    let targets_in_dirs = directories::targets(moves);
    if rate >= 0 || dir_rate >= 0 {
        say!(
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
        );
    }
    if rate >= 0 {
        Plan::new(&current, moves).set(admin, rate).await?;
        say!("The inter-broker throttle limit was set to {rate} B/s");
    }
    if dir_rate >= 0 {
        let brokers: BTreeSet<i32> = targets_in_dirs.keys().map(|(broker, _)| *broker).collect();
        throttle::set_between_directories(admin, &brokers, dir_rate).await?;
        say!("The replica-alter-dir throttle limit was set to {dir_rate} B/s");
    }
    let targets: Vec<(TopicPartition, Option<Vec<i32>>)> =
        moves.iter().map(|m| (m.partition.clone(), Some(m.replicas.clone()))).collect();
    let results = admin.alter_reassignments(&targets, !o.has("disallow-replication-factor-change")).await?;
    let refused: Vec<String> =
        results.iter().filter_map(|(p, result)| Some(format!("{}: {}", name(p), result.as_ref().err()?))).collect();
    if !refused.is_empty() {
        return Err(Exception::new(TERSE, format!("Error reassigning partition(s):\n{}", refused.join("\n"))).into());
    }
    let names: Vec<String> = current.keys().map(name).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    say!("Successfully started partition reassignment{plural} for {}", names.join(","));
    directories::execute(admin, &targets_in_dirs, timeout(o)?).await
}

fn timeout(o: &Parsed) -> Result<Duration, Stop> {
    Ok(Duration::from_millis(o.long("timeout")?.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)))
}

async fn verify(admin: &Admin, moves: &[Move], preserve_throttles: bool) -> Result<(), Stop> {
    let ongoing = admin.list_reassignments().await?;
    let partitions: Vec<TopicPartition> = moves.iter().map(|m| m.partition.clone()).collect();
    let current = reassign::existing(admin, &partitions).await?;
    let mut sorted: Vec<&Move> = moves.iter().collect();
    sorted.sort_by(|a, b| a.partition.cmp(&b.partition));
    say!("Status of partition reassignment:");
    let mut under_way = false;
    for m in sorted {
        let partition = name(&m.partition);
        let replicas = current.get(&m.partition).map(Vec::as_slice).unwrap_or_default();
        if let Some(r) = ongoing.get(&m.partition) {
            under_way = true;
            let target: Vec<i32> = r.replicas.iter().copied().filter(|id| !r.removing.contains(id)).collect();
            match target == m.replicas {
                true => say!("Reassignment of partition {partition} is still in progress."),
                false => {
                    let (target, wanted) = (ids(&target, ","), ids(&m.replicas, ","));
                    say!(
                        "Reassignment of partition {partition} is still in progress, but the target replica set is {target} \
                         rather than {wanted}"
                    );
                }
            }
        } else if replicas == m.replicas {
            say!("Reassignment of partition {partition} is completed.");
        } else {
            let (now, wanted) = (ids(replicas, ","), ids(&m.replicas, ","));
            say!(
                "There is no active reassignment of partition {partition}, but replica set is {now} rather than {wanted}."
            );
        }
    }
    under_way |= directories::verify(admin, &directories::targets(moves)).await?;
    if under_way || preserve_throttles { Ok(()) } else { clear_throttles(admin, moves).await }
}

async fn clear_throttles(admin: &Admin, moves: &[Move]) -> Result<(), Stop> {
    let brokers: BTreeSet<i32> = admin.brokers().await?.into_iter().map(|b| b.node.id).collect();
    let topics: BTreeSet<String> = moves.iter().map(|m| m.partition.0.clone()).collect();
    say!("Clearing broker-level throttles on brokers {}", ids(&brokers.iter().copied().collect::<Vec<_>>(), ","));
    throttle::clear_brokers(admin, &brokers).await?;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    say!("Clearing topic-level throttles on topic{plural} {}", names.join(","));
    throttle::clear_topics(admin, &topics).await
}

async fn cancel(admin: &Admin, moves: &[Move], timeout: Duration, preserve_throttles: bool) -> Result<(), Stop> {
    let ongoing = admin.list_reassignments().await?;
    let mut targets: Vec<(TopicPartition, Option<Vec<i32>>)> =
        moves.iter().filter(|m| ongoing.contains_key(&m.partition)).map(|m| (m.partition.clone(), None)).collect();
    targets.sort();
    if targets.is_empty() {
        say!("None of the specified partition reassignments are active.");
    } else {
        let results = admin.alter_reassignments(&targets, true).await?;
        let refused: Vec<String> =
            results.iter().filter_map(|(p, result)| Some(format!("{}: {}", name(p), result.as_ref().err()?))).collect();
        if !refused.is_empty() {
            let message = format!("Error cancelling partition reassignment(s):\n{}", refused.join("\n"));
            return Err(Exception::new(TERSE, message).into());
        }
        let names: Vec<String> = targets.iter().map(|(p, _)| name(p)).collect();
        let plural = if names.len() == 1 { "" } else { "s" };
        say!("Successfully cancelled partition reassignment{plural} for: {}", names.join(","));
    }
    let is_moving = directories::cancel(admin, &directories::targets(moves), timeout).await?;
    if !is_moving {
        crate::term::out_bytes(b"None of the specified partition moves are active.");
    }
    if preserve_throttles {
        if !is_moving {
            say!("");
        }
        return Ok(());
    }
    clear_throttles(admin, moves).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        match options(&words) {
            Err(Stop::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The texts are those of Apache Kafka 4.3.1's tool.
    #[test]
    fn words_that_make_no_sense_together_are_refused() {
        let one = "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list";
        assert_eq!(said(&["--bootstrap-server", "a:1"]), one);
        assert_eq!(said(&["--bootstrap-server", "a:1", "--list", "--verify"]), one);
        assert_eq!(said(&["--list"]), "Please specify either --bootstrap-server or --bootstrap-controller");
        let server = ["--bootstrap-server", "a:1"];
        let with = |more: &[&'static str]| said(&[&server[..], more].concat());
        assert_eq!(with(&["--list", "--throttle", "5"]), "Option \"[throttle]\" can't be used with action \"[list]\"");
        assert_eq!(with(&["--execute"]), "Missing required argument \"[reassignment-json-file]\"");
        let both = with(&["--list", "--bootstrap-controller", "b:1"]);
        assert_eq!(both, "Please don't specify both --bootstrap-server and --bootstrap-controller");
        let controller = ["--bootstrap-controller", "a:1", "--execute", "--reassignment-json-file", "f"];
        assert_eq!(said(&controller), "Option \"[bootstrap-controller]\" can't be used with action \"[execute]\"");
    }

    #[test]
    fn a_proposal_needs_as_many_brokers_as_replicas() {
        let current: Assignment = [(("t".to_owned(), 0), vec![1, 2])].into();
        assert!(proposal(&current, &[]).is_err() && proposal(&current, &[3]).is_err());
        let proposed = proposal(&current, &[3, 4]).unwrap();
        assert_eq!(proposed[&("t".to_owned(), 0)].iter().copied().collect::<BTreeSet<_>>(), [3, 4].into());
    }
}
