//! What goes wrong, and how it is put right.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::chance::Chance;
use super::cluster::{Cluster, NODES, until};
use super::network;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillLeader,
    KillController,
    KillFollower,
    KillTwo,
    KillAll,
    Restart,
    Pause,
    Isolate,
    /// From the other nodes; clients still reach it.
    Split,
    Cut,
    OneWayCut,
    PowerCut,
    PowerCutAll,
    FullDisk,
    FailingSync,
    StalledDisk,
}

/// Each with its name. Without synced topics nobody promises anything when all lose power.
pub const KINDS: &[(Kind, &str)] = &[
    (Kind::KillLeader, "kill-leader"),
    (Kind::KillController, "kill-controller"),
    (Kind::KillFollower, "kill-follower"),
    (Kind::KillTwo, "kill-two"),
    (Kind::KillAll, "kill-all"),
    (Kind::Restart, "restart"),
    (Kind::Pause, "pause"),
    (Kind::Isolate, "isolate"),
    (Kind::Split, "split"),
    (Kind::Cut, "cut"),
    (Kind::OneWayCut, "one-way-cut"),
    (Kind::PowerCut, "power-cut"),
    (Kind::PowerCutAll, "power-cut-all"),
    (Kind::FullDisk, "full-disk"),
    (Kind::FailingSync, "failing-sync"),
    (Kind::StalledDisk, "stalled-disk"),
];

impl Kind {
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// Lets it happen, waits, and puts it right. Returns what it struck.
pub async fn strike(cluster: &mut Cluster, kind: Kind, chance: &mut Chance) -> Result<String, String> {
    let key = chance.below(cluster.shared.partitions.len());
    let leader = cluster.leader(key).await?;
    // Links and disks: sometimes the controller's, sometimes a leader's.
    let victim = match chance.below(3) {
        0 => cluster.controller().await?,
        _ => leader,
    };
    let other = victim % NODES + 1;
    let third = other % NODES + 1;
    // Shorter and longer than the timeouts of sessions and fetches.
    let held = Duration::from_millis(500 + chance.below(7500) as u64);
    let brief = Duration::from_millis(chance.below(2000) as u64);
    match kind {
        Kind::KillLeader => kill(cluster, &[leader], brief).await,
        Kind::KillController => {
            let controller = cluster.controller().await?;
            kill(cluster, &[controller], brief).await
        }
        Kind::KillFollower => kill(cluster, &[leader % NODES + 1], brief).await,
        Kind::KillTwo => kill(cluster, &[victim, other], brief).await,
        Kind::KillAll => kill(cluster, &[1, 2, 3], brief).await,
        Kind::Restart => {
            let node = &mut cluster.nodes[victim - 1];
            let orderly = tokio::task::block_in_place(|| node.stop());
            node.start();
            if !orderly {
                return Err(format!("node {victim} did not end when asked to"));
            }
            Ok(format!("node {victim}"))
        }
        Kind::Pause => {
            cluster.nodes[victim - 1].signal(Signal::STOP);
            sleep(held).await;
            cluster.nodes[victim - 1].signal(Signal::CONT);
            Ok(format!("node {victim} for {held:.1?}"))
        }
        Kind::Isolate => {
            network::isolate(victim);
            sleep(held).await;
            network::heal(NODES);
            Ok(format!("node {victim} for {held:.1?}"))
        }
        Kind::Split => {
            for peer in [other, third] {
                network::cut(victim, peer);
                network::cut(peer, victim);
            }
            sleep(held).await;
            network::heal(NODES);
            Ok(format!("node {victim} for {held:.1?}"))
        }
        Kind::Cut => {
            network::cut(victim, other);
            network::cut(other, victim);
            sleep(held).await;
            network::heal(NODES);
            Ok(format!("nodes {victim} and {other} for {held:.1?}"))
        }
        Kind::OneWayCut => {
            let (from, to) = if chance.below(2) == 0 { (victim, other) } else { (other, victim) };
            network::cut(from, to);
            sleep(held).await;
            network::heal(NODES);
            Ok(format!("node {from} to {to} for {held:.1?}"))
        }
        Kind::PowerCut => power_cut(cluster, &[victim], brief).await,
        Kind::PowerCutAll => power_cut(cluster, &[1, 2, 3], brief).await,
        Kind::FullDisk => {
            let node = &mut cluster.nodes[victim - 1];
            node.disk.fill();
            sleep(held).await;
            let node = &mut cluster.nodes[victim - 1];
            node.disk.make_room();
            let ended = !node.runs();
            node.kill();
            node.start();
            Ok(format!("node {victim} for {held:.1?}, {}", if ended { "which ended" } else { "which went on" }))
        }
        Kind::FailingSync => failing_sync(cluster, victim).await,
        Kind::StalledDisk => {
            cluster.nodes[victim - 1].disk.freeze();
            sleep(held).await;
            cluster.nodes[victim - 1].disk.thaw();
            Ok(format!("node {victim} for {held:.1?}"))
        }
    }
}

async fn kill(cluster: &mut Cluster, victims: &[usize], pause: Duration) -> Result<String, String> {
    for id in victims {
        cluster.nodes[id - 1].kill();
    }
    sleep(pause).await;
    for id in victims {
        cluster.nodes[id - 1].start();
    }
    Ok(format!("nodes {victims:?}, back after {pause:.1?}"))
}

async fn power_cut(cluster: &mut Cluster, victims: &[usize], pause: Duration) -> Result<String, String> {
    for id in victims {
        cluster.nodes[id - 1].disk.cut_power();
    }
    for id in victims {
        cluster.nodes[id - 1].kill();
    }
    sleep(pause).await;
    for id in victims {
        cluster.nodes[id - 1].disk.power_up();
        cluster.nodes[id - 1].start();
    }
    Ok(format!("nodes {victims:?}, back after {pause:.1?}"))
}

/// The disk refuses a sync once or more; then its power goes as well, because what was not synced must not count.
async fn failing_sync(cluster: &mut Cluster, victim: usize) -> Result<String, String> {
    let said = cluster.nodes[victim - 1].log().len();
    cluster.nodes[victim - 1].fail_syncs();
    let node = &cluster.nodes[victim - 1];
    until("a sync fails", || async { node.failed_syncs() > 0 }).await?;
    let loud = || async { node.log()[said..].lines().any(|line| line.contains("ERROR") || line.contains("FATAL")) };
    until("the node says that its disk failed", loud).await?;
    sleep(Duration::from_secs(1)).await;
    let node = &mut cluster.nodes[victim - 1];
    let ended = !node.runs();
    let failed = node.failed_syncs();
    node.let_syncs_be();
    node.disk.cut_power();
    node.kill();
    node.disk.power_up();
    node.start();
    let how = if ended { "which ended" } else { "which went on without it" };
    Ok(format!("node {victim}, {failed} syncs, {how}"))
}
