//! ControllerRegistration (70), version 0, on controllers' listeners: a controller that does not lead makes itself known
//! (KIP-919).

use super::{Close, Cx, Reply, decide};
use metadata::controller::{Command, Reply as Decided};
use metadata::image::{ControllerRegistration, Endpoint, SupportedFeature};
use std::ops::RangeInclusive;
use wire::messages::{ControllerRegistrationRequest, ControllerRegistrationResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=0;

pub async fn handle(
    cx: &Cx<'_>,
    request: ControllerRegistrationRequest<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Close> {
    let registration = ControllerRegistration {
        id: request.controller_id,
        incarnation_id: request.incarnation_id,
        zk_migration_ready: request.zk_migration_ready,
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
    };
    let registered = decide(cx, Command::RegisterController(registration), |decided| match decided {
        Decided::RegisterController(result) => Some(result),
        _ => None,
    })
    .await;
    reply.send(&match registered {
        Ok(()) => ControllerRegistrationResponse::default(),
        Err(refusal) => ControllerRegistrationResponse {
            error_code: refusal.code.code(),
            error_message: refusal.message.map(Into::into),
            ..Default::default()
        },
    })
}
