//! `--describe`: offsets and lag, members, or the state of groups.

use std::collections::{BTreeMap, BTreeSet};

use client::admin::{Admin, GroupDescription, GroupMember, Isolation, OffsetAt, TopicPartition};

use super::{failed, failed_within};
use crate::tool::Exception;
use crate::{complain, say};

/// What stands in a column that has no value.
const MISSING: &str = "-";
/// The least width of a column.
const NARROW: usize = 15;

/// What is asked about groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Offsets,
    Members,
    State,
}

/// Describes the groups, each in a table of its own.
pub async fn describe(admin: &Admin, groups: &[String], form: Form, verbose: bool) -> Result<(), Exception> {
    let mut described = BTreeMap::new();
    for id in groups {
        let group = admin.describe_group(id).await.map_err(|error| match error.error_code() {
            Some(wire::ErrorCode::GroupIdNotFound) => failed(&client::Error::Api {
                code: wire::ErrorCode::GroupIdNotFound,
                message: Some(format!("Group {id} not found.")),
            }),
            _ => failed(&error),
        })?;
        described.insert(id.clone(), group);
    }
    match form {
        Form::Offsets => {
            let mut tables = Vec::new();
            for group in described.values() {
                let rows = rows(admin, group).await?;
                tables.push((group, rows));
            }
            tables.iter().for_each(|(group, rows)| print_offsets(group, rows, verbose));
        }
        Form::Members => described.values().for_each(|group| print_members(group, verbose)),
        Form::State => described.values().for_each(|group| print_state(group, verbose)),
    }
    Ok(())
}

/// Says what is unusual about the group's state. Whether there is anything to show, given `rows` of it.
fn is_shown(group: &GroupDescription, rows: usize) -> bool {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => {
            say!("\nError: Consumer group '{id}' does not exist.");
            return false;
        }
        "Empty" => complain!("\nConsumer group '{id}' has no active members."),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            complain!("\nWarning: Consumer group '{id}' is rebalancing.");
        }
        _ => {}
    }
    rows > 0
}

/// One partition in the table of offsets.
struct Row<'a> {
    partition: Option<TopicPartition>,
    leader_epoch: Option<i32>,
    current: Option<i64>,
    end: Option<i64>,
    member: Option<&'a GroupMember>,
}

async fn rows<'a>(admin: &Admin, group: &'a GroupDescription) -> Result<Vec<Row<'a>>, Exception> {
    let committed = admin.group_offsets(&group.id).await.map_err(|e| failed_within(&e))?;
    let mut members: Vec<&GroupMember> = group.members.iter().filter(|m| !m.assignment.is_empty()).collect();
    members.sort_by_key(|m| std::cmp::Reverse(m.assignment.len()));
    let assigned: BTreeSet<&TopicPartition> = members.iter().flat_map(|m| &m.assignment).collect();
    let unassigned: Vec<TopicPartition> = committed.keys().filter(|tp| !assigned.contains(tp)).cloned().collect();
    let mut shares: Vec<(Option<&GroupMember>, Vec<TopicPartition>)> =
        members.iter().map(|m| (Some(*m), m.assignment.iter().cloned().collect())).collect();
    if !unassigned.is_empty() {
        shares.push((None, unassigned));
    }
    let wanted: Vec<(TopicPartition, OffsetAt)> =
        shares.iter().flat_map(|(_, tps)| tps).map(|tp| (tp.clone(), OffsetAt::Latest)).collect();
    let ends = match wanted.is_empty() {
        true => BTreeMap::new(),
        false => admin.list_offsets(&wanted, Isolation::ReadUncommitted).await.map_err(|e| failed_within(&e))?,
    };
    let mut rows = Vec::new();
    for (member, partitions) in shares {
        for tp in partitions {
            let offset = committed.get(&tp);
            let end = match ends.get(&tp) {
                Some(Ok(listed)) => Some(listed.offset),
                // The topic was deleted; what was committed for it can still be shown.
                Some(Err(error)) if error.error_code() == Some(wire::ErrorCode::UnknownTopicOrPartition) => None,
                Some(Err(error)) => return Err(failed_within(error)),
                None => None,
            };
            rows.push(Row {
                leader_epoch: offset.and_then(|o| o.leader_epoch),
                current: offset.map(|o| o.offset),
                end,
                member,
                partition: Some(tp),
            });
        }
    }
    Ok(rows)
}

