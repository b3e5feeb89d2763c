//! What goes wrong, and what must go well all the same.

use metadata::quorum::MetadataNode;

use crate::world::World;

/// Steps in which anything may happen.
const STEPS: u32 = 2_500;
/// A quorum with a majority elects and commits within this, in ms.
const RECOVERS_WITHIN: i64 = 8_000;
/// Whoever is up and hears the leader has all that is committed after this, in ms.
const FOLLOWS_WITHIN: i64 = 3_000;
/// One voter does not hear the leader for so long, in ms.
const DEAF: i64 = 5_000;

impl World {
    pub fn live(&mut self) -> Result<(), String> {
        for id in 0..self.machines.len() {
            self.start(id)?;
        }
        for _ in 0..STEPS {
            self.step()?;
        }
        self.say("all links work, a majority is up".to_owned());
        self.calm = true;
        self.cut.clear();
        self.without_a_minority()?;
        self.whole()?;
        self.one_is_deaf()
    }

    pub fn disturb(&mut self) -> Result<(), String> {
        for id in 0..self.machines.len() {
            // The power goes while something is not synced.
            if self.machines[id].turn_ends.is_some() && self.below(60) == 0 {
                self.stop(id, true);
            }
        }
        let id = self.any();
        let is_up = self.machines[id].node.is_some();
        match self.below(if self.plan.stormy { 160 } else { 400 }) {
            0 | 1 if is_up => {
                let power = self.is(50);
                self.stop(id, power);
            }
            2 if self.is(20) => {
                for id in 0..self.machines.len() {
                    if self.machines[id].node.is_some() {
                        self.stop(id, true);
                    }
                }
            }
            2 | 3 => {
                let other = self.any();
                self.say(format!("no way from {id} to {other}"));
                self.cut.insert((id, other));
                if self.is(50) {
                    self.cut.insert((other, id));
                }
            }
            4 => self.isolate(id),
            5 => {
                self.say("all links work".to_owned());
                self.cut.clear();
            }
            6 if is_up => {
                self.say(format!("{id} is told to resign"));
                self.resign(id)?;
            }
            7 if is_up => {
                let until = self.now + self.below(2_000) as i64;
                self.say(format!("{id} stands still until {until}"));
                self.machines[id].frozen_until = until;
            }
            8..=24 if !is_up => {
                self.say(format!("{id} starts"));
                self.start(id)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn isolate(&mut self, id: usize) {
        self.say(format!("{id} is alone"));
        for other in 0..self.machines.len() {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    /// Steps until something more was acknowledged.
    fn decides(&mut self) -> Result<(), String> {
        let (before, until) = (self.checks.acknowledged.len(), self.now + RECOVERS_WITHIN);
        while self.checks.acknowledged.len() == before {
            self.step()?;
            if self.now >= until {
                return Err("nothing is decided any more".to_owned());
            }
        }
        Ok(())
    }

    fn steps_for(&mut self, ms: i64) -> Result<(), String> {
        let until = self.now + ms;
        while self.now < until {
            self.step()?;
        }
        Ok(())
    }

    fn leader(&self) -> Option<usize> {
        let leads = |id: &usize| self.machines[*id].node.as_ref().is_some_and(MetadataNode::is_active);
        (0..self.machines.len()).find(leads)
    }

    /// As many voters as a quorum can do without are gone: ended, or merely silent.
    fn without_a_minority(&mut self) -> Result<(), String> {
        let mut gone: Vec<usize> = Vec::new();
        if let Some(leader) = self.leader().filter(|_| self.plan.voters > 1)
            && self.is(70)
        {
            gone.push(leader);
        }
        while gone.len() < (self.plan.voters - 1) / 2 {
            let id = self.below(self.plan.voters as u64) as usize;
            if !gone.contains(&id) {
                gone.push(id);
            }
        }
        let silent = self.is(50);
        for id in 0..self.machines.len() {
            self.machines[id].frozen_until = 0;
            match (gone.contains(&id), self.machines[id].node.is_some()) {
                (true, true) if silent => self.isolate(id),
                (true, true) => self.stop(id, false),
                (false, false) => self.start(id)?,
                _ => {}
            }
        }
        self.decides()
    }

    /// Everything works again: all that was acknowledged is there, everywhere.
    fn whole(&mut self) -> Result<(), String> {
        self.say("all are up".to_owned());
        self.cut.clear();
        for id in 0..self.machines.len() {
            if self.machines[id].node.is_none() {
                self.start(id)?;
            }
        }
        self.decides()?;
        self.asking = false;
        self.steps_for(FOLLOWS_WITHIN)?;
        self.check_all_agree()
    }

    /// A voter that does not hear the leader asks for votes in vain, for the others do hear it (KIP-996).
    fn one_is_deaf(&mut self) -> Result<(), String> {
        let leader = self.leader().ok_or("nobody leads")?;
        if self.plan.voters == 1 {
            return Ok(());
        }
        let deaf = (leader + 1 + self.below(self.plan.voters as u64 - 1) as usize) % self.plan.voters;
        self.say(format!("{deaf} does not hear {leader}"));
        self.cut.insert((leader, deaf));
        let epoch = |world: &World| world.machines[leader].node.as_ref().map(MetadataNode::epoch);
        let before = epoch(self);
        self.steps_for(DEAF)?;
        if epoch(self) != before {
            return Err(format!(
                "{deaf} did not hear {leader}, and so the epoch went from {before:?} to {:?}",
                epoch(self)
            ));
        }
        self.cut.clear();
        self.asking = true;
        self.decides()?;
        self.asking = false;
        self.steps_for(FOLLOWS_WITHIN)?;
        self.check_all_agree()
    }
}
