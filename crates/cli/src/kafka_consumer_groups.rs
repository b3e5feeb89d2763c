//! `kafka-consumer-groups`: list and describe groups, set and delete their offsets, delete them.

use std::collections::{BTreeMap, BTreeSet};

use client::Error;
use client::admin::{Admin, TopicPartition};
use wire::ErrorCode;

use crate::consumer_groups::describe::{self, Form, Table};
use crate::consumer_groups::plan;
use crate::consumer_groups::reset::{self, Rule, Scope};
use crate::consumer_groups::{failed, failed_within, partitions_of, when};
use crate::options::{HELP, Opt, OptionError, Parsed, VERSION};
use crate::tool::{self, Exception, Stop};
use crate::{complain, java_order, say};
use client::pattern::Pattern;

const ABOUT: &str = "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.";

const OPTIONS: &[Opt] = &[
    Opt::flag("all-groups", "With --describe, --delete or --reset-offsets: all groups."),
    Opt::flag("all-topics", "With --reset-offsets: all partitions that the group has committed offsets for."),
    Opt::text(
        "bootstrap-server",
        "server to connect to",
        "REQUIRED (but for --validate-regex): Brokers to begin with, as HOST1:PORT1,HOST2:PORT2.",
    ),
    Opt::text("by-duration", "duration", "New offsets: of the records this long ago, as in P1DT2H3M4S."),
    Opt::text(
        "command-config",
        "command config property file",
        "A file with settings for the client, under Java's names.",
    ),
    Opt::flag("delete", "Delete groups with their offsets. Example: --delete --group g1 --group g2"),
    Opt::flag("delete-offsets", "Delete the offsets of one group for topics: --group g1 --topic t1 --topic t2:0,1"),
    Opt::flag("describe", "Show a group's offsets and lag (--offsets), its --members or its --state."),
    Opt::flag("dry-run", "With --reset-offsets: only show what would be set."),
    Opt::flag("execute", "With --reset-offsets: set the offsets."),
    Opt::flag("export", "With --reset-offsets: print the new offsets as CSV, for --from-file."),
    Opt::text("from-file", "path to CSV file", "New offsets: those in this file."),
    Opt::text("group", "consumer group", "The group; may be given several times."),
    HELP,
    Opt::flag("list", "List the groups of consumers."),
    Opt::flag(
        "members",
        "With --describe: the members. Example: --bootstrap-server localhost:9092 --describe --group g1 --members",
    ),
    Opt::flag("offsets", "With --describe: offsets and lag of each partition; this is what --describe does by itself."),
    Opt::flag(
        "reset-offsets",
        "Give a group without members new offsets. The scope is --topic or --all-topics (or --from-file), the new offsets are one of --to-earliest, --to-latest, --to-current, --to-offset, --shift-by, --by-duration, --to-datetime, --from-file; --dry-run shows them, --execute sets them, --export prints CSV.",
    ),
    Opt::long("shift-by", "number-of-offsets", "New offsets: the committed ones plus this, which may be negative."),
    Opt::maybe_text(
        "state",
        "",
        "With --describe: the state of the group. With --list: show states; with a value only groups in these states. Example: --list --state stable,empty",
    ),
    Opt::long("timeout", "timeout (ms)", "How long the brokers may take to answer.").default("30000"),
    Opt::flag("to-current", "New offsets: what is committed; the end where nothing is."),
    Opt::text(
        "to-datetime",
        "datetime",
        "New offsets: of the first records at this time, YYYY-MM-DDThh:mm:ss.sss, in UTC or with an offset behind it.",
    ),
    Opt::flag("to-earliest", "New offsets: the first of each partition."),
    Opt::flag("to-latest", "New offsets: the end of each partition."),
    Opt::long("to-offset", "offset", "New offsets: this one."),
    Opt::text(
        "topic",
        "topic",
        "With --reset-offsets and --delete-offsets: a topic, or partitions of it as in topic1:0,1,2. May be given several times.",
    ),
    Opt::maybe_text(
        "type",
        "",
        "With --list: show types; with a value only groups of these types. Example: --list --type classic,consumer",
    ),
    Opt::text("validate-regex", "regex", "Say whether this is a regular expression that groups can subscribe with."),
    Opt::flag("verbose", "With --describe: more columns."),
    VERSION,
];

