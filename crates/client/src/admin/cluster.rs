//! The cluster itself: its nodes, and which requests each of them knows.

use crate::metadata::{BROKERS, CONTROLLERS};
use crate::versions::ApiVersions;
use crate::{Connection, Error, Node, To, Topics};
use wire::messages::{
    DescribeClusterRequest, DescribeClusterResponse, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use wire::{ApiKey, ErrorCode};

use super::Admin;

/// DescribeCluster tells of fenced brokers from this version on.
const FENCED_FROM: i16 = 2;

/// A broker as DescribeCluster tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    pub node: Node,
    pub is_fenced: bool,
}

/// What one broker answered to ApiVersions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerVersions {
    pub node: ClusterNode,
    pub versions: Result<ApiVersions, Error>,
}

impl Admin {
    /// The brokers that are there, in the order the broker tells them; asked of a controller, the controllers.
    pub async fn brokers(&self) -> Result<Vec<ClusterNode>, Error> {
        self.nodes(false).await
    }

    /// The same with the brokers that are fenced (KIP-1073).
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the broker cannot tell those.
    pub async fn nodes(&self, with_fenced: bool) -> Result<Vec<ClusterNode>, Error> {
        const CALL: &str = "listNodes";
        let connection = self.client.any(CALL).await?;
        let endpoint_type = endpoint_type(&connection);
        let version = connection.version(ApiKey::DescribeCluster).ok();
        if with_fenced && version.is_none_or(|version| version < FENCED_FROM) {
            return Err(Error::Unsupported("The node cannot tell which brokers are fenced".into()));
        }
        if version.is_none() {
            let metadata = self.client.metadata(Topics::None, false, CALL).await?;
            return Ok(metadata.nodes.into_iter().map(|node| ClusterNode { node, is_fenced: false }).collect());
        }
        self.described(endpoint_type, with_fenced).await
    }

    /// The brokers, asked of a controller: Klamm's tell them, Apache Kafka's refuse.
    pub(super) async fn brokers_of_controller(&self) -> Result<Vec<ClusterNode>, Error> {
        self.described(BROKERS, false).await
    }

    async fn described(&self, endpoint_type: i8, with_fenced: bool) -> Result<Vec<ClusterNode>, Error> {
        let read = |reply: &crate::Reply| {
            let response: DescribeClusterResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
            let brokers = response.brokers.iter().map(|b| ClusterNode {
                node: Node {
                    id: b.broker_id,
                    host: b.host.to_string(),
                    port: b.port as u16,
                    rack: b.rack.as_deref().map(str::to_owned),
                },
                is_fenced: b.is_fenced,
            });
            Ok(brokers.collect())
        };
        let build =
            |_| Ok(DescribeClusterRequest { include_fenced_brokers: with_fenced, endpoint_type, ..Default::default() });
        self.client.send(&To::Any, "listNodes", build, read).await
    }

    /// The cluster's id; none where it has none.
    pub async fn cluster_id(&self) -> Result<Option<String>, Error> {
        const CALL: &str = "describeCluster";
        let connection = self.client.any(CALL).await?;
        let endpoint_type = endpoint_type(&connection);
        if endpoint_type == BROKERS {
            return Ok(self.client.metadata(Topics::None, false, CALL).await?.cluster_id);
        }
        let build = |_| Ok(DescribeClusterRequest { endpoint_type, ..Default::default() });
        let read = |reply: &crate::Reply| {
            let response: DescribeClusterResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())?;
            Ok(Some(response.cluster_id.to_string()))
        };
        self.client.send(&To::Any, CALL, build, read).await
    }

    /// Takes a broker that is gone off the cluster's books (KIP-631).
    pub async fn unregister_broker(&self, id: i32) -> Result<(), Error> {
        let build = |_| Ok(UnregisterBrokerRequest { broker_id: id });
        let read = |reply: &crate::Reply| {
            let response: UnregisterBrokerResponse<'_> = reply.decode()?;
            Error::check(ErrorCode::from_code(response.error_code), response.error_message.as_deref())
        };
        self.client.send(&To::AnyOrLeader, "unregisterBroker", build, read).await
    }

    /// What every broker knows; a broker that cannot be reached has an error instead.
    pub async fn broker_versions(&self) -> Result<Vec<BrokerVersions>, Error> {
        let mut all = Vec::new();
        for node in self.brokers().await? {
            let connection = self.client.connect(&To::Node(node.node.id), "apiVersions").await;
            all.push(BrokerVersions { node, versions: connection.map(|c| c.versions().clone()) });
        }
        Ok(all)
    }
}

/// Which kind of node answers: controllers serve no Metadata.
fn endpoint_type(connection: &Connection) -> i8 {
    if connection.version(ApiKey::Metadata).is_ok() { BROKERS } else { CONTROLLERS }
}
