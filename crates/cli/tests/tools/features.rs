//! Levels of features, the quorum and client metrics, on a broker.

use super::harness::{Broker, Done, run};

fn out(done: Done) -> (Option<i32>, String, String) {
    (done.code, done.out, done.err)
}

/// A broker at the levels of a release.
fn at_release(release: &str) -> Broker {
    Broker::formatted(
        |address| format!("listeners=PLAINTEXT://{address}\n"),
        |path| {
            run("kafka-storage", &["format", "-c", path, "-t", "cluster", "-r", release]).ok();
        },
    )
}

#[test]
fn levels_are_raised_and_lowered_and_stay_across_a_kill() {
    let mut b = at_release("3.9");
    let f = |b: &Broker, words: &[&str]| b.run("kafka-features", words);
    assert_eq!(
        f(&b, &["upgrade", "--release-version", "4.0-IV1", "--dry-run"]).ok(),
        "group.version can be upgraded to 1.\nkraft.version can be upgraded to 1.\nmetadata.version can be upgraded to 23.\n"
    );
    let line = |feature: &str, b: &Broker| {
        let described = f(b, &["describe"]).ok();
        let line = described.lines().find(|l| l.starts_with(&format!("Feature: {feature} "))).unwrap().to_owned();
        line.rsplit_once("Epoch: ").unwrap().0.to_owned()
    };
    assert_eq!(
        line("metadata.version", &b),
        "Feature: metadata.version                          SupportedMinVersion: 3.3-IV3          \
         SupportedMaxVersion: 4.3-IV0          FinalizedVersionLevel: 3.9-IV0          "
    );
    assert_eq!(
        f(&b, &["upgrade", "--release-version", "4.0-IV1"]).ok(),
        "group.version was upgraded to 1.\nkraft.version was upgraded to 1.\nmetadata.version was upgraded to 23.\n"
    );
    let elr = &["upgrade", "--feature", "eligible.leader.replicas.version=1"][..];
    assert_eq!(f(&b, elr).ok(), "eligible.leader.replicas.version was upgraded to 1.\n");
    let described = b.run("kafka-configs", &["--describe", "--broker-defaults"]).ok();
    assert!(described.contains("  min.insync.replicas=1 "), "{described}");
    assert_eq!(
        f(&b, &["downgrade", "--metadata", "4.0-IV0"]).out,
        " `metadata` flag is deprecated and may be removed in a future release.\nCould not downgrade metadata.version to \
         22. The update failed for all features since the following feature had an error: Unsupported metadata.version \
         downgrade from 23 to 22. Refusing to perform the requested downgrade because it might delete metadata \
         information.\n"
    );
    assert_eq!(f(&b, &["upgrade", "--feature", "metadata.version=25"]).ok(), "metadata.version was upgraded to 25.\n");
    assert_eq!(
        f(&b, &["downgrade", "--feature", "metadata.version=24"]).ok(),
        "metadata.version was downgraded to 24.\n"
    );
    assert_eq!(f(&b, &["disable", "--feature", "group.version"]).ok(), "group.version was disabled.\n");
    b.create("t", &[]);
    b.kill_and_restart();
    assert!(line("metadata.version", &b).contains("FinalizedVersionLevel: 4.0-IV2 "));
    assert!(line("group.version", &b).contains("FinalizedVersionLevel: 0 "));
    assert!(line("eligible.leader.replicas.version", &b).contains("FinalizedVersionLevel: 1 "));
}

#[test]
fn a_release_comes_without_kraft_version_where_voters_are_named_in_a_file() {
    let controller = format!("127.0.0.1:{}", testkit::free_port());
    let b = Broker::formatted(
        |address| {
            format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
                 controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
                 advertised.listeners=PLAINTEXT://{address}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
            )
        },
        |path| {
            let id = run("kafka-storage", &["random-uuid"]).ok();
            run("kafka-storage", &["format", "-c", path, "-t", id.trim(), "-r", "3.9"]).ok();
        },
    );
    let stays = "kraft.version stays at its level. The update failed for all features since the following feature had an error: \
                 Invalid update version 1 for feature kraft.version. This controller's voters are named in its configuration, \
                 and moving them into the log is not served yet.\n";
    assert_eq!(
        b.run("kafka-features", &["upgrade", "--release-version", "4.0-IV1", "--dry-run"]).ok(),
        format!("{stays}group.version can be upgraded to 1.\nmetadata.version can be upgraded to 23.\n")
    );
    assert_eq!(
        b.run("kafka-features", &["upgrade", "--release-version", "4.0-IV1"]).ok(),
        format!("{stays}group.version was upgraded to 1.\nmetadata.version was upgraded to 23.\n")
    );
    // Who names it is told that it cannot be.
    assert_eq!(b.run("kafka-features", &["upgrade", "--feature", "kraft.version=1"]).code, Some(1));
}

