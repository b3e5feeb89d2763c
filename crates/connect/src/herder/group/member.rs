//! What a member of the group does: joins, starts and stops its share, and follows the config topic.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use client::consumer::GroupConfig;
use client::consumer::group::{GroupEvent, Membership};
use client::{Client, ClientConfig, Role};
use connect_api::{Error, Result};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::protocol::Assignment;
use super::work::Work;
use super::{Group, LOGGER, Protocol};
use crate::herder::{Herder, Loggers};
use crate::store::{ConfigEvent, TargetState, TaskId};
use crate::worker::Request;

/// How often the member shows that it is alive, and looks after keys.
const TICK: Duration = Duration::from_secs(1);

/// Takes part in the group until it is told to stop, or cannot go on.
pub async fn run(
    herder: Arc<Herder>,
    group: Group,
    mut events: mpsc::UnboundedReceiver<ConfigEvent>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    stop: Arc<Notify>,
) -> Result<()> {
    let mut member = Member::join(herder, group).await?;
    let mut tick = tokio::time::interval(TICK);
    loop {
        let gather_at = member.gather_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            event = member.membership.event() => member.group_event(event).await?,
            Some(event) = events.recv() => member.config_event(event).await,
            Some(Request::Reconfigure(name)) = requests.recv() => member.herder.reconfigure_requested(&name).await,
            () = sleep_until(gather_at) => {
                member.gather_at = None;
                member.membership.rejoin();
            }
            _ = tick.tick() => {
                member.membership.polled();
                member.group.renew_key().await;
            }
            () = stop.notified() => break,
        }
    }
    member.herder.stop().await;
    member.membership.leave().await;
    Ok(())
}

struct Member {
    herder: Arc<Herder>,
    group: Group,
    membership: Membership,
    /// When what waits for its worker is given to others.
    gather_at: Option<Instant>,
}

impl Member {
    async fn join(herder: Arc<Herder>, group: Group) -> Result<Member> {
        let failed = |e: client::Error| Error::config(e.to_string());
        let mut properties = herder.worker.config.client_properties("consumer.");
        properties.insert("client.id".to_owned(), format!("connect-{}", herder.worker.config.worker_id()));
        let client =
            Client::open(ClientConfig::new(Role::Consumer, &properties).map_err(failed)?).await.map_err(failed)?;
        let settings = &group.settings;
        let config = GroupConfig {
            id: settings.group_id.clone(),
            instance_id: None,
            session_timeout: settings.session_timeout,
            heartbeat_interval: settings.heartbeat_interval,
            max_poll_interval: settings.rebalance_timeout,
            auto_commit: None,
            assignors: Vec::new(),
        };
        let membership = Membership::start(client, config, Box::new(group.clone()));
        Ok(Member { herder, group, membership, gather_at: None })
    }

    async fn group_event(&mut self, event: GroupEvent) -> Result<()> {
        match event {
            GroupEvent::Rebalancing { lost, ready } => {
                info!(target: LOGGER, "Rebalance started");
                let eager = self.group.state().protocol == Some(Protocol::Eager);
                // Who is out of the group must not run what others run by now.
                if lost || eager {
                    let _turn = self.herder.turn.lock().await;
                    let owned = std::mem::take(&mut self.group.state().owned);
                    self.stop(&owned).await;
                }
                let _ = ready.send(());
                Ok(())
            }
            GroupEvent::Joined { protocol, assignment, is_leader } => {
                let assignment = Assignment::read(&assignment).map_err(|why| {
                    Error::connect(format!("The assignment of the group's leader cannot be read: {why}"))
                })?;
                if !assignment.marked {
                    return Err(self.java_leads(&assignment));
                }
                let generation = self.membership.identity().generation;
                self.herder.worker.generation.store(generation, Relaxed);
                info!(
                    target: LOGGER,
                    "Joined group at generation {generation} with protocol {protocol}: {} connectors and {} tasks more, {} and {} \
                     less, delay {} ms",
                    assignment.assigned.connectors.len(), assignment.assigned.tasks.len(),
                    assignment.revoked.connectors.len(), assignment.revoked.tasks.len(), assignment.delay.as_millis()
                );
                {
                    let mut state = self.group.state();
                    state.leader_url = Some(assignment.leader_url.clone());
                    state.is_leader = is_leader;
                    state.protocol = Protocol::of_name(&protocol);
                    if !is_leader {
                        (state.owners, state.memory) = Default::default();
                    }
                }
                self.group.renew_key().await;
                self.follow(&assignment).await
            }
            GroupEvent::Failed(error) => Err(Error::connect("The worker cannot take part in its group")
                .caused_by(Error::connect(format!("{}: {error}", error.class())))),
        }
    }

    fn java_leads(&self, assignment: &Assignment) -> Error {
        Error::connect(format!(
            "The group {} is led by a Java worker ({}). Workers of Klamm and of Java have different connectors and cannot share \
             a group: give this worker a group.id of its own, and topics of its own for configs, offsets and statuses",
            self.group.id(),
            assignment.leader_url
        ))
    }

