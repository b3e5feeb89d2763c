//! The transforms of a connector, one after the other, each for the records that its predicate says (KIP-585).

use connect_api::{
    ConfigDef, ConfigKey, Error, Importance, Kind, Plugins, Predicate, Properties, Record, Result, Setting, Transform,
    Validator, Width,
};

/// Transforms in the order of the setting `transforms`.
pub struct Chain {
    stages: Vec<Stage>,
}

struct Stage {
    transform: Box<dyn Transform>,
    /// With the answer that lets a record through.
    predicate: Option<(Box<dyn Predicate>, bool)>,
}

impl Chain {
    /// The chain that a connector's settings describe: `transforms`, `transforms.<alias>.type` and so on.
    pub fn new(plugins: &Plugins, properties: &Properties) -> Result<Chain> {
        let mut stages = Vec::new();
        for alias in aliases(properties, "transforms")? {
            let prefix = format!("transforms.{alias}.");
            let class = class(properties, &prefix)?;
            let plugin = plugins.find_transform(class).ok_or_else(|| Error::config(not_found(&prefix, class)))?;
            let mut settings = with_prefix(properties, &prefix);
            let negated = settings.remove("negate").is_some_and(|negate| negate.trim().eq_ignore_ascii_case("true"));
            let predicate = match settings.remove("predicate") {
                Some(alias) => Some((predicate(plugins, properties, alias.trim())?, !negated)),
                None => None,
            };
            let mut transform = (plugin.new)();
            transform.configure(&settings)?;
            stages.push(Stage { transform, predicate });
        }
        Ok(Chain { stages })
    }

    /// Adds the declarations of all classes that a connector's `transforms` and `predicates` name, so that its settings can
    /// be validated as a whole. For a class that is not known only `type` is declared, and refused.
    pub fn declare(plugins: &Plugins, properties: &Properties, mut declarations: ConfigDef) -> Result<ConfigDef> {
        for alias in aliases(properties, "transforms")? {
            let prefix = format!("transforms.{alias}.");
            let known = plugins.transforms().iter().map(|plugin| plugin.class.to_owned());
            let own = class(properties, &prefix).ok().and_then(|class| plugins.find_transform(class));
            let negates_nothing = properties.contains_key(&format!("{prefix}negate"))
                && !properties.contains_key(&format!("{prefix}predicate"));
            let validator = class_validator(&prefix, own.is_some(), negates_nothing);
            let key = type_key(&prefix, &alias, ["transformation", "Transformation", "Transforms"]);
            declarations = declarations.define(key.validator(validator).recommend(known));
            if let Some(plugin) = own {
                let keys = [stage_keys(), (plugin.new)().config()];
                declarations = embed(declarations, &prefix, &format!("Transforms: {alias}"), &keys);
            }
        }
        for alias in aliases(properties, "predicates")? {
            let prefix = format!("predicates.{alias}.");
            let known = plugins.predicates().iter().map(|plugin| plugin.class.to_owned());
            let own = class(properties, &prefix).ok().and_then(|class| plugins.find_predicate(class));
            let validator = class_validator(&prefix, own.is_some(), false);
            let key = type_key(&prefix, &alias, ["predicate", "Predicate", "Predicates"]);
            declarations = declarations.define(key.validator(validator).recommend(known));
            if let Some(plugin) = own {
                declarations =
                    embed(declarations, &prefix, &format!("Predicates: {alias}"), &[(plugin.new)().config()]);
            }
        }
        Ok(declarations)
    }

    /// The record as it comes out at the end; none when a transform dropped it.
    pub fn apply(&mut self, mut record: Record) -> Result<Option<Record>> {
        for stage in &mut self.stages {
            if let Some((predicate, wanted)) = &stage.predicate
                && predicate.test(&record)? != *wanted
            {
                continue;
            }
            match stage.transform.apply(record)? {
                Some(changed) => record = changed,
                None => return Ok(None),
            }
        }
        Ok(Some(record))
    }

    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }
}

/// The aliases in a setting, which must all be different.
fn aliases(properties: &Properties, setting: &str) -> Result<Vec<String>> {
    let unique = |value: &Setting| match value {
        Setting::List(items) if (1..items.len()).any(|i| items[..i].contains(&items[i])) => {
            Err("Duplicate alias provided.".to_owned())
        }
        _ => Ok(()),
    };
    let key = ConfigKey::with_default(setting, Kind::List, "", Importance::Low, "").validator(Validator::check(unique));
    match key.parse(properties.get(setting).map(String::as_str))? {
        Setting::List(aliases) => Ok(aliases),
        _ => Ok(Vec::new()),
    }
}

fn class<'p>(properties: &'p Properties, prefix: &str) -> Result<&'p str> {
    let name = format!("{prefix}type");
    properties
        .get(&name)
        .map(|class| class.trim())
        .ok_or_else(|| Error::config(format!("Missing required configuration \"{name}\" which has no default value.")))
}

fn not_found(prefix: &str, class: &str) -> String {
    format!("Invalid value {class} for configuration {prefix}type: Class {class} could not be found.")
}

fn with_prefix(properties: &Properties, prefix: &str) -> Properties {
    let cut = |(name, value): (&String, &String)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()));
    properties.iter().filter_map(cut).collect()
}

fn predicate(plugins: &Plugins, properties: &Properties, alias: &str) -> Result<Box<dyn Predicate>> {
    let prefix = format!("predicates.{alias}.");
    if !aliases(properties, "predicates")?.iter().any(|declared| declared == alias) {
        return Err(Error::config(format!("Unknown configuration '{prefix}type'")));
    }
    let class = class(properties, &prefix)?;
    let plugin = plugins.find_predicate(class).ok_or_else(|| Error::config(not_found(&prefix, class)))?;
    let mut predicate = (plugin.new)();
    predicate.configure(&with_prefix(properties, &prefix))?;
    Ok(predicate)
}