fn print_offsets(group: &GroupDescription, rows: &[Row<'_>], verbose: bool) {
    if !is_shown(group, rows.len()) {
        return;
    }
    let text = |value: Option<i64>| value.map_or_else(|| MISSING.to_owned(), |v| v.to_string());
    let mut table = Table::new(&["GROUP", "TOPIC", "PARTITION"]);
    if verbose {
        table.heads(&["LEADER-EPOCH"]);
    }
    table.heads(&["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]);
    for row in rows {
        let (topic, partition) = match &row.partition {
            Some((topic, partition)) => (topic.as_str(), text(Some(i64::from(*partition)))),
            None => (MISSING, MISSING.to_owned()),
        };
        let mut cells = vec![group.id.clone(), topic.to_owned(), partition];
        if verbose {
            cells.push(text(row.leader_epoch.map(i64::from)));
        }
        let lag = row.current.and_then(|current| row.end.map(|end| end - current));
        cells.extend([text(row.current), text(row.end), text(lag)]);
        cells.extend(match row.member {
            Some(m) => [m.id.clone(), m.host.clone(), m.client_id.clone()],
            None => [MISSING; 3].map(str::to_owned),
        });
        table.row(cells);
    }
    let end = if verbose { [NARROW].as_slice() } else { &[] };
    let mut least = vec![NARROW, NARROW, 10];
    least.extend(end);
    least.extend([NARROW, NARROW, NARROW, NARROW, NARROW, 0]);
    table.print(&least);
}

fn print_members(group: &GroupDescription, verbose: bool) {
    is_shown(group, group.members.len());
    let named = group.members.iter().any(|m| m.instance_id.is_some());
    let mut table = Table::new(&["GROUP", "CONSUMER-ID"]);
    let mut least = vec![NARROW, NARROW];
    if named {
        table.heads(&["GROUP-INSTANCE-ID"]);
        least.push(17);
    }
    table.heads(&["HOST", "CLIENT-ID", "#PARTITIONS"]);
    least.extend([NARROW; 3]);
    if verbose {
        table.heads(&["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"]);
        least.extend([NARROW, 20, NARROW, 20]);
        let upgrading = group.members.iter().any(|m| m.upgraded == Some(false));
        if upgrading {
            table.heads(&["UPGRADED"]);
            least.push(NARROW);
        }
    } else {
        // Kafka leaves a blank behind the last column here.
        table.heads(&[""]);
        least.push(0);
    }
    let text = |value: Option<i32>| value.map_or_else(|| MISSING.to_owned(), |v| v.to_string());
    let columns = table.columns();
    for member in &group.members {
        let mut cells = vec![group.id.clone(), member.id.clone()];
        if named {
            cells.push(member.instance_id.clone().unwrap_or_default());
        }
        cells.extend([member.host.clone(), member.client_id.clone(), member.assignment.len().to_string()]);
        if verbose {
            cells.extend([text(member.epoch), share(&member.assignment)]);
            let target = member.target.as_ref();
            cells.push(text(target.and(group.target_epoch)));
            cells.push(target.map_or_else(|| MISSING.to_owned(), share));
            if cells.len() < columns {
                cells.push(member.upgraded.map_or_else(|| MISSING.to_owned(), |u| u.to_string()));
            }
        } else {
            cells.push(String::new());
        }
        table.row(cells);
    }
    table.print(&least);
}

/// `topic:0,1;other:2`.
fn share(partitions: &BTreeSet<TopicPartition>) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition.to_string());
    }
    let all: Vec<String> = topics.iter().map(|(topic, p)| format!("{topic}:{}", p.join(","))).collect();
    if all.is_empty() { MISSING.to_owned() } else { all.join(";") }
}

fn print_state(group: &GroupDescription, verbose: bool) {
    if !is_shown(group, 1) {
        return;
    }
    let at = &group.coordinator;
    let coordinator = format!("{}:{}  ({})", at.host, at.port, at.id);
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let mut table = Table::new(&["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"]);
    let mut cells = vec![group.id.clone(), coordinator, assignor.to_owned(), group.state.clone()];
    let mut least = vec![NARROW, 25, 20, 20];
    if verbose {
        let text = |value: Option<i32>| value.map_or_else(|| MISSING.to_owned(), |v| v.to_string());
        table.heads(&["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]);
        cells.extend([text(group.epoch), text(group.target_epoch)]);
        least.extend([NARROW, 25]);
    }
    table.heads(&["#MEMBERS"]);
    cells.push(group.members.len().to_string());
    least.push(0);
    table.row(cells);
    table.print(&least);
}

/// Columns as wide as their widest cell, an empty line before them.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|h| (*h).to_owned()).collect()] }
    }

    /// More columns.
    pub fn heads(&mut self, heads: &[&str]) {
        self.rows[0].extend(heads.iter().map(|h| (*h).to_owned()));
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn columns(&self) -> usize {
        self.rows[0].len()
    }

    /// `least` is how wide each column is at least; 0 for a last one that is not filled up.
    pub fn print(&self, least: &[usize]) {
        let widths: Vec<usize> = (0..self.columns())
            .map(|at| match least.get(at) {
                Some(0) | None => 0,
                Some(least) => self.rows.iter().map(|r| r[at].chars().count()).max().unwrap_or(0).max(*least),
            })
            .collect();
        say!("");
        for row in &self.rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            say!("{}", cells.join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_by_topic() {
        let partitions = [("b".to_owned(), 2), ("a".to_owned(), 10), ("a".to_owned(), 9)].into();
        assert_eq!(share(&partitions), "a:9,10;b:2");
        assert_eq!(share(&BTreeSet::new()), "-");
    }
}
