//! The connector: one task, whose offset is the number of the last hour that it wrote.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use connect_api::{
    ConfigDef, ConfigKey, Connector, ConnectorContext, Importance, Kind, Properties, Record, Result, Schema, SchemaRef,
    SourceContext, SourceMap, SourceRecord, SourceTask, Task, TaskKind, Type, Validator, Value,
};

fn definition() -> ConfigDef {
    ConfigDef::new()
        .define(
            ConfigKey::required("topic", Kind::String, Importance::High, "Where to write.")
                .validator(Validator::NonEmpty),
        )
        .define(ConfigKey::with_default(
            "range.m",
            Kind::Double,
            "3.5",
            Importance::Medium,
            "From low to high water, in m.",
        ))
        .define(ConfigKey::with_default("pause.ms", Kind::Long, "1000", Importance::Low, "How long an hour takes."))
}

/// Divides the work: there is one sea.
#[derive(Default)]
pub struct Tide {
    properties: Properties,
}

impl Connector for Tide {
    fn kind(&self) -> TaskKind {
        TaskKind::Source
    }

    fn config(&self) -> ConfigDef {
        definition()
    }

    fn start(&mut self, properties: &Properties, _: ConnectorContext) -> Result<()> {
        self.properties.clone_from(properties);
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<Properties>> {
        Ok(vec![self.properties.clone()])
    }

    fn task(&self) -> Task {
        Task::Source(Box::new(TideTask::default()))
    }
}

#[derive(Default)]
struct TideTask {
    topic: Arc<str>,
    range: f64,
    pause: Duration,
    hour: i64,
    sea: Arc<SourceMap>,
    schema: Option<SchemaRef>,
    context: Option<Arc<dyn SourceContext>>,
}

impl SourceTask for TideTask {
    fn start(&mut self, properties: &Properties, context: Arc<dyn SourceContext>) -> Result<()> {
        let config = definition().parse(properties)?;
        self.topic = config.string("topic").unwrap_or_default().into();
        self.range = config.double("range.m");
        self.pause = Duration::from_millis(config.integer("pause.ms").unsigned_abs());
        self.schema = Some(Schema::of(Type::Float64));
        self.sea = Arc::new(SourceMap::of("sea", "north"));
        // Goes on after the last hour that is known to be written.
        self.hour = context.offset(&self.sea)?.and_then(|o| o.get("hour").and_then(Value::as_i64)).map_or(0, |h| h + 1);
        self.context = Some(context);
        Ok(())
    }

    fn poll(&mut self) -> Result<Vec<SourceRecord>> {
        let Some(context) = &self.context else { return Ok(Vec::new()) };
        if !context.wait(self.pause) {
            return Ok(Vec::new());
        }
        let record =
            Record::new(self.topic.clone(), self.schema.clone(), Value::Float64(height(self.hour, self.range)));
        let source_offset = SourceMap::of("hour", self.hour);
        self.hour += 1;
        Ok(vec![SourceRecord { record, source_partition: self.sea.clone(), source_offset }])
    }
}

/// Above the mean, in m: high water every 12 hours and 25 minutes.
fn height(hour: i64, range: f64) -> f64 {
    range / 2.0 * (hour as f64 * TAU / 12.42).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sea_rises_and_falls() {
        assert_eq!(height(0, 3.0), 1.5);
        assert!(height(6, 3.0) < -1.49);
    }
}
