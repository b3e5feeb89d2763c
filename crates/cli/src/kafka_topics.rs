//! `kafka-topics`: list, describe, create, change and delete topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use client::admin::{
    Admin, ConfigEntry, NewTopic, PartitionDescription, Reassignment, Resource, ResourceType, SOURCE_DEFAULT,
    TopicDescription,
};
use tokio::time::timeout;
use wire::{ErrorCode, Uuid};

use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{java_order, say, term, zookeeper_topics};
use client::pattern::Pattern;

/// How long `--describe` waits to hear what is being moved.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(3);

const ABOUT: &str = "This tool helps to create, delete, describe, or change a topic.";
const LOGGER: &str = "org.apache.kafka.tools.TopicCommand";
const LOGGER_2_1: &str = "kafka.admin.TopicCommand$";

const OPTIONS: &[Opt] = &[
    Opt::flag("alter", "Change a topic: raise its number of partitions. (kafka-configs changes its settings.)"),
    Opt::flag(
        "at-min-isr-partitions",
        "With --describe: only partitions with just as many in-sync replicas as min.insync.replicas asks for.",
    ),
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED: Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text(
        "command-config",
        "command config property file",
        "A file with settings for the client, under Java's names.",
    ),
    Opt::text(
        "config",
        "name=value",
        "With --create: a setting of the new topic, such as retention.ms=60000. May be given several times.",
    ),
    Opt::flag("create", "Create a topic."),
    Opt::flag("delete", "Delete topics."),
    Opt::text("delete-config", "name", "No longer supported: kafka-configs removes settings."),
    Opt::flag("disable-rack-aware", "Means nothing: the controller places the replicas."),
    Opt::flag("describe", "Show partitions, leaders, replicas and settings."),
    Opt::flag("exclude-internal", "With --list or --describe: leave out internal topics."),
    Opt::flag("force", "Means nothing: nobody is asked."),
    HELP,
    Opt::flag("if-exists", "With --alter, --delete or --describe: a topic that does not exist is no error."),
    Opt::flag("if-not-exists", "With --create: a topic that exists already is no error."),
    Opt::flag("list", "List the topics."),
    Opt::int(
        "partition-size-limit-per-response",
        "maximum number of partitions per response",
        "How many partitions the broker puts into one answer.",
    ),
    Opt::int(
        "partitions",
        "# of partitions",
        "Number of partitions: of the new topic (the broker's default when not given), or what --alter raises it to. Records with keys may go to other partitions from then on.",
    ),
    Opt::text(
        "replica-assignment",
        "broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : broker_id_for_part2_replica2 , ...",
        "Which brokers hold the replicas of each partition that is made.",
    ),
    Opt::int(
        "replication-factor",
        "replication factor",
        "Replicas of each partition of the new topic (the broker's default when not given).",
    ),
    Opt::text(
        "topic",
        "topic",
        "The topic; except for --create it may be a regular expression, and a list with commas.",
    ),
    Opt::text("topic-id", "topic-id", "With --describe: the id of the topic."),
    Opt::flag("topics-with-overrides", "With --describe: only topics with settings of their own."),
    Opt::flag("unavailable-partitions", "With --describe: only partitions without a living leader."),
    Opt::flag(
        "under-min-isr-partitions",
        "With --describe: only partitions with fewer in-sync replicas than min.insync.replicas asks for.",
    ),
    Opt::flag(
        "under-replicated-partitions",
        "With --describe: only partitions with fewer in-sync replicas than replicas.",
    ),
    VERSION,
    Opt::text(
        "zookeeper",
        "hosts",
        "Instead of --bootstrap-server, as in Kafka 2.1 and in its words: where the cluster's quorum answers.",
    ),
];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let options = match options(args) {
        Ok(options) => options,
        stop => return tool::end(stop.map(|_| ()), OPTIONS, tool::print_message),
    };
    tool::block_on(async {
        let admin = match connect(&options).await {
            Ok(admin) => admin,
            Err(stop) if options.has("zookeeper") => return tool::end(Err(stop), OPTIONS, tool::print_uncaught),
            Err(stop) => return tool::end(Err(stop), OPTIONS, tool::print_message),
        };
        let (done, logger) = match options.has("zookeeper") {
            true => (zookeeper_topics::run(&options, &admin).await, LOGGER_2_1),
            false => (run(&options, &admin).await, LOGGER),
        };
        tool::end(done, OPTIONS, |exception| {
            say!("Error while executing topic command : {}", exception.message);
            term::log("ERROR", &format!("{}\n", exception.headline()), logger);
        })
    })
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    const ACTIONS: [&str; 5] = ["create", "list", "alter", "describe", "delete"];
    const REPORTS: [&str; 4] =
        ["under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions"];
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    if ACTIONS.iter().filter(|a| o.has(a)).count() != 1 {
        let message = "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        return Err(Stop::Usage(message.into()));
    }
    let by_zookeeper = o.has("zookeeper");
    tool::forbid(&o, "zookeeper", &["bootstrap-server"])?;
    if !o.has("bootstrap-server") && !by_zookeeper {
        return Err(Exception::illegal_argument("--bootstrap-server must be specified").into());
    }
    if o.has("describe") && o.has("if-exists") && !o.has("topic-id") {
        tool::require(&o, &["topic"])?;
    }
    if !o.has("list") && !o.has("describe") {
        tool::require(&o, &["topic"])?;
    }
    if o.has("alter") && !by_zookeeper {
        tool::require(&o, &["partitions"])?;
    }
    let only_with = |name: &str, allowed: &[&str]| {
        let others: Vec<&str> = ACTIONS.iter().copied().filter(|a| !allowed.contains(a)).collect();
        tool::forbid(&o, name, &others)
    };
    only_with("config", &["alter", "create"])?;
    only_with("delete-config", &["alter"])?;
    only_with("partitions", &["alter", "create"])?;
    only_with("replication-factor", &["create"])?;
    only_with("replica-assignment", &["alter", "create"])?;
    if o.has("create") {
        tool::forbid(&o, "replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in REPORTS {
        only_with(report, &["describe"])?;
        let others: Vec<&str> =
            REPORTS.iter().copied().filter(|r| *r != report).chain(["topics-with-overrides"]).collect();
        tool::forbid(&o, report, &others)?;
    }
    only_with("topics-with-overrides", &["describe"])?;
    only_with("if-exists", &["alter", "delete", "describe"])?;
    only_with("if-not-exists", &["create"])?;
    only_with("exclude-internal", &["list", "describe"])?;
    only_with("topic-id", &["describe"])?;
    Ok(o)
}

