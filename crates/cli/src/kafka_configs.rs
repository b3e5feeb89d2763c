//! `kafka-configs`: show and change the settings of topics, brokers, groups, client metrics and loggers.

use client::Error;
use client::admin::{Admin, ConfigChange, ConfigEntry, Resource, ResourceType};

use crate::client_quotas;
use crate::complain;
use crate::options::{HELP, Opt, Parsed, VERSION};
use crate::say;
use crate::tool::{self, Exception, Stop};
use crate::zookeeper_configs;

const ABOUT: &str = "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group";

const OPTIONS: &[Opt] = &[
    Opt::text(
        "add-config",
        "",
        "With --alter: settings to set, as in k1=v1,k2=[v1,v2,v2],k3=v3; square brackets hold values with commas. Examples: retention.ms=60000 for a topic, log.retention.ms=60000 for brokers.",
    ),
    Opt::text("add-config-file", "", "With --alter: a properties file with settings to set."),
    Opt::flag("all", "With --describe: also what is not set, with its default."),
    Opt::flag("alter", "Change settings."),
    Opt::text("bootstrap-controller", "controller to connect to", "Controllers to begin with instead of brokers."),
    Opt::text("bootstrap-server", "server to connect to", "Brokers to begin with, as HOST1:PORT1,HOST2:PORT2."),
    Opt::text("broker", "", "The broker with this id."),
    Opt::flag("broker-defaults", "The defaults of all brokers."),
    Opt::text("broker-logger", "", "The loggers of the broker with this id."),
    Opt::text("client", "", "The client with this id: its quotas."),
    Opt::flag("client-defaults", "The quotas of clients without their own."),
    Opt::text("client-metrics", "", "The subscription to client metrics with this name."),
    Opt::text(
        "command-config",
        "command config property file",
        "A file with settings for the client, under Java's names.",
    ),
    Opt::text("delete-config", "", "With --alter: names of settings to remove, with commas."),
    Opt::flag("describe", "Show settings."),
    Opt::flag("entity-default", "The defaults of the entity type."),
    Opt::text("entity-name", "", "The name of the topic or group, or the id of the broker."),
    Opt::text(
        "entity-type",
        "",
        "What has the settings: topics, clients, users, brokers, ips, client-metrics, groups or broker-loggers.",
    ),
    Opt::flag("force", "Ask no questions (there are none)."),
    Opt::text("group", "", "The group with this id."),
    HELP,
    Opt::text("ip", "", "The address: its quota of connections."),
    Opt::flag("ip-defaults", "The quota of connections of addresses without their own."),
    Opt::text("topic", "", "The topic."),
    Opt::text("user", "", "The user: quotas and SCRAM credentials."),
    Opt::flag("user-defaults", "The quotas of users without their own."),
    VERSION,
    Opt::text(
        "zookeeper",
        "urls",
        "Instead of --bootstrap-server, as in Kafka 2.1 and in its words: where the cluster's quorum answers.",
    ),
];

/// What may be asked about: its name as an entity type, in a sentence, and what it is to the broker. Quotas are no
/// resources with settings.
pub struct Kind {
    pub plural: &'static str,
    singular: &'static str,
    pub resource: Option<ResourceType>,
    /// Kafka's number of the source that a setting of its own has; none where every setting is one.
    own: Option<i8>,
}

const KINDS: [Kind; 8] = [
    Kind { plural: "topics", singular: "topic", resource: Some(ResourceType::Topic), own: Some(1) },
    Kind { plural: "clients", singular: "client", resource: None, own: None },
    Kind { plural: "users", singular: "user", resource: None, own: None },
    Kind { plural: "brokers", singular: "broker", resource: Some(ResourceType::Broker), own: Some(2) },
    Kind { plural: "ips", singular: "ip", resource: None, own: None },
    Kind {
        plural: "client-metrics",
        singular: "client-metric",
        resource: Some(ResourceType::ClientMetrics),
        own: Some(7),
    },
    Kind { plural: "groups", singular: "group", resource: Some(ResourceType::Group), own: Some(8) },
    Kind { plural: "broker-loggers", singular: "broker-logger", resource: Some(ResourceType::BrokerLogger), own: None },
];

/// The source of defaults that hold for all brokers.
const BROKER_DEFAULT: i8 = 3;

/// Options that name an entity by themselves, and the entity type each stands for.
const SHORTHANDS: [(&str, &str); 7] = [
    ("topic", "topics"),
    ("client", "clients"),
    ("user", "users"),
    ("broker", "brokers"),
    ("ip", "ips"),
    ("client-metrics", "client-metrics"),
    ("group", "groups"),
];
const LOGGER_SHORTHAND: (&str, &str) = ("broker-logger", "broker-loggers");
const DEFAULTS: [(&str, &str); 4] = [
    ("client-defaults", "clients"),
    ("user-defaults", "users"),
    ("broker-defaults", "brokers"),
    ("ip-defaults", "ips"),
];

