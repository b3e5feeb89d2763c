//! `kafka-consumer-groups` and `kafka-groups` on a broker, word for word as Apache Kafka 4.3.1's.

use std::process::Child;
use std::time::{Duration, Instant};

use super::harness::{Broker, Done, command, done};

/// A broker with records in `multi`, of which group `g1` has read all and is gone.
fn prepared() -> Broker {
    let b = Broker::start();
    b.create("multi", &["--partitions", "2"]);
    b.feed("kafka-console-producer", &["--topic", "multi"], "a\nb\nc\nd\n").ok();
    let words = ["--topic", "multi", "--group", "g1", "--from-beginning", "--max-messages", "4"];
    b.run("kafka-console-consumer", &words).ok();
    b
}

fn groups(b: &Broker, words: &[&str]) -> Done {
    b.run("kafka-consumer-groups", words)
}

/// A consumer that stays in its group until it is ended.
struct Member(Child);

impl Member {
    fn join(b: &Broker, group: &str, words: &[&str]) -> Member {
        let mut all = vec!["--topic", "multi", "--group", group];
        all.extend(words);
        let member = Member(command("kafka-console-consumer", &b.with(&all)).spawn().unwrap());
        let begun = Instant::now();
        while !groups(b, &["--describe", "--group", group, "--state"]).out.contains("Stable") {
            assert!(begun.elapsed() < Duration::from_secs(60), "the group does not become stable");
            std::thread::sleep(Duration::from_millis(20));
        }
        member
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_group_without_members_is_described_reset_and_deleted() {
    let b = prepared();
    assert_eq!(groups(&b, &["--list"]).ok(), "g1\n");
    assert_eq!(
        groups(&b, &["--list", "--state", "--type"]).ok(),
        "GROUP                     TYPE                 STATE               \n\
         g1                        Classic              Empty               \n"
    );
    assert_eq!(groups(&b, &["--list", "--state", "stable"]).ok().lines().count(), 1);
    let described = groups(&b, &["--describe", "--group", "g1"]);
    assert_eq!(described.err, "\nConsumer group 'g1' has no active members.\n");
    let ends = |lines: &str| -> Vec<String> { lines.lines().skip(2).map(|l| l[16..].trim_end().to_owned()).collect() };
    let rows = ends(&described.ok());
    assert_eq!(rows.len(), 2);
    for (row, partition) in rows.iter().zip(0..) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[..2], ["multi", &partition.to_string()]);
        assert_eq!((cells[2], cells[4]), (cells[3], "0"), "everything was read: {row}");
        assert_eq!(cells[5..], ["-", "-", "-"]);
    }
    assert_eq!(
        groups(&b, &["--describe", "--group", "g1", "--members"]).ok(),
        "\nGROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     \n"
    );

