//! What comes with the worker.

use connect_api::Plugins;

/// Kafka's converters, transforms and predicates, and the connectors of [`connectors`](crate).
pub fn builtin() -> Plugins {
    let mut plugins = Plugins::new();
    connect_transforms::register(&mut plugins, crate::KAFKA_VERSION);
    crate::connectors::register(&mut plugins, crate::KAFKA_VERSION);
    plugins
}
