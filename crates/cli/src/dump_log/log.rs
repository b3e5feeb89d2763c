//! Segments and snapshots of the metadata log: their batches, and their records.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use wire::codec::Decoder;
use wire::control::ControlType;
use wire::records::{Batch, BatchHeader, HEADER_SIZE, TimestampType};

use super::decoder::RecordDecoder;
use super::schema::Schema;
use super::{Plan, schemas};
use crate::say;
use crate::text;
use crate::tool::Exception;

/// Steps over the batches of a file. At most one of them is in memory.
pub struct Batches {
    file: BufReader<File>,
    /// Bytes of the file that have not been stepped over.
    left: u64,
    bytes: Vec<u8>,
}

impl Batches {
    /// From a place in the file on.
    pub fn open(path: &Path, from: u64) -> std::io::Result<Batches> {
        use std::io::{Seek, SeekFrom};
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from))?;
        let left = length.saturating_sub(from);
        Ok(Batches { file: BufReader::with_capacity(256 * 1024, file), left, bytes: Vec::new() })
    }

    /// The next batch; none where there is no whole one any more.
    pub fn next(&mut self) -> std::io::Result<Option<Result<Batch<'_>, String>>> {
        if self.left < HEADER_SIZE as u64 {
            return Ok(None);
        }
        self.bytes.resize(HEADER_SIZE, 0);
        self.file.read_exact(&mut self.bytes)?;
        let header = match BatchHeader::parse(&self.bytes) {
            Ok(header) => header,
            Err(error) => return Ok(Some(Err(error.to_string()))),
        };
        let size = header.size();
        if size as u64 > self.left {
            return Ok(None);
        }
        // The file has that many bytes, so the length is no empty claim.
        self.bytes.resize(size.max(HEADER_SIZE), 0);
        self.file.read_exact(&mut self.bytes[HEADER_SIZE..])?;
        self.left -= size as u64;
        Ok(Some(Batch::parse(&self.bytes).map_err(|e| e.to_string())))
    }
}

/// Prints a segment or a snapshot.
pub fn dump(path: &Path, shown: &str, plan: &Plan, out_of_order: &mut Vec<(i64, i64)>) -> Result<(), Exception> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    head_line(&name)?;
    let mut batches = Batches::open(path, 0).map_err(|e| super::unreadable(shown, &e))?;
    let control: Vec<Schema> = schemas::CONTROL.iter().filter_map(|t| Schema::parse(t)).collect();
    let mut position: u64 = 0;
    let mut last_offset: Option<i64> = None;
    loop {
        let batch = match batches.next().map_err(|e| super::unreadable(shown, &e))? {
            None => break,
            Some(Err(why)) => {
                return Err(Exception::new(
                    "org.apache.kafka.common.errors.CorruptRecordException",
                    format!("{why} (at position {position} of {shown})"),
                ));
            }
            Some(Ok(batch)) => batch,
        };
        if plan.max_bytes.is_some_and(|max| position + batch.size() as u64 > max) {
            return Ok(());
        }
        say!("{}", batch_line(&batch, position));
        position += batch.size() as u64;
        if plan.deep {
            dump_records(&batch, plan, &control, &mut last_offset, out_of_order)?;
        }
    }
    let trailing = batches.left;
    if trailing > 0 && plan.max_bytes.is_none() {
        say!("Found {trailing} invalid bytes at the end of {name}");
    }
    Ok(())
}

fn head_line(name: &str) -> Result<(), Exception> {
    let stem = name.split('.').next().unwrap_or_default();
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| Exception::new("java.lang.NumberFormatException", format!("For input string: \"{text}\"")))
    };
    if name.ends_with(".log") {
        say!("Log starting offset: {}", number(stem)?);
    } else if name == "bootstrap.checkpoint" {
        say!("KRaft bootstrap snapshot");
    } else {
        let (offset, epoch) = stem.split_once('-').unwrap_or((stem, ""));
        say!("Snapshot end offset: {}, epoch: {}", number(offset)?, number(epoch)?);
    }
    Ok(())
}

