//! `kafka-configs --zookeeper`: the settings of topics and brokers, in the words of Kafka 2.1.

use client::Error;
use client::admin::{Admin, ConfigChange, ConfigEntry, Resource, ResourceType};
use wire::ErrorCode;

use crate::kafka_configs::{Entity, changes, entities, names};
use crate::options::Parsed;
use crate::say;
use crate::tool::{self, Exception, Stop};

/// Where settings come from: a topic's own, a broker's own, and what holds for all brokers.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER: i8 = 2;
const SOURCE_ALL_BROKERS: i8 = 3;

/// Does what the options ask for.
pub async fn run(o: &Parsed) -> Result<(), Stop> {
    let entities = entities(o)?;
    let Some(entity) = entities.first() else { return Ok(()) };
    let kind = match entity.kind.resource {
        Some(kind @ (ResourceType::Topic | ResourceType::Broker)) => kind,
        _ => {
            let message = format!(
                "The settings of {} are not shown or changed with --zookeeper: use --bootstrap-server",
                entity.kind.plural
            );
            return Err(Exception::illegal_argument(message).into());
        }
    };
    let changes = match o.has("alter") {
        true => Some(changes(o, &entities)?),
        false => None,
    };
    let properties = tool::settings(o, "command-config")?;
    let admin = tool::admin_by_quorum(o.value("zookeeper")?.unwrap_or_default(), &properties).await?;
    match changes {
        Some(changes) => alter(&admin, entity, kind, &changes).await,
        None => describe(&admin, entity, kind).await,
    }
}

/// `topic 'army'`, `brokers '1'`, `default brokers`
fn called(kind: ResourceType, name: &str) -> String {
    match (kind, name) {
        (ResourceType::Topic, name) => format!("topic '{name}'"),
        (_, "") => "default brokers".to_owned(),
        (_, name) => format!("brokers '{name}'"),
    }
}

async fn alter(
    admin: &Admin,
    entity: &Entity,
    kind: ResourceType,
    changes: &[(String, ConfigChange)],
) -> Result<(), Stop> {
    let name = entity.name.clone().unwrap_or_default();
    let resource = Resource { kind, name };
    let known = kind == ResourceType::Broker || names(admin, kind).await?.contains(&resource.name);
    if !known {
        let message = format!("Topic \"{}\" does not exist.", resource.name);
        return Err(Exception::new("kafka.admin.AdminOperationException", message).into());
    }
    let own = own(admin, &resource).await?;
    let unset: Vec<&str> = changes
        .iter()
        .filter(|(name, change)| *change == ConfigChange::Delete && !own.iter().any(|entry| entry.name == *name))
        .map(|(name, _)| name.as_str())
        .collect();
    if !unset.is_empty() {
        let message = format!("Invalid config(s): {}", unset.join(","));
        return Err(Exception::new("org.apache.kafka.common.errors.InvalidConfigurationException", message).into());
    }
    admin.alter_configs(&resource, changes).await?;
    say!("Completed Updating config for entity: {}.", called(kind, &resource.name));
    Ok(())
}

async fn own(admin: &Admin, resource: &Resource) -> Result<Vec<ConfigEntry>, Stop> {
    let found = match admin.describe_configs(std::slice::from_ref(resource)).await {
        Err(Error::Api { code: ErrorCode::UnknownTopicOrPartition, .. }) => Vec::new(),
        found => found?.pop().unwrap_or_default(),
    };
    let is_own = |entry: &ConfigEntry| match resource.kind {
        // What holds for all brokers is neither a topic's nor one broker's own.
        ResourceType::Topic => entry.source == SOURCE_TOPIC,
        _ if resource.name.is_empty() => entry.source == SOURCE_ALL_BROKERS,
        _ => entry.source == SOURCE_BROKER,
    };
    let mut own: Vec<ConfigEntry> = found.into_iter().filter(is_own).collect();
    own.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(own)
}

async fn describe(admin: &Admin, entity: &Entity, kind: ResourceType) -> Result<(), Stop> {
    let names = match &entity.name {
        Some(name) => vec![name.clone()],
        None => names(admin, kind).await?,
    };
    for name in names {
        let called = called(kind, &name);
        let settings = own(admin, &Resource { kind, name }).await?;
        let settings: Vec<String> =
            settings.iter().map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null"))).collect();
        say!("Configs for {called} are {}", settings.join(","));
    }
    Ok(())
}