async fn connect(options: &Parsed) -> Result<Admin, Stop> {
    let mut properties = tool::settings(options, "command-config")?;
    if let Some(quorum) = options.value("zookeeper")? {
        return tool::admin_by_quorum(quorum, &properties).await;
    }
    if let Some(servers) = options.value("bootstrap-server")? {
        properties.insert("bootstrap.servers".into(), servers.into());
    }
    tool::admin(&properties).await
}

async fn run(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    if options.has("create") {
        create(options, admin).await
    } else if options.has("alter") {
        alter(options, admin).await
    } else if options.has("list") {
        let names = matching(options, admin).await?;
        say!("{}", names.join("\n"));
        Ok(())
    } else if options.has("describe") {
        describe(options, admin).await
    } else {
        delete(options, admin).await
    }
}

/// `--topic` as a regular expression: blanks and outer quotes mean nothing, a comma means "or".
struct Wanted {
    text: String,
    pattern: Pattern,
}

impl Wanted {
    fn new(raw: &str) -> Result<Wanted, Exception> {
        let regex = raw.trim().replace(',', "|").replace(' ', "");
        let regex = regex.trim_matches(['"', '\'']);
        match Pattern::new(regex) {
            Ok(pattern) => Ok(Wanted { text: raw.to_owned(), pattern }),
            Err(_) => Err(Exception::new("java.lang.RuntimeException", format!("{regex} is an invalid regex."))),
        }
    }
}

