//! Quotas in `kafka-configs`: of users, clients and addresses, which are no resources with settings.

use std::net::ToSocketAddrs;

use client::admin::{Admin, ConfigChange, QuotaEntity, QuotaMatch};
use metadata::config::value::java_double;

use crate::kafka_configs::failed;
use crate::tool::{Exception, Stop};
use crate::{java_order, say};

const RATES: [&str; 4] = ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const CONNECTIONS: [&str; 1] = ["connection_creation_rate"];

/// An entity type of the tool as quotas call it.
fn quota_type(plural: &str) -> &'static str {
    match plural {
        "users" => "user",
        "clients" => "client-id",
        _ => "ip",
    }
}

/// Users come before clients, whichever order they were given in.
fn ordered<'e>(entities: &[(&'e str, Option<&'e str>)]) -> Vec<(&'e str, Option<&'e str>)> {
    let mut ordered = entities.to_vec();
    ordered.sort_by_key(|(plural, _)| *plural != "users");
    ordered
}

/// Prints the quotas of the entities; no name means all of the type, an empty one the default.
pub async fn describe(admin: &Admin, entities: &[(&str, Option<&str>)]) -> Result<(), Stop> {
    let wanted = |name: Option<&str>| match name {
        None => QuotaMatch::Any,
        Some("") => QuotaMatch::Default,
        Some(name) => QuotaMatch::Exactly(name.to_owned()),
    };
    let filter: Vec<(&str, QuotaMatch)> =
        ordered(entities).into_iter().map(|(plural, name)| (quota_type(plural), wanted(name))).collect();
    for (entity, mut values) in admin.describe_client_quotas(&filter).await.map_err(|e| failed(&e))? {
        java_order::sort(&mut values, |(key, _)| key);
        let part = |kind: &str| {
            let shown = if kind == "user" { "user-principal" } else { kind };
            let (_, name) = entity.iter().find(|(own, _)| own == kind)?;
            Some(match name {
                Some(name) => format!("{shown} '{name}'"),
                None => format!("the default {shown}"),
            })
        };
        let whose: Vec<String> = ["user", "client-id", "ip"].into_iter().filter_map(part).collect();
        let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}={}", java_double(*value))).collect();
        say!("Quota configs for {} are {}", whose.join(", "), values.join(", "));
    }
    Ok(())
}

/// Sets and removes quotas.
pub async fn alter(
    admin: &Admin,
    entities: &[(&str, Option<&str>)],
    changes: &[(String, ConfigChange)],
) -> Result<(), Stop> {
    let refuse = |message: String| Err(Exception::illegal_argument(message).into());
    let (first, _) = entities[0];
    let is_address = first == "ips";
    for (_, name) in entities.iter().filter(|_| is_address) {
        let name = name.unwrap_or_default();
        if !name.is_empty() && (name, 0).to_socket_addrs().is_err() {
            return refuse(format!("The entity name for ips must be a valid IP or resolvable host, but it is: {name}"));
        }
    }
    let known: &[&str] = if is_address { &CONNECTIONS } else { &RATES };
    let added = |(name, change): &(String, ConfigChange)| match change {
        ConfigChange::Set(value) => Some((name.clone(), value.clone())),
        ConfigChange::Delete => None,
    };
    let added: Vec<(String, String)> = changes.iter().filter_map(added).collect();
    if let Some((name, _)) = added.iter().find(|(name, _)| name.starts_with("SCRAM-")) {
        return refuse(format!(
            "{name}: this tool does not change SCRAM credentials yet; Apache Kafka's kafka-configs does."
        ));
    }
    let unknown: Vec<&str> = added.iter().map(|(n, _)| n.as_str()).filter(|n| !known.contains(n)).collect();
    if !unknown.is_empty() {
        let names = unknown.join(",");
        return refuse(match first {
            "users" => format!(
                "Only quota and SCRAM credential configs can be added for 'users' using --bootstrap-server. Unexpected \
                 config names: Set({names})"
            ),
            "ips" => format!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: \
                 {names}"
            ),
            _ => format!(
                "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected config names: {names}"
            ),
        });
    }
    let mut wanted: Vec<(String, Option<f64>)> = Vec::new();
    for (name, value) in added {
        match value.parse::<f64>() {
            Ok(rate) => wanted.push((name, Some(rate))),
            Err(_) => return refuse(format!("Cannot parse quota configuration value for {name}: {value}")),
        }
    }
    let deleted: Vec<&String> = changes.iter().filter(|(_, c)| *c == ConfigChange::Delete).map(|(n, _)| n).collect();
    let entity: QuotaEntity = ordered(entities)
        .into_iter()
        .map(|(plural, name)| (quota_type(plural).to_owned(), name.filter(|n| !n.is_empty()).map(str::to_owned)))
        .collect();
    if !deleted.is_empty() {
        let filter: Vec<(&str, QuotaMatch)> = entity
            .iter()
            .map(|(kind, name)| (kind.as_str(), name.clone().map_or(QuotaMatch::Default, QuotaMatch::Exactly)))
            .collect();
        let there = admin.describe_client_quotas(&filter).await.map_err(|e| failed(&e))?;
        let has = |name: &str| there.iter().flat_map(|(_, values)| values).any(|(key, _)| key == name);
        let missing: Vec<&str> = deleted.iter().map(|n| n.as_str()).filter(|n| !has(n)).collect();
        if !missing.is_empty() {
            let message = format!("Invalid config(s): {}", missing.join(","));
            return Err(Exception::new("org.apache.kafka.common.errors.InvalidConfigurationException", message).into());
        }
        wanted.extend(deleted.into_iter().map(|name| (name.clone(), None)));
    }
    Ok(admin.alter_client_quotas(&entity, &wanted).await.map_err(|e| failed(&e))?)
}
