//! `FileStreamSink`: a line for each record, in a file or on standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use connect_api::{
    ConfigDef, ConfigKey, Connector, ConnectorContext, Error, Importance, Kind, Offsets, Properties, Result,
    SinkContext, SinkRecord, SinkTask, SourceMap, Task, TaskKind, Value,
};

fn definition() -> ConfigDef {
    ConfigDef::new().define(ConfigKey::optional(
        "file",
        Kind::String,
        Importance::High,
        "The file to write to; standard output when not set.",
    ))
}

/// The connector.
#[derive(Default)]
pub struct FileStreamSink {
    properties: Properties,
}

impl Connector for FileStreamSink {
    fn kind(&self) -> TaskKind {
        TaskKind::Sink
    }

    fn config(&self) -> ConfigDef {
        definition()
    }

    fn start(&mut self, properties: &Properties, _: ConnectorContext) -> Result<()> {
        self.properties.clone_from(properties);
        Ok(())
    }

    fn task_configs(&self, max: usize) -> Result<Vec<Properties>> {
        Ok(vec![self.properties.clone(); max])
    }

    fn task(&self) -> Task {
        Task::Sink(Box::new(FileStreamSinkTask { out: None }))
    }

    /// Nothing but the group's offsets says how far a file is written.
    fn alter_offsets(&self, _: &Properties, _: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        Ok(true)
    }
}

enum Out {
    File { writer: BufWriter<File>, path: String },
    Stdout,
}

/// The task.
struct FileStreamSinkTask {
    out: Option<Out>,
}

/// Bytes that are kept before they go to the file.
const BUFFER: usize = 64 * 1024;

impl SinkTask for FileStreamSinkTask {
    fn start(&mut self, properties: &Properties, _: Arc<dyn SinkContext>) -> Result<()> {
        let config = definition().parse(properties)?;
        self.out = Some(match config.string("file").filter(|f| !f.is_empty()) {
            None => Out::Stdout,
            Some(path) => {
                let file = File::options().append(true).create(true).open(path).map_err(|e| {
                    Error::connect(format!("Couldn't find or create file '{path}' for FileStreamSinkTask")).caused_by(e)
                })?;
                Out::File { writer: BufWriter::with_capacity(BUFFER, file), path: path.to_owned() }
            }
        });
        Ok(())
    }

    fn put(&mut self, records: &[SinkRecord]) -> Result<()> {
        match &mut self.out {
            None => Ok(()),
            Some(Out::File { writer, path }) => {
                let written =
                    records.iter().try_for_each(|r| line(writer, &r.record.value)).and_then(|()| writer.flush());
                written.map_err(|e| failed(path, e))
            }
            Some(Out::Stdout) => {
                let mut out = BufWriter::new(io::stdout().lock());
                let written =
                    records.iter().try_for_each(|r| line(&mut out, &r.record.value)).and_then(|()| out.flush());
                written.map_err(|e| failed("standard output", e))
            }
        }
    }

    fn flush(&mut self, _: &Offsets) -> Result<()> {
        match &mut self.out {
            Some(Out::File { writer, path }) => writer.flush().map_err(|e| failed(path, e)),
            _ => Ok(()),
        }
    }

    fn stop(&mut self) {
        // What was put is in the file already: nothing is kept over a put.
        self.out = None;
    }
}

fn failed(path: &str, error: io::Error) -> Error {
    Error::connect(format!("{path} cannot be written to; what was not written comes again when the task is restarted"))
        .caused_by(error)
}

/// A value as Java prints it; bytes as they are.
fn line(out: &mut impl Write, value: &Value) -> io::Result<()> {
    match value {
        Value::String(text) => out.write_all(text.as_bytes())?,
        Value::Bytes(bytes) => out.write_all(bytes)?,
        other => write!(out, "{other}")?,
    }
    out.write_all(b"\n")
}
