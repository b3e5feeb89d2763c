//! The connectors that come with the worker.

mod file_sink;
mod file_source;
mod lines;

use connect_api::Plugins;

/// Adds all of them under a version.
pub fn register(plugins: &mut Plugins, version: &'static str) {
    plugins
        .connector("org.apache.kafka.connect.file.FileStreamSinkConnector", version, || {
            Box::new(file_sink::FileStreamSink::default())
        })
        .connector("org.apache.kafka.connect.file.FileStreamSourceConnector", version, || {
            Box::new(file_source::FileStreamSource::default())
        });
}
