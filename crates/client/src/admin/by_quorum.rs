//! Finding a cluster by its metadata quorum, as tools of Kafka 2.1 found it by ZooKeeper (`--zookeeper host:port`).

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::ApiKey;

use super::Admin;
use crate::Error;
use crate::config::Properties;

/// The port of an address that names none, as ZooKeeper has it.
const DEFAULT_PORT: u16 = 2181;
/// How long a quorum without brokers is waited for: they may just be starting.
const BROKERS_PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

impl Admin {
    /// Asks the quorum at `connect` (`host:port,host:port`) for brokers, and opens a client that begins with them. Where a
    /// broker answers, it is that client's beginning itself.
    ///
    /// # Errors
    /// `Config` for a list that makes no sense, `Unreachable` when nobody answers or no broker is registered.
    pub async fn open_by_quorum(connect: &str, properties: &Properties) -> Result<Admin, Error> {
        let mut properties = properties.clone();
        properties.insert("bootstrap.servers".into(), servers(connect)?);
        let quorum = Admin::open(&properties).await?;
        if quorum.client().any("listNodes").await?.version(ApiKey::Metadata).is_ok() {
            return Ok(quorum);
        }
        let begun = Instant::now();
        let brokers = loop {
            let brokers = quorum.brokers_of_controller().await?;
            if !brokers.is_empty() {
                break brokers;
            }
            if begun.elapsed() > BROKERS_PATIENCE {
                return Err(Error::Unreachable(format!("No broker is registered with the quorum at {connect}.")));
            }
            sleep(PAUSE).await;
        };
        let address = |host: &str, port| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let addresses: Vec<String> = brokers.iter().map(|b| address(&b.node.host, b.node.port)).collect();
        properties.insert("bootstrap.servers".into(), addresses.join(","));
        let admin = Admin::open(&properties).await?;
        // A broker hears of the others, and that it serves itself, a moment after the quorum decided it.
        // One that ends meanwhile is not waited for: the quorum is asked again.
        let mut known = brokers.len();
        while admin.brokers().await?.len() < known && begun.elapsed() <= BROKERS_PATIENCE {
            sleep(PAUSE).await;
            known = quorum.brokers_of_controller().await?.len();
        }
        Ok(admin)
    }
}

/// The list as bootstrap servers. A chroot behind it would mean another cluster than the one that is there.
fn servers(connect: &str) -> Result<String, Error> {
    let (hosts, chroot) = connect.split_at(connect.find('/').unwrap_or(connect.len()));
    if chroot.len() > 1 {
        return Err(Error::Config(format!(
            "{connect}: a chroot cannot be served, there is one cluster at {hosts}; leave {chroot} out"
        )));
    }
    let with_port = |host: &str| {
        let named = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        if named { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") }
    };
    let all: Vec<String> = hosts.split(',').map(str::trim).filter(|h| !h.is_empty()).map(with_port).collect();
    match all.is_empty() {
        true => Err(Error::Config("no address: it is host:port, several with commas".to_owned())),
        false => Ok(all.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_string_is_a_list_of_servers_without_a_chroot() {
        assert_eq!(servers("localhost:2181").unwrap(), "localhost:2181");
        assert_eq!(servers("a:1, b:2/").unwrap(), "a:1,b:2");
        assert_eq!(servers("zoo1,zoo2:2182").unwrap(), "zoo1:2181,zoo2:2182");
        assert!(servers("a:1/kafka").unwrap_err().to_string().contains("leave /kafka out"));
        assert!(servers("").is_err());
    }
}