/// Whose settings: the name is empty for the defaults, none for all of the kind.
pub struct Entity {
    pub kind: &'static Kind,
    pub name: Option<String>,
}

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = options(args).and_then(|o| tool::block_on(run(&o)));
    tool::end(result, OPTIONS, |e| {
        let is_plain = e.class == "java.lang.IllegalArgumentException"
            || e.class == "org.apache.kafka.common.errors.InvalidConfigurationException"
            || e.class.starts_with("joptsimple.");
        if is_plain {
            return complain!("{}", e.message);
        }
        complain!("Error while executing config command with args '{}'\n{}", args.join(" "), e.headline());
        if let Some(cause) = &e.cause {
            complain!("Caused by: {cause}");
        }
    })
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Exception::illegal_argument(message).into())
}

pub fn failed(error: &Error) -> Exception {
    Exception::new("java.util.concurrent.ExecutionException", format!("{}: {error}", error.class()))
}

fn options(args: &[String]) -> Result<Parsed, Stop> {
    let o = tool::begin(ABOUT, OPTIONS, args)?;
    if o.has("alter") == o.has("describe") {
        return Err(Stop::Usage("Command must include exactly one action: --describe, --alter".into()));
    }
    if o.has("zookeeper") {
        tool::forbid(&o, "zookeeper", &["bootstrap-server", "bootstrap-controller"])?;
        return Ok(o);
    }
    if !o.has("bootstrap-server") && !o.has("bootstrap-controller") {
        return refuse("Either --bootstrap-server or --bootstrap-controller must be specified.");
    }
    if o.has("bootstrap-server") && o.has("bootstrap-controller") {
        return refuse("Only one of --bootstrap-server or --bootstrap-controller can be specified.");
    }
    Ok(o)
}

/// The entities that the words name: one, or a user and a client.
pub fn entities(o: &Parsed) -> Result<Vec<Entity>, Stop> {
    let by_type = ["entity-type", "entity-name", "entity-default"].iter().any(|name| o.has(name));
    let by_flag = SHORTHANDS.iter().chain([&LOGGER_SHORTHAND]).chain(&DEFAULTS).any(|(option, _)| o.has(option));
    if by_type && by_flag {
        return refuse("--entity-{type,name,default} should not be used in conjunction with specific entity flags");
    }
    let mut types: Vec<&str> = o.values("entity-type");
    let mut names: Vec<Option<String>> = Vec::new();
    // Names and defaults belong to the types in the order in which they come.
    let mut given = o.values("entity-name").into_iter();
    for option in o.order() {
        match *option {
            "entity-name" => names.extend(given.next().map(|name| Some(name.to_owned()))),
            "entity-default" => names.push(Some(String::new())),
            _ => {}
        }
    }
    names.resize(types.len().max(names.len()), None);
    if types.is_empty() {
        names.clear();
    }
    for (option, plural) in SHORTHANDS.into_iter().chain([LOGGER_SHORTHAND]) {
        for name in o.values(option) {
            types.push(plural);
            names.push(Some(name.to_owned()));
        }
    }
    for (option, plural) in DEFAULTS {
        if o.has(option) {
            types.push(plural);
            names.push(Some(String::new()));
        }
    }
    if types.is_empty() {
        return refuse("At least one entity type must be specified");
    }
    if names.len() > types.len() {
        return refuse("--entity-name or --entity-default is not associated with an --entity-type");
    }
    let mut entities: Vec<Entity> = Vec::new();
    for (plural, name) in types.into_iter().zip(names) {
        let Some(kind) = KINDS.iter().find(|k| k.plural == plural) else {
            let all: Vec<&str> = KINDS.iter().map(|k| k.plural).collect();
            return refuse(format!(
                "Invalid entity type {plural}, the entity type must be one of {} with a --bootstrap-server or --bootstrap-controller argument",
                all.join(", ")
            ));
        };
        if entities.iter().any(|e| e.kind.plural == plural) {
            return refuse(format!("Duplicate entity type(s) specified: {plural}"));
        }
        let is_id = ["brokers", "broker-loggers"].contains(&plural);
        if let Some(name) = name.as_ref().filter(|n| is_id && !n.is_empty())
            && name.parse::<i32>().is_err()
        {
            return refuse(format!(
                "The entity name for {plural} must be a valid integer broker id, but it is: {name}"
            ));
        }
        entities.push(Entity { kind, name });
    }
    if entities.len() > 1 && entities.iter().any(|e| !["users", "clients"].contains(&e.kind.plural)) {
        return refuse("Only 'users' and 'clients' entity types may be specified together");
    }
    Ok(entities)
}

