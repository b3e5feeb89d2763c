//! The settings that every connector has, with those of its transforms and predicates.

use std::time::Duration;

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Plugins, Preset, Properties, Result, Setting, TaskKind, Validated,
    Validator, Width,
};

use super::worker::prefixed;

const COMMON: &str = "Common";
const TRANSFORMS: &str = "Transforms";
const PREDICATES: &str = "Predicates";
const ERRORS: &str = "Error Handling";
const TOPIC_CREATION: &str = "Topic Creation";
const EXACTLY_ONCE: &str = "Exactly Once Support";
const OFFSETS_TOPIC: &str = "offsets.topic";

/// The declarations that every connector of this kind has.
pub fn definition(kind: TaskKind) -> ConfigDef {
    use Importance::{High, Low, Medium};
    let plugin = |name: &'static str, order, title: &str, doc: &str| {
        ConfigKey::optional(name, Kind::Class, Low, doc).shown(COMMON, order, Width::Short, title)
    };
    let aliases = |name: &str, group: &str, order, title: &str, doc: &str| {
        ConfigKey::with_default(name, Kind::List, "", Low, doc).validator(Validator::check(unique)).shown(
            group,
            order,
            Width::Long,
            title,
        )
    };
    let name =
        ConfigKey::required("name", Kind::String, High, "The connector's name, which no other one in the cluster has.")
            .validator(Validator::check(|value| match value.as_str() {
                Some("") => Err("String may not be empty".to_owned()),
                name => match name.unwrap_or_default().chars().filter(char::is_ascii_control).collect::<Vec<_>>() {
                    none if none.is_empty() => Ok(()),
                    controls => {
                        let codes: Vec<String> = controls.iter().map(|c| u32::from(*c).to_string()).collect();
                        let codes = codes.join(", ");
                        Err(format!(
                            "String may not contain control sequences but had the following ASCII chars: {codes}"
                        ))
                    }
                },
            }));
    let mut def = ConfigDef::new()
        .define(name.shown(COMMON, 1, Width::Medium, "Connector name"))
        .define(
            ConfigKey::required(
                "connector.class",
                Kind::String,
                High,
                "The connector's class: in full, or its last word, with or without `Connector`.",
            )
            .shown(COMMON, 2, Width::Long, "Connector class"),
        )
        .define(version("connector.", Medium, COMMON, 3, Width::Medium, "Connector version"))
        .define(
            ConfigKey::with_default("tasks.max", Kind::Int, "1", High, "How many tasks the connector may have.")
                .validator(Validator::AtLeast(1.0))
                .shown(COMMON, 4, Width::Short, "Tasks max"),
        )
        .define(
            ConfigKey::with_default(
                "tasks.max.enforce",
                Kind::Boolean,
                "true",
                Low,
                "Whether a connector with more tasks fails.",
            )
            .shown(COMMON, 5, Width::Short, "Enforce tasks max"),
        )
        .define(version("key.converter.", Low, COMMON, 7, Width::Short, "Key converter version"))
        .define(plugin(
            "key.converter",
            6,
            "Key converter class",
            "Turns keys into bytes and back, instead of the worker's.",
        ))
        .define(version("value.converter.", Low, COMMON, 9, Width::Short, "Value converter version"))
        .define(plugin(
            "value.converter",
            8,
            "Value converter class",
            "Turns values into bytes and back, instead of the worker's.",
        ))
        .define(version("header.converter.", Low, COMMON, 11, Width::Short, "Header converter version"))
        .define(plugin(
            "header.converter",
            10,
            "Header converter class",
            "Turns the values of headers into bytes and back, instead of the worker's.",
        ))
        .define(aliases(
            "transforms",
            TRANSFORMS,
            12,
            "Transforms",
            "Names for the transforms that records go through, in this order.",
        ))
        .define(aliases(
            "predicates",
            PREDICATES,
            13,
            "Predicates",
            "Names for the predicates that transforms refer to.",
        ))
        .define(
            ConfigKey::with_default(
                "config.action.reload",
                Kind::String,
                "restart",
                Low,
                "What happens when a value from a config provider changes.",
            )
            .validator(Validator::OneOf(&["none", "restart"]))
            .shown(COMMON, 14, Width::Medium, "Reload Action"),
        )
        .define(
            ConfigKey::with_default(
                "errors.retry.timeout",
                Kind::Long,
                "0",
                Medium,
                "How long something that failed is tried again, in ms; -1: for ever.",
            )
            .shown(ERRORS, 1, Width::Medium, "Retry Timeout for Errors"),
        )
        .define(
            ConfigKey::with_default(
                "errors.retry.delay.max.ms",
                Kind::Long,
                "60000",
                Medium,
                "The longest pause between two attempts, in ms.",
            )
            .shown(ERRORS, 2, Width::Medium, "Maximum Delay Between Retries for Errors"),
        )
        .define(
            ConfigKey::with_default(
                "errors.tolerance",
                Kind::String,
                "none",
                Medium,
                "`none`: a record that fails stops the task; `all`: it is skipped.",
            )
            .validator(Validator::OneOf(&["none", "all"]))
            .shown(ERRORS, 3, Width::Short, "Error Tolerance"),
        )
        .define(
            ConfigKey::with_default(
                "errors.log.enable",
                Kind::Boolean,
                "false",
                Medium,
                "Whether tolerated errors are logged.",
            )
            .shown(ERRORS, 4, Width::Short, "Log Errors"),
        )
        .define(
            ConfigKey::with_default(
                "errors.log.include.messages",
                Kind::Boolean,
                "false",
                Medium,
                "Whether the log tells which record it was.",
            )
            .shown(ERRORS, 5, Width::Short, "Log Error Details"),
        );
    def = match kind {
        TaskKind::Source => def
            .define(aliases(
                "topic.creation.groups",
                TOPIC_CREATION,
                1,
                "Topic Creation Groups",
                "Names for settings of topics that the worker creates.",
            ))
            .define(
                ConfigKey::with_default(
                    "exactly.once.support",
                    Kind::String,
                    "requested",
                    Medium,
                    "`required` is refused: this worker has no exactly-once sources.",
                )
                .validator(Validator::check(|value| match value.as_str().map(str::to_ascii_lowercase).as_deref() {
                    Some("requested") => Ok(()),
                    Some("required") => Err("this worker does not support exactly-once sources".to_owned()),
                    _ => Err("String must be one of (case insensitive): REQUIRED, REQUESTED".to_owned()),
                }))
                .shown(EXACTLY_ONCE, 2, Width::Short, "Exactly once support"),
            )
            .define(
                ConfigKey::with_default(
                    "transaction.boundary",
                    Kind::String,
                    "poll",
                    Medium,
                    "Where transactions of exactly-once sources end; without effect here.",
                )
                .validator(Validator::OneOfIgnoringCase(&["INTERVAL", "POLL", "CONNECTOR"]))
                .shown(EXACTLY_ONCE, 3, Width::Short, "Transaction Boundary"),
            )
            .define(
                ConfigKey::optional(
                    "transaction.boundary.interval.ms",
                    Kind::Long,
                    Low,
                    "How long transactions of exactly-once sources last; without effect here.",
                )
                .validator(Validator::AtLeast(0.0))
                .shown(EXACTLY_ONCE, 4, Width::Short, "Transaction boundary interval"),
            )
            .define(
                ConfigKey::optional(
                    "offsets.storage.topic",
                    Kind::String,
                    Low,
                    "A topic of the connector's own for offsets; without effect here.",
                )
                .validator(Validator::NonEmpty)
                .shown(OFFSETS_TOPIC, 1, Width::Long, "Offsets topic"),
            ),
        TaskKind::Sink => def
            .define(
                ConfigKey::with_default(
                    "topics",
                    Kind::List,
                    "",
                    High,
                    "The topics to read, with commas between them.",
                )
                .validator(Validator::refuse(distinct))
                .shown(COMMON, 4, Width::Long, "Topics"),
            )
            .define(
                ConfigKey::with_default(
                    "topics.regex",
                    Kind::String,
                    "",
                    High,
                    "A regular expression for the topics to read, as Java has them.",
                )
                .validator(Validator::check(|value| {
                    let text = value.as_str().unwrap_or_default();
                    client::pattern::Pattern::new(text)
                        .map(|_| ())
                        .map_err(|why| format!("Invalid regex pattern: {why}"))
                }))
                .shown(COMMON, 4, Width::Long, "Topics regex"),
            )
            .define(
                ConfigKey::with_default(
                    "errors.deadletterqueue.topic.name",
                    Kind::String,
                    "",
                    Medium,
                    "The topic for records that failed; none when empty.",
                )
                .shown(ERRORS, 6, Width::Medium, "Dead Letter Queue Topic Name"),
            )
            .define(
                ConfigKey::with_default(
                    "errors.deadletterqueue.topic.replication.factor",
                    Kind::Short,
                    "3",
                    Medium,
                    "Of that topic, when the worker creates it.",
                )
                .shown(ERRORS, 7, Width::Medium, "Dead Letter Queue Topic Replication Factor"),
            )
            .define(
                ConfigKey::with_default(
                    "errors.deadletterqueue.context.headers.enable",
                    Kind::Boolean,
                    "false",
                    Medium,
                    "Whether headers tell what happened to the record.",
                )
                .shown(ERRORS, 8, Width::Medium, "Enable Error Context Headers"),
            ),
    };
    def
}

