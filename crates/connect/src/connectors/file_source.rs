//! `FileStreamSource`: the lines of a file, or of standard input, as records.
//!
//! The file is followed: what is added is read, a missing one is waited for, and one that was replaced or cut is read from
//! its beginning. A last line without an end waits for it. Offsets are counted in bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use connect_api::{
    ConfigDef, ConfigKey, Connector, ConnectorContext, Error, Importance, Kind, Properties, Record, Result, Schema,
    SchemaRef, SourceContext, SourceMap, SourceRecord, SourceTask, Task, TaskKind, Type, Validator, Value,
};
use tracing::{info, warn};

use super::lines::Lines;

const LOGGER: &str = "org.apache.kafka.connect.file.FileStreamSourceTask";
const FILENAME: &str = "filename";
const POSITION: &str = "position";

/// How long to wait for a file to be there, and for more of it.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;
/// Records that room is made for at once.
const RESERVED_MAX: usize = 2000;
/// A line may be as long as this.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

fn definition() -> ConfigDef {
    ConfigDef::new()
        .define(ConfigKey::optional(
            "file",
            Kind::String,
            Importance::High,
            "The file to read; standard input when not set.",
        ))
        .define(
            ConfigKey::required("topic", Kind::String, Importance::High, "The topic to write to.")
                .validator(Validator::NonEmpty),
        )
        .define(ConfigKey::with_default(
            "batch.size",
            Kind::Int,
            "2000",
            Importance::Low,
            "How many lines a task takes at once.",
        ))
}

/// The connector: one task, for a file cannot be divided.
#[derive(Default)]
pub struct FileStreamSource {
    properties: Properties,
}

impl Connector for FileStreamSource {
    fn kind(&self) -> TaskKind {
        TaskKind::Source
    }

    fn config(&self) -> ConfigDef {
        definition()
    }

    fn start(&mut self, properties: &Properties, _: ConnectorContext) -> Result<()> {
        definition().parse(properties)?;
        self.properties.clone_from(properties);
        Ok(())
    }

    fn task_configs(&self, _: usize) -> Result<Vec<Properties>> {
        Ok(vec![self.properties.clone()])
    }

    fn task(&self) -> Task {
        Task::Source(Box::new(FileStreamSourceTask::default()))
    }

    fn alter_offsets(&self, properties: &Properties, offsets: &[(SourceMap, Option<SourceMap>)]) -> Result<bool> {
        if properties.get("file").is_none_or(|f| f.is_empty()) {
            return Err(Error::connect(
                "Offsets cannot be modified if the 'file' configuration is unspecified. This is because stdin is used for input and offsets are not tracked.",
            ));
        }
        for (partition, offset) in offsets {
            let Some(offset) = offset else { continue };
            if partition.get(FILENAME).is_none() {
                return Err(Error::connect(format!("Partition objects should contain the key '{FILENAME}'")));
            }
            match offset.get(POSITION) {
                None => return Err(Error::connect(format!("Offset objects should contain the key '{POSITION}'"))),
                Some(position) => match position.as_i64() {
                    Some(0..) => {}
                    Some(_) => {
                        return Err(Error::connect(format!(
                            "The value for the '{POSITION}' key in the offset should be a non-negative value"
                        )));
                    }
                    None => {
                        return Err(Error::connect(format!(
                            "The value for the '{POSITION}' key in the offset is expected to be a Long value"
                        )));
                    }
                },
            }
        }
        Ok(true)
    }
}

/// Where lines come from.
enum Input {
    /// The file and its identity, to notice when its name means another one.
    File {
        file: File,
        device: u64,
        inode: u64,
    },
    Stdin,
}

struct Reading {
    input: Input,
    lines: Lines,
    /// Of the next byte that is no record yet.
    position: i64,
}

/// The task.
#[derive(Default)]
pub struct FileStreamSourceTask {
    /// None is standard input.
    path: Option<String>,
    topic: Arc<str>,
    batch_size: usize,
    schema: Option<SchemaRef>,
    partition: Arc<SourceMap>,
    context: Option<Arc<dyn SourceContext>>,
    reading: Option<Reading>,
    missed: bool,
}

