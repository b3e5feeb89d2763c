//! Brokers come, serve, and go.

use std::collections::BTreeSet;

use wire::messages::{BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord, UnregisterBrokerRecord};
use wire::{ErrorCode, Uuid};

use super::partition_change::PartitionChange;
use super::{Context, Decision, Refusal};
use crate::image::features::METADATA_VERSION;
use crate::image::{
    Broker, ControllerRegistration, Endpoint, Image, NO_LEADER, SupportedFeature, TopicIdPartition, directory,
};
use crate::planted::{self, Bug};

/// A broker that asks to be registered (BrokerRegistration).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerRegistration {
    pub broker_id: i32,
    pub cluster_id: String,
    /// Chosen anew by each process.
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
    pub rack: Option<String>,
    pub is_migrating_zk_broker: bool,
    /// The directories that are online.
    pub log_dirs: Vec<Uuid>,
    /// The epoch under which the broker last shut down in order (nothing it acknowledged can be missing); -1 when it
    /// did not (KIP-966).
    pub previous_broker_epoch: i64,
}

type Records = Vec<MetadataRecord<'static>>;

/// Registers a broker and returns its epoch. `epoch` is the offset that the first record will get; `has_session` says
/// that a broker of this id is alive.
pub fn register_broker(
    image: &Image,
    context: &Context<'_>,
    request: &BrokerRegistration,
    epoch: i64,
    has_session: bool,
) -> Decision<Result<i64, Refusal>> {
    let existing = image.cluster.broker(request.broker_id);
    if let Err(refusal) = check_registration(image, context, request, existing.map(|broker| &**broker), has_session) {
        return Decision::reply(Err(refusal));
    }
    let same = existing.filter(|broker| broker.incarnation_id == request.incarnation_id);
    let mut records = Vec::new();
    if same.is_none() {
        let stored_epoch = existing.map(|broker| broker.epoch);
        let clean = stored_epoch == Some(request.previous_broker_epoch);
        records = departed(image, context, request.broker_id, clean);
    }
    let broker = Broker {
        id: request.broker_id,
        epoch: same.map_or(epoch, |broker| broker.epoch),
        incarnation_id: request.incarnation_id,
        endpoints: request.endpoints.clone(),
        features: request.features.clone(),
        rack: request.rack.clone(),
        fenced: same.is_none_or(|broker| broker.fenced),
        in_controlled_shutdown: same.is_some_and(|broker| broker.in_controlled_shutdown),
        log_dirs: if image.metadata_version().has_directories() { request.log_dirs.clone() } else { Vec::new() },
        cordoned_log_dirs: same.map(|broker| broker.cordoned_log_dirs.clone()).unwrap_or_default(),
        is_migrating_zk_broker: false,
    };
    records.push(MetadataRecord::RegisterBroker(broker.to_record()));
    Decision::new(records, Ok(broker.epoch))
}

fn check_registration(
    image: &Image,
    context: &Context<'_>,
    request: &BrokerRegistration,
    existing: Option<&Broker>,
    has_session: bool,
) -> Result<(), Refusal> {
    let refuse = |code: ErrorCode, text: String| Err(Refusal::new(code, text));
    if request.cluster_id != context.cluster_id {
        let text = format!("Expected cluster ID {}, but got cluster ID {}", context.cluster_id, request.cluster_id);
        return refuse(ErrorCode::InconsistentClusterId, text);
    }
    if has_session && existing.is_some_and(|broker| broker.incarnation_id != request.incarnation_id) {
        let text = "Another broker is registered with that broker id. If the broker was recently restarted this \
                    should self-resolve once the heartbeat manager expires the broker's session.";
        return refuse(ErrorCode::DuplicateBrokerRegistration, text.to_owned());
    }
    if request.broker_id < 0 {
        let text = format!("Broker ID {} is negative", request.broker_id);
        return refuse(ErrorCode::InvalidRegistration, text);
    }
    if request.is_migrating_zk_broker {
        let text = "Controller does not support registering ZK brokers.";
        return refuse(ErrorCode::BrokerIdNotRegistered, text.to_owned());
    }
    if image.metadata_version().has_directories() {
        check_log_dirs(image, request)?;
    }
    for (name, level) in image.features.iter() {
        let (min, max) = request
            .features
            .iter()
            .find(|feature| feature.name == name)
            .map_or((0, 0), |feature| (feature.min, feature.max));
        if name == METADATA_VERSION && (min, max) == (0, 0) {
            let text = "Request features do not contain 'metadata.version'";
            return refuse(ErrorCode::InvalidRegistration, text.to_owned());
        }
        if !(min..=max).contains(&level) {
            let text = format!(
                "Unable to register because the broker does not support finalized version {level} of {name}. The \
                 broker wants a version between {min} and {max}, inclusive."
            );
            return refuse(ErrorCode::UnsupportedVersion, text);
        }
    }
    Ok(())
}