/// The setting that chooses among versions of a plugin (KIP-891); here there is one of each.
fn version(prefix: &str, importance: Importance, group: &str, order: i32, width: Width, title: &str) -> ConfigKey {
    let doc = "The plugin's version; without effect here.";
    ConfigKey::with_default(format!("{prefix}plugin.version"), Kind::String, crate::KAFKA_VERSION, importance, doc)
        .shown(group, order, width, title)
        .recommend([crate::KAFKA_VERSION.to_owned()])
}

fn unique(value: &Setting) -> std::result::Result<(), String> {
    let Setting::List(items) = value else { return Ok(()) };
    match items.iter().enumerate().find(|(i, item)| items[..*i].contains(item)) {
        Some(_) => Err("Duplicate alias provided.".to_owned()),
        None => Ok(()),
    }
}

/// Adds the declarations of the transforms, predicates and groups of topics that the settings name.
pub fn enriched(mut def: ConfigDef, properties: &Properties, plugins: &Plugins) -> ConfigDef {
    let listed = |name: &str| match def_list(properties, name) {
        Setting::List(items) => items,
        _ => Vec::new(),
    };
    let predicates = listed("predicates");
    for alias in listed("transforms") {
        let (prefix, group) = (format!("transforms.{alias}."), format!("Transforms: {alias}"));
        let known = |p: &Plugins, name: &str| p.find_transform(name).is_some();
        let options = plugins.transforms().iter().map(|p| p.class.to_owned()).collect();
        let mut class = class_key(&prefix, &group, "Transformation", options, plugins, known);
        if properties.contains_key(&format!("{prefix}negate"))
            && !properties.contains_key(&format!("{prefix}predicate"))
        {
            let (named, prefix) = (class.clone(), prefix.clone());
            class = class.validator(Validator::refuse(move |value| {
                named.check(value).map_err(|e| e.message)?;
                Err(format!(
                    "Config '{prefix}negate' was provided but there is no config '{prefix}predicate' defining a predicate to \
                     be negated."
                ))
            }));
        }
        let title = format!("Transformation version for {alias}");
        def = def.define(class).define(version(&prefix, Importance::High, &group, 1, Width::Long, &title));
        let own = properties.get(&format!("{prefix}type")).and_then(|name| plugins.find_transform(name.trim()));
        let Some(own) = own else { continue };
        let names = predicates.clone();
        let only = Validator::check(move |value| match value.as_str() {
            Some(name) if !name.is_empty() && !names.iter().any(|n| n == name) => {
                Err(format!("Predicate '{name}' is not one of predicates"))
            }
            _ => Ok(()),
        });
        let inner = (own.new)()
            .config()
            .define(
                ConfigKey::optional(
                    "predicate",
                    Kind::String,
                    Importance::Medium,
                    "Which records it is for; all without one.",
                )
                .validator(only),
            )
            .define(ConfigKey::with_default(
                "negate",
                Kind::Boolean,
                "false",
                Importance::Medium,
                "Whether it is for all other records instead.",
            ));
        def = embedded(def, &inner, &prefix, &group);
    }
    for alias in predicates {
        let (prefix, group) = (format!("predicates.{alias}."), format!("Predicates: {alias}"));
        let known = |p: &Plugins, name: &str| p.find_predicate(name).is_some();
        let options = plugins.predicates().iter().map(|p| p.class.to_owned()).collect();
        let title = format!("Predicate version for {alias}");
        def = def.define(class_key(&prefix, &group, "Predicate", options, plugins, known)).define(version(
            &prefix,
            Importance::High,
            &group,
            1,
            Width::Long,
            &title,
        ));
        let own = properties.get(&format!("{prefix}type")).and_then(|name| plugins.find_predicate(name.trim()));
        let inner = own.map(|p| (p.new)().config()).unwrap_or_default();
        def = embedded(def, &inner, &prefix, &group);
    }
    def
}

