//! Registered brokers and controllers.

use std::sync::Arc;

use imbl::OrdMap;
use wire::Uuid;
use wire::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use wire::messages::register_controller_record::{ControllerEndpoint, ControllerFeature};
use wire::messages::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord, UnregisterBrokerRecord,
};

use super::{ApplyError, Delta};

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    pub host: String,
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    pub name: String,
    pub min: i16,
    pub max: i16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    /// The offset of the first record of its registration; a new incarnation gets a new one. A broker that has read
    /// the log so far may be unfenced.
    pub epoch: i64,
    /// Chosen anew by each process.
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
    pub rack: Option<String>,
    /// Registered, but not (or no longer) serving.
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    /// The directories that are online.
    pub log_dirs: Vec<Uuid>,
    /// Online, but no new replica goes there.
    pub cordoned_log_dirs: Vec<Uuid>,
    pub is_migrating_zk_broker: bool,
}

impl Broker {
    /// Neither fenced nor shutting down.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether a replica in this directory can be served. Reserved ids count as online, [`LOST`] does not.
    ///
    /// [`LOST`]: super::directory::LOST
    pub fn has_online_dir(&self, id: Uuid) -> bool {
        if super::directory::is_reserved(id) {
            return id != super::directory::LOST;
        }
        self.log_dirs.is_empty() || self.log_dirs.contains(&id)
    }

    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }

    pub(crate) fn to_record(&self) -> RegisterBrokerRecord<'static> {
        RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: self.is_migrating_zk_broker,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self
                .endpoints
                .iter()
                .map(|endpoint| BrokerEndpoint {
                    name: endpoint.name.clone().into(),
                    host: endpoint.host.clone().into(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|feature| BrokerFeature {
                    name: feature.name.clone().into(),
                    min_supported_version: feature.min,
                    max_supported_version: feature.max,
                })
                .collect(),
            rack: self.rack.clone().map(Into::into),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone().into(),
            cordoned_log_dirs: (!self.cordoned_log_dirs.is_empty()).then(|| self.cordoned_log_dirs.clone().into()),
        }
    }

    fn from_record(record: &RegisterBrokerRecord<'_>) -> Self {
        Broker {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record
                .end_points
                .iter()
                .map(|endpoint| Endpoint {
                    name: endpoint.name.to_string(),
                    host: endpoint.host.to_string(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|feature| SupportedFeature {
                    name: feature.name.to_string(),
                    min: feature.min_supported_version,
                    max: feature.max_supported_version,
                })
                .collect(),
            rack: record.rack.as_ref().map(ToString::to_string),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.values().collect(),
            cordoned_log_dirs: record.cordoned_log_dirs.as_ref().map(|ids| ids.values().collect()).unwrap_or_default(),
            is_migrating_zk_broker: record.is_migrating_zk_broker,
        }
    }
}

/// A registered controller (KIP-919).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    pub id: i32,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
}

impl ControllerRegistration {
    pub(crate) fn to_record(&self) -> RegisterControllerRecord<'static> {
        RegisterControllerRecord {
            controller_id: self.id,
            incarnation_id: self.incarnation_id,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self
                .endpoints
                .iter()
                .map(|endpoint| ControllerEndpoint {
                    name: endpoint.name.clone().into(),
                    host: endpoint.host.clone().into(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|feature| ControllerFeature {
                    name: feature.name.clone().into(),
                    min_supported_version: feature.min,
                    max_supported_version: feature.max,
                })
                .collect(),
        }
    }

    fn from_record(record: &RegisterControllerRecord<'_>) -> Self {
        ControllerRegistration {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record
                .end_points
                .iter()
                .map(|endpoint| Endpoint {
                    name: endpoint.name.to_string(),
                    host: endpoint.host.to_string(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                })
                .collect(),
            features: record
                .features
                .iter()
                .map(|feature| SupportedFeature {
                    name: feature.name.to_string(),
                    min: feature.min_supported_version,
                    max: feature.max_supported_version,
                })
                .collect(),
        }
    }
}

/// The nodes of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    brokers: OrdMap<i32, Arc<Broker>>,
    controllers: OrdMap<i32, Arc<ControllerRegistration>>,
}

impl Cluster {
    pub fn broker(&self, id: i32) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// In the order of their ids.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    pub fn controller(&self, id: i32) -> Option<&Arc<ControllerRegistration>> {
        self.controllers.get(&id)
    }

    /// In the order of their ids.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<ControllerRegistration>> {
        self.controllers.values()
    }

    /// Registered, neither fenced nor shutting down.
    pub fn is_active(&self, broker: i32) -> bool {
        self.broker(broker).is_some_and(|broker| broker.is_active())
    }

    pub(super) fn apply_register(&mut self, record: &RegisterBrokerRecord<'_>, delta: &mut Delta) {
        self.brokers.insert(record.broker_id, Arc::new(Broker::from_record(record)));
        delta.broker_changed(record.broker_id);
    }

    pub(super) fn apply_unregister(
        &mut self,
        record: &UnregisterBrokerRecord,
        delta: &mut Delta,
    ) -> Result<(), ApplyError> {
        self.broker_at_epoch(record.broker_id, record.broker_epoch)?;
        self.brokers.remove(&record.broker_id);
        delta.broker_changed(record.broker_id);
        Ok(())
    }

    pub(super) fn apply_fenced(
        &mut self,
        id: i32,
        epoch: i64,
        fenced: bool,
        delta: &mut Delta,
    ) -> Result<(), ApplyError> {
        let mut broker = (**self.broker_at_epoch(id, epoch)?).clone();
        broker.fenced = fenced;
        self.brokers.insert(id, Arc::new(broker));
        delta.broker_changed(id);
        Ok(())
    }

    pub(super) fn apply_change(
        &mut self,
        record: &BrokerRegistrationChangeRecord<'_>,
        delta: &mut Delta,
    ) -> Result<(), ApplyError> {
        let mut broker = (**self.broker_at_epoch(record.broker_id, record.broker_epoch)?).clone();
        match record.fenced {
            0 => {}
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            other => return Err(ApplyError::new(format!("broker {} changes to fenced {other}", broker.id))),
        }
        match record.in_controlled_shutdown {
            0 => {}
            1 => broker.in_controlled_shutdown = true,
            other => return Err(ApplyError::new(format!("broker {} changes to shutdown state {other}", broker.id))),
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs = record.log_dirs.values().collect();
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_log_dirs = cordoned.values().collect();
        }
        self.brokers.insert(broker.id, Arc::new(broker));
        delta.broker_changed(record.broker_id);
        Ok(())
    }

    pub(super) fn apply_controller(&mut self, record: &RegisterControllerRecord<'_>, delta: &mut Delta) {
        self.controllers.insert(record.controller_id, Arc::new(ControllerRegistration::from_record(record)));
        delta.controllers.insert(record.controller_id);
    }

    fn broker_at_epoch(&self, id: i32, epoch: i64) -> Result<&Arc<Broker>, ApplyError> {
        let Some(broker) = self.broker(id) else {
            return Err(ApplyError::new(format!("broker {id} changes and is not registered")));
        };
        if broker.epoch != epoch {
            return Err(ApplyError::new(format!(
                "broker {id} changes at epoch {epoch}; its epoch is {}",
                broker.epoch
            )));
        }
        Ok(broker)
    }
}
