//! Nodes that do not belong where they ask, or come back with less than they had.

use std::fs;

use super::nodes::{Cluster, klamm, said, wait};

#[test]
fn a_node_of_another_cluster_says_so() {
    let mut cluster = Cluster::start();
    cluster.controller();
    let node = &mut cluster.nodes[2];
    node.kill();
    let meta = node.folder().join("data/meta.properties");
    let text = fs::read_to_string(&meta).unwrap();
    let changed: String = text
        .lines()
        .map(|line| {
            if line.starts_with("cluster.id=") {
                "cluster.id=AAAAAAAAQACAAAAAAAAAAA\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    assert_ne!(text, changed);
    fs::write(&meta, changed).unwrap();
    node.start();
    let reason = "is of another cluster than this one, which is of AAAAAAAAQACAAAAAAAAAAA by the meta.properties of";
    wait("the reason is told", || node.log().contains(reason).then_some(()));
}

#[test]
fn a_broker_that_lost_its_disk_leads_again_once_it_is_in_sync() {
    let mut cluster = Cluster::start();
    let create = ["--create", "--topic", "first-is-3", "--replica-assignment", "3:1:2"];
    wait("the topic is made", || cluster.tool("kafka-topics", &create).status.success().then_some(()));
    cluster.wait_for_full_isr("first-is-3");
    let data = |cluster: &Cluster, at: usize| cluster.nodes[at].folder().join("data");
    let meta = fs::read_to_string(data(&cluster, 0).join("meta.properties")).unwrap();
    let cluster_id = meta.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
    cluster.nodes[2].kill();
    fs::remove_dir_all(data(&cluster, 2)).unwrap();
    said(klamm("kafka-storage", &["format", "-t", cluster_id, "-c", &cluster.nodes[2].file()]).output().unwrap());
    cluster.nodes[2].start();
    cluster.wait_for_full_isr("first-is-3");
    cluster.wait_for_preferred_leaders("first-is-3");
}

#[test]
fn a_voters_address_that_is_a_brokers_is_told() {
    let mut cluster = Cluster::start();
    let leader = cluster.controller();
    let (controller, broker) =
        (cluster.nodes[leader - 1].controller.clone(), cluster.nodes[leader - 1].address.clone());
    let node = cluster.nodes.iter_mut().find(|node| node.id != leader).unwrap();
    node.stop();
    let file = node.file();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&format!("{leader}@{controller}"), &format!("{leader}@{broker}"))).unwrap();
    node.start();
    let told = format!("{broker} is not a controller's");
    wait("the mistake is told", || node.log().contains(&told).then_some(()));
    assert_eq!(node.log().matches(&told).count(), 1);
}
