//! `kafka-run-class`: the tool behind a Java class's name, for scripts that start tools that way.

use crate::{complain, term};

/// Java's names of the tools, in Kafka 4 and before.
const CLASSES: &[(&str, &str)] = &[
    ("kafka.Kafka", crate::BROKER),
    ("kafka.admin.BrokerApiVersionsCommand", "kafka-broker-api-versions"),
    ("kafka.admin.ConfigCommand", "kafka-configs"),
    ("kafka.admin.ConsumerGroupCommand", "kafka-consumer-groups"),
    ("kafka.admin.DeleteRecordsCommand", "kafka-delete-records"),
    ("kafka.admin.LogDirsCommand", "kafka-log-dirs"),
    ("kafka.admin.PreferredReplicaLeaderElectionCommand", "kafka-preferred-replica-election"),
    ("kafka.admin.ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("kafka.admin.TopicCommand", "kafka-topics"),
    ("kafka.tools.ClusterTool", "kafka-cluster"),
    ("kafka.tools.ConsoleConsumer", "kafka-console-consumer"),
    ("kafka.tools.ConsoleProducer", "kafka-console-producer"),
    ("kafka.tools.ConsumerPerformance", "kafka-consumer-perf-test"),
    ("kafka.tools.DumpLogSegments", "kafka-dump-log"),
    ("kafka.tools.EndToEndLatency", "kafka-e2e-latency"),
    ("kafka.tools.GetOffsetShell", "kafka-get-offsets"),
    ("kafka.tools.ReplicaVerificationTool", "kafka-replica-verification"),
    ("kafka.tools.StorageTool", "kafka-storage"),
    ("org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka-broker-api-versions"),
    ("org.apache.kafka.tools.ClientMetricsCommand", "kafka-client-metrics"),
    ("org.apache.kafka.tools.ClusterTool", "kafka-cluster"),
    ("org.apache.kafka.tools.ConfigCommand", "kafka-configs"),
    ("org.apache.kafka.tools.ConsoleProducer", "kafka-console-producer"),
    ("org.apache.kafka.tools.ConsumerPerformance", "kafka-consumer-perf-test"),
    ("org.apache.kafka.tools.DeleteRecordsCommand", "kafka-delete-records"),
    ("org.apache.kafka.tools.DumpLogSegments", "kafka-dump-log"),
    ("org.apache.kafka.tools.EndToEndLatency", "kafka-e2e-latency"),
    ("org.apache.kafka.tools.FeatureCommand", "kafka-features"),
    ("org.apache.kafka.tools.GetOffsetShell", "kafka-get-offsets"),
    ("org.apache.kafka.tools.GroupsCommand", "kafka-groups"),
    ("org.apache.kafka.tools.LeaderElectionCommand", "kafka-leader-election"),
    ("org.apache.kafka.tools.LogDirsCommand", "kafka-log-dirs"),
    ("org.apache.kafka.tools.MetadataQuorumCommand", "kafka-metadata-quorum"),
    ("org.apache.kafka.tools.ProducerPerformance", "kafka-producer-perf-test"),
    ("org.apache.kafka.tools.ReplicaVerificationTool", "kafka-replica-verification"),
    ("org.apache.kafka.tools.TopicCommand", "kafka-topics"),
    ("org.apache.kafka.tools.VerifiableConsumer", "kafka-verifiable-consumer"),
    ("org.apache.kafka.tools.VerifiableProducer", "kafka-verifiable-producer"),
    ("org.apache.kafka.tools.consumer.ConsoleConsumer", "kafka-console-consumer"),
    ("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "kafka-consumer-groups"),
];

/// The tool that the words ask for, and the words that are left for it; or the exit code, when there is none.
pub fn tool(args: &[String]) -> Result<(&'static str, &[String]), u8> {
    let mut rest = args;
    // What Kafka's script takes for itself: there is no JVM to set up here.
    loop {
        rest = match rest {
            [flag, rest @ ..] if ["-daemon", "-loggc"].contains(&flag.as_str()) => rest,
            [flag, _, rest @ ..] if flag == "-name" => rest,
            _ => break,
        };
    }
    let Some((class, words)) = rest.split_first() else {
        complain!("USAGE: kafka-run-class CLASS [OPTIONS]");
        complain!("example: kafka-run-class kafka.tools.GetOffsetShell --bootstrap-server localhost:9092 --topic test");
        return Err(1);
    };
    match CLASSES.iter().find(|(name, _)| name == class) {
        Some((_, tool)) => Ok((tool, words)),
        None => {
            complain!(
                "Error: Could not find or load main class {class}: Klamm has no Java, and no tool of its own by that name."
            );
            complain!("`klamm --help` lists the tools; Apache Kafka's own run against this broker as well.");
            term::flush();
            Err(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_leads_to_a_tool() {
        for (class, tool) in CLASSES {
            assert!(*tool == crate::BROKER || crate::find(tool).is_some(), "{class}: {tool}");
        }
    }

    #[test]
    fn the_scripts_own_words_are_passed_over() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let args = words("-name x -loggc kafka.admin.TopicCommand --list");
        assert_eq!(tool(&args), Ok(("kafka-topics", &args[4..])));
        assert_eq!(tool(&words("no.such.Class")), Err(1));
        assert_eq!(tool(&[]), Err(1));
    }
}