const ACTIONS: [&str; 6] = ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];
const RULES: [&str; 8] =
    ["to-earliest", "to-current", "to-latest", "by-duration", "to-datetime", "from-file", "shift-by", "to-offset"];
const STATES: [&str; 7] =
    ["Assigning", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Reconciling"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let options = match options(args) {
        Ok(options) => options,
        stop => return tool::end(stop.map(|_| ()), OPTIONS, tool::print_uncaught),
    };
    let result = tool::block_on(run(&options)).or_else(|stop| match stop {
        Stop::Thrown(e) if e.class == "java.lang.IllegalArgumentException" || e.class.starts_with("joptsimple.") => {
            Err(Stop::Usage(e.message))
        }
        // Kafka's tool tells these on standard output, and ends with 0.
        Stop::Thrown(e) => {
            say!("\nError: Executing consumer group command failed due to {}", e.message);
            complain!("{}", e.headline());
            if let Some(cause) = &e.cause {
                complain!("Caused by: {cause}");
            }
            Ok(())
        }
        stop => Err(stop),
    });
    tool::end(result, OPTIONS, tool::print_uncaught)
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    let available = [
        ("members", &["describe"][..]),
        ("verbose", &["describe"]),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("type", &["list"]),
    ];
    for (name, with) in available {
        if o.has(name) && !with.iter().any(|w| o.has(w)) {
            let message = format!("Option(s) [{name}] are unavailable given other options on the command line");
            return Err(OptionError { class: "joptsimple.UnavailableOptionException", message }.into());
        }
    }
    if !o.has("validate-regex") {
        tool::require(&o, &["bootstrap-server"])?;
    }
    let scoped = o.has("group") || o.has("all-groups");
    let usage = |message: String| Err(Stop::Usage(message));
    if o.has("describe") {
        if !scoped {
            return usage("Option [describe] takes one of these options: [all-groups], [group]".into());
        }
        if ["members", "offsets", "state"].iter().filter(|n| o.has(n)).count() > 1 {
            return usage("Option [describe] takes at most one of these options: [members], [offsets], [state]".into());
        }
        if o.value("state")?.is_some() {
            return usage("Option [describe] does not take a value for [state]".into());
        }
    }
    if o.has("delete") {
        if !scoped {
            return usage("Option [delete] takes one of these options: [all-groups], [group]".into());
        }
        if o.has("topic") {
            let message = "The consumer does not support topic-specific offset deletion from a consumer group.";
            return usage(message.into());
        }
    }
    if o.has("delete-offsets") && !(o.has("group") && o.has("topic")) {
        return usage("Option [delete-offsets] takes the following options: [group], [topic]".into());
    }
    if o.has("reset-offsets") {
        if o.has("dry-run") && o.has("execute") {
            return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]".into());
        }
        if !o.has("dry-run") && !o.has("execute") {
            complain!(
                "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either --dry-run or --execute to be specified. You should add the --dry-run option explicitly if you are scripting this command and want to keep the current default behavior without prompting."
            );
        }
        if !scoped {
            return usage("Option [reset-offsets] takes one of these options: [all-groups], [group]".into());
        }
        for rule in RULES {
            let others: Vec<&str> = RULES.into_iter().filter(|other| *other != rule).collect();
            tool::forbid(&o, rule, &others)?;
        }
    }
    tool::forbid(&o, "group", &["all-groups", "list"])?;
    tool::forbid(&o, "topic", &["list", "describe"])?;
    if ACTIONS.iter().filter(|action| o.has(action)).count() != 1 {
        return usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex".into(),
        );
    }
    Ok(o)
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    if let Some(regex) = o.value("validate-regex")? {
        match Pattern::new(regex) {
            Ok(_) => say!("The regular expression `{regex}` is valid."),
            Err(why) => say!("The regular expression `{regex}` is invalid: {why}."),
        }
        return Ok(());
    }
    let reset = match o.has("reset-offsets") {
        true => Some((scope(o)?, rule(o)?)),
        false => None,
    };
    let mut properties = tool::settings(o, "command-config")?;
    properties.insert("bootstrap.servers".into(), o.value("bootstrap-server")?.unwrap_or_default().into());
    // Without it, addresses that refuse are given up within seconds.
    if o.has("timeout") {
        let timeout = o.long("timeout")?.unwrap_or_default().clamp(0, i32::MAX.into());
        properties.insert("default.api.timeout.ms".into(), timeout.to_string());
        properties.entry("request.timeout.ms".into()).or_insert_with(|| timeout.to_string());
    }
    let admin = tool::admin(&properties).await?;
    if o.has("list") {
        return list(&admin, o).await;
    }
    let groups: Vec<String> = match o.has("all-groups") {
        true => all_groups(&admin).await?,
        false => {
            let mut seen = BTreeSet::new();
            o.values("group").into_iter().filter(|g| seen.insert(*g)).map(str::to_owned).collect()
        }
    };
    if o.has("describe") {
        let form = match () {
            () if o.has("members") => Form::Members,
            () if o.has("state") => Form::State,
            () => Form::Offsets,
        };
        return Ok(describe::describe(&admin, &groups, form, o.has("verbose")).await?);
    }
    if o.has("delete") {
        delete(&admin, groups).await;
        return Ok(());
    }
    if o.has("delete-offsets") {
        return delete_offsets(&admin, o).await;
    }
    if let Some((scope, rule)) = reset {
        let reset = reset::reset(&admin, &groups, &scope, &rule, o.has("execute")).await?;
        match o.has("export") {
            true => reset::export(&reset, o.values("group").len() == 1),
            false => reset::print(&reset),
        }
    }
    Ok(())
}

