//! The connectors that come with the worker.

mod file_sink;
mod file_source;
mod lines;
mod mock;
mod verifiable;

use connect_api::{Plugins, TaskKind};

/// Adds all of them under a version.
pub fn register(plugins: &mut Plugins, version: &'static str) {
    plugins
        .connector("org.apache.kafka.connect.file.FileStreamSinkConnector", version, || {
            Box::new(file_sink::FileStreamSink::default())
        })
        .connector("org.apache.kafka.connect.file.FileStreamSourceConnector", version, || {
            Box::new(file_source::FileStreamSource::default())
        })
        .connector("org.apache.kafka.connect.tools.MockSinkConnector", version, || {
            Box::new(mock::Mock::new(TaskKind::Sink))
        })
        .connector("org.apache.kafka.connect.tools.MockSourceConnector", version, || {
            Box::new(mock::Mock::new(TaskKind::Source))
        })
        .connector("org.apache.kafka.connect.tools.VerifiableSinkConnector", version, || {
            Box::new(verifiable::VerifiableSink::default())
        })
        .connector("org.apache.kafka.connect.tools.VerifiableSourceConnector", version, || {
            Box::new(verifiable::VerifiableSource::default())
        });
}
