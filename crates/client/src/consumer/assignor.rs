//! Who gets which partitions: Kafka's classic assignors, as the leader of a group computes them.
//!
//! Members, topics and partitions come in sorted, so every leader comes to the same result.

use std::collections::{BTreeMap, BTreeSet};

/// A topic and a partition.
pub type TopicPartition = (String, i32);

/// A member as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSubscription {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub topics: Vec<String>,
    /// What it has, as of `generation`.
    pub owned: Vec<TopicPartition>,
    pub generation: i32,
}

/// Partitions by member id.
pub type Assignment = BTreeMap<String, Vec<TopicPartition>>;

/// Static members in the order of their instance ids, before the others.
fn ordered(members: &[MemberSubscription]) -> Vec<&MemberSubscription> {
    let mut ordered: Vec<&MemberSubscription> = members.iter().collect();
    ordered.sort_by_key(|m| (m.instance_id.is_none(), m.instance_id.clone(), m.member_id.clone()));
    ordered
}

fn empty(members: &[MemberSubscription]) -> Assignment {
    members.iter().map(|m| (m.member_id.clone(), Vec::new())).collect()
}

fn give(assignment: &mut Assignment, member: &MemberSubscription, partition: TopicPartition) {
    assignment.entry(member.member_id.clone()).or_default().push(partition);
}

/// Per topic: consecutive partitions to each member, the first ones get one more.
pub fn range(members: &[MemberSubscription], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut assignment = empty(members);
    let members = ordered(members);
    for (topic, count) in partitions {
        let takers: Vec<&&MemberSubscription> = members.iter().filter(|m| m.topics.contains(topic)).collect();
        if takers.is_empty() {
            continue;
        }
        let (each, more) = (*count as usize / takers.len(), *count as usize % takers.len());
        let mut next = 0;
        for (i, member) in takers.into_iter().enumerate() {
            for _ in 0..each + usize::from(i < more) {
                give(&mut assignment, member, (topic.clone(), next));
                next += 1;
            }
        }
    }
    assignment
}

/// All partitions in turn to all members.
pub fn round_robin(members: &[MemberSubscription], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut assignment = empty(members);
    let members = ordered(members);
    let mut turn = 0;
    for (topic, count) in partitions {
        if !members.iter().any(|m| m.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*count {
            while !members[turn % members.len()].topics.contains(topic) {
                turn += 1;
            }
            give(&mut assignment, members[turn % members.len()], (topic.clone(), partition));
            turn += 1;
        }
    }
    assignment
}

/// As balanced as the subscriptions allow, and as much as possible where it was.
pub fn sticky(members: &[MemberSubscription], partitions: &BTreeMap<String, i32>) -> Assignment {
    let members = ordered(members);
    let mut holders: BTreeMap<TopicPartition, usize> = BTreeMap::new();
    let mut held: Vec<BTreeSet<TopicPartition>> = vec![BTreeSet::new(); members.len()];
    // Two members may claim a partition after one missed a rebalance: the later generation is right.
    let mut by_generation: Vec<usize> = (0..members.len()).collect();
    by_generation.sort_by_key(|i| std::cmp::Reverse(members[*i].generation));
    for i in by_generation {
        for tp in &members[i].owned {
            let exists = partitions.get(&tp.0).is_some_and(|count| tp.1 < *count);
            if exists && members[i].topics.contains(&tp.0) && !holders.contains_key(tp) {
                holders.insert(tp.clone(), i);
                held[i].insert(tp.clone());
            }
        }
    }
    for (topic, count) in partitions {
        for partition in 0..*count {
            let tp = (topic.clone(), partition);
            if holders.contains_key(&tp) {
                continue;
            }
            let taker =
                (0..members.len()).filter(|i| members[*i].topics.contains(topic)).min_by_key(|i| held[*i].len());
            if let Some(taker) = taker {
                held[taker].insert(tp.clone());
                holders.insert(tp, taker);
            }
        }
    }
    // Every move makes the sum of squares smaller, so this ends.
    while let Some((tp, from, to)) = better_move(&members, &held) {
        held[from].remove(&tp);
        held[to].insert(tp);
    }
    members.iter().zip(held).map(|(m, held)| (m.member_id.clone(), held.into_iter().collect())).collect()
}

/// A partition that a member with two more than another could give to it.
fn better_move(
    members: &[&MemberSubscription],
    held: &[BTreeSet<TopicPartition>],
) -> Option<(TopicPartition, usize, usize)> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|i| held[*i].len());
    for from in order.iter().rev() {
        for to in order.iter().take_while(|to| held[**to].len() + 1 < held[*from].len()) {
            let movable = held[*from].iter().rev().find(|tp| members[*to].topics.contains(&tp.0));
            if let Some(tp) = movable {
                return Some((tp.clone(), *from, *to));
            }
        }
    }
    None
}