async fn run(o: &Parsed) -> Result<(), Stop> {
    if o.has("zookeeper") {
        return zookeeper_configs::run(o).await;
    }
    let entities = entities(o)?;
    let changes = match o.has("alter") {
        true => Some(changes(o, &entities)?),
        false => None,
    };
    let mut properties = tool::settings(o, "command-config")?;
    let servers = o.value("bootstrap-server")?.or(o.value("bootstrap-controller")?).unwrap_or_default();
    properties.insert("bootstrap.servers".into(), servers.into());
    let admin = tool::admin(&properties).await?;
    let Some(entity) = entities.first() else { return Ok(()) };
    let Some(resource) = entity.kind.resource else {
        let whose: Vec<(&str, Option<&str>)> = entities.iter().map(|e| (e.kind.plural, e.name.as_deref())).collect();
        let Some(changes) = changes else { return client_quotas::describe(&admin, &whose).await };
        client_quotas::alter(&admin, &whose, &changes).await?;
        say_altered(entity);
        return Ok(());
    };
    match changes {
        Some(changes) => alter(&admin, entity, resource, &changes).await,
        None => describe(&admin, entity, resource, o.has("all")).await,
    }
}

pub fn changes(o: &Parsed, entities: &[Entity]) -> Result<Vec<(String, ConfigChange)>, Stop> {
    for entity in entities {
        let has_defaults = ["users", "clients", "brokers", "ips"].contains(&entity.kind.plural);
        match &entity.name {
            Some(name) if !name.is_empty() || has_defaults => {}
            _ if has_defaults => {
                return refuse(format!(
                    "An entity name or default entity must be specified with --alter of {}",
                    entity.kind.plural
                ));
            }
            _ => return refuse(format!("An entity name must be specified with --alter of {}", entity.kind.plural)),
        }
    }
    if o.has("add-config") && o.has("add-config-file") {
        return refuse("Only one of --add-config or --add-config-file must be specified");
    }
    if !["add-config", "add-config-file", "delete-config"].iter().any(|n| o.has(n)) {
        return refuse(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        );
    }
    let mut changes = Vec::new();
    if let Some(path) = o.value("add-config-file")? {
        let settings = tool::load(path).map_err(|stop| match stop {
            Stop::Thrown(e) => Stop::Thrown(Exception { cause: None, message: path.to_owned(), ..e }),
            stop => stop,
        })?;
        changes.extend(settings.into_iter().map(|(name, value)| (name, ConfigChange::Set(value))));
    }
    if let Some(text) = o.value("add-config")? {
        for (name, value) in added(text)? {
            changes.push((name, ConfigChange::Set(value)));
        }
    }
    if let Some(names) = o.value("delete-config")? {
        changes.extend(names.split(',').map(|name| (name.trim().to_owned(), ConfigChange::Delete)));
    }
    Ok(changes)
}

/// `k1=v1,k2=[v1,v2]`: commas and equals signs inside of brackets divide nothing.
fn added(text: &str) -> Result<Vec<(String, String)>, Stop> {
    let plain = |text: &str| text.replace(['[', ']'], "").trim().to_owned();
    divided(text, ',')
        .into_iter()
        .map(|part| match divided(part, '=')[..] {
            [name, value] => Ok((name.trim().to_owned(), plain(value))),
            _ => refuse(
                "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.",
            ),
        })
        .collect()
}

