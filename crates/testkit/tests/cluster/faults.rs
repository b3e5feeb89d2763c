//! What goes wrong.

use crate::clients::PLACE;
use crate::dirs::Fate;
use crate::machine::Phase;
use crate::world::{Event, World};
use std::io::ErrorKind;
use storage::testing::{Failure, Operation};

impl World {
    pub fn fault(&mut self) {
        if self.is_healed() {
            self.links.heal();
            for id in self.plan.ids() {
                let machine = self.machines.get_mut(&id).unwrap();
                machine.paused_until_ms = 0;
                machine.disk.clear_failures();
                machine.disk.set_capacity(None);
                // Directories that failed are repaired, and come back with the next process.
                let mut dirs = machine.process.iter().flat_map(|process| &process.dirs);
                if dirs.any(|dir| dir.is_offline) || machine.is_broken() {
                    self.end(id);
                }
            }
            return;
        }
        let pause_ms = 50 + self.chance.below(1_200);
        let pause_ms = pause_ms.min(crate::plan::HEAL_MS - self.now_ms());
        self.after(pause_ms, Event::Fault);
        let ids: Vec<i32> = self.plan.ids().collect();
        let id = self.chance.one_of(&ids);
        match self.chance.below(100) {
            0..22 => self.end(id),
            22..38 => self.cut_power(id),
            38..42 => {
                for id in ids {
                    self.cut_power(id);
                }
            }
            42..60 => {
                let clients = (0..self.clients.len()).map(|client| PLACE + client as i32);
                let places: Vec<i32> = ids.iter().copied().chain(clients).collect();
                let other = self.chance.one_of(&places);
                let until_ms = self.now_ms() + self.chance.below(3_000);
                self.say(|| format!("no way from {id} to {other} until {until_ms}"));
                self.links.cut(id, other, until_ms);
                if self.chance.is(60) {
                    self.links.cut(other, id, until_ms);
                }
            }
            60..75 => {
                let until_ms = self.now_ms() + self.chance.below(3_000);
                self.say(|| format!("{id} stands still until {until_ms}"));
                self.machines.get_mut(&id).unwrap().paused_until_ms = until_ms;
            }
            75..80 => {
                let skew_ms = self.chance.below(7_200_000) - 3_600_000;
                self.say(|| format!("the clock of {id} is {skew_ms} ms off"));
                self.machines.get_mut(&id).unwrap().skew_ms = skew_ms;
            }
            80..86 => self.disk_fails(id),
            86..92 => self.directory_breaks(id),
            _ => {
                let Some(process) = self.machines.get_mut(&id).unwrap().process.as_mut() else { return };
                if process.phase == Phase::Serving {
                    process.wants_shut_down = true;
                    self.say(|| format!("{id} is asked to stop"));
                }
            }
        }
    }

    /// A write or a sync fails soon, or there is no room left. The node does not trust that directory any more: with records
    /// in the page cache alone, that is as if it had lost them.
    fn disk_fails(&mut self, id: i32) {
        let operation = self.chance.one_of(&[Operation::Write, Operation::Write, Operation::Sync, Operation::Rename]);
        let (after, torn) = (self.chance.below(30) as usize, self.chance.below(200) as usize);
        let room = self.chance.below(3_000) as u64;
        let is_full = self.chance.is(30);
        let is_tainted = self.is_anybody_tainted();
        let is_synced = self.plan.is_synced();
        if self.machines[&id].process.is_none() || !is_synced && is_tainted || self.has_anybody_lost_disk() {
            return;
        }
        let machine = self.machines.get_mut(&id).unwrap();
        machine.is_failing = true;
        machine.is_tainted = true;
        if is_full {
            machine.disk.set_capacity(Some(machine.disk.used() + room));
            return self.say(|| format!("{id} has room for {room} bytes more"));
        }
        let path = String::new();
        machine.disk.fail(Failure { operation, path, after, error: ErrorKind::Other, torn_bytes: torn });
        self.say(|| format!("a {operation:?} of {id} fails after {after}"));
    }

