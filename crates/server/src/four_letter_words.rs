//! ZooKeeper's four-letter words, on the port of the process in ZooKeeper's place: scripts and monitors ask there whether
//! it lives. They are told from Kafka's requests by the first bytes, which as a frame's length would be gigabytes.
//!
//! The client protocol of ZooKeeper is not served; its first request is recognized, so that the log can say what came.

use crate::config::zoo::{WORDS, ZooConfig};
use crate::node::Node;
use std::fmt::Write;

/// The version that monitors compare: the last ZooKeeper that Apache Kafka shipped, and ours.
const VERSION: &str = concat!("3.8.4-klamm-", env!("CARGO_PKG_VERSION"));
/// A session's request: protocol version, last zxid, timeout, session id, and a password with its length.
const CONNECT_FIXED: usize = 4 + 8 + 4 + 8 + 4;

/// What the words tell about.
#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// `standalone`, `leader` or `follower`.
    pub mode: &'static str,
    /// Of the metadata log.
    pub last_offset: i64,
    pub connections: usize,
    pub requests: u64,
    /// Topics, partitions and brokers.
    pub things: usize,
}

impl Vitals {
    pub fn of(node: &Node, connections: usize) -> Vitals {
        let image = node.image();
        Vitals {
            mode: match &node.config.zoo {
                Some(zoo) if zoo.is_standalone() => "standalone",
                _ if node.controller.is_here() => "leader",
                _ => "follower",
            },
            last_offset: image.offset,
            connections,
            requests: node.metrics.requests(),
            things: image.topics.len() + image.topics.partition_count() + image.cluster.brokers().count(),
        }
    }
}

/// The word, where the beginning of a connection is one that is known.
pub fn word(first: [u8; 4]) -> Option<&'static str> {
    WORDS.into_iter().find(|word| word.as_bytes() == first)
}

/// Whether a frame is a ZooKeeper client's request for a session.
pub fn is_connect_request(frame: &[u8]) -> bool {
    let number = |at: usize| frame.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let password = frame.len().checked_sub(CONNECT_FIXED);
    // Newer clients add a byte that says whether reading is enough.
    number(0) == Some(0)
        && password
            .is_some_and(|left| [Some(left), left.checked_sub(1)].contains(&number(24).map(|length| length as usize)))
}

/// The answer to a word.
pub fn answer(word: &str, config: &ZooConfig, vitals: &Vitals) -> String {
    if !config.words.contains(word) {
        return format!("{word} is not executed because it is not in the whitelist.\n");
    }
    match word {
        "ruok" => "imok".to_owned(),
        "isro" => "rw".to_owned(),
        "srvr" => served(vitals),
        "stat" => {
            let (version, rest) =
                served(vitals).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
            format!("{version}\nClients:\n\n{rest}")
        }
        "mntr" => monitored(vitals),
        "conf" => configured(config),
        _ => environment(),
    }
}

fn served(v: &Vitals) -> String {
    format!(
        "Zookeeper version: {VERSION}\nReceived: {requests}\nSent: {requests}\nConnections: {}\nOutstanding: 0\nZxid: {:#x}\n\
         Mode: {}\nNode count: {}\n",
        v.connections,
        v.last_offset.max(0),
        v.mode,
        v.things,
        requests = v.requests,
    )
}

fn monitored(v: &Vitals) -> String {
    let pairs = [
        ("zk_version", VERSION.to_owned()),
        ("zk_server_state", v.mode.to_owned()),
        ("zk_packets_received", v.requests.to_string()),
        ("zk_packets_sent", v.requests.to_string()),
        ("zk_num_alive_connections", v.connections.to_string()),
        ("zk_outstanding_requests", "0".to_owned()),
        ("zk_znode_count", v.things.to_string()),
    ];
    pairs.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name}\t{value}"); // a String takes everything
        text
    })
}

fn configured(config: &ZooConfig) -> String {
    let address = config.client_address.as_deref().unwrap_or("0.0.0.0");
    let mut text = format!(
        "clientPort={}\nclientPortAddress={address}\ndataDir={}\ndataLogDir={}\ntickTime={}\nmaxClientCnxns={}\nserverId={}\n",
        config.client_port,
        config.data_dir.display(),
        config.data_log_dir.display(),
        config.tick_time,
        config.max_client_connections,
        config.my_id,
    );
    for (number, server) in &config.servers {
        let _ = writeln!(text, "server.{number}={server}");
    }
    text
}

fn environment() -> String {
    let uname = rustix::system::uname();
    format!(
        "Environment:\nzookeeper.version={VERSION}\nhost.name={}\nos.name={}\nos.arch={}\nos.version={}\n",
        uname.nodename().to_string_lossy(),
        uname.sysname().to_string_lossy(),
        uname.machine().to_string_lossy(),
        uname.release().to_string_lossy(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const VITALS: Vitals = Vitals { mode: "standalone", last_offset: 255, connections: 2, requests: 7, things: 3 };

    fn config(words: &[&str]) -> ZooConfig {
        ZooConfig {
            path: PathBuf::from("zoo.cfg"),
            data_dir: PathBuf::from("/d"),
            data_log_dir: PathBuf::from("/d"),
            client_port: 2181,
            client_address: None,
            max_client_connections: 0,
            tick_time: 2000,
            my_id: 0,
            servers: Default::default(),
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            remarks: Vec::new(),
        }
    }

    #[test]
    fn words_are_answered_in_the_form_that_scripts_read() {
        let ask = |word| answer(word, &config(&WORDS), &VITALS);
        assert_eq!(ask("ruok"), "imok");
        assert_eq!(ask("isro"), "rw");
        for line in ["Mode: standalone", "Zxid: 0xff", "Connections: 2", "Node count: 3"] {
            assert!(ask("srvr").lines().any(|l| l == line) && ask("stat").lines().any(|l| l == line), "{line}");
        }
        assert!(ask("mntr").lines().any(|l| l == "zk_server_state\tstandalone"));
        assert!(ask("mntr").lines().all(|l| l.split('\t').count() == 2));
        assert!(ask("conf").starts_with("clientPort=2181\n"));
        assert!(ask("envi").starts_with("Environment:\nzookeeper.version=3.8.4-klamm-"));
    }

    #[test]
    fn a_word_that_is_not_listed_is_refused_as_zookeeper_does() {
        let said = answer("stat", &config(&["ruok"]), &VITALS);
        assert_eq!(said, "stat is not executed because it is not in the whitelist.\n");
    }

    #[test]
    fn words_and_sessions_are_told_from_kafkas_requests() {
        assert_eq!(word(*b"ruok"), Some("ruok"));
        assert_eq!(word([0, 0, 0, 44]), None);
        // As kazoo and ZooKeeper's own clients send it, with and without the last byte.
        let mut connect = vec![0; CONNECT_FIXED + 16];
        connect[14..16].copy_from_slice(&30_000u16.to_be_bytes());
        connect[27] = 16;
        assert!(is_connect_request(&connect));
        connect.push(0);
        assert!(is_connect_request(&connect));
        connect.push(0);
        assert!(!is_connect_request(&connect));
        // ApiVersions 3 of a client.
        let api_versions = [0, 18, 0, 3, 0, 0, 0, 1, 0, 4, b't', b'e', b's', b't', 0, 2, b'x', 2, b'1', 0];
        assert!(!is_connect_request(&api_versions) && !is_connect_request(&[]));
    }
}
