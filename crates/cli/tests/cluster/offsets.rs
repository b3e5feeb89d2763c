//! What becomes of committed offsets while their coordinator moves.

use crate::nodes::{Cluster, said, wait};

/// A coordinator serves only once all that it read is committed, which may take until another replica is back.
#[test]
fn offsets_of_a_topic_that_is_deleted_while_their_coordinator_loads_go_with_it() {
    let mut cluster = Cluster::start_with(|_| {
        "offsets.topic.replication.factor=2\noffsets.topic.num.partitions=1\n\
         replica.high.watermark.checkpoint.interval.ms=3600000\n"
            .to_owned()
    });
    let topic = ["--topic", "t", "--partitions", "1", "--replication-factor", "3"];
    let create = [&["--create"], &topic[..]].concat();
    said(cluster.tool("kafka-topics", &create));
    let commit = ["--group", "g", "--topic", "t", "--reset-offsets", "--to-latest", "--execute"];
    said(cluster.tool("kafka-consumer-groups", &commit));
    let committed = |cluster: &Cluster| {
        let described = cluster.tool("kafka-consumer-groups", &["--group", "g", "--describe", "--offsets"]);
        String::from_utf8_lossy(&described.stdout).lines().any(|line| line.starts_with("g "))
    };
    wait("the offset is told", || committed(&cluster).then_some(()));

    let (leader, _, replicas) = cluster.partitions("__consumer_offsets").remove(0);
    let at = |id: &String| id.parse::<usize>().unwrap() - 1;
    for id in &replicas {
        cluster.nodes[at(id)].kill();
    }
    cluster.nodes[at(&leader)].start();
    wait("its coordinator leads again", || {
        let described = cluster.tool("kafka-topics", &["--describe", "--topic", "__consumer_offsets"]);
        let described = String::from_utf8_lossy(&described.stdout).into_owned();
        described.contains(&format!("Leader: {leader}\t")).then_some(())
    });
    said(cluster.tool("kafka-topics", &["--delete", "--topic", "t"]));
    said(cluster.tool("kafka-topics", &create));
    let other = replicas.iter().find(|id| **id != leader).unwrap();
    cluster.nodes[at(other)].start();
    cluster.wait_for_full_isr("__consumer_offsets");
    let listed = || {
        let listed = cluster.tool("kafka-consumer-groups", &["--list"]);
        listed.status.success().then_some(())
    };
    wait("the coordinator serves", listed);
    assert!(!committed(&cluster), "the new topic has the offset of the old one");
}
