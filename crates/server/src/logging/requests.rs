//! The request log (`kafka.request.logger`): each answered request with who asked, what for and how long it took, at DEBUG,
//! in the form of Kafka's (KIP-673); with its size at TRACE. Bodies are not told: they hold other people's data.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{Level, debug, enabled, trace};
use wire::ApiKey;

use super::line::quoted;
use crate::metrics::Times;

/// The logger's name, which is Kafka's.
pub const LOGGER: &str = "kafka.request.logger";

/// A request that was answered.
pub struct Completed<'a> {
    pub peer: SocketAddr,
    pub listener: &'a str,
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
    pub times: Times,
    /// Of its frame.
    pub bytes: usize,
}

/// Tells of a request where that is switched on; else this costs a load.
pub fn completed<'a>(request: impl FnOnce() -> Completed<'a>) {
    if enabled!(target: LOGGER, Level::TRACE) {
        let request = request();
        let size = request.bytes;
        trace!(target: LOGGER, "Completed request:{}", told(&request, &format!(",\"requestSizeBytes\":{size}")));
    } else if enabled!(target: LOGGER, Level::DEBUG) {
        debug!(target: LOGGER, "Completed request:{}", told(&request(), ""));
    }
}

fn told(request: &Completed<'_>, details: &str) -> String {
    let Completed { peer, listener, key, version, correlation_id, client_id, times, .. } = request;
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let local = (times.done - times.begun).saturating_sub(times.waited);
    let mut json = format!(
        "{{\"isForwarded\":false,\"requestHeader\":{{\"requestApiKey\":{},\"requestApiVersion\":{version},\
         \"correlationId\":{correlation_id},\"clientId\":",
        *key as i16
    );
    match client_id {
        Some(id) => quoted(&mut json, id),
        None => json += "null",
    }
    json += &format!(
        ",\"requestApiKeyName\":\"{}\"}},\"connection\":\"{}\",\"totalTimeMs\":{:.3},\"requestQueueTimeMs\":{:.3},\
         \"localTimeMs\":{:.3},\"remoteTimeMs\":{:.3},\"securityProtocol\":\"PLAINTEXT\",\"principal\":\"User:ANONYMOUS\",\
         \"listener\":",
        kafkas_name(*key),
        peer,
        ms(times.done - times.arrived),
        ms(times.begun - times.arrived),
        ms(local),
        ms(times.waited),
    );
    quoted(&mut json, listener);
    json + details + "}"
}

/// `CREATE_TOPICS` for `CreateTopics`.
fn kafkas_name(key: ApiKey) -> String {
    let mut name = String::new();
    for c in key.name().chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_request_is_told_in_one_object_whatever_the_client_calls_itself() {
        let arrived = Instant::now();
        let begun = arrived + Duration::from_micros(500);
        let request = Completed {
            peer: "127.0.0.1:5000".parse().unwrap(),
            listener: "PLAINTEXT",
            key: ApiKey::CreateTopics,
            version: 7,
            correlation_id: 5,
            client_id: Some("a\"\nb"),
            times: Times { arrived, begun, done: begun + Duration::from_millis(3), waited: Duration::from_millis(2) },
            bytes: 10,
        };
        assert_eq!(
            told(&request, ",\"requestSizeBytes\":10"),
            "{\"isForwarded\":false,\"requestHeader\":{\"requestApiKey\":19,\"requestApiVersion\":7,\"correlationId\":5,\
             \"clientId\":\"a\\\"\\nb\",\"requestApiKeyName\":\"CREATE_TOPICS\"},\"connection\":\"127.0.0.1:5000\",\
             \"totalTimeMs\":3.500,\"requestQueueTimeMs\":0.500,\"localTimeMs\":1.000,\"remoteTimeMs\":2.000,\
             \"securityProtocol\":\"PLAINTEXT\",\"principal\":\"User:ANONYMOUS\",\"listener\":\"PLAINTEXT\",\
             \"requestSizeBytes\":10}"
        );
    }
}
