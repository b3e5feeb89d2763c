//! Replicas that go to other log directories of their brokers, in a cluster.

use std::path::PathBuf;

use wire::ErrorCode;

use super::absent::produce as fill;
use super::nodes::{Cluster, said, wait};
use super::{produce, reports, verify};

/// Three nodes with two log directories each.
fn start() -> (tempfile::TempDir, Cluster) {
    let folder = tempfile::Builder::new().prefix("cluster-dirs-").tempdir().unwrap();
    let path = folder.path().display().to_string();
    let more = |id: usize| format!("log.dirs={path}/{id}a,{path}/{id}b\nmetadata.log.dir={path}/{id}m\n");
    let cluster = Cluster::start_with(more);
    (folder, cluster)
}

/// Where a node has partitions of a topic: number, directory, and whether that is a copy that is on its way there.
fn places(cluster: &Cluster, id: usize, topic: &str) -> Vec<(usize, String, bool)> {
    let words = ["--describe", "--topic-list", topic, "--broker-list", &id.to_string()];
    let described = said(cluster.tool("kafka-log-dirs", &words));
    let json: serde_json::Value = serde_json::from_str(described.lines().last().unwrap()).unwrap();
    let mut places = Vec::new();
    for dir in json["brokers"][0]["logDirs"].as_array().unwrap() {
        for partition in dir["partitions"].as_array().unwrap() {
            let (_, number) = partition["partition"].as_str().unwrap().rsplit_once('-').unwrap();
            let path = dir["logDir"].as_str().unwrap().to_owned();
            places.push((number.parse().unwrap(), path, partition["isFuture"].as_bool().unwrap()));
        }
    }
    places.sort();
    places
}

/// A reassignment's file: for each partition the replicas and their directories.
fn file(folder: &tempfile::TempDir, topic: &str, partitions: &[(&[usize], Vec<String>)]) -> String {
    let entries = partitions.iter().enumerate().map(|(at, (replicas, dirs))| {
        format!(r#"{{"topic":"{topic}","partition":{at},"replicas":{replicas:?},"log_dirs":{dirs:?}}}"#)
    });
    let text = format!(r#"{{"version":1,"partitions":[{}]}}"#, entries.collect::<Vec<_>>().join(","));
    let path: PathBuf = folder.path().join("reassignment.json");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn create(cluster: &Cluster, topic: &str, assignment: &str, more: &[&str]) {
    let words = [&["--create", "--topic", topic, "--replica-assignment", assignment], more].concat();
    wait("the topic is made", || cluster.tool("kafka-topics", &words).status.success().then_some(()));
}

#[test]
fn a_followers_replicas_move_through_a_kill_while_they_are_written_and_lead_from_there() {
    let (folder, mut cluster) = start();
    create(&cluster, "t", "1:3:2,1:3:2,1:3:2", &[]);
    cluster.wait_for_full_isr("t");
    // More than is copied at once, and before everything that the other producer counts up from 0.
    fill(&cluster, "t", &(-60_000..0).map(|number| format!("{number}\n")).collect::<String>());
    let other = |dir: &str| match dir.strip_suffix('a') {
        Some(stem) => format!("{stem}b"),
        None => format!("{}a", dir.strip_suffix('b').unwrap()),
    };
    let goals: Vec<_> = places(&cluster, 3, "t").into_iter().map(|(at, dir, _)| (at, other(&dir), false)).collect();
    assert_eq!(goals.len(), 3);
    let dirs = |goal: &str| vec!["any".to_owned(), goal.to_owned(), "any".to_owned()];
    let partitions: Vec<_> = goals.iter().map(|(_, goal, _)| (&[1, 3, 2][..], dirs(goal))).collect();
    let file = file(&folder, "t", &partitions);
    let execute = |cluster: &Cluster, rate: &str| {
        let words = ["--execute", "--additional", "--reassignment-json-file", &file];
        let words = [&words[..], &["--replica-alter-log-dirs-throttle", rate]].concat();
        said(cluster.tool("kafka-reassign-partitions", &words))
    };
    let producer = produce(&cluster, "t");
    let acknowledged = reports(producer, || {
        execute(&cluster, "1000");
        wait("all are on their way", || {
            (places(&cluster, 3, "t").iter().filter(|(.., is_copy)| *is_copy).count() == 3).then_some(())
        });
        cluster.nodes[2].kill();
        cluster.nodes[2].start();
    });
    cluster.wait_for_full_isr("t");
    assert_eq!(places(&cluster, 3, "t").len(), 6, "they go on: {}", cluster.nodes[2].log());
    execute(&cluster, "1000000000");
    wait("all are there", || (places(&cluster, 3, "t") == goals).then_some(()));
    cluster.wait_for_full_isr("t");
    cluster.nodes[0].kill();
    wait("they lead", || cluster.partitions("t").iter().all(|(leader, ..)| leader == "3").then_some(()));
    verify(&cluster, "t", &acknowledged);
}

#[test]
fn replicas_that_come_to_a_broker_are_made_where_somebody_asked_for_before() {
    let (folder, cluster) = start();
    create(&cluster, "t", "1,1,1,1", &["--config", "min.insync.replicas=1"]);
    fill(&cluster, "t", "some\nrecords\n");
    let goal = folder.path().join("2b").display().to_string();
    let asked: Vec<_> = (0..4).map(|at| (("t".to_owned(), at), goal.clone())).collect();
    let properties = [("bootstrap.servers".to_owned(), cluster.addresses())].into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = runtime.block_on(async {
        let admin = client::admin::Admin::open(&properties).await.unwrap();
        admin.alter_log_dirs(2, &asked).await.unwrap()
    });
    let later =
        |result: &Result<(), client::Error>| *result == Err(client::Error::code(ErrorCode::ReplicaNotAvailable));
    assert!(answers.len() == 4 && answers.iter().all(|(_, result)| later(result)), "{answers:?}");

    let partitions: Vec<_> = (0..4).map(|_| (&[2][..], vec!["any".to_owned()])).collect();
    let file = file(&folder, "t", &partitions);
    said(cluster.tool("kafka-reassign-partitions", &["--execute", "--reassignment-json-file", &file]));
    wait("node 2 has all", || cluster.partitions("t").iter().all(|(_, isr, _)| isr == &["2"]).then_some(()));
    let expected: Vec<_> = (0..4).map(|at| (at, goal.clone(), false)).collect();
    assert_eq!(places(&cluster, 2, "t"), expected, "the emptiest would be another one each time");
}
