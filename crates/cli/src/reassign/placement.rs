//! A proposal of where replicas may go: evenly over the brokers, and over the racks.

use std::collections::BTreeMap;

/// The brokers in an order in which neighbours are in different racks, as far as there are enough.
pub fn order(brokers: &[(i32, Option<String>)]) -> Vec<i32> {
    let mut racks: BTreeMap<Option<&str>, Vec<i32>> = BTreeMap::new();
    for (id, rack) in brokers {
        racks.entry(rack.as_deref()).or_default().push(*id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|i| racks.values().filter_map(move |ids| ids.get(i).copied())).collect()
}

/// The replicas of each of `partitions` partitions: neighbours in the order, each partition one further than the last, and
/// one more with every round, so that followers are spread as well. `factor` is at most the number of brokers.
pub fn place(order: &[i32], partitions: usize, factor: usize, start: usize) -> Vec<Vec<i32>> {
    let n = order.len().max(1);
    (0..partitions)
        .map(|p| {
            let round = p / n;
            let at = |i: usize| {
                let step = if i == 0 { 0 } else { 1 + (round + i - 1) % (n - 1).max(1) };
                order[(start + p + step) % n]
            };
            (0..factor).map(at).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn leaders_and_followers_are_spread_and_no_broker_comes_twice() {
        for (n, factor) in [(1, 1), (2, 2), (3, 2), (5, 3)] {
            let brokers: Vec<i32> = (1..=n).collect();
            let partitions = (n * (n - 1).max(1)) as usize;
            let placed = place(&brokers, partitions, factor, 1);
            for replicas in &placed {
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor);
            }
            for id in &brokers {
                let led = placed.iter().filter(|r| r[0] == *id).count();
                let held = placed.iter().filter(|r| r.contains(id)).count();
                assert_eq!((led, held), (partitions / n as usize, partitions * factor / n as usize), "{n} {factor}");
            }
        }
    }

    #[test]
    fn neighbours_are_in_different_racks() {
        let brokers = [(1, "a"), (2, "a"), (3, "b"), (4, "b")].map(|(id, rack)| (id, Some(rack.to_owned())));
        assert_eq!(order(&brokers), [1, 3, 2, 4]);
        assert_eq!(order(&[(7, None), (8, None)]), [7, 8]);
    }
}
