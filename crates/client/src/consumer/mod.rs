//! Reading records: partitions that are assigned by hand or shared out in a group, fetched ahead of the application.
//!
//! Everything happens inside [`Consumer::poll`], but for fetches in flight and the heartbeats of a group. Reading order:
//! this file (assignment, positions, poll), `fetch`, `records`, `group`, `assignor`.

pub mod assignor;
mod config;
mod fetch;
pub mod group;
mod protocol;
mod records;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;
use wire::{ErrorCode, Uuid};

pub use assignor::TopicPartition;
pub use config::{ConsumerConfig, GroupConfig, OffsetReset};
pub use records::{ConsumerRecord, Records};

use crate::admin::{OffsetAt, list_offsets};
use crate::config::Properties;
use crate::group_offsets::GroupOffsets;
use crate::{Client, Error, Metadata, Topics};
use fetch::Answer;
use group::{GroupEvent, Membership};
use protocol::ConsumerProtocol;
use records::Fetched;

/// What is subscribed to.
pub enum Subscription {
    Topics(Vec<String>),
    /// All topics that this function accepts (internal ones are never asked about).
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    To(i64),
    Beginning,
    End,
}

/// What a group's rebalance took and gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    Revoked(Vec<TopicPartition>),
    Assigned(Vec<TopicPartition>),
}

/// What a poll gives to an owner who takes part in rebalances ([`Consumer::poll_events`]).
#[derive(Debug)]
pub enum Polled {
    Records(Vec<Records>),
    /// These partitions are given up with the next poll: what was read of them is committed now or never. `lost`: others
    /// may have them already, and a commit would be refused.
    Revoking {
        partitions: Vec<TopicPartition>,
        lost: bool,
    },
    /// These partitions were added.
    Assigned(Vec<TopicPartition>),
}

/// What was announced to the owner and is done with the next poll.
enum Handover {
    /// Everything is given up, and the group told so.
    All(oneshot::Sender<()>),
    /// These are the partitions from then on.
    Keep(Vec<TopicPartition>),
}

/// A partition that is being read.
struct Part {
    name: Arc<str>,
    leader: Option<i32>,
    leader_epoch: i32,
    /// The follower that the leader sends this consumer to, and since when (KIP-392).
    read_replica: Option<(i32, Instant)>,
    topic_id: Uuid,
    /// The next offset to hand out; none until it is known.
    position: Option<i64>,
    /// Where the position has to be found.
    seek: Option<Seek>,
    fetched: Option<Fetched>,
    in_flight: bool,
    paused: bool,
    not_before: Option<Instant>,
}

/// How long a rebalance waits for a commit, and how long closing does.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
const CLOSE_PATIENCE: Duration = Duration::from_secs(15);

/// What a consumer waited for.
enum Step {
    Answer(Answer),
    Group(GroupEvent),
    Again,
}

impl Part {
    /// Takes over where the partition is led.
    fn locate(&mut self, index: i32, metadata: &Metadata) {
        let topic = metadata.topic(&self.name);
        let known = topic.and_then(|t| t.partitions.iter().find(|p| p.index == index));
        let before = (self.leader, self.leader_epoch);
        self.leader = known.and_then(|p| p.leader);
        self.leader_epoch = known.map_or(-1, |p| p.leader_epoch);
        let is_there = |(id, _): &(i32, Instant)| metadata.nodes.iter().any(|node| node.id == *id);
        if before != (self.leader, self.leader_epoch) || !self.read_replica.as_ref().is_some_and(is_there) {
            self.read_replica = None;
        }
        self.topic_id = topic.map_or(Uuid::ZERO, |t| t.id);
    }
}

