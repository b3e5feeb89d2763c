//! What goes wrong.

use crate::network::CONTROLLER;
use crate::world::{Event, IDS, World};
use metadata::controller::{Command, ElectionType};
use replication::Durability;
use storage::Shutdown;

impl World {
    pub fn fault(&mut self) {
        if self.is_healed() {
            for id in IDS {
                self.nodes.get_mut(&id).unwrap().paused_until_ms = 0;
                self.after(0, Event::Restart(id));
            }
            return;
        }
        let pause_ms = 50 + self.chance.below(900);
        self.after(pause_ms, Event::Fault);
        let id = self.chance.one_of(&IDS);
        match self.chance.below(100) {
            0..25 => self.end(id, Shutdown::Killed),
            25..45 => self.cut_power(id),
            45..50 => {
                for id in IDS {
                    self.cut_power(id);
                }
            }
            50..65 => {
                let (other, until_ms) =
                    (self.chance.one_of(&[1, 2, 3, CONTROLLER]), self.now_ms + self.chance.below(4_000));
                self.say(|| format!("no way from {id} to {other} until {until_ms}"));
                self.links.cut(id, other, until_ms);
                if self.chance.is(60) {
                    self.links.cut(other, id, until_ms);
                }
            }
            65..80 => {
                let until_ms = self.now_ms + self.chance.below(4_000);
                self.say(|| format!("{id} stands still until {until_ms}"));
                self.nodes.get_mut(&id).unwrap().paused_until_ms = until_ms;
            }
            80..92 => {
                self.decide(Command::ElectLeaders { election: ElectionType::Preferred, partitions: None });
            }
            _ => {
                self.say(|| format!("{id} is asked to stop"));
                if let Some(process) = self.process(id) {
                    process.wants_shut_down = true;
                }
            }
        }
    }

    /// With records in the page cache alone, one broker at a time may lose them.
    fn cut_power(&mut self, id: i32) {
        let isr = self.partition().isr.clone();
        for other in IDS {
            let node = self.nodes.get_mut(&other).unwrap();
            node.is_tainted &= !isr.contains(&other) || node.process.as_ref().is_none_or(|p| p.broker_epoch.is_none());
        }
        let is_safe = self.plan.durability == Durability::Synced || self.nodes.values().all(|node| !node.is_tainted);
        if is_safe && self.nodes[&id].process.is_some() {
            self.end(id, Shutdown::PowerCut);
        }
    }

    /// Ends a process; it comes back after a while.
    fn end(&mut self, id: i32, shutdown: Shutdown) {
        let back_ms = if self.chance.is(30) { 20 } else { 20 + self.chance.below(3_000) };
        let has_all = self.plan.durability == Durability::Synced && self.partition().isr.contains(&id);
        let World { nodes, chance, checks, .. } = self;
        let node = nodes.get_mut(&id).unwrap();
        let Some(process) = node.process.take() else { return };
        let is_registered = process.broker_epoch.is_some();
        drop(process);
        node.paused_until_ms = 0;
        if shutdown == Shutdown::PowerCut {
            node.disk.power_cut(|| chance.next());
            node.complete_since = None;
            node.must_have = if has_all { checks.end() } else { 0 };
            node.is_tainted = true;
            node.shutdown = Shutdown::PowerCut;
        } else if node.shutdown != Shutdown::PowerCut || is_registered {
            node.shutdown = shutdown;
        }
        self.say(|| format!("{id} ends: {shutdown:?}, back in {back_ms} ms"));
        self.after(back_ms, Event::Restart(id));
    }

    /// The controller lets it go: everything is brought to the disk.
    pub fn stopped_in_order(&mut self, id: i32) {
        let back_ms = 20 + self.chance.below(1_000);
        let node = self.nodes.get_mut(&id).unwrap();
        let mut process = node.process.take().unwrap();
        process.partition.resign();
        process.partition.log_mut().close().unwrap();
        node.recovery_point = process.partition.log().recovery_point();
        node.high_watermark = process.partition.high_watermark();
        node.disk.arc_sync();
        node.shutdown = Shutdown::Clean;
        self.say(|| format!("{id} has stopped in order"));
        self.after(back_ms, Event::Restart(id));
    }
}

/// Everything in the directory, as `sync_volume` brings it.
trait SyncAll {
    fn arc_sync(&self);
}

impl SyncAll for storage::testing::MemDisk {
    fn arc_sync(&self) {
        self.arc().sync_volume(std::path::Path::new("/data")).unwrap();
    }
}
