//! Which replica a consumer reads from (KIP-392).

use metadata::image::Cluster;
use replication::Partition;

/// `replica.selector.class`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// Everybody reads from the leader.
    #[default]
    Leader,
    /// A consumer reads from a replica in its rack, where there is one.
    RackAware,
}

impl ReplicaSelector {
    /// The follower that a consumer in `rack` should read from instead of this leader, from `offset` on, over `listener`.
    /// `None`: it is right here.
    pub fn select(
        self,
        cluster: &Cluster,
        partition: &Partition,
        rack: &str,
        listener: &str,
        offset: i64,
    ) -> Option<i32> {
        let is_near = |id: i32| cluster.broker(id).is_some_and(|broker| broker.rack.as_deref() == Some(rack));
        if self == ReplicaSelector::Leader || rack.is_empty() || !partition.is_leader() || is_near(partition.id()) {
            return None;
        }
        let is_reachable =
            |id: i32| cluster.broker(id).is_some_and(|broker| !broker.fenced && broker.endpoint(listener).is_some());
        let near = partition.readable_followers(offset).filter(|(id, ..)| is_near(*id) && is_reachable(*id));
        near.max_by_key(|(id, end, caught_up_ms)| (*end, *caught_up_ms, *id)).map(|(id, ..)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::image::{Delta, Image};
    use replication::{Assignment, Brokers, Durability, ReplicaFetch, Settings};
    use std::path::Path;
    use std::sync::Arc;
    use storage::testing::MemDisk;
    use storage::{Log, LogConfig, OpenMode};
    use wire::messages::MetadataRecord;
    use wire::messages::register_broker_record::{BrokerEndpoint, RegisterBrokerRecord};

    const ALL: [i32; 4] = [1, 2, 3, 4];
    const LISTENER: &str = "PLAINTEXT";

    /// Brokers 1 to 4 in the racks a, b, b and c; broker 4 is fenced.
    fn cluster() -> Cluster {
        let mut image = Image::default();
        for (id, rack) in ALL.into_iter().zip(["a", "b", "b", "c"]) {
            let endpoint = BrokerEndpoint {
                name: LISTENER.into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: 0,
                ..Default::default()
            };
            let record = RegisterBrokerRecord {
                broker_id: id,
                rack: Some(rack.into()),
                end_points: vec![endpoint].into(),
                fenced: id == 4,
                ..Default::default()
            };
            let offset = image.offset + 1;
            image.replay(offset, &MetadataRecord::RegisterBroker(record), &mut Delta::default()).unwrap();
        }
        image.cluster
    }

    /// Led by broker 1; the followers 2 to 4 have everything of an empty log.
    fn partition() -> Partition {
        let disk = MemDisk::new();
        let (path, config) = (Path::new("/data/t-0"), Arc::new(LogConfig::default()));
        let log = Log::create(disk.arc(), path, config, None, OpenMode::default(), 0).unwrap();
        let settings = Settings::new(Durability::PageCache);
        let mut partition = Partition::new(1, log, settings, Arc::new(Brokers::default()), 0);
        let (replicas, isr) = (ALL.into(), ALL.into());
        let assignment = Assignment { leader: 1, leader_epoch: 1, partition_epoch: 1, replicas, isr };
        partition.assign(&assignment, 0).unwrap();
        for (replica, at) in [(3, 10), (2, 20), (4, 30)] {
            let fetch = ReplicaFetch { replica, broker_epoch: -1, offset: 0, log_start_offset: 0 };
            partition.fetched_by(&fetch, at).unwrap();
        }
        partition
    }

    #[test]
    fn a_consumer_is_sent_to_its_own_rack_and_stays_where_it_is_right() {
        let (cluster, partition) = (cluster(), partition());
        let select =
            |selector: ReplicaSelector, rack, offset| selector.select(&cluster, &partition, rack, LISTENER, offset);
        let aware = ReplicaSelector::RackAware;
        assert_eq!(select(aware, "b", 0), Some(2), "of two that have the same, the one that was caught up last");
        for (rack, why) in [("a", "the leader's"), ("c", "a fenced broker's"), ("d", "nobody's"), ("", "none")] {
            assert_eq!(select(aware, rack, 0), None, "{why}");
        }
        assert_eq!(select(aware, "b", 1), None, "nobody has it");
        assert_eq!(select(ReplicaSelector::Leader, "b", 0), None);
        assert_eq!(aware.select(&cluster, &partition, "b", "OTHER", 0), None, "not reachable over that listener");
    }
}
