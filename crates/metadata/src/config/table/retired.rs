//! Keys of Kafka 2.1 to 3.9 that 4.3 no longer has. Files still contain them, so each has an answer.

use crate::config::key::Effect;

/// A key that Kafka 4.3 no longer has.
pub struct Retired {
    pub name: &'static str,
    /// `Works` for what still says where the cluster is, and how a broker gets its id there.
    pub effect: Effect,
    /// Of one that works: what it does.
    pub doc: &'static str,
}

const QUORUM: &str = "it names the quorum that `bin/zkServer.sh` starts";
const ZOOKEEPER: &str = "the cluster's state is kept by the brokers themselves";
const ZOOKEEPER_TLS: &str = "nothing connects to ZooKeeper";
const FORMAT: &str = "records have had one format (magic 2) since Kafka 0.11, and no other is stored";
const ENCODER: &str = "passwords are not stored in ZooKeeper";
const RENAMED_LISTENERS: &str = "write it as listeners=PLAINTEXT://host:port";
const RENAMED_ADVERTISED: &str = "write it as advertised.listeners=PLAINTEXT://host:port";
const FEATURE: &str = "feature levels decide that (kafka-features.sh)";
const DEFAULT_QUOTA: &str = "quotas are not there yet";

pub fn find(name: &str) -> Option<&'static Retired> {
    KEYS.iter().find(|key| key.name == name)
}

const fn ignored(name: &'static str, reason: &'static str) -> Retired {
    Retired { name, effect: Effect::Ignored(reason), doc: "" }
}

const fn works(name: &'static str, doc: &'static str) -> Retired {
    Retired { name, effect: Effect::Works, doc }
}

const fn refused(name: &'static str, reason: &'static str) -> Retired {
    Retired { name, effect: Effect::Refused(reason), doc: "" }
}

/// By name.
#[rustfmt::skip]
pub const KEYS: &[Retired] = &[
    refused("advertised.host.name", RENAMED_ADVERTISED),
    refused("advertised.port", RENAMED_ADVERTISED),
    works("broker.id.generation.enable", "with zookeeper.connect, a broker without broker.id is given one (the default)"),
    ignored("control.plane.listener.name", "a controller has listeners of its own (controller.listener.names)"),
    ignored("controlled.shutdown.max.retries", "a shutdown hands over once, within its deadline"),
    ignored("controlled.shutdown.retry.backoff.ms", "a shutdown hands over once, within its deadline"),
    refused("delegation.token.master.key", "delegation tokens are not there yet"),
    ignored("eligible.leader.replicas.enable", FEATURE),
    ignored("group.coordinator.new.enable", "there is one group coordinator"),
    ignored("group.share.enable", FEATURE),
    ignored("group.share.max.groups", "the number of share groups has no limit"),
    refused("host.name", RENAMED_LISTENERS),
    ignored("inter.broker.protocol.version", FEATURE),
    ignored("leader.imbalance.per.broker.percentage", "every leader that is not the preferred one counts"),
    ignored("log.message.downconversion.enable", FORMAT),
    ignored("log.message.format.version", FORMAT),
    ignored("log.message.timestamp.difference.max.ms",
        "log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms took its place"),
    ignored("metadata.log.segment.min.bytes", "meant for Kafka's own tests"),
    ignored("offsets.commit.required.acks", "a commit is acknowledged when all replicas in sync have it"),
    ignored("password.encoder.cipher.algorithm", ENCODER),
    ignored("password.encoder.iterations", ENCODER),
    ignored("password.encoder.key.length", ENCODER),
    ignored("password.encoder.keyfactory.algorithm", ENCODER),
    ignored("password.encoder.old.secret", ENCODER),
    ignored("password.encoder.secret", ENCODER),
    refused("port", RENAMED_LISTENERS),
    refused("quota.consumer.default", DEFAULT_QUOTA),
    refused("quota.producer.default", DEFAULT_QUOTA),
    works("reserved.broker.max.id", "ids above it are those that are given out (1000)"),
    ignored("share.fetch.max.fetch.records", "the client says how many records it takes"),
    ignored("zookeeper.clientCnxnSocket", ZOOKEEPER_TLS),
    works("zookeeper.connect", QUORUM),
    works("zookeeper.connection.timeout.ms", QUORUM),
    ignored("zookeeper.max.in.flight.requests", ZOOKEEPER),
    ignored("zookeeper.metadata.migration.enable", ZOOKEEPER),
    ignored("zookeeper.metadata.migration.min.batch.size", ZOOKEEPER),
    ignored("zookeeper.session.timeout.ms", ZOOKEEPER),
    ignored("zookeeper.set.acl", ZOOKEEPER),
    ignored("zookeeper.ssl.cipher.suites", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.client.enable", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.crl.enable", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.enabled.protocols", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.endpoint.identification.algorithm", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.keystore.location", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.keystore.password", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.keystore.type", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.ocsp.enable", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.protocol", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.truststore.location", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.truststore.password", ZOOKEEPER_TLS),
    ignored("zookeeper.ssl.truststore.type", ZOOKEEPER_TLS),
    ignored("zookeeper.sync.time.ms", ZOOKEEPER),
];