    let reset = |words: &[&str]| {
        let mut all = vec!["--reset-offsets", "--group", "g1", "--topic", "multi"];
        all.extend(words);
        groups(&b, &all)
    };
    let to_earliest = "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\n\
                       g1              multi           0          0\n\
                       g1              multi           1          0\n";
    assert_eq!(reset(&["--to-earliest", "--dry-run"]).ok(), to_earliest);
    assert_eq!(ends(&groups(&b, &["--describe", "--group", "g1"]).ok()), rows, "a dry run changes nothing");
    let undecided = reset(&["--to-earliest"]);
    assert!(undecided.err.starts_with("WARN: No action will be performed as the --execute option is missing."));
    assert_eq!(undecided.ok(), to_earliest);
    assert_eq!(reset(&["--to-earliest", "--execute"]).ok(), to_earliest);
    let lag: i64 = ends(&groups(&b, &["--describe", "--group", "g1"]).ok())
        .iter()
        .map(|row| row.split_whitespace().nth(4).unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(lag, 4);
    let beyond = reset(&["--to-offset", "99", "--dry-run"]);
    assert!(
        beyond.err.contains("WARN New offset (99) is higher than latest offset for topic partition multi-0. Value")
    );
    assert_eq!(reset(&["--shift-by", "-5", "--dry-run"]).ok(), to_earliest);
    assert_eq!(reset(&["--by-duration", "PT1H", "--dry-run"]).ok().lines().last(), to_earliest.lines().last());
    assert_eq!(reset(&["--to-datetime", "2020-01-01T00:00:00.000", "--dry-run"]).code, Some(0));
    assert_eq!(reset(&["--to-current", "--dry-run"]).ok(), to_earliest);

    let exported =
        groups(&b, &["--reset-offsets", "--group", "g1", "--all-topics", "--to-earliest", "--export", "--dry-run"])
            .ok();
    assert_eq!(exported, "multi,0,0\nmulti,1,0\n\n");
    let file = b.folder.path().join("plan.csv");
    std::fs::write(&file, "multi,0,1\n").unwrap();
    let from_file = ["--reset-offsets", "--group", "g1", "--from-file", file.to_str().unwrap(), "--execute"];
    assert!(groups(&b, &from_file).ok().starts_with("\nGROUP           TOPIC           PARTITION  NEW-OFFSET\ng1 "));
    std::fs::write(&file, "multi,0,1\nmulti,zero,1\n").unwrap();
    let bad = groups(&b, &from_file);
    assert_eq!(
        bad.ok(),
        "\nError: Executing consumer group command failed due to Line 2 of the plan, 'multi,zero,1', has a partition \
         that is no number\n"
    );

    let deleted = groups(&b, &["--delete-offsets", "--group", "g1", "--topic", "multi:1", "--topic", "none"]).ok();
    assert_eq!(
        deleted,
        "Request succeeded for deleting offsets from group g1.\n\
         \n\
         TOPIC           PARTITION  STATUS         \n\
         multi           1          Successful     \n\
         none            -          Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This \
         server does not host this topic-partition.\n"
    );
    assert_eq!(ends(&groups(&b, &["--describe", "--group", "g1"]).ok()).len(), 1);
    assert_eq!(
        groups(&b, &["--delete", "--group", "g1", "--group", "none"]).ok(),
        "\nError: Deletion of some consumer groups failed:\n\
         * Group 'none' could not be deleted due to: org.apache.kafka.common.errors.GroupIdNotFoundException: The \
         group id does not exist.\n\
         \n\
         These consumer groups were deleted successfully: 'g1'\n"
    );
    assert_eq!(groups(&b, &["--list"]).ok(), "");
}

#[test]
fn a_group_with_members_shows_them_and_keeps_its_offsets() {
    let b = prepared();
    let member = Member::join(&b, "g2", &["--consumer-property", "group.instance.id=one", "--from-beginning"]);
    let described = groups(&b, &["--describe", "--group", "g2", "--members", "--verbose"]).ok();
    let lines: Vec<&str> = described.lines().collect();
    let heads: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(
        heads,
        [
            "GROUP",
            "CONSUMER-ID",
            "GROUP-INSTANCE-ID",
            "HOST",
            "CLIENT-ID",
            "#PARTITIONS",
            "CURRENT-EPOCH",
            "CURRENT-ASSIGNMENT",
            "TARGET-EPOCH",
            "TARGET-ASSIGNMENT"
        ]
    );
    let cells: Vec<&str> = lines[2].split_whitespace().collect();
    assert!(cells[1].starts_with("one-"), "{described}");
    assert_eq!(cells[2..], ["one", "/127.0.0.1", "console-consumer", "2", "-", "multi:0,1", "-", "-"]);
    let state = groups(&b, &["--describe", "--group", "g2", "--state"]).ok();
    assert_eq!(
        state,
        format!(
            "\nGROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS\n\
             g2              {:25} range                Stable               1\n",
            format!("{}  (1)", b.address)
        )
    );
    let refused = groups(&b, &["--reset-offsets", "--group", "g2", "--topic", "multi", "--to-latest", "--execute"]);
    assert_eq!(
        refused.ok(),
        "\nError: Assignments can only be reset if the group 'g2' is inactive, but the current state is Stable.\n\
         \n\
         GROUP           TOPIC           PARTITION  NEW-OFFSET\n"
    );
    let refused = groups(&b, &["--delete", "--group", "g2"]).ok();
    assert!(refused.contains("* Group 'g2' could not be deleted due to: org.apache.kafka.common.errors.GroupNotEmpty"));
    let refused = groups(&b, &["--delete-offsets", "--group", "g2", "--topic", "multi"]).ok();
    assert!(refused.starts_with("\nError: Encountered some partition-level error, see the follow-up details.\n"));
    let listed = b.run("kafka-groups", &["--list", "--consumer"]).ok();
    let mut lines: Vec<&str> = listed.lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "GROUP                TYPE                 PROTOCOL            ",
            "g1                   Classic              consumer            ",
            "g2                   Classic              consumer            ",
        ]
    );
    drop(member);
}

#[test]
fn what_is_not_there_is_told() {
    let b = prepared();
    let missing = groups(&b, &["--describe", "--group", "none"]);
    let class = "org.apache.kafka.common.errors.GroupIdNotFoundException";
    assert_eq!(missing.err, format!("java.util.concurrent.ExecutionException: {class}: Group none not found.\n"));
    assert_eq!(
        missing.ok(),
        format!("\nError: Executing consumer group command failed due to {class}: Group none not found.\n")
    );
    for (words, says) in [
        (&["--topic", "multi:7,8"][..], "The partitions \"multi-7,multi-8\" do not exist"),
        (&["--topic", "none"], "This server does not host this topic-partition."),
        (&["--from-file", "/nowhere"], "java.io.IOException: Unable to read file /nowhere"),
    ] {
        let mut all = vec!["--reset-offsets", "--group", "g1", "--dry-run"];
        all.extend(words);
        if words[0] == "--topic" {
            all.push("--to-latest");
        }
        let told = groups(&b, &all).ok();
        assert_eq!(told, format!("\nError: Executing consumer group command failed due to {says}\n"));
    }
    let new = groups(&b, &["--reset-offsets", "--group", "new", "--topic", "multi", "--shift-by", "1", "--dry-run"]);
    assert_eq!(new.code, Some(1));
    assert!(
        new.err.starts_with("Cannot shift offset for partition multi-0 since there is no current committed offset")
    );
}

#[test]
fn a_broker_that_is_not_there_is_named_within_seconds() {
    let address = format!("127.0.0.1:{}", testkit::free_port());
    let begun = Instant::now();
    let words = ["--bootstrap-server", address.as_str(), "--list"];
    let done = done(command("kafka-consumer-groups", &words).spawn().unwrap());
    assert!(done.out.contains(&address) || done.err.contains(&address), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