impl SourceTask for FileStreamSourceTask {
    fn start(&mut self, properties: &Properties, context: Arc<dyn SourceContext>) -> Result<()> {
        let config = definition().parse(properties)?;
        self.path = config.string("file").filter(|f| !f.is_empty()).map(str::to_owned);
        self.topic = config.string("topic").unwrap_or_default().into();
        self.batch_size = config.integer("batch.size").max(1) as usize;
        self.schema = Some(Schema::of(Type::String));
        if let Some(path) = &self.path {
            self.partition = Arc::new(SourceMap::of(FILENAME, path.clone()));
        }
        self.context = Some(context);
        Ok(())
    }

    fn poll(&mut self) -> Result<Vec<SourceRecord>> {
        let Some(context) = self.context.clone() else { return Ok(Vec::new()) };
        if self.reading.is_none() {
            self.reading = self.open(&*context)?;
            if self.reading.is_none() {
                context.wait(PAUSE);
                return Ok(Vec::new());
            }
        }
        let Some(reading) = &mut self.reading else { return Ok(Vec::new()) };
        loop {
            let mut records = Vec::new();
            while records.len() < self.batch_size
                && let Some((line, length)) = reading.lines.next()
            {
                if records.is_empty() {
                    records.reserve(self.batch_size.min(RESERVED_MAX));
                }
                let value = Value::String(String::from_utf8_lossy(line).into_owned());
                reading.position += length as i64;
                // Standard input cannot be read again: it has no offsets.
                let source_offset = match self.path {
                    Some(_) => SourceMap::of(POSITION, reading.position),
                    None => SourceMap::new(),
                };
                records.push(SourceRecord {
                    record: Record::new(self.topic.clone(), self.schema.clone(), value),
                    source_partition: self.partition.clone(),
                    source_offset,
                });
            }
            if !records.is_empty() {
                return Ok(records);
            }
            if reading.lines.pending() > LINE_BYTES_MAX {
                return Err(Error::connect(format!(
                    "A line of {} at position {} is longer than {LINE_BYTES_MAX} bytes",
                    self.path.as_deref().unwrap_or("standard input"),
                    reading.position
                )));
            }
            if reading.fill()? == 0 {
                if let Some(path) = &self.path
                    && reading.is_over(path)
                {
                    info!(target: LOGGER, "{path} was replaced or cut: reading it from its beginning");
                    reading.lines.clear();
                    self.reading = None;
                    self.missed = true;
                    return Ok(Vec::new());
                }
                context.wait(PAUSE);
                return Ok(Vec::new());
            }
        }
    }

    fn stop(&mut self) {
        self.reading = None;
    }
}

impl FileStreamSourceTask {
    /// Opens the file where its offset says; none while it is not there.
    fn open(&mut self, context: &dyn SourceContext) -> Result<Option<Reading>> {
        let Some(path) = &self.path else {
            return Ok(Some(Reading { input: Input::Stdin, lines: Lines::default(), position: 0 }));
        };
        let failed = |e: io::Error| Error::connect(format!("{path} cannot be read")).caused_by(e);
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                warn!(target: LOGGER, "Couldn't find file {path} for FileStreamSourceTask, sleeping to wait for it to be created");
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::connect(format!("{path} cannot be read: it is a directory")));
        }
        let known = if self.missed { None } else { context.offset(&self.partition)? };
        let mut position = match known.as_ref().and_then(|o| o.get(POSITION)) {
            None => 0,
            Some(position) => position
                .as_i64()
                .filter(|p| *p >= 0)
                .ok_or_else(|| Error::connect(format!("Offset position is the incorrect type: {position}")))?,
        };
        if position as u64 > metadata.len() && metadata.is_file() {
            warn!(target: LOGGER, "{path} is shorter than what was read of it ({} of {position} bytes): reading it from its beginning", metadata.len());
            position = 0;
        }
        if position > 0 {
            file.seek(SeekFrom::Start(position as u64)).map_err(failed)?;
        }
        let input = Input::File { file, device: metadata.dev(), inode: metadata.ino() };
        Ok(Some(Reading { input, lines: Lines::default(), position }))
    }
}

