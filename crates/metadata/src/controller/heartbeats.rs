//! Who is alive: the controller's soft state about brokers, rebuilt by whoever becomes the active controller.

use std::collections::{BTreeMap, BTreeSet};

use wire::Uuid;
use wire::messages::MetadataRecord;

use super::brokers::{
    begin_controlled_shutdown, check_broker_epoch, directories_cordoned, directories_offline, fence_broker,
    unfence_broker,
};
use super::{BrokerRegistration, Context, Decision, Refusal, apply_decided};
use crate::image::Image;

/// A broker says that it lives (BrokerHeartbeat).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerHeartbeat {
    pub broker_id: i32,
    pub broker_epoch: i64,
    /// The last offset of the metadata log that the broker has applied.
    pub current_metadata_offset: i64,
    pub want_fence: bool,
    pub want_shut_down: bool,
    pub offline_log_dirs: Vec<Uuid>,
    /// `None`: nothing is said about them.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

/// What the controller makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The broker has applied its own registration.
    pub is_caught_up: bool,
    pub is_fenced: bool,
    /// Leaderships are being moved; the broker keeps serving meanwhile.
    pub in_controlled_shutdown: bool,
    pub should_shut_down: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    /// When the broker was heard last, or this controller began.
    at_ms: i64,
    /// Whether this controller heard it at all.
    heard: bool,
    metadata_offset: i64,
    /// The end of the records that moved its leaderships: when the others have applied them, it may go.
    controlled_shutdown_offset: Option<i64>,
}