/// The declarations for topics that the worker creates, with those of the groups that the settings name. As in Kafka they
/// are looked at when a task starts, and only where the defaults are set.
pub fn topic_creation(properties: &Properties) -> ConfigDef {
    let mut def = ConfigDef::new();
    let groups = match def_list(properties, "topic.creation.groups") {
        Setting::List(items) => items,
        _ => Vec::new(),
    };
    for alias in ["default".to_owned()].into_iter().chain(groups) {
        let (prefix, group) = (format!("topic.creation.{alias}."), format!("Topic Creation: {alias}"));
        let required = alias == "default";
        for (name, kind, title) in
            [("replication.factor", Kind::Short, "Replication Factor"), ("partitions", Kind::Int, "Partition Count")]
        {
            let doc = "Of the topics of this group; -1: the broker's default.";
            let key = match required {
                true => ConfigKey::required(format!("{prefix}{name}"), kind, Importance::Low, doc),
                false => ConfigKey::optional(format!("{prefix}{name}"), kind, Importance::Low, doc),
            };
            let check = Validator::check(|value| match value {
                Setting::Integer(-1 | 1..) | Setting::Null => Ok(()),
                _ => Err("Value must be -1 or more than 0".to_owned()),
            });
            def = def.define(key.validator(check).shown(&group, 1, Width::Long, title));
        }
        if !required {
            for name in ["include", "exclude"] {
                let key = ConfigKey::with_default(
                    format!("{prefix}{name}"),
                    Kind::List,
                    "",
                    Importance::Low,
                    "Regular expressions for topics.",
                );
                def = def.define(key.validator(Validator::check(patterns)).shown(&group, 2, Width::Long, name));
            }
        }
    }
    def
}

