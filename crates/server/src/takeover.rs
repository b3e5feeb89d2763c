//! Taking over a directory fails closed: what protects or promises something that this broker does not do refuses the
//! start by name, before anything is written.

use crate::config::guard;
use metadata::image::{Image, ResourceKind};
use storage::Log;

/// Checks the cluster's state.
pub fn check(image: &Image) -> Result<(), String> {
    let mut reasons = Vec::new();
    for (resource, settings) in image.configs.iter() {
        match resource.kind {
            ResourceKind::Broker => reasons.extend(guard::stored_broker_refusals(&**settings)),
            ResourceKind::Topic => reasons.extend(guard::stored_topic_refusal(&resource.name, &**settings)),
            _ => {}
        }
    }
    let (acls, quotas) = (image.security.acls().count(), image.security.quotas().count());
    if acls > 0 {
        reasons.push(format!(
            "the cluster's state has {acls} ACLs: authorization is not there yet, and without it everybody could do everything. \
             Remove them with Apache Kafka's kafka-acls.sh first."
        ));
    }
    if quotas > 0 {
        reasons.push(format!(
            "the cluster's state has client quotas for {quotas} entities: quotas are not there yet. Remove them with Apache \
             Kafka's kafka-configs.sh first."
        ));
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
}

/// Checks a partition's log.
pub fn check_log(topic: &str, partition: i32, log: &Log) -> Result<(), String> {
    let open = log.active_producers().into_iter().find_map(|p| Some((p.producer_id, p.current_txn_start_offset?)));
    match open {
        None => Ok(()),
        Some((producer, offset)) => Err(format!(
            "{topic}-{partition} has an open transaction of producer {producer} since offset {offset}: transactions are not there yet, and \
             nobody could end it. Let its producer finish under Apache Kafka, or abort it there with kafka-transactions.sh."
        )),
    }
}
