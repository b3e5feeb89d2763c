//! A node that does not belong where it asks.

use std::fs;

use super::nodes::{Cluster, wait};

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
