//! `zookeeper.connect`, as files of Kafka up to 3.9 have it: it names where the quorum answers that keeps the cluster's
//! state (`bin/zkServer.sh`), and makes the process a broker of that cluster.

use std::time::Duration;

use client::Properties;
use metadata::config::value::{parse_endpoint, split_list};

use super::zoo::{CLIENT_LISTENER, FIRST_NODE_ID};

const CONNECT: &str = "zookeeper.connect";
const TIMEOUT: &str = "zookeeper.connection.timeout.ms";
const GENERATES: &str = "broker.id.generation.enable";
const RESERVED: &str = "reserved.broker.max.id";
const DEFAULT_RESERVED: i32 = 1000;
/// The port of an address that names none, as ZooKeeper has it.
const DEFAULT_PORT: u16 = 2181;
/// How long the quorum is looked for; in Kafka the session's time.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(6);

/// How a broker finds the quorum that `zookeeper.connect` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeper {
    /// As the file has it.
    pub connect: String,
    /// How long it is looked for.
    pub timeout: Duration,
    /// The broker has no id in its file: it keeps that of its directories, or is given one above this
    /// (`reserved.broker.max.id`).
    pub ids_above: Option<i32>,
}

/// Puts the settings of a KRaft broker that mean the same beside `zookeeper.connect`. `None` where that is not set.
pub(super) fn fill_in(file: &mut Properties) -> Result<Option<ZooKeeper>, Vec<String>> {
    let Some(connect) = file.get(CONNECT).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mut errors = Vec::new();
    for key in ["process.roles", "controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        if file.contains_key(key) {
            errors
                .push(format!("{CONNECT} and {key} say where the cluster's state is in two ways: remove one of them"));
        }
    }
    let timeout = match file.get(TIMEOUT).map(|text| text.trim().parse::<u32>()) {
        None => DEFAULT_TIMEOUT,
        Some(Ok(ms)) => Duration::from_millis(ms.into()),
        Some(Err(_)) => {
            errors.push(format!("{TIMEOUT} is a number of milliseconds, 0 or more"));
            DEFAULT_TIMEOUT
        }
    };
    let id = ["broker.id", "node.id"].iter().find_map(|key| file.get(*key).map(|id| id.trim().to_owned()));
    let (generates, reserved) = (generates(file, &mut errors), reserved(file, &mut errors));
    let mut ids_above = None;
    match id.as_deref().map(str::parse::<i32>) {
        Some(Ok(id)) if id >= FIRST_NODE_ID => errors.push(format!(
            "broker.id={id} is not allowed: numbers from {FIRST_NODE_ID} on belong to the processes of the quorum"
        )),
        None | Some(Ok(-1)) if generates => ids_above = Some(reserved),
        None | Some(Ok(-1)) => errors.push(
            "broker.id must be equal or greater than 0: give each broker a number of its own, or let them be handed out \
             (broker.id.generation.enable=true)"
                .to_owned(),
        ),
        Some(Ok(id)) if generates && id > reserved => errors.push(format!(
            "broker.id={id} must be equal or greater than -1 and not greater than {RESERVED}={reserved}: those above are \
             handed out. Raise {RESERVED}, or set {GENERATES}=false"
        )),
        _ => {} // what is no number is told with the rest
    }
    match servers(&connect) {
        Ok(servers) if errors.is_empty() => {
            let mut set = |key: &str, value: String| file.insert(key.to_owned(), value);
            set("process.roles", "broker".to_owned());
            set("controller.quorum.bootstrap.servers", servers);
            set("controller.listener.names", CLIENT_LISTENER.to_owned());
            if let Some(map) = file.get_mut("listener.security.protocol.map") {
                map.push_str(&format!(",{CLIENT_LISTENER}:PLAINTEXT"));
            }
            Ok(Some(ZooKeeper { connect, timeout, ids_above }))
        }
        Ok(_) => Err(errors),
        Err(why) => {
            errors.push(format!("{CONNECT}={connect} is not allowed: {why}"));
            Err(errors)
        }
    }
}

/// Whether brokers without an id are given one.
fn generates(file: &Properties, errors: &mut Vec<String>) -> bool {
    let value = file.get(GENERATES).map(|value| value.trim().to_ascii_lowercase());
    match value.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            errors.push(format!("{GENERATES}={other} is not allowed: it is true or false"));
            true
        }
    }
}

/// The highest id that is never given out.
fn reserved(file: &Properties, errors: &mut Vec<String>) -> i32 {
    let Some(value) = file.get(RESERVED).map(|value| value.trim()) else { return DEFAULT_RESERVED };
    match value.parse() {
        Ok(id) if (0..FIRST_NODE_ID).contains(&id) => id,
        _ => {
            errors.push(format!("{RESERVED}={value} is not allowed: it is a number from 0 to {}", FIRST_NODE_ID - 1));
            DEFAULT_RESERVED
        }
    }
}

