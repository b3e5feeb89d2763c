//! `--reset-offsets`: which partitions, and what their new offsets are.

use std::collections::{BTreeMap, BTreeSet};

use client::Error;
use client::admin::{Admin, Isolation, OffsetAt, TopicPartition};
use wire::ErrorCode;

use super::plan::{self, Plan};
use super::{failed_within, partitions_of};
use crate::tool::{Exception, Stop};
use crate::{clock, java_order, say, term};

const LOGGER: &str = "org.apache.kafka.tools.OffsetsUtils";

/// Which partitions of a group get new offsets.
pub enum Scope {
    /// Those that it has committed.
    AllTopics,
    /// Topics, or partitions of them (`topic:0,1`).
    Topics(Vec<String>),
    /// Those that the plan names.
    Plan,
}

/// What the new offsets are.
pub enum Rule {
    Earliest,
    Latest,
    /// What is committed; the end where nothing is.
    Current,
    To(i64),
    ShiftBy(i64),
    /// The first record at this time or later, in ms.
    At(i64),
    Plan(Plan),
}

/// New offsets by partition, in the order in which Kafka's tool shows them.
pub type NewOffsets = Vec<(TopicPartition, i64)>;

/// Works out the new offsets of each group, and commits them if `execute`. Groups with members keep theirs.
pub async fn reset(
    admin: &Admin,
    groups: &[String],
    scope: &Scope,
    rule: &Rule,
    execute: bool,
) -> Result<Vec<(String, NewOffsets)>, Stop> {
    let mut result = Vec::new();
    for group in groups {
        let state = match admin.describe_group(group).await {
            Ok(described) => described.state,
            Err(error) if error.error_code() == Some(ErrorCode::GroupIdNotFound) => "Dead".to_owned(),
            Err(error) => return Err(failed_within(&error).into()),
        };
        if !["Empty", "Dead"].contains(&state.as_str()) {
            say!(
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            );
            result.push((group.clone(), Vec::new()));
            continue;
        }
        let partitions = partitions(admin, group, scope).await?;
        let mut offsets: NewOffsets = new_offsets(admin, group, partitions, rule).await?.into_iter().collect();
        java_order::sort_partitions(&mut offsets, |(tp, _)| (&tp.0, tp.1));
        if execute {
            let all = offsets.iter().cloned().collect();
            admin.alter_group_offsets(group, &all).await.map_err(|e| failed_within(&e))?;
        }
        result.push((group.clone(), offsets));
    }
    java_order::sort(&mut result, |(group, _)| group);
    Ok(result)
}

async fn partitions(admin: &Admin, group: &str, scope: &Scope) -> Result<BTreeSet<TopicPartition>, Stop> {
    let words = match scope {
        Scope::Plan => return Ok(BTreeSet::new()),
        Scope::AllTopics => {
            let committed = admin.group_offsets(group).await.map_err(|e| failed_within(&e))?;
            return Ok(committed.into_keys().collect());
        }
        Scope::Topics(words) => words,
    };
    let mut wanted = BTreeSet::new();
    let mut whole: BTreeSet<String> = BTreeSet::new();
    for word in words {
        match word.contains(':') {
            true => wanted.extend(partitions_of(word)?),
            false => drop(whole.insert(word.clone())),
        }
    }
    let names: BTreeSet<String> = wanted.iter().map(|tp| tp.0.clone()).chain(whole.iter().cloned()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let there = match admin.describe_topics(&names, 2000).await {
        Ok(topics) => topics,
        // Kafka's tool asks for whole topics and for partitions in two ways, which differ in how they fail.
        Err(error) if whole.is_empty() => return Err(failed_within(&error).into()),
        Err(error) => return Err(Exception::from(error).into()),
    };
    let mut known = BTreeSet::new();
    for topic in &there {
        known.extend(topic.partitions.iter().map(|p| (topic.name.clone(), p.index)));
    }
    let missing: Vec<String> = wanted.difference(&known).map(|(t, p)| format!("{t}-{p}")).collect();
    if !missing.is_empty() {
        let message = format!("The partitions \"{}\" do not exist", missing.join(","));
        return Err(Exception::from(Error::refused(ErrorCode::UnknownTopicOrPartition, Some(&message))).into());
    }
    wanted.extend(known.into_iter().filter(|tp| whole.contains(&tp.0)));
    Ok(wanted)
}

async fn new_offsets(
    admin: &Admin,
    group: &str,
    partitions: BTreeSet<TopicPartition>,
    rule: &Rule,
) -> Result<BTreeMap<TopicPartition, i64>, Exception> {
    match rule {
        Rule::Earliest => offsets(admin, &partitions, OffsetAt::Earliest).await,
        Rule::Latest => offsets(admin, &partitions, OffsetAt::Latest).await,
        Rule::At(ms) => at_time(admin, &partitions, *ms).await,
        Rule::To(offset) => in_range(admin, partitions.into_iter().map(|tp| (tp, *offset)).collect()).await,
        Rule::Current => {
            let committed = admin.group_offsets(group).await.map_err(|e| failed_within(&e))?;
            let (with, without): (BTreeSet<_>, BTreeSet<_>) =
                partitions.into_iter().partition(|tp| committed.contains_key(tp));
            let mut all = offsets(admin, &without, OffsetAt::Latest).await?;
            all.extend(with.into_iter().filter_map(|tp| Some((tp.clone(), committed.get(&tp)?.offset))));
            Ok(all)
        }
        Rule::ShiftBy(by) => {
            let committed = admin.group_offsets(group).await.map_err(|e| failed_within(&e))?;
            let shifted = partitions.into_iter().map(|tp| match committed.get(&tp) {
                Some(current) => Ok((tp, current.offset.saturating_add(*by))),
                None => Err(Exception::illegal_argument(format!(
                    "Cannot shift offset for partition {}-{} since there is no current committed offset",
                    tp.0, tp.1
                ))),
            });
            in_range(admin, shifted.collect::<Result<_, _>>()?).await
        }
        Rule::Plan(plan) => match plan.get(group) {
            Some(offsets) => in_range(admin, offsets.clone()).await,
            None => {
                say!("\nError: No reset plan for group {group} found");
                Ok(BTreeMap::new())
            }
        },
    }
}

async fn offsets(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    at: OffsetAt,
) -> Result<BTreeMap<TopicPartition, i64>, Exception> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted: Vec<_> = partitions.iter().map(|tp| (tp.clone(), at)).collect();
    let listed = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await.map_err(|e| failed_within(&e))?;
    listed.into_iter().map(|(tp, found)| Ok((tp, found.map_err(|e| failed_within(&e))?.offset))).collect()
}