fn check_log_dirs(image: &Image, request: &BrokerRegistration) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(ErrorCode::InvalidRegistration, text));
    if request.log_dirs.is_empty() {
        return refuse("No directories specified in request".to_owned());
    }
    if request.log_dirs.iter().any(|id| directory::is_reserved(*id)) {
        return refuse("Reserved directory ID in request".to_owned());
    }
    if request.log_dirs.len() > LOG_DIRS_MAX {
        return refuse(format!("More than {LOG_DIRS_MAX} directories in request"));
    }
    let ids: BTreeSet<Uuid> = request.log_dirs.iter().copied().collect();
    if ids.len() < request.log_dirs.len() {
        return refuse("Duplicate directory ID in request".to_owned());
    }
    for owner in image.cluster.brokers().filter(|owner| owner.id != request.broker_id) {
        if let Some(id) = owner.log_dirs.iter().find(|id| ids.contains(id)) {
            return refuse(format!("Broker {} is already registered with directory {id}", owner.id));
        }
    }
    Ok(())
}

/// No broker has so many disks; each decision about a partition looks through them.
const LOG_DIRS_MAX: usize = 1_000;

/// Registers a controller (KIP-919).
pub fn register_controller(image: &Image, request: &ControllerRegistration) -> Decision<Result<(), Refusal>> {
    if !image.metadata_version().has_controller_registration() {
        let text = "The current MetadataVersion is too old to support controller registrations.";
        return Decision::reply(Err(Refusal::new(ErrorCode::UnsupportedVersion, text)));
    }
    Decision::new(vec![MetadataRecord::RegisterController(request.to_record())], Ok(()))
}

/// UnregisterBroker: forgets a broker; its replicas stay assigned.
pub fn unregister_broker(image: &Image, context: &Context<'_>, id: i32) -> Decision<Result<(), Refusal>> {
    let Some(broker) = image.cluster.broker(id) else {
        let text = format!("Broker ID {id} is not currently registered");
        return Decision::reply(Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, text)));
    };
    let gone = Change { unclean: Some(id), ..Change::default() };
    let mut records = gone.records(image, context, image.topics.with_broker_in_isr(id));
    records.extend(gone.records(image, context, image.topics.with_broker_in_elr(id)));
    let record = UnregisterBrokerRecord { broker_id: id, broker_epoch: broker.epoch };
    records.push(MetadataRecord::UnregisterBroker(record));
    Decision::new(records, Ok(()))
}

/// A broker is down: it leaves every ISR, and its leaderships go to others.
pub fn fence_broker(image: &Image, context: &Context<'_>, broker: &Broker) -> Vec<MetadataRecord<'static>> {
    let change = Change { remove: Some(broker.id), ..Change::default() };
    let mut records = change.records(image, context, image.topics.with_broker_in_isr(broker.id));
    if !broker.fenced {
        records.push(fencing_record(broker, true));
    }
    records
}

/// A broker is ready: it may lead what nobody leads.
pub fn unfence_broker(image: &Image, context: &Context<'_>, broker: &Broker) -> Vec<MetadataRecord<'static>> {
    let mut records = vec![fencing_record(broker, false)];
    let change = Change { add: Some(broker.id), ..Change::default() };
    records.extend(change.records(image, context, image.topics.led_by(NO_LEADER)));
    records
}

/// A broker wants to stop: others lead from now on.
pub fn begin_controlled_shutdown(
    image: &Image,
    context: &Context<'_>,
    broker: &Broker,
) -> Vec<MetadataRecord<'static>> {
    let mut records = Vec::new();
    if !broker.in_controlled_shutdown {
        records.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            in_controlled_shutdown: 1,
            ..Default::default()
        }));
    }
    let change = Change { remove: Some(broker.id), ..Change::default() };
    records.extend(change.records(image, context, image.topics.with_broker_in_isr(broker.id)));
    records
}

/// Log directories of a broker failed: what is in them is not in sync any more, and is led by others.
pub fn directories_offline(
    image: &Image,
    context: &Context<'_>,
    broker: &Broker,
    offline: &BTreeSet<Uuid>,
) -> Vec<MetadataRecord<'static>> {
    let (failed, online): (Vec<Uuid>, Vec<Uuid>) = broker.log_dirs.iter().partition(|id| offline.contains(id));
    if failed.is_empty() {
        return Vec::new();
    }
    let in_failed = |key: &TopicIdPartition| {
        let directory = image.topics.partition(*key).and_then(|partition| partition.directory_of(broker.id));
        directory.is_some_and(|id| failed.contains(&id))
    };
    let change = Change { remove: Some(broker.id), ..Change::default() };
    let in_sync = image.topics.with_broker_in_isr(broker.id).filter(in_failed);
    let mut records = change.records(image, context, in_sync);
    if planted::is(context.settings.bug, Bug::KeepOfflineInSync) {
        records.clear();
    }
    records.push(MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        log_dirs: online.into(),
        ..Default::default()
    }));
    records
}

