//! DescribeCluster (60), versions 0–2: the cluster's id, controller and brokers. Version 1 tells brokers from
//! controllers (KIP-919), 2 can list fenced brokers.

use super::{Close, Cx, Endpoint, Reply, operations};
use std::ops::RangeInclusive;
use wire::ErrorCode;
use wire::messages::describe_cluster_request::DescribeClusterRequest;
use wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

pub const VERSIONS: RangeInclusive<i16> = 0..=2;
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(cx: &Cx<'_>, request: DescribeClusterRequest, reply: &mut Reply<'_>) -> Result<(), Close> {
    let node = cx.node;
    if request.endpoint_type != BROKERS {
        let known = request.endpoint_type == CONTROLLERS;
        let error = if known { ErrorCode::MismatchedEndpointType } else { ErrorCode::UnsupportedEndpointType };
        return reply.send(&DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some("The request was sent to an endpoint of type BROKER".into()),
            endpoint_type: BROKERS,
            cluster_id: node.cluster_id.as_str().into(),
            ..Default::default()
        });
    }
    let image = node.image();
    reply.send(&DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: node.cluster_id.as_str().into(),
        controller_id: node.node_id,
        brokers: image
            .cluster
            .brokers()
            .filter(|b| !b.fenced || request.include_fenced_brokers)
            .filter_map(|b| Some((b.fenced, Endpoint::of(b, &cx.peer.listener)?)))
            .map(|(is_fenced, b)| DescribeClusterBroker {
                broker_id: b.id,
                host: b.host.into(),
                port: b.port,
                rack: b.rack.map(Into::into),
                is_fenced,
                ..Default::default()
            })
            .collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::CLUSTER
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    })
}