fn wanted(options: &Parsed) -> Result<Option<Wanted>, Stop> {
    Ok(options.value("topic")?.map(Wanted::new).transpose()?)
}

/// The names of the topics that the options choose, sorted.
pub async fn matching(options: &Parsed, admin: &Admin) -> Result<Vec<String>, Stop> {
    let wanted = wanted(options)?;
    let exclude_internal = options.has("exclude-internal");
    let topics = admin.list_topics("listTopics").await?;
    let mut names: Vec<String> = topics
        .into_iter()
        .filter(|t| !(exclude_internal && t.is_internal))
        .map(|t| t.name)
        .filter(|name| wanted.as_ref().is_none_or(|w| w.pattern.matches(name)))
        .collect();
    names.sort();
    Ok(names)
}

/// Refuses when a topic was named and none was found.
fn ensure_found(options: &Parsed, found: bool) -> Result<(), Stop> {
    match wanted(options)? {
        Some(wanted) if !found && !options.has("if-exists") => Err(missing(&wanted.text)),
        _ => Ok(()),
    }
}

fn missing(topic: &str) -> Stop {
    Exception::illegal_argument(format!("Topic '{topic}' does not exist as expected")).into()
}

/// `1:2,2:3`: the brokers of each partition.
fn parse_assignment(text: &str) -> Result<BTreeMap<i32, Vec<i32>>, Exception> {
    let mut all: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (index, part) in text.split(',').enumerate() {
        let mut ids = Vec::new();
        for id in part.split(':').map(str::trim) {
            ids.push(id.parse::<i32>().map_err(|_| {
                Exception::new("java.lang.NumberFormatException", format!("For input string: \"{id}\""))
            })?);
        }
        let twice: BTreeSet<i32> =
            ids.iter().enumerate().filter(|(i, id)| ids[..*i].contains(id)).map(|(_, id)| *id).collect();
        if !twice.is_empty() {
            let twice: Vec<String> = twice.iter().map(i32::to_string).collect();
            return Err(Exception::new(
                "org.apache.kafka.server.common.AdminCommandFailedException",
                format!("Partition replica lists may not contain duplicate entries: {}", twice.join(", ")),
            ));
        }
        if all.get(&0).is_some_and(|first| first.len() != ids.len()) {
            return Err(Exception::new(
                "org.apache.kafka.server.common.AdminOperationException",
                format!("Partition {index} has different replication factor: {ids:?}"),
            ));
        }
        all.insert(index as i32, ids);
    }
    Ok(all)
}

