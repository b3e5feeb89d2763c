//! BrokerHeartbeat (63), versions 0–2, on controllers' listeners: a broker lives, and hears whether it may serve (KIP-631).
//! Version 1 tells of log directories that failed (KIP-858), 2 of those that take no new replicas (KIP-1066).

use super::{Close, Cx, Reply, decide};
use metadata::controller::{BrokerHeartbeat, Command, Reply as Decided};
use std::ops::RangeInclusive;
use wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;

pub async fn handle(cx: &Cx<'_>, request: BrokerHeartbeatRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let heartbeat = BrokerHeartbeat {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        current_metadata_offset: request.current_metadata_offset,
        want_fence: request.want_fence,
        want_shut_down: request.want_shut_down,
        offline_log_dirs: request.offline_log_dirs.to_vec(),
        cordoned_log_dirs: request.cordoned_log_dirs.as_ref().map(|ids| ids.to_vec()),
    };
    let (broker_id, broker_epoch) = (heartbeat.broker_id, heartbeat.broker_epoch);
    let heard = decide(cx, Command::Heartbeat(heartbeat), |decided| match decided {
        Decided::Heartbeat(result) => Some(result),
        _ => None,
    })
    .await;
    reply.send(&match heard {
        Ok(heard) => {
            cx.peer.lives_as(broker_id, broker_epoch);
            BrokerHeartbeatResponse {
                is_caught_up: heard.is_caught_up,
                is_fenced: heard.is_fenced,
                should_shut_down: heard.should_shut_down,
                ..Default::default()
            }
        }
        Err(refusal) => {
            BrokerHeartbeatResponse { error_code: refusal.code.code(), is_fenced: true, ..Default::default() }
        }
    })
}
