//! What is measured: each workload is one row of the report.

use std::time::Duration;

const MB: u64 = 1_000_000;
const GB: u64 = 1_000 * MB;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub connections: usize,
    pub partitions: usize,
    pub kind: Kind,
    /// Figures are per GB (of records) rather than per request.
    pub by_volume: bool,
    /// The broker's own work goes on beside it: segments roll, retention deletes, snapshots of the metadata are made.
    pub housekeeping: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As fast as the answers come.
    Produce { batch_bytes: usize, record_bytes: usize, in_flight: usize, until: Until },
    /// At a fixed rate, whatever the answers do.
    Paced { batch_bytes: usize, record_bytes: usize, per_second: u32, seconds: f64 },
    /// One Fetch after the other on each connection, from the log's beginning to its end and again.
    Fetch { max_bytes: u32, bytes: u64 },
}

/// When a load ends. Volume, where the disk might decide otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Bytes(u64),
    Elapsed(Duration),
}

/// Batches that fetch workloads find in the logs.
pub const STORED_BATCH_BYTES: usize = 16 << 10;
/// Records of those batches.
pub const STORED_RECORD_BYTES: usize = 1000;
/// Bytes of each partition that fetch workloads read.
pub const STORED_PARTITION_BYTES: u64 = 256 * MB;

const fn produce(name: &'static str, batch_bytes: usize) -> Workload {
    let kind = Kind::Produce { batch_bytes, record_bytes: 1000, in_flight: 5, until: Until::Bytes(GB) };
    Workload { name, connections: 4, partitions: 4, kind, by_volume: true, housekeeping: false }
}

const fn small(name: &'static str, connections: usize, partitions: usize, in_flight: usize) -> Workload {
    let until = Until::Elapsed(Duration::from_secs(4));
    let kind = Kind::Produce { batch_bytes: 1, record_bytes: 100, in_flight, until };
    Workload { name, connections, partitions, kind, by_volume: false, housekeeping: false }
}

const fn paced(name: &'static str, housekeeping: bool) -> Workload {
    let kind = Kind::Paced { batch_bytes: 1, record_bytes: 1000, per_second: 1000, seconds: 8.0 };
    Workload { name, connections: 4, partitions: 4, kind, by_volume: false, housekeeping }
}

/// So much for each partition that what is written on its way to the disk meets what is appended.
const fn paced_batches(name: &'static str, batch_bytes: usize) -> Workload {
    let kind = Kind::Paced { batch_bytes, record_bytes: 1000, per_second: 3000, seconds: 24.0 };
    Workload { name, connections: 16, partitions: 16, kind, by_volume: false, housekeeping: false }
}

const fn fetch(name: &'static str, max_bytes: u32) -> Workload {
    let kind = Kind::Fetch { max_bytes, bytes: 4 * GB };
    Workload { name, connections: 4, partitions: 4, kind, by_volume: true, housekeeping: false }
}

pub const ALL: &[Workload] = &[
    produce("produce-16k", 16 << 10),
    produce("produce-64k", 64 << 10),
    produce("produce-1m", 1_000_000),
    small("produce-one", 4, 4, 5),
    small("produce-500x1", 500, 1, 1),
    paced("paced-1000", false),
    paced("paced-busy", true),
    paced_batches("paced-16k", 16 << 10),
    fetch("fetch-64k", 64 << 10),
    fetch("fetch-1m", 1 << 20),
];

impl Workload {
    pub fn by_name(name: &str) -> Result<Workload, String> {
        let known = || ALL.iter().map(|w| w.name).collect::<Vec<_>>().join(", ");
        ALL.iter().find(|w| w.name == name).copied().ok_or_else(|| format!("no workload {name}; there are {}", known()))
    }

    pub fn is_fetch(&self) -> bool {
        matches!(self.kind, Kind::Fetch { .. })
    }

    /// How much of the page cache it fills; 0 where that is little.
    pub fn written_bytes(&self) -> u64 {
        match self.kind {
            Kind::Produce { until: Until::Bytes(bytes), .. } => bytes,
            Kind::Paced { batch_bytes, record_bytes, per_second, seconds } => {
                (batch_bytes.max(record_bytes) as f64 * f64::from(per_second) * seconds) as u64
            }
            _ => 0,
        }
    }

    /// With a larger or smaller amount of work.
    pub fn scaled(mut self, by: f64) -> Workload {
        let scaled = |bytes: u64| (bytes as f64 * by) as u64;
        match &mut self.kind {
            Kind::Produce { until: Until::Bytes(bytes), .. } | Kind::Fetch { bytes, .. } => *bytes = scaled(*bytes),
            Kind::Produce { until: Until::Elapsed(time), .. } => *time = time.mul_f64(by),
            Kind::Paced { seconds, .. } => *seconds *= by,
        }
        self
    }

    /// In words.
    pub fn describe(&self) -> String {
        let connections = format!("{} connections, {} partition(s)", self.connections, self.partitions);
        match self.kind {
            Kind::Produce { batch_bytes: 1, record_bytes, in_flight, .. } => {
                format!("one record of {record_bytes} bytes a request, {in_flight} in flight, {connections}")
            }
            Kind::Produce { batch_bytes, record_bytes, in_flight, .. } => format!(
                "batches of {batch_bytes} bytes, records of {record_bytes}, {in_flight} in flight, {connections}"
            ),
            Kind::Paced { batch_bytes, record_bytes, per_second, .. } => {
                let batch = match batch_bytes {
                    1 => "one record".to_owned(),
                    _ => format!("a batch of {batch_bytes} bytes, records"),
                };
                let beside = if self.housekeeping { ", while segments roll and topics come and go" } else { "" };
                format!("{per_second} requests/s of {batch} of {record_bytes} bytes, {connections}{beside}")
            }
            Kind::Fetch { max_bytes, .. } => format!("at most {max_bytes} bytes a request, {connections}"),
        }
    }
}