/// Names that are there, each once.
fn distinct(value: &Setting) -> std::result::Result<(), String> {
    let Setting::List(items) = value else { return Ok(()) };
    if items.iter().any(String::is_empty) {
        return Err("Configuration 'topics' values must not be empty.".to_owned());
    }
    match unique(value) {
        Ok(()) => Ok(()),
        Err(_) => Err("Configuration 'topics' values must not be duplicated.".to_owned()),
    }
}

fn patterns(value: &Setting) -> std::result::Result<(), String> {
    let Setting::List(items) = value else { return Ok(()) };
    items.iter().try_for_each(|item| client::pattern::Pattern::new(item).map(|_| ()))
}

fn def_list(properties: &Properties, name: &str) -> Setting {
    let key = ConfigKey::with_default(name, Kind::List, "", Importance::Low, "");
    key.parse(properties.get(name).map(String::as_str)).unwrap_or(Setting::Null)
}

fn class_key(
    prefix: &str,
    group: &str,
    title: &str,
    options: Vec<String>,
    plugins: &Plugins,
    known: impl Fn(&Plugins, &str) -> bool + Send + Sync + 'static,
) -> ConfigKey {
    let plugins = plugins.clone();
    let name = prefix.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    ConfigKey::required(format!("{prefix}type"), Kind::Class, Importance::High, &format!("The class of {name}."))
        .validator(Validator::check(move |value| match value.as_str() {
            Some(name) if known(&plugins, name) => Ok(()),
            name => Err(format!("Class {} could not be found.", name.unwrap_or_default())),
        }))
        .shown(group, 0, Width::Long, &format!("{title} type for {name}"))
        .recommend(options)
}

