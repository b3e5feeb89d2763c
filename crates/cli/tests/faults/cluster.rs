//! Three nodes, and what is asked of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Error;
use client::admin::{Admin, Isolation, NewTopic, OffsetAt, PartitionDescription, TopicPartition};
use tokio::time::{sleep, timeout};

use super::clients::{self, Shared};
use super::network;
use super::node::Node;

pub const NODES: usize = 3;
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// Longer than that nothing takes that works.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// One look is given up after that.
const LOOK: Duration = Duration::from_secs(10);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(50);

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub shared: Arc<Shared>,
}

pub fn servers() -> String {
    let all: Vec<String> = (1..=NODES).map(|id| format!("{}:9092", network::address(id))).collect();
    all.join(",")
}

/// Looks until it is so; how long that took, or an error with what was waited for.
pub async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        if timeout(LOOK, look()).await.unwrap_or(false) {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}"));
        }
        sleep(GLANCE).await;
    }
}

impl Cluster {
    /// Nodes that run, and the topics that the clients need.
    pub async fn start(folder: &Path, shared: Arc<Shared>, synced: bool) -> Result<Cluster, String> {
        network::build(NODES);
        let mut nodes: Vec<Node> = (1..=NODES).map(|id| Node::new(id, NODES, folder, CLUSTER, synced)).collect();
        for node in &mut nodes {
            node.start();
        }
        let cluster = Cluster { nodes, shared };
        let admin = cluster.admin().await;
        for name in clients::topics(&cluster.shared.partitions) {
            let count = cluster.shared.partitions.iter().filter(|(topic, _)| *topic == name).count();
            let mut configs = Vec::new();
            if name == "synced" {
                configs.push(("flush.messages".to_owned(), "1".to_owned()));
            }
            let topic = NewTopic { name: name.clone(), partitions: Some(count as i32), configs, ..NewTopic::default() };
            let begun = Instant::now();
            loop {
                let error = match timeout(LOOK, admin.create_topic(&topic)).await {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) if error.error_code() == Some(wire::ErrorCode::TopicAlreadyExists) => break,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no answer within {LOOK:?}"),
                };
                if begun.elapsed() > PATIENCE {
                    return Err(format!("topic {name} could not be made: {error}"));
                }
                sleep(GLANCE).await;
            }
        }
        cluster.until_in_sync().await?;
        Ok(cluster)
    }

    /// A new client: it has no connections to what is gone.
    pub async fn admin(&self) -> Admin {
        let settings = [("default.api.timeout.ms", "4000"), ("request.timeout.ms", "1500")];
        let mut properties = self.shared.properties(&[]);
        properties.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Admin::open(&properties).await.unwrap()
    }

    /// By key.
    pub async fn partitions(&self) -> Result<Vec<PartitionDescription>, Error> {
        let names = clients::topics(&self.shared.partitions);
        let described = self.admin().await.describe_topics(&names, 1000).await?;
        let found = |(topic, partition): &TopicPartition| {
            let topic = described.iter().find(|t| t.name == *topic)?;
            topic.partitions.iter().find(|p| p.index == *partition).cloned()
        };
        let all: Option<Vec<_>> = self.shared.partitions.iter().map(found).collect();
        all.ok_or_else(|| Error::code(wire::ErrorCode::UnknownTopicOrPartition))
    }

    pub async fn until_in_sync(&self) -> Result<Duration, String> {
        let in_sync = || async {
            let all = self.partitions().await;
            all.is_ok_and(|all| all.iter().all(|p| p.leader.is_some() && p.isr.len() == NODES))
        };
        until("every replica is in sync", in_sync).await
    }

    /// Every partition acknowledges what is sent from now on.
    pub async fn until_written(&self) -> Result<Duration, String> {
        let since = self.shared.recorder.now();
        until("every partition is written", || async { self.shared.recorder.all_written_since(since) }).await
    }

    /// The node that leads a partition.
    pub async fn leader(&self, key: usize) -> Result<usize, String> {
        let mut last = None;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.partitions().await {
                Ok(all) => {
                    if let Some(leader) = all[key].leader {
                        return Ok(leader as usize);
                    }
                }
                Err(error) => last = Some(error),
            }
            sleep(GLANCE).await;
        }
        Err(format!("nobody leads {:?}: {last:?}", self.shared.partitions[key]))
    }

    pub async fn controller(&self) -> Result<usize, String> {
        let begun = Instant::now();
        loop {
            let why = match self.admin().await.describe_quorum().await {
                Ok(quorum) if quorum.leader_id > 0 => return Ok(quorum.leader_id as usize),
                Ok(_) => "no leader".to_owned(),
                Err(error) => error.to_string(),
            };
            if begun.elapsed() > PATIENCE {
                return Err(format!("there is no controller: {why}"));
            }
            sleep(GLANCE).await;
        }
    }

    /// Where the logs end.
    pub async fn ends(&self) -> Result<BTreeMap<TopicPartition, i64>, String> {
        let wanted: Vec<_> = self.shared.partitions.iter().map(|tp| (tp.clone(), OffsetAt::Latest)).collect();
        let listed = self.admin().await.list_offsets(&wanted, Isolation::ReadUncommitted).await;
        let listed = listed.map_err(|e| format!("listing offsets: {e}"))?;
        let end = |(tp, offset): (TopicPartition, Result<client::admin::ListedOffset, Error>)| {
            Ok((tp, offset.map_err(|e| format!("listing offsets: {e}"))?.offset))
        };
        listed.into_iter().map(end).collect()
    }

    /// What the group has committed, by key; none when it cannot be found out now.
    pub async fn committed(&self) -> Option<Vec<Option<i64>>> {
        let offsets = self.admin().await.group_offsets(clients::GROUP).await.ok()?;
        Some(self.shared.partitions.iter().map(|tp| offsets.get(tp).map(|c| c.offset)).collect())
    }
}