/// The addresses, without a chroot: that would be another cluster than the one that is there.
fn servers(connect: &str) -> Result<String, String> {
    let (hosts, chroot) = connect.split_at(connect.find('/').unwrap_or(connect.len()));
    if chroot.len() > 1 {
        return Err(format!(
            "a chroot cannot be served, a quorum keeps one cluster; leave {chroot} out, or start a quorum of its own on another \
             port for each cluster"
        ));
    }
    let mut servers = Vec::new();
    for host in split_list(hosts).into_iter().filter(|host| !host.is_empty()) {
        let with_port = match parse_endpoint(&host) {
            Some(_) => host.clone(),
            None => format!("{host}:{DEFAULT_PORT}"),
        };
        if parse_endpoint(&with_port).is_none() {
            return Err(format!("{host} is no address; each is host:port, several with commas"));
        }
        servers.push(with_port);
    }
    match servers.is_empty() {
        true => Err("it is host:port, several with commas".to_owned()),
        false => Ok(servers.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(settings: &[(&str, &str)]) -> (Properties, Result<Option<ZooKeeper>, Vec<String>>) {
        let mut file: Properties = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = fill_in(&mut file);
        (file, found)
    }

    #[test]
    fn a_broker_of_2_1_is_a_broker_of_kraft() {
        let settings = [("broker.id", "0"), (CONNECT, "zoo1, zoo2:2182,[::1]:2183"), (TIMEOUT, "500")];
        let (file, found) = filled(&settings);
        let found = found.unwrap().unwrap();
        assert_eq!(found.timeout, Duration::from_millis(500));
        assert_eq!(file["process.roles"], "broker");
        assert_eq!(file["controller.quorum.bootstrap.servers"], "zoo1:2181,zoo2:2182,[::1]:2183");
        assert_eq!(filled(&[("broker.id", "0")]).1, Ok(None));
        assert_eq!(filled(&[(CONNECT, " ")]).1, Ok(None));
    }

    #[test]
    fn a_broker_without_an_id_is_to_be_given_one() {
        let ids_above = |settings: &[(&str, &str)]| filled(settings).1.unwrap().unwrap().ids_above;
        assert_eq!(ids_above(&[(CONNECT, "a:1")]), Some(1000));
        assert_eq!(ids_above(&[("broker.id", " -1"), (RESERVED, "5"), (CONNECT, "a:1")]), Some(5));
        assert_eq!(ids_above(&[("broker.id", "3"), (CONNECT, "a:1")]), None);
        assert_eq!(ids_above(&[("broker.id", "2000"), (GENERATES, "False"), (CONNECT, "a:1")]), None);
        let file = [(CONNECT, "a:1"), ("log.dirs", "/tmp/x"), ("listeners", "PLAINTEXT://localhost:9092")];
        let file: Properties = file.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut config = crate::config::BrokerConfig::new(file, None).unwrap();
        assert_eq!(config.node_id, -1);
        config.set_node_id(1001);
        assert_eq!((config.node_id, config.file["broker.id"].as_str()), (1001, "1001"));
    }

    #[test]
    fn what_cannot_be_is_told_with_what_to_do() {
        for (settings, said) in [
            (&[("broker.id", "0"), (CONNECT, "a:1/kafka")][..], "leave /kafka out"),
            (&[("broker.id", "0"), (CONNECT, "a b:1")], "a b:1 is no address"),
            (&[("broker.id", "0"), (CONNECT, ",")], "host:port"),
            (&[(GENERATES, "false"), ("broker.id", "-1"), (CONNECT, "a:1")], "equal or greater than 0"),
            (&[(GENERATES, "false"), (CONNECT, "a:1")], "equal or greater than 0"),
            (&[(GENERATES, "yes"), (CONNECT, "a:1")], "true or false"),
            (&[(RESERVED, "-1"), (CONNECT, "a:1")], "a number from 0"),
            (&[("broker.id", "1001"), (CONNECT, "a:1")], "those above are handed out"),
            (&[("broker.id", "6"), (RESERVED, "5"), (CONNECT, "a:1")], "those above are handed out"),
            (&[("broker.id", "2147483647"), (CONNECT, "a:1")], "belong to the processes of the quorum"),
            (&[("broker.id", "0"), (CONNECT, "a:1"), ("process.roles", "broker")], "remove one of them"),
            (&[("broker.id", "0"), (CONNECT, "a:1"), (TIMEOUT, "x")], TIMEOUT),
        ] {
            let said_here = filled(settings).1.unwrap_err().join("\n");
            assert!(said_here.contains(said), "{settings:?}: {said_here}");
        }
    }
}
