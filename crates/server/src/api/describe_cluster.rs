//! DescribeCluster (60), versions 0–2: the cluster's id, controller and brokers. Version 1 tells brokers from
//! controllers, of which only controllers' listeners tell (KIP-919); 2 can list fenced brokers.

use super::{Close, Cx, Endpoint, Reply, operations};
use ::metadata::image::Broker;
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::describe_cluster_request::DescribeClusterRequest;
use wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
/// What can be asked about (KIP-919).
pub const BROKERS: i8 = 1;
pub const CONTROLLERS: i8 = 2;

pub async fn handle(cx: &Cx<'_>, request: DescribeClusterRequest, reply: &mut Reply<'_>) -> Result<(), Close> {
    let node = cx.node;
    let (endpoint_type, controller_id, brokers) = match request.endpoint_type {
        BROKERS => (BROKERS, node.node_id, brokers(cx, request.include_fenced_brokers)),
        CONTROLLERS if cx.peer.is_controller => {
            (CONTROLLERS, node.controller.leader().id.unwrap_or(-1), controllers(cx))
        }
        other => {
            let known = other == CONTROLLERS;
            let error = if known { ErrorCode::MismatchedEndpointType } else { ErrorCode::UnsupportedEndpointType };
            return reply.send(&DescribeClusterResponse {
                error_code: error.code(),
                error_message: Some("The request was sent to an endpoint of type BROKER".into()),
                endpoint_type: BROKERS,
                cluster_id: node.cluster_id.as_str().into(),
                ..Default::default()
            });
        }
    };
    reply.send(&DescribeClusterResponse {
        endpoint_type,
        cluster_id: node.cluster_id.as_str().into(),
        controller_id,
        brokers: brokers.into(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::CLUSTER
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    })
}

/// The brokers as clients of this listener reach them. Where a controller is asked, as they reach each other: there is no
/// listener of theirs by that name (Kafka's controllers refuse to answer this).
fn brokers(cx: &Cx<'_>, include_fenced: bool) -> Vec<DescribeClusterBroker<'static>> {
    let image = cx.node.image();
    let endpoint = |broker: &Broker| match cx.peer.is_controller {
        true => Endpoint::of(broker, &broker.endpoints.first()?.name),
        false => Endpoint::of(broker, &cx.peer.listener),
    };
    image
        .cluster
        .brokers()
        .filter(|broker| !broker.fenced || include_fenced)
        .filter_map(|broker| Some((broker.fenced, endpoint(broker)?)))
        .map(|(is_fenced, b)| DescribeClusterBroker {
            broker_id: b.id,
            host: b.host.into(),
            port: b.port,
            rack: b.rack.map(Into::into),
            is_fenced,
            ..Default::default()
        })
        .collect()
}

/// The controllers that registered.
fn controllers(cx: &Cx<'_>) -> Vec<DescribeClusterBroker<'static>> {
    let image = cx.node.image();
    let controllers = image.cluster.controllers().filter_map(|controller| {
        let listener = controller.endpoints.iter().find(|endpoint| *endpoint.name == *cx.peer.listener)?;
        Some(DescribeClusterBroker {
            broker_id: controller.id,
            host: listener.host.clone().into(),
            port: i32::from(listener.port),
            ..Default::default()
        })
    });
    controllers.collect()
}
