//! Transactions.

use crate::config::key::{Key, boolean, int, short};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("transaction.max.timeout.ms").default("900000").at_least(1).high()
        .later("transactions", "Longest timeout that a producer may ask for its transactions."),
    int("transactional.id.expiration.ms").default("604800000").at_least(1).high()
        .later("transactions", "How long an unused transactional id is remembered."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms").default("10000").at_least(1).low()
        .later("transactions", "How often transactions that ran out of time are looked for."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms").default("3600000").at_least(1).low()
        .later("transactions", "How often expired transactional ids are looked for."),
    boolean("transaction.partition.verification.enable").default("true").low().cluster_wide()
        .later("transactions", "Checks that a partition was added to a transaction before it takes records of it."),
    boolean("transaction.two.phase.commit.enable").default("false").low()
        .later("transactions", "Allows transactions whose outcome somebody else decides (KIP-939)."),
    int("transaction.state.log.load.buffer.size").default("5242880").at_least(1).high()
        .later("transactions", "Bytes read at once when transactions are loaded."),
    int("transaction.state.log.min.isr").default("2").at_least(1).high()
        .later("transactions", "min.insync.replicas of __transaction_state."),
    int("transaction.state.log.num.partitions").default("50").at_least(1).high()
        .later("transactions", "Partitions of __transaction_state."),
    short("transaction.state.log.replication.factor").default("3").at_least(1).high()
        .later("transactions", "Replicas of __transaction_state."),
    int("transaction.state.log.segment.bytes").default("104857600").at_least(1).high()
        .later("transactions", "Segment size of __transaction_state in bytes."),
    int("add.partitions.to.txn.retry.backoff.ms").default("20").at_least(1).high()
        .later("transactions", "Pause before a partition is added to a transaction again while another one ends."),
    int("add.partitions.to.txn.retry.backoff.max.ms").default("100").at_least(0).high()
        .later("transactions", "Longest such pause."),
];