/// A consumer; one owner, who polls.
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    parts: BTreeMap<TopicPartition, Part>,
    membership: Option<Membership>,
    protocol: ConsumerProtocol,
    offsets: Option<GroupOffsets>,
    subscription: Option<Subscription>,
    metadata: Metadata,
    metadata_at: Option<Instant>,
    metadata_stale: bool,
    /// How long to wait before asking again for what was not there, and until when.
    metadata_pause: Duration,
    metadata_not_before: Instant,
    committed_at: Instant,
    committing: Option<JoinHandle<()>>,
    answers: mpsc::UnboundedReceiver<Answer>,
    answers_to: mpsc::UnboundedSender<Answer>,
    /// Fetches in flight, by node.
    fetching: BTreeSet<i32>,
    /// Which partition is handed out first next time.
    turn: usize,
    /// Since the last poll began.
    rebalances: Vec<Rebalance>,
    /// The owner is told of rebalances before they happen.
    tells: bool,
    told: VecDeque<Polled>,
    handover: Option<Handover>,
}

impl Consumer {
    /// Reads the settings; connects when first needed.
    pub async fn open(properties: &Properties) -> Result<Consumer, Error> {
        Consumer::with(ConsumerConfig::new(properties)?).await
    }

    /// As [`open`](Self::open), with settings that are read already.
    pub async fn with(config: ConsumerConfig) -> Result<Consumer, Error> {
        let client = Client::open(config.client.clone()).await?;
        let assignors = config.group.as_ref().map(|g| g.assignors.clone()).unwrap_or_default();
        let (answers_to, answers) = mpsc::unbounded_channel();
        Ok(Consumer {
            protocol: ConsumerProtocol::new(client.clone(), assignors, config.rack.clone()),
            offsets: config.group.as_ref().map(|g| GroupOffsets { client: client.clone(), group: g.id.clone() }),
            client,
            config,
            parts: BTreeMap::new(),
            membership: None,
            subscription: None,
            metadata: Metadata::default(),
            metadata_at: None,
            metadata_stale: false,
            metadata_pause: Duration::ZERO,
            metadata_not_before: Instant::now(),
            committed_at: Instant::now(),
            committing: None,
            answers,
            answers_to,
            fetching: BTreeSet::new(),
            turn: 0,
            rebalances: Vec::new(),
            tells: false,
            told: VecDeque::new(),
            handover: None,
        })
    }