fn scope(o: &Parsed) -> Result<Scope, Stop> {
    match () {
        () if o.has("all-topics") => Ok(Scope::AllTopics),
        () if o.has("topic") => Ok(Scope::Topics(o.values("topic").into_iter().map(str::to_owned).collect())),
        () if o.has("from-file") => Ok(Scope::Plan),
        () => Err(Stop::Usage("One of the reset scopes should be defined: --all-topics, --topic.".into())),
    }
}

fn rule(o: &Parsed) -> Result<Rule, Stop> {
    Ok(match () {
        () if o.has("to-earliest") => Rule::Earliest,
        () if o.has("to-latest") => Rule::Latest,
        () if o.has("to-current") => Rule::Current,
        () => {
            if let Some(offset) = o.long("to-offset")? {
                Rule::To(offset)
            } else if let Some(by) = o.long("shift-by")? {
                Rule::ShiftBy(by)
            } else if let Some(text) = o.value("to-datetime")? {
                Rule::At(when::datetime(text)?)
            } else if let Some(text) = o.value("by-duration")? {
                reset::before_now(when::duration(text)?)
            } else if let Some(path) = o.value("from-file")? {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("java.io.IOException: Unable to read file {path}");
                    Exception {
                        cause: Some(error.to_string()),
                        ..Exception::new("java.lang.RuntimeException", message)
                    }
                })?;
                let groups = o.values("group");
                let only = if let [only] = groups[..] { Some(only) } else { None };
                Rule::Plan(plan::parse(&text, only)?)
            } else {
                let rules: Vec<String> = RULES.iter().map(|rule| format!("[{rule}]")).collect();
                return Err(Stop::Usage(format!(
                    "Option '[reset-offsets]' requires one of the following scenarios: [{}]",
                    rules.join(", ")
                )));
            }
        }
    })
}

async fn all_groups(admin: &Admin) -> Result<Vec<String>, Stop> {
    let groups = admin.list_groups(&[], &[]).await.map_err(|e| failed_within(&e))?;
    Ok(groups.into_iter().filter(is_of_consumers).map(|g| g.id).collect())
}

fn is_of_consumers(group: &client::admin::GroupListing) -> bool {
    let newer = group.group_type.as_deref().unwrap_or("Classic");
    match newer.to_ascii_lowercase().as_str() {
        "consumer" => true,
        "classic" => ["", "consumer"].contains(&group.protocol_type.as_str()),
        _ => false,
    }
}

async fn list(admin: &Admin, o: &Parsed) -> Result<(), Stop> {
    let states = names(o.value("state")?, &STATES, "state")?;
    let types = names(o.value("type")?, &TYPES, "types")?;
    let groups = admin.list_groups(&states, &types).await;
    let (with_state, with_type) = (o.has("state"), o.has("type"));
    if !with_state && !with_type {
        let groups = groups.map_err(|e| failed_within(&e))?;
        groups.into_iter().filter(is_of_consumers).for_each(|g| say!("{}", g.id));
        return Ok(());
    }
    let groups: Vec<_> = groups.map_err(|e| failed(&e))?.into_iter().filter(is_of_consumers).collect();
    let width = groups.iter().map(|g| g.id.chars().count()).max().unwrap_or(0).max(15) + 10;
    let line = |id: &str, group_type: &str, state: &str| {
        let mut line = format!("{id:width$}");
        for (_, cell) in [(with_type, group_type), (with_state, state)].into_iter().filter(|(shown, _)| *shown) {
            line += &format!(" {cell:20}");
        }
        say!("{line}");
    };
    line("GROUP", "TYPE", "STATE");
    for group in &groups {
        let unknown = "Unknown";
        line(&group.id, group.group_type.as_deref().unwrap_or(unknown), group.state.as_deref().unwrap_or(unknown));
    }
    Ok(())
}