/// What create and alter make: checked before anybody is asked.
pub fn new_topic(options: &Parsed) -> Result<NewTopic, Stop> {
    let mut configs = Vec::new();
    for word in options.values("config") {
        match word.split_once('=') {
            Some((name, value)) => configs.push((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                let message = "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".";
                return Err(Exception::illegal_argument(message).into());
            }
        }
    }
    let partitions = options.int("partitions")?;
    let replication_factor = options.int("replication-factor")?;
    let assignment =
        options.value("replica-assignment")?.filter(|text| !text.is_empty()).map(parse_assignment).transpose()?;
    Ok(NewTopic {
        name: options.value("topic")?.unwrap_or_default().to_owned(),
        partitions,
        // Out of range is told when the topic is made.
        replication_factor: replication_factor.map(|f| i16::try_from(f).unwrap_or(0)),
        assignment,
        configs,
    })
}

async fn create(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let topic = new_topic(options)?;
    if topic.name.contains(['.', '_']) {
        say!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        );
    }
    if topic.replication_factor.is_some_and(|f| f < 1) {
        let message = format!("The replication factor must be between 1 and {} inclusive", i16::MAX);
        return Err(Exception::illegal_argument(message).into());
    }
    if topic.partitions.is_some_and(|p| p < 1) {
        return Err(Exception::illegal_argument("The partitions must be greater than 0").into());
    }
    match admin.create_topic(&topic).await {
        Ok(()) => say!("Created topic {}.", topic.name),
        Err(e) if e.error_code() == Some(ErrorCode::TopicAlreadyExists) && options.has("if-not-exists") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn alter(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let topic = new_topic(options)?;
    let names = matching(options, admin).await?;
    ensure_found(options, !names.is_empty())?;
    let Some(count) = topic.partitions else { return Ok(()) };
    for name in &names {
        let new: Option<Vec<Vec<i32>>> = match &topic.assignment {
            None => None,
            Some(assignment) => {
                let described = admin.describe_topics(std::slice::from_ref(name), 2000).await?;
                let first = described.first().map_or(0, |t| t.partitions.len() as i32);
                Some(assignment.range(first..).map(|(_, ids)| ids.clone()).collect())
            }
        };
        admin.create_partitions(name, count, new.as_deref()).await?;
    }
    Ok(())
}

async fn delete(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let names = matching(options, admin).await?;
    ensure_found(options, !names.is_empty())?;
    for name in names {
        admin.delete_topic(&name).await?;
    }
    Ok(())
}

async fn described(options: &Parsed, admin: &Admin) -> Result<Vec<TopicDescription>, Stop> {
    let id = options.value("topic-id")?.map(str::parse::<Uuid>).transpose().map_err(|_| {
        let text = options.value("topic-id").ok().flatten().unwrap_or_default();
        Exception::illegal_argument(format!("Input string `{text}` is not a topic id"))
    })?;
    if let Some(id) = id.filter(|id| !id.is_zero()) {
        let known = admin.list_topics("listTopics").await?;
        let hidden = |internal: bool| internal && options.has("exclude-internal");
        if !known.iter().any(|t| t.id == id && !hidden(t.is_internal)) {
            if options.has("if-exists") {
                return Ok(Vec::new());
            }
            let message = format!("TopicId '{id}' does not exist as expected");
            return Err(Exception::illegal_argument(message).into());
        }
        return Ok(admin.describe_topics_by_id(&[id]).await?);
    }
    let names = matching(options, admin).await?;
    ensure_found(options, !names.is_empty())?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let page = options.int("partition-size-limit-per-response")?.unwrap_or(2000);
    Ok(admin.describe_topics(&names, page).await?)
}

async fn describe(options: &Parsed, admin: &Admin) -> Result<(), Stop> {
    let topics = described(options, admin).await?;
    if topics.is_empty() {
        return Ok(());
    }
    let resources: Vec<Resource> =
        topics.iter().map(|t| Resource { kind: ResourceType::Topic, name: t.name.clone() }).collect();
    let mut configs = admin.describe_configs(&resources).await?;
    let alive: BTreeSet<i32> = match options.has("unavailable-partitions") {
        true => admin.brokers().await?.into_iter().map(|b| b.node.id).collect(),
        false => BTreeSet::new(),
    };
    // Older brokers and those that forbid the question have nothing to tell; without a controller nobody has.
    let moving = timeout(CONTROLLER_PATIENCE, admin.list_reassignments()).await;
    let moving = moving.ok().and_then(Result::ok).unwrap_or_default();
    let report = Report::new(options, alive);
    for (topic, config) in topics.iter().zip(&mut configs) {
        // Their order is that of a map of all settings, also of those that are left out.
        java_order::sort(config, |c| c.name.as_str());
        let own: Vec<&ConfigEntry> = config.iter().filter(|c| c.source != SOURCE_DEFAULT).collect();
        let moves = |index: i32| moving.get(&(topic.name.clone(), index));
        if report.headers && (!options.has("topics-with-overrides") || !own.is_empty()) {
            print_header(topic, &own, topic.partitions.first().and_then(|p| moves(p.index)));
        }
        if options.has("topics-with-overrides") {
            continue;
        }
        for partition in &topic.partitions {
            let moves = moves(partition.index);
            if report.shows(partition, moves, config) {
                print_partition(&topic.name, partition, moves);
            }
        }
    }
    Ok(())
}

/// Which partitions are shown.
struct Report {
    headers: bool,
    under_replicated: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    unavailable: bool,
    alive: BTreeSet<i32>,
}

impl Report {
    fn new(options: &Parsed, alive: BTreeSet<i32>) -> Report {
        let under_replicated = options.has("under-replicated-partitions");
        let under_min_isr = options.has("under-min-isr-partitions");
        let at_min_isr = options.has("at-min-isr-partitions");
        let unavailable = options.has("unavailable-partitions");
        let headers = !(under_replicated || under_min_isr || at_min_isr || unavailable);
        Report { headers, under_replicated, under_min_isr, at_min_isr, unavailable, alive }
    }

    fn shows(&self, p: &PartitionDescription, moves: Option<&Reassignment>, config: &[ConfigEntry]) -> bool {
        let min_isr = config
            .iter()
            .find(|c| c.name == "min.insync.replicas")
            .and_then(|c| c.value.as_deref()?.parse::<usize>().ok())
            .unwrap_or(1);
        self.headers
            || self.under_replicated && p.isr.len() < replication_factor(p, moves)
            || self.under_min_isr && (p.leader.is_none() || p.isr.len() < min_isr)
            || self.at_min_isr && p.isr.len() == min_isr
            || self.unavailable && p.leader.is_none_or(|l| !self.alive.contains(&l))
    }
}

/// Replicas of a partition, without those that are being added.
fn replication_factor(p: &PartitionDescription, moves: Option<&Reassignment>) -> usize {
    match moves {
        Some(m) if !m.adding.is_empty() || !m.removing.is_empty() => m.replicas.len() - m.adding.len(),
        _ => p.replicas.len(),
    }
}

fn print_header(topic: &TopicDescription, own: &[&ConfigEntry], moves: Option<&Reassignment>) {
    let factor = topic.partitions.first().map_or(0, |p| replication_factor(p, moves));
    let id = if topic.id.is_zero() { String::new() } else { format!("\tTopicId: {}", topic.id) };
    let configs: Vec<String> =
        own.iter().map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null"))).collect();
    say!(
        "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
        topic.name,
        topic.partitions.len(),
        configs.join(",")
    );
}

fn print_partition(topic: &str, p: &PartitionDescription, moves: Option<&Reassignment>) {
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let leader = p.leader.map_or_else(|| "none".to_owned(), |l| l.to_string());
    let moves = moves.map_or_else(String::new, |m| {
        format!("\tAdding Replicas: {}\tRemoving Replicas: {}", ids(&m.adding), ids(&m.removing))
    });
    let elr = |elr: &Option<Vec<i32>>| elr.as_ref().map_or_else(|| "N/A".to_owned(), |e| ids(e));
    say!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}{moves}\tElr: {}\tLastKnownElr: {}",
        p.index,
        ids(&p.replicas),
        ids(&p.isr),
        elr(&p.elr),
        elr(&p.last_known_elr)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_lists_brokers_by_partition() {
        assert_eq!(parse_assignment("1:2, 2:3").unwrap(), [(0, vec![1, 2]), (1, vec![2, 3])].into());
        assert_eq!(
            parse_assignment("1:1,2:2").unwrap_err().message,
            "Partition replica lists may not contain duplicate entries: 1"
        );
        assert_eq!(parse_assignment("1:2,2").unwrap_err().message, "Partition 1 has different replication factor: [2]");
        assert_eq!(parse_assignment("x").unwrap_err().message, "For input string: \"x\"");
    }
}