fn type_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_line(b: &Batch<'_>, position: u64) -> String {
    let horizon =
        b.delete_horizon_ms().map_or_else(|| "OptionalLong.empty".to_owned(), |ms| format!("OptionalLong[{ms}]"));
    let codec = b.codec().map_or_else(|_| format!("unknown({})", b.attributes() & 7), |c| c.name().to_owned());
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon} position: {position} \
         {}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {}",
        b.base_offset(),
        b.last_offset(),
        b.record_count(),
        b.base_sequence(),
        b.last_sequence(),
        b.producer_id(),
        b.producer_epoch(),
        b.leader_epoch(),
        b.is_transactional(),
        b.is_control(),
        type_name(b.timestamp_type()),
        b.max_timestamp(),
        b.size(),
        b.magic(),
        b.crc(),
        b.is_crc_valid()
    )
}

fn dump_records(
    batch: &Batch<'_>,
    plan: &Plan,
    control: &[Schema],
    last_offset: &mut Option<i64>,
    out_of_order: &mut Vec<(i64, i64)>,
) -> Result<(), Exception> {
    let broken = |why: &dyn std::fmt::Display| {
        Exception::new(
            "org.apache.kafka.common.InvalidRecordException",
            format!("The batch at offset {} cannot be read: {why}", batch.base_offset()),
        )
    };
    let records = batch.records().map_err(|e| broken(&e))?;
    for record in records.iter() {
        let record = record.map_err(|e| broken(&e))?;
        if let Some(last) = last_offset.replace(record.offset)
            && record.offset != last + 1
        {
            out_of_order.push((last, record.offset));
        }
        let mut line = String::from("|");
        if !plan.skip_metadata {
            let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i64);
            let keys: Vec<String> = record.headers.iter().map(|h| text::decode(h.key).into_owned()).collect();
            let sequence = match batch.base_sequence() {
                -1 => -1,
                base => wire::records::increment_sequence(base, (record.offset - batch.base_offset()) as i32),
            };
            line.push_str(&format!(
                " offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
                record.offset,
                type_name(batch.timestamp_type()),
                record.timestamp,
                size(record.key),
                size(record.value),
                keys.join(",")
            ));
            if batch.is_control() {
                line.push_str(&control_text(control, record.key.unwrap_or_default(), record.value.unwrap_or_default()));
            }
        }
        if let Some(decoder) = plan.decoder.as_ref().filter(|_| !batch.is_control()) {
            match decoder.read(record.offset, record.key, record.value) {
                Ok((key, payload)) => {
                    line.extend(key.map(|k| format!(" key: {k}")));
                    line.extend(payload.map(|p| format!(" payload: {p}")));
                }
                Err(exception) => {
                    say!("{line}");
                    return Err(exception);
                }
            }
        }
        // Where everything is left out, so is the mark.
        say!("{}", if line == "|" { "" } else { &line });
    }
    Ok(())
}

/// What a control record says.
fn control_text(schemas: &[Schema], key: &[u8], value: &[u8]) -> String {
    let (name, text) = match ControlType::of_key(key) {
        Ok(Some(kind @ (ControlType::Abort | ControlType::Commit))) => {
            let mut d = Decoder::new(value);
            let epoch = d.i16().and_then(|_| d.i32()).unwrap_or(-1);
            return format!(" endTxnMarker: {kind} coordinatorEpoch: {epoch}");
        }
        Ok(Some(ControlType::LeaderChange)) => ("LeaderChangeMessage", " LeaderChange: "),
        Ok(Some(ControlType::SnapshotHeader)) => ("SnapshotHeaderRecord", " SnapshotHeader "),
        Ok(Some(ControlType::SnapshotFooter)) => ("SnapshotFooterRecord", " SnapshotFooter "),
        Ok(Some(ControlType::KRaftVersion)) => ("KRaftVersionRecord", " KRaftVersion "),
        Ok(Some(ControlType::KRaftVoters)) => ("VotersRecord", " KRaftVoters "),
        _ => {
            let number = key.get(2..4).map_or(-1, |b| i16::from_be_bytes([b[0], b[1]]));
            return format!(" controlType: UNKNOWN({number})");
        }
    };
    let json = schemas.iter().find(|s| s.name == name).and_then(|schema| {
        // Their first field is the version of the message.
        let version = i16::from_be_bytes(value.get(..2)?.try_into().ok()?);
        schema.read(&mut Decoder::new(value), version, &|_, _| None).ok()
    });
    format!("{text}{}", json.unwrap_or_else(|| "cannot be read".to_owned()))
}

/// For keys and values as they are.
pub fn plain_decoder(key: &str, value: &str) -> Result<RecordDecoder, Exception> {
    use super::decoder::Plain;
    Ok(RecordDecoder::Plain { key: Plain::named(key)?, value: Plain::named(value)? })
}