/// The declarations of a plugin under a prefix, in Kafka's order: what is required, what is important, by name. What they
/// say about values they say under their own names.
fn embedded(mut def: ConfigDef, inner: &ConfigDef, prefix: &str, group: &str) -> ConfigDef {
    let mut keys: Vec<&ConfigKey> = inner.keys().iter().collect();
    keys.sort_by_key(|k| (k.default != Preset::Required, k.importance as u8, k.name.clone()));
    for (key, order) in keys.into_iter().zip(2..) {
        let name = format!("{prefix}{}", key.name);
        // What the worker declares itself comes first.
        if def.key(&name).is_some() {
            continue;
        }
        let dependents = key.dependents.iter().map(|d| format!("{prefix}{d}")).collect();
        let own = key.clone();
        let check = Validator::refuse(move |value| own.check(value).map_err(|e| e.message));
        def = def.define(
            ConfigKey { name, group: Some(group.to_owned()), order, dependents, ..key.clone() }.validator(check),
        );
    }
    def
}

/// What a sink's topics must be: errors for `topics` and `topics.regex`.
pub fn check_topics(properties: &Properties, values: &mut [Validated]) {
    let given = |name: &str| properties.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
    let (topics, regex) = (given("topics"), given("topics.regex"));
    let dlq = given("errors.deadletterqueue.topic.name");
    let mut complain = |names: &[&str], message: &str| {
        for value in values.iter_mut().filter(|v| names.contains(&v.name.as_str())) {
            value.errors.push(message.to_owned());
        }
    };
    const BOTH: [&str; 2] = ["topics", "topics.regex"];
    match (topics, regex) {
        (Some(_), Some(_)) => {
            complain(&BOTH, "topics and topics.regex are mutually exclusive options, but both are set.")
        }
        (None, None) => complain(&BOTH, "Must configure one of topics or topics.regex"),
        (Some(topics), None) => {
            let names: Vec<&str> = topics.split(',').map(str::trim).collect();
            if let Some(dlq) = dlq.filter(|d| names.contains(d)) {
                complain(
                    &["topics"],
                    &format!(
                        "The DLQ topic '{dlq}' may not be included in the list of topics ('topics=[{}]') consumed by the connector",
                        names.join(", ")
                    ),
                );
            }
        }
        (None, Some(regex)) => {
            let pattern = client::pattern::Pattern::new(regex);
            if let (Ok(pattern), Some(dlq)) = (pattern, dlq)
                && pattern.matches(dlq)
            {
                complain(
                    &["topics.regex"],
                    &format!(
                        "The DLQ topic '{dlq}' may not be matched by the regex for the topics ('topics.regex={regex}') consumed by the connector"
                    ),
                );
            }
        }
    }
}

/// How a connector's tasks take errors.
#[derive(Clone, Debug)]
pub struct ErrorPolicy {
    /// None: for ever.
    pub retry_timeout: Option<Duration>,
    pub retry_delay_max: Duration,
    pub tolerate_all: bool,
    pub log: bool,
    pub log_records: bool,
    pub dead_letters: Option<DeadLetters>,
}

/// Where records go that failed.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pub topic: String,
    pub replication_factor: i16,
    pub with_context: bool,
}

