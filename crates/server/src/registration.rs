//! The broker's life as the controller sees it: it registers, says now and then that it lives, and takes its leave.

use crate::chance;
use crate::config::BrokerConfig;
use crate::failed_dirs;
use crate::leader_checks;
use crate::node::Node;
use broker::Kept;
use metadata::controller::{BrokerHeartbeat, BrokerRegistration, Command, HeartbeatReply, Refusal, Reply};
use metadata::image::{Broker, ControllerRegistration, Endpoint, SupportedFeature, features};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};
use wire::{ErrorCode, Uuid};

/// A broker that is still fenced asks again after so long.
const WHILE_FENCED: Duration = Duration::from_millis(10);
/// A broker whose leaderships are being moved asks again after so long.
const WHILE_SHUTTING_DOWN: Duration = Duration::from_millis(20);
/// As long may it take to move the leaderships away before the broker stops all the same.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);
/// As long may the controller be silent before the broker stops all the same.
const SHUTDOWN_SILENCE: Duration = Duration::from_secs(2);
/// A broker that may not register asks again after so long.
const REGISTER_AGAIN: Duration = Duration::from_millis(250);

/// What this process registers with.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Chosen anew by each process.
    pub incarnation_id: Uuid,
    pub log_dirs: Vec<Uuid>,
    pub kept: Kept,
}

impl Registration {
    /// `incarnation_id`: of this process, where it has registered already.
    pub fn new(incarnation_id: Option<Uuid>, log_dirs: Vec<Uuid>, kept: Kept) -> Registration {
        Registration { incarnation_id: incarnation_id.unwrap_or_else(chance::uuid), log_dirs, kept }
    }
}

fn supported_features() -> Vec<SupportedFeature> {
    features::SUPPORTED
        .iter()
        .map(|(name, min, max)| SupportedFeature { name: (*name).into(), min: *min, max: *max })
        .collect()
}

fn endpoint(name: &str, host: &str, port: u16) -> Endpoint {
    Endpoint { name: name.into(), host: host.into(), port, security_protocol: 0 }
}

/// Makes this controller known to the cluster.
pub async fn register_controller(node: &Node, incarnation_id: Uuid) -> Result<(), Refusal> {
    let registration = ControllerRegistration {
        id: node.node_id,
        incarnation_id,
        zk_migration_ready: false,
        endpoints: node
            .config
            .controller_endpoints()
            .into_iter()
            .map(|(name, (host, port))| endpoint(&name, &host, port))
            .collect(),
        features: supported_features(),
    };
    match node.controller.submit(Command::RegisterController(registration)).await {
        Ok(Reply::RegisterController(result)) => result,
        Ok(_) => Err(Refusal::with_default_text(ErrorCode::UnknownServerError)),
        Err(code) => Err(Refusal::with_default_text(code)),
    }
}

/// Registers this broker. What it holds it may take up only in a state of the cluster that has this registration: before
/// it, the controller may still see a leader in a process that has lost what it led.
///
/// # Errors
/// Another process holds the id, for longer than a session that nobody refreshes; or the cluster does not take this broker.
pub async fn register(node: &Arc<Node>, registration: &Registration) -> Result<(), Refusal> {
    let patience = node.config.broker_session_timeout + Duration::from_secs(1);
    let deadline = Instant::now() + patience;
    let mut told = false;
    let epoch = loop {
        match ask_to_register(node, registration).await {
            Ok(epoch) => break epoch,
            Err(refusal) if refusal.code == ErrorCode::DuplicateBrokerRegistration && Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    warn!(
                        broker = node.node_id,
                        "another process is registered with this broker id; waiting for its session to end"
                    );
                }
                sleep(REGISTER_AGAIN).await;
            }
            Err(refusal) if refusal.code == ErrorCode::NotController => {
                warn!("no controller has registered this broker yet; trying on");
            }
            Err(refusal) => return Err(refusal),
        }
        if node.is_stopping() {
            return Err(Refusal::new(
                ErrorCode::BrokerNotAvailable,
                "asked to stop before the controller had registered this broker",
            ));
        }
    };
    node.set_broker_epoch(epoch);
    while node.image().offset < epoch && !node.is_stopping() {
        sleep(WHILE_FENCED).await;
    }
    Ok(())
}

