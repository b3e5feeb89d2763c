//! What workers tell each other when their group gathers: the group protocol `connect` in its three versions (KIP-415,
//! KIP-507).
//!
//! After what Kafka's workers write comes a mark by which Klamm's know each other: a Java worker has other connectors, so
//! the two must not share a group. Java's readers do not look behind their own fields.

use std::collections::BTreeMap;
use std::time::Duration;

use super::work::Work;
use crate::config::worker::Protocol;
use crate::store::TaskId;

/// Behind everything that Klamm's workers write.
const MARK: &[u8] = b"klamm";
/// Stands for the connector among the numbers of its tasks.
const CONNECTOR: i32 = -1;

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::Eager, Protocol::Compatible, Protocol::Sessioned];

    /// As members offer it to the coordinator.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Eager => "default",
            Protocol::Compatible => "compatible",
            Protocol::Sessioned => "sessioned",
        }
    }

    pub fn of_name(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|p| p.name() == name)
    }

    fn version(self) -> i16 {
        self as i16
    }
}

/// What a worker tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerState {
    pub url: String,
    /// How far it has read the config topic.
    pub offset: i64,
    pub owned: Work,
    /// Whether it is one of ours.
    pub marked: bool,
}

/// What the leader tells a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The leader's member id.
    pub leader: String,
    pub leader_url: String,
    /// Workers that are not this far in the config topic read on first.
    pub offset: i64,
    pub assigned: Work,
    pub revoked: Work,
    /// How long until the group is to gather again, for what waits for its worker.
    pub delay: Duration,
    /// Whether the leader is one of ours.
    pub marked: bool,
}

impl WorkerState {
    pub fn write(&self, protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(protocol.version().to_be_bytes());
        string(&mut out, &self.url);
        out.extend(self.offset.to_be_bytes());
        if protocol != Protocol::Eager {
            if self.owned.is_empty() {
                out.extend((-1i32).to_be_bytes());
            } else {
                let owned = Assignment { assigned: self.owned.clone(), ..Assignment::default() };
                let bytes = owned.write_plain(protocol);
                out.extend((bytes.len() as i32).to_be_bytes());
                out.extend(bytes);
            }
        }
        out.extend(MARK);
        out
    }

    pub fn read(bytes: &[u8]) -> Result<WorkerState, String> {
        let mut reader = Reader { rest: bytes };
        let version = reader.int16()?;
        let (url, offset) = (reader.string()?, reader.int64()?);
        let mut owned = Work::default();
        if version > 0 {
            let length = reader.int32()?;
            if let Ok(length) = usize::try_from(length)
                && length > 0
            {
                owned = Assignment::read(reader.take(length)?)?.assigned;
            }
        }
        Ok(WorkerState { url, offset, owned, marked: reader.rest == MARK })
    }
}

impl Assignment {
    pub fn write(&self, protocol: Protocol) -> Vec<u8> {
        let mut out = self.write_plain(protocol);
        out.extend(MARK);
        out
    }

    fn write_plain(&self, protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(protocol.version().to_be_bytes());
        // No error.
        out.extend(0i16.to_be_bytes());
        string(&mut out, &self.leader);
        string(&mut out, &self.leader_url);
        out.extend(self.offset.to_be_bytes());
        work(&mut out, &self.assigned);
        if protocol != Protocol::Eager {
            work(&mut out, &self.revoked);
            out.extend(i32::try_from(self.delay.as_millis()).unwrap_or(i32::MAX).to_be_bytes());
        }
        out
    }

    pub fn read(bytes: &[u8]) -> Result<Assignment, String> {
        let mut reader = Reader { rest: bytes };
        let version = reader.int16()?;
        let _error = reader.int16()?;
        let (leader, leader_url, offset) = (reader.string()?, reader.string()?, reader.int64()?);
        let assigned = reader.work()?;
        let (mut revoked, mut delay) = (Work::default(), 0);
        if version > 0 {
            revoked = reader.work()?;
            delay = reader.int32()?;
        }
        let delay = Duration::from_millis(delay.max(0) as u64);
        Ok(Assignment { leader, leader_url, offset, assigned, revoked, delay, marked: reader.rest == MARK })
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn work(out: &mut Vec<u8>, work: &Work) {
    let mut by_connector: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for name in &work.connectors {
        by_connector.entry(name).or_default().push(CONNECTOR);
    }
    for id in &work.tasks {
        by_connector.entry(&id.connector).or_default().push(id.task as i32);
    }
    out.extend((by_connector.len() as i32).to_be_bytes());
    for (name, numbers) in by_connector {
        string(out, name);
        out.extend((numbers.len() as i32).to_be_bytes());
        numbers.iter().for_each(|n| out.extend(n.to_be_bytes()));
    }
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".to_owned())
    }

    fn int16(&mut self) -> Result<i16, String> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn int32(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn int64(&mut self) -> Result<i64, String> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.int16()?).map_err(|_| "a text has a negative length")?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "a text is no UTF-8".to_owned())
    }

    /// None is nothing.
    fn work(&mut self) -> Result<Work, String> {
        let mut work = Work::default();
        // Every entry takes bytes, so that a count that lies ends where they do.
        for _ in 0..self.int32()?.max(0) {
            let connector = self.string()?;
            for _ in 0..self.int32()?.max(0) {
                match self.int32()? {
                    CONNECTOR => drop(work.connectors.insert(connector.clone())),
                    number => {
                        let task = usize::try_from(number).map_err(|_| "a task has a negative number")?;
                        work.tasks.insert(TaskId { connector: connector.clone(), task });
                    }
                }
            }
        }
        Ok(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Work {
        let tasks = [0, 1].map(|task| TaskId { connector: "a".into(), task });
        Work { connectors: ["a".to_owned(), "b".to_owned()].into(), tasks: tasks.into() }
    }

    #[test]
    fn what_is_written_is_read() {
        for protocol in Protocol::ALL {
            let state = WorkerState { url: "http://a:1/".into(), offset: 7, owned: some(), marked: true };
            let mut read = WorkerState::read(&state.write(protocol)).unwrap();
            if protocol == Protocol::Eager {
                read.owned = some();
            }
            assert_eq!(read, state);
            let assignment = Assignment {
                leader: "m".into(),
                leader_url: "http://a:1/".into(),
                offset: 7,
                assigned: some(),
                marked: true,
                ..Assignment::default()
            };
            assert_eq!(Assignment::read(&assignment.write(protocol)).unwrap(), assignment);
        }
    }

    #[test]
    fn a_java_worker_is_known_by_what_it_does_not_write() {
        let state = WorkerState { url: "u".into(), offset: -1, owned: Work::default(), marked: true };
        let bytes = state.write(Protocol::Sessioned);
        assert!(!WorkerState::read(&bytes[..bytes.len() - MARK.len()]).unwrap().marked);
        // As Java writes it: version 2, "u", offset -1, no allocation.
        assert_eq!(
            bytes[..bytes.len() - MARK.len()],
            *b"\x00\x02\x00\x01u\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
        );
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let state = WorkerState { url: "u".into(), offset: 1, owned: some(), marked: true };
        let bytes = state.write(Protocol::Sessioned);
        for end in 0..bytes.len() - MARK.len() {
            assert!(WorkerState::read(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Assignment::read(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]).is_err());
    }
}