    /// Nothing works in a log directory any more; what was not synced in it is lost, or all of it. The node finds out when it
    /// uses it, or is switched off before.
    fn directory_breaks(&mut self, id: i32) {
        let is_tainted = self.is_anybody_tainted();
        let machine = &self.machines[&id];
        let at = self.chance.below(machine.volumes.len() as i64) as usize;
        let volume = &machine.volumes[at];
        let is_usable = machine.process.is_some() && volume.broken.is_none() && !volume.is_left_out;
        let may_lose_unsynced = match self.plan.is_synced() {
            true => !self.has_anybody_lost_disk(),
            false => !is_tainted && !self.plan.takes_back,
        };
        // A voter never loses its votes.
        let may_lose_all = self.plan.loses_disks && !is_tainted && (at > 0 || !machine.votes);
        if !is_usable || !may_lose_unsynced {
            return;
        }
        let fate = match self.chance.below(4) {
            _ if !may_lose_all => Fate::Mended,
            0 => Fate::Mended,
            1 if at > 0 => Fate::LeftOut,
            _ => Fate::Replaced,
        };
        let machine = self.machines.get_mut(&id).unwrap();
        machine.disk.break_below(&machine.volumes[at].path);
        machine.volumes[at].broken = Some(fate);
        machine.is_tainted = true;
        machine.has_lost_disk |= fate != Fate::Mended;
        self.say(|| format!("directory {at} of {id} breaks, and is to be {fate:?}"));
        if self.chance.is(25) {
            self.end(id);
        }
    }

    /// Somebody may have lost records that it had, and is not in sync again everywhere.
    fn is_anybody_tainted(&mut self) -> bool {
        for id in self.plan.ids() {
            let is_whole = self.is_in_sync_everywhere(id);
            let machine = self.machines.get_mut(&id).unwrap();
            machine.is_tainted &= !is_whole;
            machine.has_lost_disk &= !is_whole;
        }
        self.machines.values().any(|machine| machine.is_tainted)
    }

    /// What a lost directory had may be on one other node alone, which is not to be taken for one that lost records.
    fn has_anybody_lost_disk(&self) -> bool {
        self.machines.values().any(|machine| machine.has_lost_disk)
    }

    /// With records in the page cache alone, one node at a time may lose them.
    fn cut_power(&mut self, id: i32) {
        if self.machines[&id].process.is_none() {
            return;
        }
        let is_synced = self.plan.is_synced();
        if !is_synced && self.plan.takes_back {
            return;
        }
        let is_tainted = self.is_anybody_tainted();
        if !is_synced && is_tainted || self.has_anybody_lost_disk() {
            return;
        }
        let mut committed = Vec::new();
        if is_synced {
            for topic in self.latest.clone().topics.iter() {
                for (index, partition) in &topic.partitions {
                    let key = metadata::image::TopicIdPartition { topic_id: topic.id, partition: *index };
                    let end = self.committed_end(key);
                    let is_held = self.machines[&id].process.as_ref().is_some_and(|p| p.cells.contains_key(&key));
                    if partition.isr.contains(&id) && is_held && !self.checks.is_incomplete(id) {
                        committed.push((key, end));
                    }
                }
            }
        }
        self.end(id);
        self.must_have(id, committed);
        self.say(|| format!("the power of {id} is cut"));
        let World { machines, chance, checks, .. } = self;
        let machine = machines.get_mut(&id).unwrap();
        machine.disk.power_cut(|| chance.next());
        machine.boots += 1;
        machine.is_tainted = true;
        if !is_synced {
            machine.must_have.clear();
        }
        checks.power_cut(id);
    }

    fn is_in_sync_everywhere(&self, id: i32) -> bool {
        let machine = &self.machines[&id];
        let is_broken = machine.is_failing || machine.is_broken();
        let is_registered = machine.process.is_some() && !is_broken && !self.checks.is_incomplete(id);
        let mut partitions = self.latest.topics.iter().flat_map(|topic| topic.partitions.values());
        is_registered && partitions.all(|p| !p.replicas.contains(&id) || p.isr.contains(&id))
    }
}