    /// Stops what goes and starts what comes.
    async fn follow(&mut self, assignment: &Assignment) -> Result<()> {
        if self.herder.configs.with(|c| c.offset) < assignment.offset {
            self.herder.configs.refresh().await?;
        }
        let _turn = self.herder.turn.lock().await;
        self.stop(&assignment.revoked).await;
        let owned = {
            let mut state = self.group.state();
            state.owned.remove(&assignment.revoked);
            state.owned.add(&assignment.assigned);
            state.owned.clone()
        };
        self.gather_at = (!assignment.delay.is_zero()).then(|| Instant::now() + assignment.delay);
        let (connectors, tasks) = (self.herder.worker.running_connectors(), self.herder.worker.running_tasks());
        for id in owned.tasks.iter().filter(|id| !tasks.contains(id)) {
            self.herder.start_task_here(id).await;
        }
        for name in owned.connectors.iter().filter(|name| !connectors.contains(name)) {
            self.start_connector(name).await;
        }
        // What was given up can go to its new owner now.
        if !assignment.revoked.is_empty() {
            self.membership.rejoin();
        }
        self.herder.ready.store(true, Relaxed);
        Ok(())
    }

    async fn start_connector(&self, name: &str) {
        if let Err(error) = self.herder.start_here(name).await {
            warn!(target: LOGGER, "Connector {name} is not as it should be: {}", error.trace().trim_end());
        }
    }

    /// Stops some work. What is gone for good is not told as unassigned.
    async fn stop(&self, work: &Work) {
        if work.is_empty() {
            return;
        }
        let worker = &self.herder.worker;
        let exists = |name: &str| self.herder.configs.with(|c| c.connectors.contains_key(name));
        let wanted = |id: &TaskId| self.herder.configs.with(|c| c.tasks.contains_key(id));
        let (stay, gone): (Vec<TaskId>, Vec<TaskId>) = work.tasks.iter().cloned().partition(wanted);
        worker.stop_tasks(&stay, true).await;
        worker.stop_tasks(&gone, false).await;
        for name in &work.connectors {
            worker.stop_connector(name, exists(name)).await;
        }
    }

    /// Something changed in the config topic.
    async fn config_event(&mut self, event: ConfigEvent) {
        let herder = self.herder.clone();
        let _turn = herder.turn.lock().await;
        match event {
            ConfigEvent::Connector(name) => {
                if self.group.state().owned.connectors.contains(&name) {
                    self.start_connector(&name).await;
                } else {
                    self.gather_if_leader();
                }
            }
            ConfigEvent::Removed(name) => {
                let mut mine = Work { connectors: [name.clone()].into(), ..Work::default() };
                mine.tasks = self.group.owned_tasks(&name).into_iter().collect();
                let mine = self.group.state().owned.common(&mine);
                self.stop(&mine).await;
                self.group.state().owned.remove(&mine);
                if self.group.state().is_leader {
                    herder.forget(&name);
                }
                self.gather_if_leader();
            }
            ConfigEvent::Tasks(name) => {
                let owned = self.group.owned_tasks(&name);
                let wanted = herder.configs.with(|c| c.tasks_of(&name));
                let (stay, gone): (Vec<TaskId>, Vec<TaskId>) = owned.into_iter().partition(|id| wanted.contains(id));
                herder.worker.stop_tasks(&gone, false).await;
                self.group.state().owned.tasks.retain(|id| !gone.contains(id));
                // Their settings may be others now.
                herder.worker.stop_tasks(&stay, false).await;
                for id in &stay {
                    herder.start_task_here(id).await;
                }
                if self.group.state().is_leader {
                    for (id, _) in herder.worker.statuses.tasks(&name).iter().filter(|(id, _)| !wanted.contains(id)) {
                        herder.worker.statuses.remove_task(id);
                    }
                }
                self.gather_if_leader();
            }
            ConfigEvent::Target(name) => {
                let target = herder.configs.with(|c| c.target(&name));
                herder.worker.set_target(&name, target).await;
                if target == TargetState::Started
                    && self.group.state().owned.connectors.contains(&name)
                    && let Err(error) = herder.reconfigure(&name).await
                {
                    warn!(target: LOGGER, "The tasks of {name} could not be worked out: {}", error.trace().trim_end());
                }
            }
            ConfigEvent::Restart(request) => herder.restart_here(&request).await,
            ConfigEvent::Logger { name, level } => {
                if let Some(level) = Loggers::parse(&level) {
                    herder.loggers.set(&name, level);
                }
            }
            ConfigEvent::SessionKey => {}
        }
    }

    /// Has the group gather when there is something to share out that was not shared out before, or nobody's any more.
    fn gather_if_leader(&self) {
        let state = self.group.state();
        let owned = state.owners.values().fold(Work::default(), |mut all, work| {
            all.add(work);
            all
        });
        let changed = self.herder.configs.with(|c| Work::configured(c) != owned);
        if state.is_leader && changed {
            self.membership.rejoin();
        }
    }
}