async fn at_time(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    ms: i64,
) -> Result<BTreeMap<TopicPartition, i64>, Exception> {
    let mut found = offsets(admin, partitions, OffsetAt::Timestamp(ms)).await?;
    let none: BTreeSet<TopicPartition> = found.iter().filter(|(_, o)| **o < 0).map(|(tp, _)| tp.clone()).collect();
    for (topic, partition) in &none {
        say!("\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset.");
    }
    found.extend(offsets(admin, &none, OffsetAt::Latest).await?);
    Ok(found)
}

/// Offsets outside of a log become its start or end, with a warning.
async fn in_range(
    admin: &Admin,
    wanted: BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, Exception> {
    let partitions = wanted.keys().cloned().collect();
    let starts = offsets(admin, &partitions, OffsetAt::Earliest).await?;
    let ends = offsets(admin, &partitions, OffsetAt::Latest).await?;
    let warn = |tp: &TopicPartition, offset: i64, how: &str, end: i64| {
        let message = format!(
            "New offset ({offset}) is {how} offset for topic partition {}-{}. Value will be set to {end}",
            tp.0, tp.1
        );
        term::log("WARN", &message, LOGGER);
        end
    };
    let set = wanted.into_iter().map(|(tp, offset)| {
        let offset = match (starts.get(&tp), ends.get(&tp)) {
            (_, Some(end)) if offset > *end => warn(&tp, offset, "higher than latest", *end),
            (Some(start), _) if offset < *start => warn(&tp, offset, "lower than earliest", *start),
            _ => offset,
        };
        (tp, offset)
    });
    Ok(set.collect())
}

/// Prints the new offsets as a table.
pub fn print(groups: &[(String, NewOffsets)]) {
    let mut table = super::describe::Table::new(&["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"]);
    for (group, offsets) in groups {
        for ((topic, partition), offset) in offsets {
            table.row(vec![group.clone(), topic.clone(), partition.to_string(), offset.to_string()]);
        }
    }
    match groups.is_empty() {
        true => say!(""),
        false => table.print(&[15, 15, 10, 0]),
    }
}

/// Prints the new offsets as lines that `--from-file` reads.
pub fn export(groups: &[(String, NewOffsets)], is_single: bool) {
    for (group, offsets) in groups {
        for ((topic, partition), offset) in offsets {
            say!("{}", plan::line((!is_single).then_some(group.as_str()), topic, *partition, *offset));
        }
    }
    say!("");
}

/// The moment that lies so many milliseconds back.
pub fn before_now(ms: i64) -> Rule {
    Rule::At(clock::now_ms().saturating_sub(ms))
}