/// Reads a list of states or types, whatever their case; `-` and `_` inside do not count.
fn names(list: Option<&str>, all: &[&str], what: &str) -> Result<Vec<String>, Exception> {
    let Some(list) = list.filter(|l| !l.is_empty()) else { return Ok(Vec::new()) };
    let plain = |name: &str| name.trim().replace(['-', '_'], "").to_ascii_lowercase();
    let found = list.split(',').map(|name| all.iter().find(|n| plain(n) == plain(name)).map(|n| (*n).to_owned()));
    found.collect::<Option<_>>().ok_or_else(|| {
        let valid = if what == "state" { "states" } else { "types" };
        let message = format!("Invalid {what} list '{list}'. Valid {valid} are: {}", all.join(", "));
        Exception::illegal_argument(message)
    })
}

async fn delete(admin: &Admin, groups: Vec<String>) {
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for group in groups {
        match admin.delete_group(&group).await {
            Ok(()) => deleted.push(group),
            Err(error) => failures.push((group, error)),
        }
    }
    java_order::sort(&mut deleted, |g| g);
    java_order::sort(&mut failures, |(g, _)| g);
    let deleted = format!("'{}'", deleted.join("', '"));
    if failures.is_empty() {
        return say!("Deletion of requested consumer groups ({deleted}) was successful.");
    }
    say!("\nError: Deletion of some consumer groups failed:");
    for (group, error) in failures {
        say!("* Group '{group}' could not be deleted due to: {}: {error}", error.class());
    }
    if deleted != "''" {
        say!("\nThese consumer groups were deleted successfully: {deleted}");
    }
}

async fn delete_offsets(admin: &Admin, o: &Parsed) -> Result<(), Stop> {
    let group = o.value("group")?.unwrap_or_default();
    let mut wanted: BTreeSet<TopicPartition> = BTreeSet::new();
    let mut results: BTreeMap<(String, Option<i32>), Result<(), Error>> = BTreeMap::new();
    for word in o.values("topic") {
        if word.contains(':') {
            wanted.extend(partitions_of(word)?);
            continue;
        }
        match admin.describe_topics(&[word.to_owned()], 2000).await {
            Ok(topics) => {
                for topic in topics {
                    wanted.extend(topic.partitions.iter().map(|p| (topic.name.clone(), p.index)));
                }
            }
            Err(error) => drop(results.insert((word.to_owned(), None), Err(error))),
        }
    }
    let answer = match wanted.is_empty() {
        true => Ok(BTreeMap::new()),
        false => admin.delete_group_offsets(group, &wanted).await,
    };
    match &answer {
        Err(error) => say!("\nError: {error}"),
        Ok(all) if all.values().any(Result::is_err) => {
            say!("\nError: Encountered some partition-level error, see the follow-up details.");
        }
        Ok(_) => say!("Request succeeded for deleting offsets from group {group}."),
    }
    for (topic, partition) in wanted {
        let result = match &answer {
            Ok(all) => all
                .get(&(topic.clone(), partition))
                .cloned()
                .unwrap_or_else(|| Err(Error::code(ErrorCode::UnknownServerError))),
            Err(error) => Err(error.clone()),
        };
        results.insert((topic, Some(partition)), result);
    }
    let mut table = Table::new(&["TOPIC", "PARTITION", "STATUS         "]);
    for ((topic, partition), result) in results {
        let partition = partition.map_or_else(|| "-".to_owned(), |p| p.to_string());
        let status = match result {
            Ok(()) => "Successful".to_owned(),
            Err(error) => format!("Error: {}: {error}", error.class()),
        };
        table.row(vec![topic, partition, format!("{status:15}")]);
    }
    table.print(&[15, 10, 0]);
    Ok(())
}