    pub fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// The client below.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads these partitions, from their committed offsets, or where `auto.offset.reset` says.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        self.parts.retain(|tp, _| wanted.contains(tp));
        for tp in wanted {
            if self.parts.contains_key(&tp) {
                continue;
            }
            let mut part = Part {
                name: tp.0.as_str().into(),
                leader: None,
                leader_epoch: -1,
                read_replica: None,
                topic_id: Uuid::ZERO,
                position: None,
                seek: None,
                fetched: None,
                in_flight: false,
                paused: false,
                not_before: None,
            };
            part.locate(tp.1, &self.metadata);
            if part.leader.is_none() {
                self.metadata_stale = true;
                self.metadata_not_before = Instant::now();
            }
            self.parts.insert(tp, part);
        }
        self.protocol.set_owned(self.parts.keys().cloned().collect());
    }

    /// Takes part in the group that the settings name.
    pub fn subscribe(&mut self, subscription: Subscription) -> Result<(), Error> {
        if self.config.group.is_none() {
            let why = "To use the group management or offset commit APIs, you must provide a valid group.id in the consumer configuration.";
            return Err(Error::Config(why.into()));
        }
        if let Subscription::Topics(topics) = &subscription {
            self.protocol.set_topics(topics.clone());
        }
        self.subscription = Some(subscription);
        self.metadata_stale = true;
        Ok(())
    }

    /// The partitions that are being read.
    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.parts.keys()
    }

    /// What rebalances took and gave during the last [`poll`](Self::poll), in that order.
    pub fn rebalances(&self) -> &[Rebalance] {
        &self.rebalances
    }

    /// Goes on reading a partition from there.
    pub fn seek(&mut self, partition: &TopicPartition, seek: Seek) {
        if let Some(part) = self.parts.get_mut(partition) {
            part.fetched = None;
            match seek {
                Seek::To(offset) => (part.position, part.seek) = (Some(offset), None),
                seek => (part.position, part.seek) = (None, Some(seek)),
            }
        }
    }

    /// The next offset that is handed out; none while it is not known.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.parts.get(partition)?.position
    }

    /// Hands out nothing of these partitions, and fetches nothing more, until they are resumed or assigned anew.
    pub fn pause<'p>(&mut self, partitions: impl IntoIterator<Item = &'p TopicPartition>) {
        self.set_paused(partitions, true);
    }

    pub fn resume<'p>(&mut self, partitions: impl IntoIterator<Item = &'p TopicPartition>) {
        self.set_paused(partitions, false);
    }

    fn set_paused<'p>(&mut self, partitions: impl IntoIterator<Item = &'p TopicPartition>, paused: bool) {
        for tp in partitions {
            if let Some(part) = self.parts.get_mut(tp) {
                part.paused = paused;
            }
        }
    }

    /// Some records, as soon as there are any; none when the time is over.
    pub async fn poll(&mut self, limit: Duration) -> Result<Vec<Records>, Error> {
        self.tells = false;
        self.rebalances.clear();
        match self.poll_until(Instant::now() + limit, &Notify::new()).await? {
            Polled::Records(records) => Ok(records),
            _ => Ok(Vec::new()),
        }
    }

    /// As [`poll`](Self::poll), telling of rebalances: what is announced happens with the next call. `wake` ends the
    /// waiting early.
    pub async fn poll_events(&mut self, limit: Duration, wake: &Notify) -> Result<Polled, Error> {
        self.tells = true;
        self.rebalances.clear();
        match self.handover.take() {
            Some(Handover::All(ready)) => {
                self.assign([]);
                let _ = ready.send(());
            }
            Some(Handover::Keep(partitions)) => self.take_over(partitions),
            None => {}
        }
        self.poll_until(Instant::now() + limit, wake).await
    }

    async fn poll_until(&mut self, deadline: Instant, wake: &Notify) -> Result<Polled, Error> {
        let mut woken = false;
        loop {
            self.follow_group().await?;
            if let Some(event) = self.told.pop_front() {
                return Ok(event);
            }
            self.commit_when_due();
            let records = self.take()?;
            if !records.is_empty() {
                // The next ones are on their way while these are worked on.
                self.start_fetches();
                return Ok(Polled::Records(records));
            }
            if woken || Instant::now() >= deadline {
                return Ok(Polled::Records(Vec::new()));
            }
            let step = tokio::select! {
                step = self.next_step() => step?,
                () = sleep_until(deadline) => Step::Again,
                () = wake.notified() => {
                    woken = true;
                    Step::Again
                }
            };
            // What was received is worked on to the end, whatever the time limit says.
            match step {
                Step::Answer(answer) => self.settle(answer)?,
                Step::Group(event) => self.group_event(event).await?,
                Step::Again => {}
            }
        }
    }

    /// Asks for whatever is missing before there can be records, and waits for what comes. May be given up at any time:
    /// what was received is in the result.
    async fn next_step(&mut self) -> Result<Step, Error> {
        self.refresh_metadata().await?;
        self.find_positions().await?;
        self.start_fetches();
        let retry = self.parts.values().filter_map(|p| p.not_before).min();
        let far = Instant::now() + Duration::from_secs(3600);
        let group = async {
            match &mut self.membership {
                Some(membership) => membership.event().await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            Some(answer) = self.answers.recv() => Step::Answer(answer),
            event = group => Step::Group(event),
            () = sleep_until(retry.unwrap_or(far)) => Step::Again,
            () = sleep_until(self.metadata_not_before), if self.metadata_stale => Step::Again,
        })
    }

    /// Hands out what was fetched, up to `max.poll.records`, partition by partition.
    fn take(&mut self) -> Result<Vec<Records>, Error> {
        let mut taken = Vec::new();
        let mut left = self.config.max_poll_records;
        let count = self.parts.len();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % count.max(1);
        let order: Vec<TopicPartition> =
            self.parts.keys().skip(first).chain(self.parts.keys().take(first)).cloned().collect();
        for tp in order {
            let Some(part) = self.parts.get_mut(&tp).filter(|p| !p.paused) else { continue };
            while left > 0
                && let Some(fetched) = &mut part.fetched
            {
                let records = fetched.take(&part.name, tp.1, left);
                part.position = Some(fetched.position());
                match records {
                    Ok(Some(records)) => {
                        left -= records.len();
                        taken.push(records);
                    }
                    Ok(None) => part.fetched = None,
                    Err(error) => {
                        part.fetched = None;
                        // What is good before it is handed out first; the next poll meets the error again.
                        return if taken.is_empty() { Err(error) } else { Ok(taken) };
                    }
                }
            }
        }
        Ok(taken)
    }

    // -- metadata ----------------------------------------------------------------------------------------------------

    async fn refresh_metadata(&mut self) -> Result<(), Error> {
        let due = self.metadata_at.is_none_or(|at| at.elapsed() > self.config.client.metadata_max_age);
        let wanted = self.metadata_stale && Instant::now() >= self.metadata_not_before;
        if !(wanted || due) {
            return Ok(());
        }
        let pattern = matches!(self.subscription, Some(Subscription::Matching(_)));
        let mut names: Vec<String> = match &self.subscription {
            Some(Subscription::Topics(topics)) => topics.clone(),
            _ => self.parts.keys().map(|tp| tp.0.clone()).collect(),
        };
        names.sort();
        names.dedup();
        let topics = if pattern { Topics::All } else { Topics::Names(&names) };
        let metadata = match self.client.metadata(topics, self.config.allow_auto_create_topics, "metadata").await {
            Ok(metadata) => metadata,
            // The consumer waits for its brokers as long as it is polled.
            Err(error) if error.is_retriable() => return Ok(()),
            Err(error) => return Err(error),
        };
        self.learn(metadata, &names)
    }

    fn learn(&mut self, metadata: Metadata, names: &[String]) -> Result<(), Error> {
        self.metadata_at = Some(Instant::now());
        let mut troubles = Vec::new();
        for name in names {
            let error = metadata.topic(name).map_or(ErrorCode::UnknownTopicOrPartition, |t| t.error);
            match error {
                ErrorCode::None => {}
                ErrorCode::InvalidTopicException => {
                    return Err(Error::refused(error, Some(&format!("Invalid topics: [{name}]"))));
                }
                ErrorCode::TopicAuthorizationFailed => {
                    return Err(Error::refused(error, Some(&format!("Not authorized to access topics: [{name}]"))));
                }
                code => troubles.push(format!("{name}={}", code.name())),
            }
        }
        if !troubles.is_empty() {
            warn!(
                target: "org.apache.kafka.clients.NetworkClient",
                "[{}] The metadata response from the cluster reported a recoverable issue with correlation id {} : {{{}}}",
                self.config.client.log_name, metadata.correlation_id, troubles.join(", ")
            );
        }
        let mut leaderless = !troubles.is_empty();
        for (tp, part) in &mut self.parts {
            part.locate(tp.1, &metadata);
            leaderless |= part.leader.is_none();
        }
        self.metadata_stale = leaderless;
        let (least, most) = (self.config.client.retry_backoff, self.config.client.retry_backoff_max);
        self.metadata_pause = if leaderless { (self.metadata_pause * 2).clamp(least, most.max(least)) } else { least };
        self.metadata_not_before = Instant::now() + self.metadata_pause;
        if let Some(subscription) = &self.subscription {
            let wanted: BTreeMap<String, i32> = metadata
                .topics
                .iter()
                .filter(|t| t.error == ErrorCode::None)
                .filter(|t| match subscription {
                    Subscription::Topics(topics) => topics.contains(&t.name),
                    Subscription::Matching(accepts) => !t.is_internal && accepts(&t.name),
                })
                .map(|t| (t.name.clone(), t.partitions.len() as i32))
                .collect();
            if matches!(subscription, Subscription::Matching(_)) {
                self.protocol.set_topics(wanted.keys().cloned().collect());
            }
            let changed = self.protocol.set_counts(wanted);
            match (&self.membership, &self.config.group) {
                (Some(membership), _) if changed => membership.rejoin(),
                (None, Some(group)) => {
                    let protocol = Box::new(self.protocol.clone());
                    self.membership = Some(Membership::start(self.client.clone(), group.clone(), protocol));
                }
                _ => {}
            }
        }
        self.metadata = metadata;
        Ok(())
    }

    // -- positions ---------------------------------------------------------------------------------------------------

    /// Finds where to begin reading partitions whose position is not known.
    async fn find_positions(&mut self) -> Result<(), Error> {
        let open: Vec<TopicPartition> = self
            .parts
            .iter()
            .filter(|(_, p)| p.position.is_none() && p.seek.is_none() && p.leader.is_some())
            .map(|(tp, _)| tp.clone())
            .collect();
        if !open.is_empty() {
            let committed = match &self.offsets {
                Some(group) => group.committed(Some(&open), true).await?,
                None => BTreeMap::new(),
            };
            for tp in open {
                let Some(part) = self.parts.get_mut(&tp) else { continue };
                match (committed.get(&tp), self.config.reset) {
                    (Some(committed), _) => part.position = Some(committed.offset),
                    (None, OffsetReset::Earliest) => part.seek = Some(Seek::Beginning),
                    (None, OffsetReset::Latest) => part.seek = Some(Seek::End),
                    (None, OffsetReset::None) => {
                        return Err(Error::IllegalArgument(format!(
                            "Undefined offset with no reset policy for partitions: [{}-{}]",
                            tp.0, tp.1
                        )));
                    }
                }
            }
        }
        let wanted: Vec<(TopicPartition, OffsetAt)> = self
            .parts
            .iter()
            .filter(|(_, p)| p.position.is_none() && p.leader.is_some())
            .filter_map(|(tp, p)| match p.seek {
                Some(Seek::Beginning) => Some((tp.clone(), OffsetAt::Earliest)),
                Some(Seek::End) => Some((tp.clone(), OffsetAt::Latest)),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for (tp, found) in list_offsets(&self.client, &wanted, self.config.isolation).await? {
            let Some(part) = self.parts.get_mut(&tp) else { continue };
            match found {
                Ok(listed) => (part.position, part.seek) = (Some(listed.offset), None),
                Err(error) if error.is_retriable() => self.metadata_stale = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    // -- the group ---------------------------------------------------------------------------------------------------

    /// Does what the group has asked for since the last poll.
    async fn follow_group(&mut self) -> Result<(), Error> {
        while let Some(membership) = &mut self.membership {
            membership.polled();
            // One thing after the other: the owner has not answered yet.
            if self.handover.is_some() {
                break;
            }
            match membership.event_now() {
                Some(event) => self.group_event(event).await?,
                None => break,
            }
        }
        Ok(())
    }

    async fn group_event(&mut self, event: GroupEvent) -> Result<(), Error> {
        match event {
            GroupEvent::Rebalancing { lost, ready } => {
                if !lost {
                    self.commit_now(COMMIT_PATIENCE).await;
                }
                let all = lost || !self.protocol.is_cooperative();
                if all && self.tells && !self.parts.is_empty() {
                    let partitions = self.parts.keys().cloned().collect();
                    self.told.push_back(Polled::Revoking { partitions, lost });
                    self.handover = Some(Handover::All(ready));
                    return Ok(());
                }
                if all {
                    self.note_revoked(|_| true);
                    self.assign([]);
                }
                let _ = ready.send(());
                Ok(())
            }
            GroupEvent::Joined { protocol, assignment, .. } => {
                let generation = self.membership.as_ref().map_or(-1, |m| m.identity().generation);
                let assigned = self.protocol.joined(&protocol, generation, &assignment)?;
                let revoked: Vec<_> = self.parts.keys().filter(|tp| !assigned.contains(tp)).cloned().collect();
                if !revoked.is_empty() {
                    self.commit_now(COMMIT_PATIENCE).await;
                    if self.tells {
                        self.told.push_back(Polled::Revoking { partitions: revoked, lost: false });
                        self.handover = Some(Handover::Keep(assigned));
                        return Ok(());
                    }
                }
                self.take_over(assigned);
                Ok(())
            }
            GroupEvent::Failed(error) => {
                self.membership = None;
                self.subscription = None;
                Err(error)
            }
        }
    }

    /// Reads what was assigned from now on.
    fn take_over(&mut self, assigned: Vec<TopicPartition>) {
        let revoked = self.parts.keys().any(|tp| !assigned.contains(tp));
        self.note_revoked(|tp| !assigned.contains(tp));
        let added: Vec<TopicPartition> = assigned.iter().filter(|tp| !self.parts.contains_key(tp)).cloned().collect();
        if self.tells {
            self.told.push_back(Polled::Assigned(added.clone()));
        }
        self.rebalances.push(Rebalance::Assigned(added));
        self.assign(assigned);
        // What was given up can go to its new owner now.
        if revoked
            && self.protocol.is_cooperative()
            && let Some(membership) = &self.membership
        {
            membership.rejoin();
        }
    }

    fn note_revoked(&mut self, is_revoked: impl Fn(&TopicPartition) -> bool) {
        let revoked: Vec<TopicPartition> = self.parts.keys().filter(|tp| is_revoked(tp)).cloned().collect();
        if !revoked.is_empty() {
            self.rebalances.push(Rebalance::Revoked(revoked));
        }
    }

    /// Starts a commit of the positions when it is time, without waiting for it.
    fn commit_when_due(&mut self) {
        let Some(interval) = self.config.group.as_ref().and_then(|g| g.auto_commit) else { return };
        let busy = self.committing.as_ref().is_some_and(|c| !c.is_finished());
        if busy || self.committed_at.elapsed() < interval || self.parts.is_empty() {
            return;
        }
        self.committed_at = Instant::now();
        let Some(group) = self.offsets.clone() else { return };
        let (identity, positions) = (self.membership.as_ref().map(Membership::identity), self.positions());
        let log_name = self.config.client.log_name.clone();
        self.committing = Some(tokio::spawn(async move {
            if let Err(error) = group.commit(identity, &positions).await {
                warn!(
                    target: "org.apache.kafka.clients.consumer.internals.ConsumerCoordinator",
                    "[{log_name}] Asynchronous auto-commit of offsets failed: {error}"
                );
            }
        }));
    }

    /// Commits before partitions go to somebody else. Best effort: what is not committed is read again by the next owner.
    async fn commit_now(&mut self, patience: Duration) {
        if self.config.group.as_ref().is_none_or(|g| g.auto_commit.is_none()) {
            return;
        }
        // An older commit must not come after this one.
        if let Some(mut older) = self.committing.take()
            && timeout(patience, &mut older).await.is_err()
        {
            older.abort();
        }
        let _ = timeout(patience, self.commit()).await;
    }

    fn positions(&self) -> BTreeMap<TopicPartition, i64> {
        self.parts.iter().filter_map(|(tp, p)| Some((tp.clone(), p.position?))).collect()
    }

    /// Commits the positions of all partitions.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.commit_offsets(&self.positions()).await
    }

    /// Commits these offsets for the group.
    pub async fn commit_offsets(&self, offsets: &BTreeMap<TopicPartition, i64>) -> Result<(), Error> {
        match &self.offsets {
            Some(group) => group.commit(self.membership.as_ref().map(Membership::identity), offsets).await,
            None => Ok(()),
        }
    }

    /// Commits, where that is automatic, and leaves the group.
    pub async fn close(mut self) {
        self.commit_now(CLOSE_PATIENCE).await;
        if let Some(membership) = self.membership.take() {
            membership.leave().await;
        }
    }
}
