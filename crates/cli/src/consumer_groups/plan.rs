//! New offsets as CSV: what `--export` prints and `--from-file` reads.

use std::collections::BTreeMap;

use client::admin::TopicPartition;

use crate::tool::Exception;

/// New offsets by group and partition.
pub type Plan = BTreeMap<String, BTreeMap<TopicPartition, i64>>;

/// A line for each offset: `topic,partition,offset`, or `group,topic,partition,offset` for several groups.
pub fn line(group: Option<&str>, topic: &str, partition: i32, offset: i64) -> String {
    match group {
        Some(group) => format!("{},{},{partition},{offset}", quoted(group), quoted(topic)),
        None => format!("{},{partition},{offset}", quoted(topic)),
    }
}

/// Names with anything but letters, digits and a few signs stand in quotes.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    if name.chars().all(is_plain) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Reads a plan. `only` is the group where the command names just one: its lines may leave the group out.
pub fn parse(text: &str, only: Option<&str>) -> Result<Plan, Exception> {
    let mut plan = Plan::new();
    let mut short = None;
    for (at, line) in text.lines().enumerate() {
        let wrong = |why: &str| {
            let message = format!("Line {} of the plan, '{line}', {why}", at + 1);
            Exception::new("java.lang.RuntimeException", message)
        };
        let cells = cells(line).ok_or_else(|| wrong("has a quote that does not end"))?;
        // The first line decides the form, as in Kafka.
        let is_short = *short.get_or_insert(only.is_some() && cells.len() == 3);
        let (group, rest) = match (is_short, only) {
            (true, Some(group)) => (group, &cells[..]),
            _ => match cells.split_first() {
                Some((group, rest)) => (group.as_str(), rest),
                None => return Err(wrong("is empty")),
            },
        };
        let [topic, partition, offset] = rest else {
            let form = if is_short { "topic,partition,offset" } else { "group,topic,partition,offset" };
            return Err(wrong(&format!("does not have the form {form}")));
        };
        let partition: i32 = partition.trim().parse().map_err(|_| wrong("has a partition that is no number"))?;
        let offset: i64 = offset.trim().parse().map_err(|_| wrong("has an offset that is no number"))?;
        if partition < 0 || offset < 0 {
            return Err(wrong("has a negative number"));
        }
        plan.entry(group.to_owned()).or_default().insert((topic.clone(), partition), offset);
    }
    Ok(plan)
}

fn cells(line: &str) -> Option<Vec<String>> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if is_quoted || cell.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    (!is_quoted).then_some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_can_be_imported() {
        for only in [None, Some("a group, \"quoted\"")] {
            let group = "a group, \"quoted\"";
            let shown = if only.is_some() { None } else { Some(group) };
            let text = [line(shown, "t", 0, 5), line(shown, "t.x", 12, 0)].join("\n");
            let offsets = [(("t".to_owned(), 0), 5), (("t.x".to_owned(), 12), 0)].into();
            assert_eq!(parse(&text, only).unwrap(), [(group.to_owned(), offsets)].into());
        }
        assert_eq!(line(None, "t", 0, 5), "t,0,5");
        assert_eq!(line(Some("g"), "t", 0, 5), "g,t,0,5");
        assert_eq!(line(Some("a b"), "t", 0, 5), "\"a b\",t,0,5");
    }

    #[test]
    fn a_plan_for_one_group_may_still_name_groups() {
        let plan = parse("g,t,0,5\nother,t,1,6\n", Some("g")).unwrap();
        assert_eq!(plan["g"], [(("t".to_owned(), 0), 5)].into());
        assert_eq!(plan["other"], [(("t".to_owned(), 1), 6)].into());
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, only, why) in [
            ("t,0,5\nt,x,6", Some("g"), "Line 2 of the plan, 't,x,6', has a partition that is no number"),
            ("t,0,y", Some("g"), "Line 1 of the plan, 't,0,y', has an offset that is no number"),
            ("t,0,-1", Some("g"), "Line 1 of the plan, 't,0,-1', has a negative number"),
            ("t,0", Some("g"), "Line 1 of the plan, 't,0', does not have the form group,topic,partition,offset"),
            (
                "t,0,5\ng,t,0,5",
                Some("g"),
                "Line 2 of the plan, 'g,t,0,5', does not have the form topic,partition,offset",
            ),
            ("\"t,0,5", None, "Line 1 of the plan, '\"t,0,5', has a quote that does not end"),
            ("", None, ""),
        ] {
            match parse(text, only) {
                Ok(plan) => assert!(why.is_empty() && plan.is_empty(), "{text}: {plan:?}"),
                Err(error) => assert_eq!(error.message, why),
            }
        }
    }
}