/// Divides where `at` stands outside of brackets.
fn divided(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if c == at && !inside => {
                parts.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

async fn alter(
    admin: &Admin,
    entity: &Entity,
    kind: ResourceType,
    changes: &[(String, ConfigChange)],
) -> Result<(), Stop> {
    let name = entity.name.clone().unwrap_or_default();
    let resource = Resource { kind, name };
    if kind == ResourceType::BrokerLogger {
        let known = settings(admin, &resource).await?;
        let unknown: Vec<&str> =
            changes.iter().map(|c| c.0.as_str()).filter(|name| !known.iter().any(|k| k.name == **name)).collect();
        if !unknown.is_empty() {
            let message = format!("Invalid broker logger(s): {}", unknown.join(","));
            return Err(Exception::new("org.apache.kafka.common.errors.InvalidConfigurationException", message).into());
        }
    }
    admin.alter_configs(&resource, changes).await.map_err(|e| failed(&e))?;
    say_altered(entity);
    Ok(())
}

fn say_altered(entity: &Entity) {
    match entity.name.as_deref().unwrap_or_default() {
        "" => say!("Completed updating default config for {} in the cluster.", entity.kind.plural),
        name => say!("Completed updating config for {} {name}.", entity.kind.singular),
    }
}

async fn settings(admin: &Admin, resource: &Resource) -> Result<Vec<ConfigEntry>, Stop> {
    let mut found = admin.describe_configs(std::slice::from_ref(resource)).await.map_err(|e| failed(&e))?;
    Ok(found.pop().unwrap_or_default())
}

async fn describe(admin: &Admin, entity: &Entity, kind: ResourceType, all: bool) -> Result<(), Stop> {
    let (singular, plural) = (entity.kind.singular, entity.kind.plural);
    let names = match &entity.name {
        Some(name) if name.is_empty() => vec![String::new()],
        Some(name) => {
            if !names(admin, kind).await?.contains(name) {
                say!("The {singular} '{name}' doesn't exist and doesn't have dynamic config.");
                return Ok(());
            }
            vec![name.clone()]
        }
        None => {
            let mut names = names(admin, kind).await?;
            if kind == ResourceType::Broker {
                names.push(String::new());
            }
            names
        }
    };
    for name in names {
        let is_default = name.is_empty();
        match (is_default, all) {
            (true, _) => say!("Default configs for {plural} in the cluster are:"),
            (false, true) => say!("All configs for {singular} {name} are:"),
            (false, false) => say!("Dynamic configs for {singular} {name} are:"),
        }
        let source = if is_default { Some(BROKER_DEFAULT) } else { entity.kind.own };
        let mut entries = settings(admin, &Resource { kind, name }).await?;
        entries.retain(|e| all || source.is_none_or(|source| e.source == source));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.iter().for_each(print);
    }
    Ok(())
}

/// The names of all that there is of a kind.
pub async fn names(admin: &Admin, kind: ResourceType) -> Result<Vec<String>, Stop> {
    let mut names = match kind {
        ResourceType::Topic => {
            let topics = admin.list_topics("listTopics").await.map_err(|e| failed(&e))?;
            topics.into_iter().map(|t| t.name).collect()
        }
        ResourceType::Broker | ResourceType::BrokerLogger => {
            let brokers = admin.brokers().await.map_err(|e| failed(&e))?;
            brokers.into_iter().map(|b| b.node.id.to_string()).collect()
        }
        ResourceType::ClientMetrics => admin.list_config_resources(kind).await.map_err(|e| failed(&e))?,
        ResourceType::Group => {
            let mut names: Vec<String> = match admin.list_config_resources(kind).await {
                // Older brokers list those of client metrics alone.
                Err(Error::Unsupported(_)) => Vec::new(),
                listed => listed.map_err(|e| failed(&e))?,
            };
            let groups = admin.list_groups(&[], &[]).await.map_err(|e| failed(&e))?;
            names.extend(groups.into_iter().map(|g| g.id));
            names
        }
    };
    names.sort();
    names.dedup();
    Ok(names)
}

fn print(entry: &ConfigEntry) {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<String> =
        entry.synonyms.iter().map(|s| format!("{}:{}={}", source(s.source), s.name, text(&s.value))).collect();
    say!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        text(&entry.value),
        entry.is_sensitive,
        synonyms.join(", ")
    );
}

fn source(number: i8) -> &'static str {
    match number {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_hold_values_with_commas() {
        let pairs = |text| added(text).ok();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("a=1,b=[x,y], c = z"), Some(vec![pair("a", "1"), pair("b", "x,y"), pair("c", "z")]));
        assert_eq!(pairs("a=[k=v,l=w]"), Some(vec![pair("a", "k=v,l=w")]));
        assert_eq!(pairs("a=[b"), Some(vec![pair("a", "b")]));
        assert_eq!(pairs("a="), Some(vec![pair("a", "")]));
        for text in ["", "a", "a=1,", "a=b=c"] {
            assert_eq!(pairs(text), None, "{text}");
        }
    }

    #[test]
    fn names_and_defaults_belong_to_the_types_in_their_order() {
        let found = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let all = entities(&options(&words).expect("options")).expect("entities");
            all.into_iter().map(|e| (e.kind.plural, e.name)).collect::<Vec<_>>()
        };
        let (default, named) = (Some(String::new()), Some("c".to_owned()));
        let begin = "--bootstrap-server a:1 --describe --entity-type users";
        let both = |end: &str| found(&format!("{begin} --entity-type clients {end}"));
        assert_eq!(both("--entity-default --entity-name c"), [("users", default.clone()), ("clients", named.clone())]);
        assert_eq!(both("--entity-name c --entity-default"), [("users", named), ("clients", default.clone())]);
        assert_eq!(both("--entity-default --entity-default"), [("users", default.clone()), ("clients", default)]);
        assert_eq!(found(begin), [("users", None)]);
    }
}
