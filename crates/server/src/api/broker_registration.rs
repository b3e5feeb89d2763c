//! BrokerRegistration (62), versions 0–4, on controllers' listeners: a broker makes itself known (KIP-631). Version 1 is for
//! migrations from ZooKeeper, 2 brings log directories (KIP-858), 3 the epoch of a clean shutdown (KIP-966).

use super::{Close, Cx, Reply, decide};
use metadata::controller::{BrokerRegistration, Command, Reply as Decided};
use metadata::image::{Endpoint, SupportedFeature};
use std::ops::RangeInclusive;
use wire::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=4;

pub async fn handle(cx: &Cx<'_>, request: BrokerRegistrationRequest<'_>, reply: &mut Reply<'_>) -> Result<(), Close> {
    let registration = BrokerRegistration {
        broker_id: request.broker_id,
        cluster_id: request.cluster_id.to_string(),
        incarnation_id: request.incarnation_id,
        endpoints: request
            .listeners
            .iter()
            .map(|listener| Endpoint {
                name: listener.name.to_string(),
                host: listener.host.to_string(),
                port: listener.port,
                security_protocol: listener.security_protocol,
            })
            .collect(),
        features: request
            .features
            .iter()
            .map(|feature| SupportedFeature {
                name: feature.name.to_string(),
                min: feature.min_supported_version,
                max: feature.max_supported_version,
            })
            .collect(),
        rack: request.rack.as_ref().map(|rack| rack.to_string()),
        is_migrating_zk_broker: request.is_migrating_zk_broker,
        log_dirs: request.log_dirs.to_vec(),
        previous_broker_epoch: request.previous_broker_epoch,
    };
    let broker_id = registration.broker_id;
    let registered = decide(cx, Command::RegisterBroker(registration), |decided| match decided {
        Decided::RegisterBroker(result) => Some(result),
        _ => None,
    })
    .await;
    reply.send(&match registered {
        Ok(broker_epoch) => {
            cx.peer.lives_as(broker_id, broker_epoch);
            BrokerRegistrationResponse { broker_epoch, ..Default::default() }
        }
        Err(refusal) => {
            BrokerRegistrationResponse { error_code: refusal.code.code(), broker_epoch: -1, ..Default::default() }
        }
    })
}