/// The declaration of `<prefix>type`; `words` are what it is called in a sentence, on a label, and as a group.
fn type_key(prefix: &str, alias: &str, words: [&str; 3]) -> ConfigKey {
    let [noun, label, group] = words;
    let doc = format!("The class of the {noun} '{alias}'.");
    ConfigKey::required(format!("{prefix}type"), Kind::Class, Importance::High, &doc).shown(
        &format!("{group}: {alias}"),
        0,
        Width::Long,
        &format!("{label} type for {alias}"),
    )
}

fn class_validator(prefix: &str, found: bool, negates_nothing: bool) -> Validator {
    let prefix = prefix.to_owned();
    Validator::refuse(move |class| {
        if !found {
            return Err(not_found(&prefix, &class.to_string()));
        }
        match negates_nothing {
            true => Err(format!(
                "Config '{prefix}negate' was provided but there is no config '{prefix}predicate' defining a predicate to be \
                 negated."
            )),
            false => Ok(()),
        }
    })
}

/// What every transform can be told.
fn stage_keys() -> ConfigDef {
    ConfigDef::new()
        .define(ConfigKey::optional(
            "predicate",
            Kind::String,
            Importance::Medium,
            "The alias of the predicate that says which records the transform gets.",
        ))
        .define(ConfigKey::with_default(
            "negate",
            Kind::Boolean,
            "false",
            Importance::Medium,
            "Whether the transform gets the records that the predicate does not mean.",
        ))
}

/// Adds declarations under a prefix, behind the one of the class in its group.
fn embed(declarations: ConfigDef, prefix: &str, group: &str, added: &[ConfigDef]) -> ConfigDef {
    let keys = added.iter().flat_map(|added| added.keys());
    keys.enumerate().fold(declarations, |declarations, (i, key)| {
        declarations.define(ConfigKey {
            name: format!("{prefix}{}", key.name),
            group: Some(group.to_owned()),
            order: i as i32 + 1,
            ..key.clone()
        })
    })
}

#[cfg(test)]
mod tests {
    use connect_api::Value;

    use super::*;

    fn plugins() -> Plugins {
        let mut plugins = Plugins::new();
        crate::register(&mut plugins, "1");
        plugins
    }

    fn properties(settings: &[(&str, &str)]) -> Properties {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn refused(settings: &[(&str, &str)]) -> String {
        Chain::new(&plugins(), &properties(settings)).err().expect("a refusal").message
    }

    #[test]
    fn transforms_follow_each_other_for_the_records_of_their_predicates() {
        let settings = properties(&[
            ("transforms", "drop, hoist"),
            ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
            ("transforms.drop.predicate", "mine"),
            ("transforms.drop.negate", "true"),
            ("transforms.hoist.type", "HoistField$Value"),
            ("transforms.hoist.field", "line"),
            ("predicates", "mine"),
            ("predicates.mine.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
            ("predicates.mine.pattern", "my-.*"),
        ]);
        let mut chain = Chain::new(&plugins(), &settings).unwrap();
        let record = |topic: &str| Record::new(topic, None, "x".into());
        assert_eq!(chain.apply(record("other")).unwrap(), None);
        let hoisted = chain.apply(record("my-topic")).unwrap().unwrap();
        assert_eq!(hoisted.value, Value::Map(vec![("line".into(), "x".into())]));
        assert!(Chain::new(&plugins(), &properties(&[])).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_together_is_refused_in_kafkas_words() {
        assert_eq!(
            refused(&[("transforms", "a,a")]),
            "Invalid value [a, a] for configuration transforms: Duplicate alias provided."
        );
        assert_eq!(
            refused(&[("transforms", "a")]),
            "Missing required configuration \"transforms.a.type\" which has no default value."
        );
        assert_eq!(
            refused(&[("transforms", "a"), ("transforms.a.type", "Nope")]),
            "Invalid value Nope for configuration transforms.a.type: Class Nope could not be found."
        );
        assert_eq!(
            refused(&[("transforms", "a"), ("transforms.a.type", "Filter"), ("transforms.a.predicate", "p")]),
            "Unknown configuration 'predicates.p.type'"
        );
    }

    #[test]
    fn all_settings_of_a_chain_are_declared_and_checked() {
        let settings = properties(&[
            ("transforms", "a,b"),
            ("transforms.a.type", "org.apache.kafka.connect.transforms.HoistField$Value"),
            ("transforms.a.negate", "true"),
            ("transforms.b.type", "Nope"),
            ("predicates", "p"),
            ("predicates.p.type", "RecordIsTombstone"),
        ]);
        let declared = Chain::declare(&plugins(), &settings, ConfigDef::new()).unwrap();
        let names: Vec<&str> = declared.keys().iter().map(|key| key.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "transforms.a.type",
                "transforms.a.predicate",
                "transforms.a.negate",
                "transforms.a.field",
                "transforms.b.type",
                "predicates.p.type"
            ]
        );
        let errors: Vec<String> = declared.validate(&settings).into_iter().flat_map(|v| v.errors).collect();
        assert_eq!(
            errors,
            [
                "Config 'transforms.a.negate' was provided but there is no config 'transforms.a.predicate' defining a \
                 predicate to be negated.",
                "Missing required configuration \"transforms.a.field\" which has no default value.",
                "Invalid value Nope for configuration transforms.b.type: Class Nope could not be found.",
            ]
        );
    }
}