impl Reading {
    /// Reads what there is, up to a chunk.
    fn fill(&mut self) -> Result<usize> {
        let room = self.lines.room(CHUNK);
        let count = match &mut self.input {
            Input::File { file, .. } => file.read(room),
            Input::Stdin => io::stdin().lock().read(room),
        };
        self.lines.grown(CHUNK, *count.as_ref().unwrap_or(&0));
        count.map_err(|e| Error::connect("Reading failed").caused_by(e))
    }

    /// Whether the name means another file by now, or the file became shorter than what was read of it.
    fn is_over(&self, path: &str) -> bool {
        let Input::File { file, device, inode } = &self.input else { return false };
        let read = self.position as u64 + self.lines.pending() as u64;
        let cut = file.metadata().is_ok_and(|m| m.is_file() && m.len() < read);
        // A name that means nothing for a while may mean a new file soon.
        let replaced = std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) != (*device, *inode));
        cut || replaced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Mutex;

    /// A context with an offset, whose waiting is over at once.
    struct At(Mutex<Option<SourceMap>>);

    impl SourceContext for At {
        fn offset(&self, _: &SourceMap) -> Result<Option<SourceMap>> {
            Ok(self.0.lock().unwrap().clone())
        }

        fn wait(&self, _: Duration) -> bool {
            true
        }

        fn is_stopping(&self) -> bool {
            false
        }
    }

    fn task(path: &std::path::Path, offset: Option<i64>) -> FileStreamSourceTask {
        let mut task = FileStreamSourceTask::default();
        let properties: Properties = [("file", path.to_str().unwrap()), ("topic", "t"), ("batch.size", "2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let offset = offset.map(|o| SourceMap::of(POSITION, o));
        task.start(&properties, Arc::new(At(Mutex::new(offset)))).unwrap();
        task
    }

    fn polled(task: &mut FileStreamSourceTask) -> Vec<(String, i64)> {
        let records = task.poll().unwrap();
        let read = |r: SourceRecord| {
            (r.record.value.to_string(), r.source_offset.get(POSITION).and_then(Value::as_i64).unwrap())
        };
        records.into_iter().map(read).collect()
    }

    #[test]
    fn offsets_are_bytes_and_a_restart_goes_on_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "grün\n한 줄\nthree\npart").unwrap();
        let mut first = task(&path, None);
        assert_eq!(polled(&mut first), [("grün".into(), 6), ("한 줄".into(), 14)]);
        assert_eq!(polled(&mut first), [("three".into(), 20)]);
        assert_eq!(polled(&mut first), []);
        let mut again = task(&path, Some(14));
        assert_eq!(polled(&mut again), [("three".into(), 20)]);
        File::options().append(true).open(&path).unwrap().write_all(b"ial\n").unwrap();
        assert_eq!(polled(&mut again), [("partial".into(), 28)]);
        assert_eq!(polled(&mut first), [("partial".into(), 28)]);
    }

    #[test]
    fn a_missing_file_is_waited_for_and_a_new_one_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut task = task(&path, None);
        assert_eq!(polled(&mut task), []);
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(polled(&mut task), [("one".into(), 4)]);
        // Rotated.
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        assert_eq!(polled(&mut task), []);
        std::fs::write(&path, "two\n").unwrap();
        assert_eq!(polled(&mut task), []);
        assert_eq!(polled(&mut task), [("two".into(), 4)]);
        // Cut.
        std::fs::write(&path, "3\n").unwrap();
        assert_eq!(polled(&mut task), []);
        assert_eq!(polled(&mut task), [("3".into(), 2)]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut task = task(folder.path(), None);
        let error = task.poll().unwrap_err();
        assert!(error.message.contains(folder.path().to_str().unwrap()), "{error}");
    }
}