/// A transform as the settings have it.
#[derive(Clone, Debug)]
pub struct Step {
    pub alias: String,
    pub class: String,
    pub properties: Properties,
    /// The predicate's alias, class and settings, and whether it is turned around.
    pub only: Option<(String, String, Properties, bool)>,
}

/// A connector's settings, read.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    pub name: String,
    pub class: String,
    pub tasks_max: usize,
    pub enforce_tasks_max: bool,
    pub errors: ErrorPolicy,
    pub steps: Vec<Step>,
    pub topics: Vec<String>,
    pub topics_regex: Option<String>,
}

impl ConnectorConfig {
    /// Reads what every connector has. What is only needed by connectors or tasks of a kind has a default.
    pub fn new(kind: TaskKind, properties: &Properties) -> Result<ConnectorConfig> {
        let config = definition(kind).parse(properties)?;
        let sink = kind == TaskKind::Sink;
        let text =
            |name: &str| if sink { config.string(name).filter(|t| !t.is_empty()).map(str::to_owned) } else { None };
        let retry = config.integer("errors.retry.timeout");
        let errors = ErrorPolicy {
            retry_timeout: u64::try_from(retry).ok().map(Duration::from_millis),
            retry_delay_max: Duration::from_millis(config.integer("errors.retry.delay.max.ms").max(0) as u64),
            tolerate_all: config.string("errors.tolerance") == Some("all"),
            log: config.boolean("errors.log.enable"),
            log_records: config.boolean("errors.log.include.messages"),
            dead_letters: text("errors.deadletterqueue.topic.name").map(|topic| DeadLetters {
                topic,
                replication_factor: config.integer("errors.deadletterqueue.topic.replication.factor") as i16,
                with_context: config.boolean("errors.deadletterqueue.context.headers.enable"),
            }),
        };
        Ok(ConnectorConfig {
            name: config.string("name").unwrap_or_default().to_owned(),
            class: config.string("connector.class").unwrap_or_default().to_owned(),
            tasks_max: config.integer("tasks.max") as usize,
            enforce_tasks_max: config.boolean("tasks.max.enforce"),
            errors,
            steps: steps(config.list("transforms"), properties)?,
            topics: if sink { config.list("topics").to_vec() } else { Vec::new() },
            topics_regex: text("topics.regex"),
        })
    }
}