/// When each broker was heard last.
#[derive(Clone, Debug)]
pub struct Heartbeats {
    session_timeout_ms: i64,
    /// When the controller looked last at what had come.
    looked_ms: i64,
    brokers: BTreeMap<i32, Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl Heartbeats {
    /// `session_timeout_ms` is `broker.session.timeout.ms`. Every unfenced broker of the image gets half a session to be
    /// heard by this controller: those that live say so as soon as they know of it, and when the one before it was last
    /// heard itself is not known.
    pub fn new(image: &Image, session_timeout_ms: i64, now_ms: i64) -> Self {
        let mut heartbeats = Heartbeats { session_timeout_ms, looked_ms: now_ms, brokers: BTreeMap::new() };
        for broker in image.cluster.brokers().filter(|broker| !broker.fenced) {
            heartbeats.touch(broker.id, -1, now_ms - session_timeout_ms / 2);
        }
        for seen in heartbeats.brokers.values_mut() {
            seen.heard = false;
        }
        heartbeats
    }

    /// The controller looks at what has come, before it decides anything. Where it did not for half a session (it was frozen,
    /// or its disk was), it cannot tell who was silent meanwhile: sessions that had not ended before begin anew.
    pub fn looks(&mut self, now_ms: i64) {
        let before = std::mem::replace(&mut self.looked_ms, now_ms);
        let session_ms = self.session_timeout_ms;
        if now_ms - before < session_ms / 2 {
            return;
        }
        for seen in self.brokers.values_mut().filter(|seen| before - seen.at_ms < session_ms) {
            seen.at_ms = now_ms;
        }
    }

    /// Whether a living process holds the id that another one asks for. A process that this controller never heard, and
    /// whose addresses the other one has bound, is gone: all of them were killed and come back together.
    pub fn holds(&self, image: &Image, request: &BrokerRegistration, now_ms: i64) -> bool {
        let Some(seen) = self.brokers.get(&request.broker_id) else { return false };
        let same_addresses =
            image.cluster.broker(request.broker_id).is_some_and(|broker| broker.endpoints == request.endpoints);
        self.has_session(request.broker_id, now_ms) && (seen.heard || !same_addresses)
    }

    /// A broker of this id was heard within its session.
    pub fn has_session(&self, broker: i32, now_ms: i64) -> bool {
        self.brokers.get(&broker).is_some_and(|seen| now_ms - seen.at_ms < self.session_timeout_ms)
    }

    /// A new process of this broker registered.
    pub fn registered(&mut self, broker: i32, now_ms: i64) {
        self.brokers.remove(&broker);
        self.touch(broker, -1, now_ms);
    }

    /// The broker's process is known to have ended.
    pub fn forget(&mut self, broker: i32) {
        self.brokers.remove(&broker);
    }

    /// An unfenced broker that was not heard for a whole session.
    pub fn stale<'a>(&'a self, image: &'a Image, now_ms: i64) -> impl Iterator<Item = i32> + 'a {
        let unfenced = image.cluster.brokers().filter(|broker| !broker.fenced);
        unfenced.map(|broker| broker.id).filter(move |id| !self.has_session(*id, now_ms))
    }

    /// Decides what a heartbeat leads to. `next_offset` is where the decision's records will go.
    pub fn heartbeat(
        &mut self,
        image: &Image,
        context: &Context<'_>,
        request: &BrokerHeartbeat,
        next_offset: i64,
        now_ms: i64,
    ) -> Decision<Result<HeartbeatReply, Refusal>> {
        let broker = match check_broker_epoch(image, request.broker_id, request.broker_epoch) {
            Ok(broker) => broker,
            Err(refusal) => return Decision::reply(Err(refusal)),
        };
        let now = match (broker.fenced, broker.in_controlled_shutdown) {
            (true, _) => Phase::Fenced,
            (false, true) => Phase::ControlledShutdown,
            (false, false) => Phase::Unfenced,
        };
        let leads = image.topics.led_by(broker.id).next().is_some();
        let is_caught_up = request.current_metadata_offset >= broker.epoch;
        let offline: BTreeSet<Uuid> = request.offline_log_dirs.iter().copied().collect();
        let is_lost = |id: &Uuid| offline.contains(id);
        let loses = broker.log_dirs.iter().any(is_lost);
        let loses_all = loses && broker.log_dirs.iter().all(is_lost);
        let next = match self.next_phase(image, now, request, is_caught_up, leads, broker.in_controlled_shutdown) {
            // It would be elected for what is in a directory that this very heartbeat calls lost: with the next one.
            Phase::Unfenced if now == Phase::Fenced && loses => Phase::Fenced,
            // It has nothing left to serve from. No record can say so: a registration without directories is one of old.
            Phase::Unfenced if loses_all => Phase::Fenced,
            next => next,
        };
        let mut records: Vec<MetadataRecord<'static>> = Vec::new();
        match next {
            _ if next == now => {}
            Phase::Fenced | Phase::ShutdownNow => records = fence_broker(image, context, broker),
            Phase::Unfenced => records = unfence_broker(image, context, broker),
            Phase::ControlledShutdown => records = begin_controlled_shutdown(image, context, broker),
        }
        self.touch(broker.id, request.current_metadata_offset, now_ms);
        if next == Phase::ShutdownNow || next == Phase::Fenced && broker.in_controlled_shutdown {
            // Its process ends now; the next one of this id need not wait for a session to run out.
            self.forget(broker.id);
        }
        if next == Phase::ControlledShutdown && now == Phase::Unfenced {
            let end = next_offset + records.len() as i64 - 1;
            if let Some(seen) = self.brokers.get_mut(&broker.id) {
                seen.controlled_shutdown_offset = Some(end);
            }
        }
        if image.metadata_version().has_directories() && loses && !loses_all {
            // On what the same heartbeat has made of the partitions: each changes once.
            let mut image = image.clone();
            records.iter().for_each(|record| apply_decided(&mut image, record));
            records.extend(directories_offline(&image, context, broker, &offline));
        }
        if let Some(cordoned) = &request.cordoned_log_dirs {
            records.extend(directories_cordoned(image, broker, cordoned));
        }
        let reply = HeartbeatReply {
            is_caught_up,
            is_fenced: matches!(next, Phase::Fenced | Phase::ShutdownNow),
            in_controlled_shutdown: next == Phase::ControlledShutdown,
            should_shut_down: next == Phase::ShutdownNow,
        };
        Decision::new(records, Ok(reply))
    }

    fn next_phase(
        &self,
        image: &Image,
        now: Phase,
        request: &BrokerHeartbeat,
        is_caught_up: bool,
        leads: bool,
        has_left: bool,
    ) -> Phase {
        match now {
            Phase::Fenced if request.want_shut_down => Phase::ShutdownNow,
            // Under this registration it was let go: what it said before only comes late.
            Phase::Fenced if has_left => Phase::Fenced,
            Phase::Fenced if !request.want_fence && is_caught_up => Phase::Unfenced,
            Phase::Fenced => Phase::Fenced,
            Phase::Unfenced if request.want_fence && request.want_shut_down => Phase::ShutdownNow,
            Phase::Unfenced if request.want_fence => Phase::Fenced,
            Phase::Unfenced if request.want_shut_down && leads => Phase::ControlledShutdown,
            Phase::Unfenced if request.want_shut_down => Phase::ShutdownNow,
            Phase::Unfenced => Phase::Unfenced,
            Phase::ControlledShutdown if leads || !self.others_know(image, request.broker_id) => {
                Phase::ControlledShutdown
            }
            Phase::ControlledShutdown | Phase::ShutdownNow => Phase::ShutdownNow,
        }
    }

    /// All active brokers have applied that this one leads nothing any more.
    fn others_know(&self, image: &Image, broker: i32) -> bool {
        let Some(end) = self.brokers.get(&broker).and_then(|seen| seen.controlled_shutdown_offset) else { return true };
        let mut active = image.cluster.brokers().filter(|broker| broker.is_active());
        active.all(|broker| self.brokers.get(&broker.id).is_some_and(|seen| seen.metadata_offset >= end))
    }

    fn touch(&mut self, broker: i32, metadata_offset: i64, now_ms: i64) {
        let seen = self.brokers.entry(broker).or_insert(Seen {
            at_ms: now_ms,
            heard: true,
            metadata_offset,
            controlled_shutdown_offset: None,
        });
        seen.at_ms = now_ms;
        seen.heard = true;
        seen.metadata_offset = metadata_offset;
    }
}
