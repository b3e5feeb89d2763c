//! Where the replicas of new partitions go: striped over racks, and over the brokers within a rack.
//!
//! Racks are visited round-robin, beginning one further with each partition; a rack's brokers likewise. Unfenced
//! brokers come before fenced ones, and the first replica, which will lead, is never fenced. Offsets begin at random,
//! so that small topics do not all meet on the first broker.

use std::collections::BTreeMap;

use super::{Random, Refusal};
use crate::image::Image;
use wire::ErrorCode;

/// Chooses the replicas of `count` new partitions. Brokers in controlled shutdown count as fenced here, for they can
/// lead nothing; brokers whose log directories are all cordoned take no new replica.
///
/// # Errors
/// INVALID_REPLICATION_FACTOR with Kafka's reason (the caller says what it was for).
pub fn place(
    image: &Image,
    count: usize,
    replication_factor: i16,
    random: &mut dyn Random,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    let Some(factor) = usize::try_from(replication_factor).ok().filter(|factor| *factor > 0) else {
        return refuse(format!(
            "Invalid replication factor {replication_factor}: the replication factor must be positive."
        ));
    };
    let mut racks = Racks::new(image, random);
    if racks.unfenced == 0 {
        return refuse("All brokers are currently fenced.".to_owned());
    }
    if factor > racks.total {
        return refuse(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) are \
             registered or some brokers have all their log directories cordoned.",
            racks.total
        ));
    }
    Ok((0..count).map(|_| racks.next(factor, random)).collect())
}

/// A ring of brokers. Each partition (round) begins one further than the one before.
#[derive(Default)]
struct Ring {
    brokers: Vec<i32>,
    round: usize,
    taken: usize,
    offset: usize,
}

impl Ring {
    fn next(&mut self, round: usize) -> Option<i32> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.taken = 0;
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.taken == self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.taken + self.offset) % self.brokers.len()];
        self.taken += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

impl Rack {
    fn next(&mut self, round: usize) -> Option<i32> {
        self.unfenced.next(round).or_else(|| self.fenced.next(round))
    }
}

struct Racks {
    racks: Vec<Rack>,
    round: usize,
    offset: usize,
    unfenced: usize,
    total: usize,
}

impl Racks {
    fn new(image: &Image, random: &mut dyn Random) -> Self {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let (mut unfenced, mut total) = (0, 0);
        for broker in image.cluster.brokers() {
            let all_cordoned =
                !broker.log_dirs.is_empty() && broker.log_dirs.iter().all(|dir| broker.cordoned_log_dirs.contains(dir));
            if all_cordoned {
                continue;
            }
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            total += 1;
            if broker.is_active() {
                unfenced += 1;
                rack.unfenced.brokers.push(broker.id);
            } else {
                rack.fenced.brokers.push(broker.id);
            }
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for ring in racks.iter_mut().flat_map(|rack| [&mut rack.unfenced, &mut rack.fenced]) {
            ring.offset = random.below(ring.brokers.len());
        }
        let offset = random.below(racks.len());
        Racks { racks, round: 0, offset, unfenced, total }
    }

    /// The replicas of one partition. There are at least `factor` brokers, one of them unfenced.
    fn next(&mut self, factor: usize, random: &mut dyn Random) -> Vec<i32> {
        // After as many partitions as there are brokers the stripes would repeat: mix them anew.
        if self.round == self.unfenced && self.unfenced > 1 {
            self.shuffle(random);
            self.round = 0;
        }
        self.offset %= self.racks.len();
        let mut replicas = Vec::with_capacity(factor);
        let mut leaders_rack = self.offset;
        loop {
            if let Some(leader) = self.racks[leaders_rack].unfenced.next(self.round) {
                replicas.push(leader);
                break;
            }
            leaders_rack = (leaders_rack + 1) % self.racks.len();
        }
        let mut rack = self.offset;
        let mut skip = Some(leaders_rack);
        while replicas.len() < factor {
            // The leader's rack had its turn in the first lap.
            if skip == Some(rack) {
                skip = None;
            } else if let Some(broker) = self.racks[rack].next(self.round) {
                replicas.push(broker);
            }
            rack = (rack + 1) % self.racks.len();
        }
        self.round += 1;
        self.offset += 1;
        replicas
    }

    fn shuffle(&mut self, random: &mut dyn Random) {
        random.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            random.shuffle(&mut rack.unfenced.brokers);
            random.shuffle(&mut rack.fenced.brokers);
        }
    }
}
