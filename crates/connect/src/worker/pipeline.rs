//! What a task's records go through: converters, transforms and their predicates.

use connect_api::{Converter, Error, HeaderConverter, Plugins, Predicate, Properties, Record, Result, Transform};

use crate::config::connector::Step;
use crate::config::worker::prefixed;

/// A plugin and how it is called in messages.
pub struct Named<T: ?Sized> {
    pub class: &'static str,
    pub plugin: Box<T>,
}

/// The converters of a task.
pub struct Converters {
    pub key: Named<dyn Converter>,
    pub value: Named<dyn Converter>,
    pub header: Named<dyn HeaderConverter>,
}

impl Converters {
    /// Those that the connector names with its settings, or else those of the worker with the worker's.
    pub fn new(connector: &Properties, worker: &Properties, plugins: &Plugins) -> Result<Converters> {
        let converter = |name: &str, is_key: bool| -> Result<Named<dyn Converter>> {
            let (class, mut settings) = chosen(name, connector, worker)?;
            let found = plugins.find_converter(&class).ok_or_else(|| not_found(name, &class))?;
            settings.insert("converter.type".to_owned(), if is_key { "key" } else { "value" }.to_owned());
            let mut plugin = (found.new)();
            plugin.configure(&settings, is_key)?;
            Ok(Named { class: found.class, plugin })
        };
        let header = || -> Result<Named<dyn HeaderConverter>> {
            const NAME: &str = "header.converter";
            let (class, mut settings) = chosen(NAME, connector, worker)?;
            let found = plugins.find_header_converter(&class).ok_or_else(|| not_found(NAME, &class))?;
            settings.insert("converter.type".to_owned(), "header".to_owned());
            let mut plugin = (found.new)();
            plugin.configure(&settings)?;
            Ok(Named { class: found.class, plugin })
        };
        Ok(Converters {
            key: converter("key.converter", true)?,
            value: converter("value.converter", false)?,
            header: header()?,
        })
    }
}

/// The class under a name, with its settings.
fn chosen(name: &str, connector: &Properties, worker: &Properties) -> Result<(String, Properties)> {
    let from = if connector.contains_key(name) { connector } else { worker };
    let class = match from.get(name) {
        Some(class) => class.trim().to_owned(),
        None if name == "header.converter" => "org.apache.kafka.connect.storage.SimpleHeaderConverter".to_owned(),
        None => {
            return Err(Error::config(format!(
                "Missing required configuration \"{name}\" which has no default value."
            )));
        }
    };
    Ok((class, prefixed(from, &format!("{name}."))))
}

fn not_found(name: &str, class: &str) -> Error {
    Error::config(format!("Invalid value {class} for configuration {name}: Class {class} could not be found."))
}

/// A transform, and for which records it is.
struct Applied {
    transform: Named<dyn Transform>,
    only: Option<(Box<dyn Predicate>, bool)>,
}

/// The transforms of a task, in their order.
pub struct Transforms {
    steps: Vec<Applied>,
}

impl Transforms {
    pub fn new(steps: &[Step], plugins: &Plugins) -> Result<Transforms> {
        let applied = steps.iter().map(|step| {
            let name = format!("transforms.{}.type", step.alias);
            let found = plugins.find_transform(&step.class).ok_or_else(|| not_found(&name, &step.class))?;
            let mut transform = (found.new)();
            transform.configure(&step.properties)?;
            let only = match &step.only {
                None => None,
                Some((alias, class, settings, negate)) => {
                    let name = format!("predicates.{alias}.type");
                    let found = plugins.find_predicate(class).ok_or_else(|| not_found(&name, class))?;
                    let mut predicate = (found.new)();
                    predicate.configure(settings)?;
                    Some((predicate, *negate))
                }
            };
            Ok(Applied { transform: Named { class: found.class, plugin: transform }, only })
        });
        Ok(Transforms { steps: applied.collect::<Result<_>>()? })
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What becomes of a record; none when a transform drops it. An error names the class it is from. A transform whose
    /// retry is asked for starts again from the whole record.
    pub fn apply(&mut self, mut record: Record) -> std::result::Result<Option<Record>, (&'static str, Error)> {
        for step in &mut self.steps {
            let class = step.transform.class;
            if let Some((predicate, negate)) = &step.only
                && predicate.test(&record).map_err(|e| (class, e))? == *negate
            {
                continue;
            }
            match step.transform.plugin.apply(record).map_err(|e| (class, e))? {
                Some(next) => record = next,
                None => return Ok(None),
            }
        }
        Ok(Some(record))
    }
}