/// The sticky assignment without what another member still has: that member must give it up first, and a further
/// rebalance then hands it over (KIP-429).
pub fn cooperative_sticky(members: &[MemberSubscription], partitions: &BTreeMap<String, i32>) -> Assignment {
    let mut assignment = sticky(members, partitions);
    let latest = members.iter().map(|m| m.generation).max().unwrap_or(-1);
    let owners: BTreeMap<&TopicPartition, &str> = members
        .iter()
        .filter(|m| m.generation == latest)
        .flat_map(|m| m.owned.iter().map(|tp| (tp, m.member_id.as_str())))
        .collect();
    for (member, list) in &mut assignment {
        list.retain(|tp| owners.get(tp).is_none_or(|owner| owner == member));
    }
    assignment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, topics: &[&str], owned: &[(&str, i32)]) -> MemberSubscription {
        MemberSubscription {
            member_id: id.into(),
            topics: topics.iter().map(|t| t.to_string()).collect(),
            owned: owned.iter().map(|(t, p)| (t.to_string(), *p)).collect(),
            generation: 1,
            ..Default::default()
        }
    }

    fn topics(list: &[(&str, i32)]) -> BTreeMap<String, i32> {
        list.iter().map(|(t, n)| (t.to_string(), *n)).collect()
    }

    fn shown(assignment: &Assignment) -> Vec<String> {
        let list = |tps: &Vec<TopicPartition>| tps.iter().map(|(t, p)| format!("{t}{p}")).collect::<Vec<_>>().join(" ");
        assignment.iter().map(|(m, tps)| format!("{m}: {}", list(tps))).collect()
    }

    #[test]
    fn range_gives_consecutive_partitions_of_each_topic() {
        let members = [member("a", &["t", "u"], &[]), member("b", &["t", "u"], &[]), member("c", &["u"], &[])];
        let got = range(&members, &topics(&[("t", 3), ("u", 3)]));
        assert_eq!(shown(&got), ["a: t0 t1 u0", "b: t2 u1", "c: u2"]);
    }

    #[test]
    fn round_robin_deals_all_partitions_in_turn() {
        let members = [member("a", &["t", "u"], &[]), member("b", &["t"], &[])];
        let got = round_robin(&members, &topics(&[("t", 3), ("u", 2)]));
        assert_eq!(shown(&got), ["a: t0 t2 u0 u1", "b: t1"]);
    }

    #[test]
    fn sticky_moves_only_what_balance_asks_for() {
        let members = [member("a", &["t"], &[("t", 0), ("t", 1), ("t", 2), ("t", 3)]), member("b", &["t"], &[])];
        assert_eq!(shown(&sticky(&members, &topics(&[("t", 4)]))), ["a: t0 t1", "b: t2 t3"]);
        let members = [member("a", &["t"], &[("t", 1)]), member("b", &["t"], &[("t", 0)])];
        assert_eq!(shown(&sticky(&members, &topics(&[("t", 3)]))), ["a: t1 t2", "b: t0"]);
        let members = [member("a", &["t"], &[("t", 9), ("gone", 0)])];
        assert_eq!(shown(&sticky(&members, &topics(&[("t", 1)]))), ["a: t0"]);
    }

    #[test]
    fn cooperative_withholds_what_another_member_still_has() {
        let members = [member("a", &["t"], &[("t", 0), ("t", 1), ("t", 2), ("t", 3)]), member("b", &["t"], &[])];
        let partitions = topics(&[("t", 4)]);
        assert_eq!(shown(&cooperative_sticky(&members, &partitions)), ["a: t0 t1", "b: "]);
        let members = [member("a", &["t"], &[("t", 0), ("t", 1)]), member("b", &["t"], &[])];
        assert_eq!(shown(&cooperative_sticky(&members, &partitions)), ["a: t0 t1", "b: t2 t3"]);
    }
}