fn steps(aliases: &[String], properties: &Properties) -> Result<Vec<Step>> {
    aliases
        .iter()
        .map(|alias| {
            let mut own = prefixed(properties, &format!("transforms.{alias}."));
            let missing = |what: String| {
                Error::config(format!("Missing required configuration \"{what}\" which has no default value."))
            };
            let class = own.remove("type").ok_or_else(|| missing(format!("transforms.{alias}.type")))?;
            let negate = own.remove("negate").is_some_and(|n| n.trim().eq_ignore_ascii_case("true"));
            let only = match own.remove("predicate").filter(|p| !p.trim().is_empty()) {
                None => None,
                Some(predicate) => {
                    let mut settings = prefixed(properties, &format!("predicates.{predicate}."));
                    let class =
                        settings.remove("type").ok_or_else(|| missing(format!("predicates.{predicate}.type")))?;
                    Some((predicate, class.trim().to_owned(), settings, negate))
                }
            };
            Ok(Step { alias: alias.clone(), class: class.trim().to_owned(), properties: own, only })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_sink_has_topics_or_a_pattern_and_does_not_read_its_dead_letters() {
        let errors = |pairs: &[(&str, &str)]| {
            let properties = given(pairs);
            let mut values = definition(TaskKind::Sink).validate(&properties);
            check_topics(&properties, &mut values);
            values.into_iter().filter(|v| v.name.starts_with("topics")).flat_map(|v| v.errors).collect::<Vec<_>>()
        };
        assert_eq!(errors(&[]).len(), 2);
        assert_eq!(errors(&[("topics", "a"), ("topics.regex", "b")]).len(), 2);
        assert_eq!(errors(&[("topics", "a,b"), ("errors.deadletterqueue.topic.name", "b")]).len(), 1);
        assert_eq!(errors(&[("topics.regex", "a.*"), ("errors.deadletterqueue.topic.name", "ab")]).len(), 1);
        assert_eq!(errors(&[("topics", "a")]), Vec::<String>::new());
    }

    #[test]
    fn transforms_name_their_predicates() {
        let properties = given(&[
            ("name", "c"),
            ("connector.class", "x"),
            ("transforms", "a"),
            ("transforms.a.type", "T"),
            ("transforms.a.field", "f"),
            ("transforms.a.predicate", "p"),
            ("transforms.a.negate", "true"),
            ("predicates", "p"),
            ("predicates.p.type", "P"),
            ("predicates.p.name", "n"),
        ]);
        let config = ConnectorConfig::new(TaskKind::Source, &properties).unwrap();
        let step = &config.steps[0];
        assert_eq!((step.class.as_str(), &step.properties), ("T", &given(&[("field", "f")])));
        assert_eq!(step.only, Some(("p".into(), "P".into(), given(&[("name", "n")]), true)));
    }

    /// What is wrong with a setting of a source.
    fn errors(pairs: &[(&str, &str)], name: &str) -> (Option<String>, Vec<String>) {
        let mut plugins = Plugins::new();
        connect_transforms::register(&mut plugins, crate::KAFKA_VERSION);
        let properties = given(pairs);
        let def = enriched(definition(TaskKind::Source), &properties, &plugins);
        let found = def.validate(&properties).into_iter().find(|v| v.name == name).unwrap();
        (found.value, found.errors)
    }

    #[test]
    fn what_is_wrong_is_told_in_kafkas_words() {
        let what = |message: &str| vec![message.to_owned()];
        let (value, told) = errors(&[("tasks.max", "x")], "tasks.max");
        assert_eq!((value, told.len()), (None, 2));
        assert_eq!(told[1], "Invalid value null for configuration tasks.max: Value must be non-null");
        let (value, told) = errors(&[("tasks.max", "0")], "tasks.max");
        assert_eq!(value.as_deref(), Some("0"));
        assert_eq!(told, what("Invalid value 0 for configuration tasks.max: Value must be at least 1"));
        assert_eq!(
            errors(&[("name", "")], "name").1,
            what("Invalid value  for configuration name: String may not be empty")
        );
        let (_, told) = errors(&[("name", "a\nb")], "name");
        assert!(told[0].ends_with("had the following ASCII chars: 10"), "{told:?}");
        let (_, told) = errors(&[("transforms", "a,a")], "transforms");
        assert_eq!(told, what("Invalid value [a, a] for configuration transforms: Duplicate alias provided."));
        let (_, told) = errors(&[("transaction.boundary", "x")], "transaction.boundary");
        assert!(told[0].ends_with("INTERVAL, POLL, CONNECTOR"), "{told:?}");
    }

    #[test]
    fn transforms_are_told_of_as_kafka_does() {
        let class = ("transforms.a.type", "org.apache.kafka.connect.transforms.TimestampConverter$Value");
        let base = [("transforms", "a"), class];
        let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
        let (_, told) = errors(&with(&[("transforms.a.negate", "true")]), "transforms.a.type");
        let expected = "Config 'transforms.a.negate' was provided but there is no config 'transforms.a.predicate' defining \
                        a predicate to be negated.";
        assert_eq!(told, [expected]);
        assert_eq!(errors(&base, "transforms.a.predicate"), (None, Vec::new()));
        // What is read has the long name, what is looked at the plugin's own.
        let (_, told) = errors(&with(&[("transforms.a.target.type", "x")]), "transforms.a.target.type");
        let words = "String must be one of: string, unix, Date, Time, Timestamp";
        assert_eq!(told, [format!("Invalid value x for configuration target.type: {words}")]);
        let (_, told) = errors(&base, "transforms.a.target.type");
        let missing = "Missing required configuration \"transforms.a.target.type\" which has no default value.";
        assert_eq!(told, [missing.to_owned(), format!("Invalid value null for configuration target.type: {words}")]);
    }
}
