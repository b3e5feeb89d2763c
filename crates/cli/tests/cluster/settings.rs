//! Settings of single brokers, whoever of them is the controller.

use super::nodes::{Cluster, said, wait};

#[test]
fn each_brokers_settings_are_changed_by_way_of_the_controller() {
    let cluster = Cluster::start();
    wait("three brokers are there", || {
        let words = ["--create", "--if-not-exists", "--topic", "throttled", "--replica-assignment", "1:2:3"];
        cluster.tool("kafka-topics", &words).status.success().then_some(())
    });
    let of_broker = |id: &str, more: &[&str]| {
        let words = [&["--entity-type", "brokers", "--entity-name", id], more].concat();
        cluster.tool("kafka-configs", &words)
    };
    for id in ["1", "2", "3"] {
        let altered = said(of_broker(id, &["--alter", "--add-config", "log.cleaner.threads=2"]));
        assert_eq!(altered, format!("Completed updating config for broker {id}.\n"));
        let refused = of_broker(id, &["--alter", "--add-config", "num.partitions=2"]);
        assert!(!refused.status.success());
        let told = [refused.stdout, refused.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("Cannot update these configs dynamically: [num.partitions]"), "{told}");
        wait("the broker shows it", || {
            let shown = said(of_broker(id, &["--describe"]));
            (shown.contains("log.cleaner.threads=2 ") && !shown.contains("num.partitions")).then_some(())
        });
    }

    // The tool gives every broker that takes part a limit of its own, and takes it away again.
    let plan = cluster.nodes[0].folder().join("plan.json");
    std::fs::write(&plan, r#"{"version":1,"partitions":[{"topic":"throttled","partition":0,"replicas":[3,1]}]}"#)
        .unwrap();
    let reassign = |more: &[&str]| {
        let words = [&["--reassignment-json-file", plan.to_str().unwrap()], more].concat();
        said(cluster.tool("kafka-reassign-partitions", &words))
    };
    let started = reassign(&["--execute", "--throttle", "1000000"]);
    assert!(started.contains("Successfully started partition reassignment for throttled-0"), "{started}");
    wait("the replicas are moved", || {
        reassign(&["--verify"]).contains("Reassignment of partition throttled-0 is completed.").then_some(())
    });
    for id in ["1", "2", "3"] {
        wait("no limit is left", || {
            (!said(of_broker(id, &["--describe"])).contains("replication.throttled.rate")).then_some(())
        });
    }
}

#[test]
fn what_may_be_elected_uncleanly_is_once_the_topic_allows_it() {
    let mut cluster = Cluster::start_with(|_| "unclean.leader.election.interval.ms=200\n".to_owned());
    let create = ["--create", "--topic", "unclean", "--replica-assignment", "1:2", "--config", "min.insync.replicas=1"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    let leader_and_isr = |cluster: &Cluster| cluster.partitions("unclean").pop().map(|(leader, isr, _)| (leader, isr));
    let is_so = |cluster: &Cluster, leader: &str, isr: &[&str]| {
        let (now, members) = leader_and_isr(cluster)?;
        (now == leader && members == isr).then_some(())
    };
    wait("both are in sync", || is_so(&cluster, "1", &["1", "2"]));
    cluster.nodes[1].kill();
    wait("the second is missed", || is_so(&cluster, "1", &["1"]));
    cluster.nodes[0].kill();
    cluster.nodes[1].start();
    wait("nobody leads", || is_so(&cluster, "none", &[""]));
    let allow = ["--alter", "--entity-type", "topics", "--entity-name", "unclean", "--add-config"];
    said(cluster.tool("kafka-configs", &[&allow[..], &["unclean.leader.election.enable=true"]].concat()));
    wait("the second leads", || is_so(&cluster, "2", &["2"]));
}