/// The directories on which a broker takes no new replica (KIP-1066).
pub fn directories_cordoned(image: &Image, broker: &Broker, cordoned: &[Uuid]) -> Option<MetadataRecord<'static>> {
    let known: BTreeSet<Uuid> = broker.log_dirs.iter().copied().collect();
    let new: BTreeSet<Uuid> = cordoned.iter().copied().filter(|id| known.contains(id)).collect();
    let old: BTreeSet<Uuid> = broker.cordoned_log_dirs.iter().copied().collect();
    (image.metadata_version().has_cordoned_log_dirs() && new != old).then(|| {
        MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: broker.id,
            broker_epoch: broker.epoch,
            cordoned_log_dirs: Some(Vec::from_iter(new).into()),
            ..Default::default()
        })
    })
}

/// A process of this broker ended without our having noticed. After an unclean end nothing it had in memory is
/// known to be on its disk (KIP-966).
fn departed(image: &Image, context: &Context<'_>, id: i32, clean: bool) -> Records {
    if clean || !image.features.is_elr_enabled() {
        let change = Change { remove: Some(id), ..Change::default() };
        return change.records(image, context, image.topics.with_broker_in_isr(id));
    }
    let change = Change { unclean: Some(id), ..Change::default() };
    let mut records = change.records(image, context, image.topics.with_broker_in_isr(id));
    records.extend(change.records(image, context, image.topics.with_broker_in_elr(id)));
    records
}

fn fencing_record(broker: &Broker, fenced: bool) -> MetadataRecord<'static> {
    MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        fenced: if fenced { 1 } else { -1 },
        ..Default::default()
    })
}

/// What happens to one broker, for all partitions that it touches.
#[derive(Default)]
struct Change {
    /// It leaves ISRs and may not lead.
    remove: Option<i32>,
    /// It may lead, although the image still has it fenced.
    add: Option<i32>,
    /// It leaves ISRs and ELRs, and may not lead.
    unclean: Option<i32>,
}

impl Change {
    fn records(
        &self,
        image: &Image,
        context: &Context<'_>,
        partitions: impl Iterator<Item = TopicIdPartition>,
    ) -> Records {
        partitions.filter_map(|key| self.record(image, context, key)).map(MetadataRecord::PartitionChange).collect()
    }

    fn record(
        &self,
        image: &Image,
        context: &Context<'_>,
        key: TopicIdPartition,
    ) -> Option<PartitionChangeRecord<'static>> {
        let topic = image.topics.get(key.topic_id)?;
        let partition = topic.partition(key.partition)?;
        let acceptable = |id: i32| {
            let leaves = Some(id) == self.remove || Some(id) == self.unclean;
            !leaves && (Some(id) == self.add || image.cluster.is_active(id))
        };
        let mut change = PartitionChange::new(image, context.settings, key, &topic.name, partition, &acceptable);
        change.unclean_shutdown = self.unclean;
        change.isr.retain(|id| Some(*id) != self.remove && Some(*id) != self.unclean);
        change.build()
    }
}

/// Where a new replica goes on a broker: to its only directory, or wherever the broker itself decides.
pub fn default_directory(image: &Image, broker: i32) -> Uuid {
    if !image.metadata_version().has_directories() {
        return directory::MIGRATING;
    }
    let Some(broker) = image.cluster.broker(broker) else { return directory::UNASSIGNED };
    match *broker.log_dirs {
        [] => directory::MIGRATING,
        [only] => only,
        _ => directory::UNASSIGNED,
    }
}

/// Whether this is the broker that is registered.
///
/// # Errors
/// STALE_BROKER_EPOCH.
pub fn check_broker_epoch(image: &Image, id: i32, epoch: i64) -> Result<&Broker, Refusal> {
    let Some(broker) = image.cluster.broker(id) else {
        let text = format!("No broker registration found for broker id {id}");
        return Err(Refusal::new(ErrorCode::StaleBrokerEpoch, text));
    };
    if broker.epoch != epoch {
        let text = format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch);
        return Err(Refusal::new(ErrorCode::StaleBrokerEpoch, text));
    }
    Ok(broker)
}