#[test]
fn levels_that_cannot_be_are_refused_for_all() {
    let b = at_release("3.9");
    let refused = |words: &[&str]| out(b.run("kafka-features", words));
    let failed = |what: &str, why: &str, count: usize| {
        let lines: String = what
            .split('|')
            .map(|what| {
                format!(
                    "Could not {what}. The update failed for all features since the following feature had an error: {why}\n"
                )
            })
            .collect();
        (Some(1), lines, format!("{count} out of {count} operation(s) failed.\n"))
    };
    assert_eq!(
        refused(&["upgrade", "--feature", "transaction.version=9"]),
        failed(
            "upgrade transaction.version to 9",
            "Invalid update version 9 for feature transaction.version. Local controller 1 only supports versions 0-2",
            1
        )
    );
    assert_eq!(
        refused(&["upgrade", "--feature", "transaction.version=2", "--feature", "foo=1"]),
        failed(
            "upgrade foo to 1|upgrade transaction.version to 2",
            "Invalid update version 1 for feature foo. Local controller 1 does not support this feature.",
            2
        )
    );
    let described = b.run("kafka-features", &["describe"]).ok();
    assert!(described.lines().any(|l| l.starts_with("Feature: transaction.version ") && l.contains("Level: 0 ")));
    assert_eq!(
        refused(&["upgrade", "--feature", "eligible.leader.replicas.version=1"]),
        failed(
            "upgrade eligible.leader.replicas.version to 1",
            "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23",
            1
        )
    );
    assert_eq!(
        refused(&["downgrade", "--feature", "kraft.version=0"]),
        failed(
            "downgrade kraft.version to 0",
            "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature.",
            1
        )
    );
    assert_eq!(
        refused(&["upgrade", "--feature", "metadata.version=20"]),
        failed(
            "upgrade metadata.version to 20",
            "Invalid update version 20 for feature metadata.version. Can't downgrade the version of this feature without \
             setting the upgrade type to either safe or unsafe downgrade.",
            1
        )
    );
    assert_eq!(
        refused(&["disable", "--feature", "foo"]),
        failed("disable foo", "Invalid update version 0 for feature foo. Feature foo not found.", 1)
    );
}

#[test]
fn the_quorum_is_described() {
    let b = Broker::start();
    b.create("t", &[]);
    let q = |words: &[&str]| b.run("kafka-metadata-quorum", words);
    let status = q(&["describe", "--status"]).ok();
    let fields: Vec<(&str, &str)> = status.lines().map(|l| (l.split_at(24).0.trim(), l.split_at(24).1)).collect();
    let value = |name: &str| fields.iter().find(|(key, _)| *key == name).unwrap().1;
    let meta = std::fs::read_to_string(b.folder.path().join("data/meta.properties")).unwrap();
    let of_meta = |key: &str| meta.lines().find_map(|l| l.strip_prefix(key)).unwrap();
    assert_eq!(value("ClusterId:"), of_meta("cluster.id="));
    assert_eq!((value("LeaderId:"), value("LeaderEpoch:"), value("MaxFollowerLag:")), ("1", "1", "0"));
    assert_eq!(value("CurrentVoters:"), format!("[{{\"id\": 1, \"directoryId\": \"{}\"}}]", of_meta("directory.id=")));
    assert_eq!(value("CurrentObservers:"), "[]");
    let before: i64 = value("HighWatermark:").parse().unwrap();
    b.create("u", &[]);
    let replication = q(&["describe", "--replication", "--human-readable"]).ok();
    let rows: Vec<Vec<&str>> = replication.lines().map(|l| l.split('\t').map(str::trim).collect()).collect();
    assert_eq!(
        rows[0][..7],
        ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"]
    );
    assert_eq!((rows[1][0], rows[1][1], rows[1][3], rows[1][6]), ("1", of_meta("directory.id="), "0", "Leader"));
    assert!(rows[1][2].parse::<i64>().unwrap() > before && rows[1][4].ends_with(" ms ago"), "{replication}");
}

#[test]
fn subscriptions_to_client_metrics_are_made_told_and_deleted() {
    let b = Broker::start();
    let m = |words: &[&str]| b.run("kafka-client-metrics", words);
    assert_eq!(m(&["--list"]).ok(), "\n");
    let made = &["--alter", "--name", "a", "--metrics", "m1,m2", "--interval", "30000", "--match", "client_id=x"][..];
    assert_eq!(m(made).ok(), "Altered client metrics config for a.\n");
    assert_eq!(
        m(&["--describe", "--name", "a"]).ok(),
        "Client metrics configs for a are:\n  interval.ms=30000\n  match=client_id=x\n  metrics=m1,m2\n"
    );
    assert_eq!(
        m(&["--alter", "--name", "a", "--metrics", "", "--interval", ""]).ok(),
        "Altered client metrics config for a.\n"
    );
    assert_eq!(
        m(&["--describe"]).ok(),
        "Client metrics configs for a are:\n  interval.ms=300000\n  match=client_id=x\n  metrics=\n"
    );
    let generated = m(&["--alter", "--generate-name", "--metrics", "org.apache"]).ok();
    assert_eq!(generated.trim_end().rsplit(' ').next().unwrap().trim_end_matches('.').len(), 22, "{generated}");
    assert_eq!(m(&["--list"]).ok().lines().count(), 2);
    assert_eq!(m(&["--delete", "--name", "a"]).ok(), "Deleted client metrics config for a.\n");
    assert_eq!(
        m(&["--describe", "--name", "a"]).ok(),
        "The client metric resource a doesn't exist and doesn't have dynamic config.\n"
    );
    assert_eq!(
        out(m(&["--alter", "--name", "b", "--match", "foo"])),
        (
            Some(1),
            "Error while executing client metrics command : Illegal client matching pattern: foo\n".to_owned(),
            String::new()
        )
    );
}