/// Waits until this broker may serve.
pub async fn unfence(node: &Arc<Node>) -> Result<(), Refusal> {
    while !node.is_stopping() {
        match beat(node, false).await {
            // Whoever asks this node who serves is to hear of it as well.
            Ok(reply) if !reply.is_fenced && node.image().cluster.is_active(node.node_id) => {
                // Test containers wait for these words of Kafka's.
                info!(
                    broker_epoch = node.broker_epoch(),
                    "the broker is unfenced. Transitioning from RECOVERY to RUNNING"
                );
                return Ok(());
            }
            Ok(_) => sleep(WHILE_FENCED).await,
            Err(refusal) if refusal.code == ErrorCode::NotController => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(())
}

/// What a broker with these settings registers with, as `broker_id`.
pub fn request(
    config: &BrokerConfig,
    broker_id: i32,
    cluster_id: &str,
    incarnation_id: Uuid,
    log_dirs: Vec<Uuid>,
    previous_broker_epoch: i64,
) -> BrokerRegistration {
    BrokerRegistration {
        broker_id,
        cluster_id: cluster_id.to_owned(),
        incarnation_id,
        endpoints: config.advertised.iter().map(|a| endpoint(&a.listener, &a.host, a.port)).collect(),
        features: supported_features(),
        rack: config.rack.clone(),
        is_migrating_zk_broker: false,
        log_dirs,
        previous_broker_epoch,
    }
}

async fn ask_to_register(node: &Node, registration: &Registration) -> Result<i64, Refusal> {
    let request = request(
        &node.config,
        node.node_id,
        &node.cluster_id,
        registration.incarnation_id,
        registration.log_dirs.clone(),
        registration.kept.previous_epoch(&node.image(), node.node_id, &registration.log_dirs),
    );
    match node.controller.submit(Command::RegisterBroker(request)).await {
        Ok(Reply::RegisterBroker(result)) => result,
        Ok(_) => Err(Refusal::with_default_text(ErrorCode::UnknownServerError)),
        Err(code) => Err(Refusal::with_default_text(code)),
    }
}

/// One heartbeat.
pub async fn beat(node: &Node, want_shut_down: bool) -> Result<HeartbeatReply, Refusal> {
    let heartbeat = BrokerHeartbeat {
        broker_id: node.node_id,
        broker_epoch: node.broker_epoch(),
        current_metadata_offset: node.image().offset,
        want_shut_down,
        offline_log_dirs: failed_dirs::ids(node),
        ..Default::default()
    };
    match node.controller.submit(Command::Heartbeat(heartbeat)).await {
        Ok(Reply::Heartbeat(reply)) => reply,
        Ok(_) => Err(Refusal::with_default_text(ErrorCode::UnknownServerError)),
        Err(code) => Err(Refusal::with_default_text(code)),
    }
}

/// Says that this broker lives, until the node stops.
pub async fn live(node: &Arc<Node>, registration: &Registration) {
    let interval = node.config.quorum.heartbeat_interval;
    let mut stopped = std::pin::pin!(node.stopped());
    let mut leader = node.controller.leader();
    loop {
        // A new controller knows nothing of who lives: it hears it at once.
        let news = node.controller.leader_other_than(leader);
        tokio::select! {
            () = sleep(interval) => {}
            changed = news => leader = changed,
            // It may go once everybody knows that it leads nothing any more.
            () = node.somebody_leaves.notified() => {}
            _ = &mut stopped => return,
        }
        let answer = tokio::select! {
            answer = beat(node, false) => answer,
            _ = &mut stopped => return,
        };
        match answer {
            Ok(reply) if reply.is_fenced => {
                warn!("the controller had fenced this broker: it did not hear it for too long")
            }
            Ok(_) => {}
            Err(refusal) if refusal.code == ErrorCode::StaleBrokerEpoch => {
                if let Err(refusal) = again(node, registration).await {
                    error!(%refusal, "this broker is not registered any more, and cannot register again: the node stops");
                    return node.fail();
                }
            }
            Err(refusal) => warn!(%refusal, "the controller does not answer heartbeats"),
        }
    }
}

/// The controller does not know this registration (somebody took it away): makes another.
async fn again(node: &Arc<Node>, registration: &Registration) -> Result<(), Refusal> {
    warn!("the controller does not know this broker's registration any more: registering again");
    register(node, &Registration { kept: Kept::Unknown, ..registration.clone() }).await?;
    unfence(node).await
}

/// Hands over what this node leads. Alone, there is nobody to hand over to, but the state says that the end was orderly.
pub async fn take_leave(node: &Node) {
    let deadline = Instant::now() + SHUTDOWN_MAX;
    while Instant::now() < deadline {
        match timeout(SHUTDOWN_SILENCE, beat(node, true)).await {
            Ok(Ok(reply)) if reply.should_shut_down => return,
            Ok(Ok(_)) => sleep(WHILE_SHUTTING_DOWN).await,
            Ok(Err(refusal)) => return error!(%refusal, "no controlled shutdown"),
            Err(_) => return error!("no controlled shutdown: the controller did not answer"),
        }
    }
    error!("no controlled shutdown: leaderships could not be moved in time");
}

/// The connection over which a broker said that it lives has ended. Where its system says that nobody listens there any
/// more, its process has ended, and nobody need wait for its session to run out.
pub async fn connection_ended(node: &Arc<Node>, broker_id: i32, broker_epoch: i64) {
    let image = node.image();
    if let Some(broker) = image.cluster.broker(broker_id).filter(|broker| broker.epoch == broker_epoch) {
        fence_if_dead(node, broker).await;
    }
}

/// This node decides now: brokers may have died with the controller before it.
pub async fn look_for_the_dead(node: &Arc<Node>) {
    let image = node.image();
    for broker in image.cluster.brokers().filter(|broker| !broker.fenced && broker.id != node.node_id) {
        let (node, broker) = (node.clone(), broker.clone());
        tokio::spawn(async move { fence_if_dead(&node, &broker).await });
    }
}

async fn fence_if_dead(node: &Node, broker: &Broker) {
    if !node.controller.is_here() || node.is_stopping() || !leader_checks::has_ended(node, broker).await {
        return;
    }
    info!(broker = broker.id, "the broker's process has ended");
    // If the leadership is lost meanwhile, the next controller finds out by itself.
    let _ = node.controller.submit(Command::BrokerGone { broker_id: broker.id, broker_epoch: broker.epoch }).await;
}
