//! `zoo.cfg`: what the process in ZooKeeper's place is started with. It is a voter of the metadata quorum and nothing
//! else; brokers find it by `zookeeper.connect`.
//!
//! `clientPort` is where brokers and tools connect. Servers of an ensemble speak with each other on the first port of
//! their `server.N` line, as ZooKeeper's do; the second one (ZooKeeper's elections) is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use client::{Properties, properties};
use metadata::config::value::parse_endpoint;

use super::ConfigError;

/// The largest N of `server.N`, as in ZooKeeper.
const SERVER_MAX: i32 = 255;
/// Ids from here on belong to the quorum's processes; brokers have smaller ones.
pub const FIRST_NODE_ID: i32 = i32::MAX - SERVER_MAX;
/// Where brokers and tools connect.
pub const CLIENT_LISTENER: &str = "CLIENT";
/// Where the servers of an ensemble connect to each other.
const QUORUM_LISTENER: &str = "QUORUM";
/// The directory below `dataDir` (or `dataLogDir`) that holds the metadata log.
const LOG_DIR: &str = "klamm";
/// Where Apache ZooKeeper keeps its own.
const ZOOKEEPERS_DIR: &str = "version-2";

/// The four-letter words that are answered on `clientPort`.
pub const WORDS: [&str; 7] = ["conf", "envi", "isro", "mntr", "ruok", "srvr", "stat"];

/// A checked `zoo.cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooConfig {
    pub path: PathBuf,
    /// Where `myid` and `zookeeper_server.pid` are.
    pub data_dir: PathBuf,
    /// Where the metadata log goes; `data_dir`, unless `dataLogDir` says otherwise.
    pub data_log_dir: PathBuf,
    pub client_port: u16,
    /// `None` is every interface.
    pub client_address: Option<String>,
    /// Connections at most from one address; 0 is no limit.
    pub max_client_connections: usize,
    /// In milliseconds.
    pub tick_time: u32,
    /// Of this server; 0 where it is alone and has no `myid`.
    pub my_id: i32,
    /// The ensemble by number; empty where this server is alone.
    pub servers: BTreeMap<i32, Server>,
    /// The four-letter words that are answered.
    pub words: BTreeSet<String>,
    /// Keys that are known and have no effect, and those that nobody knows.
    pub remarks: Vec<String>,
}

/// A line `server.N=host:port:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    /// Where the other servers connect to.
    pub port: u16,
}

/// What belongs to a real ZooKeeper's insides and means nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "admin.enableServer",
    "admin.serverAddress",
    "admin.serverPort",
    "admin.idleTimeout",
    "admin.commandURL",
    "autopurge.purgeInterval",
    "autopurge.snapRetainCount",
    "electionAlg",
    "electionPortBindRetry",
    "globalOutstandingLimit",
    "initLimit",
    "cnxTimeout",
    "maxSessionTimeout",
    "minSessionTimeout",
    "metricsProvider.className",
    "metricsProvider.exportJvmInfo",
    "metricsProvider.httpPort",
    "preAllocSize",
    "quorumListenOnAllIPs",
    "reconfigEnabled",
    "serverCnxnFactory",
    "snapCount",
    "snapshot.trust.empty",
    "standaloneEnabled",
    "syncEnabled",
    "syncLimit",
    "tcpKeepAlive",
    "tickTime",
];

/// Settings that protect, by the beginning of their names: to leave them aside would open what was meant to be closed.
const PROTECTING: &[&str] = &[
    "DigestAuthenticationProvider.",
    "authProvider",
    "enforce.auth.",
    "jaasLoginRenew",
    "quorum.auth.",
    "requireClientAuthScheme",
    "secureClientPort",
    "sessionRequireClientSASLAuth",
    "ssl.",
    "sslQuorum",
];

impl ZooConfig {
    /// Reads and checks a file, and the `myid` beside its data. Nothing is written.
    pub fn load(path: &Path) -> Result<ZooConfig, ConfigError> {
        let said = |why: String| {
            ConfigError::one(format!("Invalid config, exiting abnormally: cannot read {}: {why}", path.display()))
        };
        let bytes = std::fs::read(path).map_err(|e| said(e.to_string()))?;
        let settings = properties::parse(&bytes).map_err(said)?;
        let mut config = ZooConfig::parse(&settings, path)?;
        config.my_id = my_id(&config)?;
        if config.servers.len() < 2 {
            config.servers.clear();
        }
        Ok(config)
    }

    /// Checks what a file says. `my_id` is 0 until `myid` was read.
    fn parse(settings: &Properties, path: &Path) -> Result<ZooConfig, ConfigError> {
        let mut r = Reader { settings, errors: Vec::new() };
        let data_dir = r.text("dataDir").map(PathBuf::from);
        if data_dir.is_none() {
            r.errors.push("dataDir is not set: it names the directory of myid and the data".to_owned());
        }
        let data_dir = data_dir.unwrap_or_default();
        let config = ZooConfig {
            path: path.to_owned(),
            data_log_dir: r.text("dataLogDir").map_or_else(|| data_dir.clone(), PathBuf::from),
            data_dir,
            client_port: r.number("clientPort", 2181, 1, 65535),
            client_address: r.address("clientPortAddress"),
            max_client_connections: r.number("maxClientCnxns", 60, 0, i32::MAX as u32),
            tick_time: r.number("tickTime", 3000, 1, i32::MAX as u32),
            my_id: 0,
            servers: r.servers(),
            words: r.words(),
            remarks: r.remarks(),
        };
        r.refuse_what_protects();
        match r.errors.is_empty() {
            true => Ok(config),
            false => Err(ConfigError(r.errors)),
        }
    }

    /// Whether this server is the whole quorum: then it formats an empty directory itself.
    pub fn is_standalone(&self) -> bool {
        self.servers.is_empty()
    }

    pub fn pid_file(&self) -> PathBuf {
        self.data_dir.join("zookeeper_server.pid")
    }

    /// The directory of the metadata log.
    pub fn log_dir(&self) -> PathBuf {
        self.data_log_dir.join(LOG_DIR)
    }

    /// Why the data cannot be taken over, where Apache ZooKeeper left its own there.
    pub fn foreign_data(&self) -> Option<String> {
        let theirs = [&self.data_dir, &self.data_log_dir].map(|dir| dir.join(ZOOKEEPERS_DIR));
        let found = theirs.into_iter().find(|dir| dir.is_dir()).filter(|_| !self.log_dir().exists())?;
        Some(format!(
            "{} is Apache ZooKeeper's data, which this process cannot read: a cluster that is in it would seem to be empty. \
             Migrate that cluster to KRaft with Apache Kafka 3.9, or begin a new one with another dataDir.",
            found.display()
        ))
    }

    /// The node's id in the quorum, counted down from the largest number: no broker has it.
    pub fn node_id(&self) -> i32 {
        node_id(self.my_id)
    }

    /// The same as Kafka's settings for a controller.
    pub fn settings(&self) -> Properties {
        let mut settings = Properties::new();
        let mut set = |name: &str, value: String| settings.insert(name.to_owned(), value);
        let client = format!("{CLIENT_LISTENER}://{}:{}", bracketed(self.client_address.as_deref()), self.client_port);
        set("process.roles", "controller".into());
        set("node.id", self.node_id().to_string());
        set("log.dirs", self.log_dir().display().to_string());
        set("listener.security.protocol.map", format!("{QUORUM_LISTENER}:PLAINTEXT,{CLIENT_LISTENER}:PLAINTEXT"));
        if self.max_client_connections > 0 {
            set("max.connections.per.ip", self.max_client_connections.to_string());
        }
        match self.servers.get(&self.my_id) {
            None => {
                set("listeners", client);
                set("controller.listener.names", CLIENT_LISTENER.into());
                set("controller.quorum.bootstrap.servers", format!("localhost:{}", self.client_port));
            }
            Some(me) => {
                set("listeners", format!("{QUORUM_LISTENER}://:{},{client}", me.port));
                set("controller.listener.names", format!("{QUORUM_LISTENER},{CLIENT_LISTENER}"));
                let voters = self.servers.iter().map(|(n, s)| format!("{}@{s}", node_id(*n)));
                set("controller.quorum.voters", voters.collect::<Vec<_>>().join(","));
            }
        }
        settings
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(Some(&self.host)), self.port)
    }
}

fn node_id(server: i32) -> i32 {
    i32::MAX - server
}

fn bracketed(host: Option<&str>) -> String {
    match host {
        Some(host) if host.contains(':') => format!("[{host}]"),
        host => host.unwrap_or_default().to_owned(),
    }
}

/// The number in `dataDir/myid`. Only an ensemble needs one.
fn my_id(config: &ZooConfig) -> Result<i32, ConfigError> {
    let path = config.data_dir.join("myid");
    let refuse = |why: String| Err(ConfigError::one(why));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if config.servers.len() < 2 => return Ok(0),
        Err(e) => {
            return refuse(format!(
                "{}: {e}. In an ensemble this file holds the number of this server, the N of its line server.N",
                path.display()
            ));
        }
    };
    match text.trim().parse::<i32>() {
        Ok(id) if config.servers.len() < 2 && (0..=SERVER_MAX).contains(&id) => Ok(id),
        Ok(id) if config.servers.contains_key(&id) => Ok(id),
        Ok(id) => refuse(format!("{} says {id}, and there is no line server.{id}", path.display())),
        Err(_) => refuse(format!("{} holds {:?}, not a number", path.display(), text.trim())),
    }
}

struct Reader<'a> {
    settings: &'a Properties,
    errors: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.settings.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn number<T: TryFrom<u32> + Default>(&mut self, name: &str, default: u32, min: u32, max: u32) -> T {
        let value = match self.text(name) {
            None => Some(default),
            Some(text) => text.parse().ok().filter(|n| (min..=max).contains(n)),
        };
        if value.is_none() {
            let given = self.text(name).unwrap_or_default();
            self.errors.push(format!("{name}={given} is not allowed: it is a number from {min} to {max}"));
        }
        value.and_then(|n| T::try_from(n).ok()).unwrap_or_default()
    }

    /// A host to listen on; every interface where none is named.
    fn address(&mut self, name: &str) -> Option<String> {
        let host = self.text(name)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(&host).to_owned();
        let every = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if parse_endpoint(&format!("{}:1", bracketed(Some(&host)))).is_none() {
            self.errors.push(format!("{name}={host} is not allowed: it is a host name or an address"));
        }
        (!every).then_some(host)
    }

    fn servers(&mut self) -> BTreeMap<i32, Server> {
        let mut servers = BTreeMap::new();
        for (name, value) in self.settings {
            let Some(number) = name.strip_prefix("server.") else { continue };
            let Some(number) = number.parse().ok().filter(|n| (0..=SERVER_MAX).contains(n)) else {
                self.errors.push(format!("{name} is not allowed: the number of a server is from 0 to {SERVER_MAX}"));
                continue;
            };
            match server(value) {
                Ok(server) => drop(servers.insert(number, server)),
                Err(why) => self.errors.push(format!("{name}={value} {why}")),
            }
        }
        servers
    }

    fn words(&mut self) -> BTreeSet<String> {
        let all = || WORDS.iter().map(|word| (*word).to_owned());
        match self.text("4lw.commands.whitelist") {
            None => all().collect(),
            Some(list) if list.split(',').any(|word| word.trim() == "*") => all().collect(),
            Some(list) => list.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect(),
        }
    }

    fn refuse_what_protects(&mut self) {
        for (name, value) in self.settings {
            let off = ["false", "none", ""].contains(&value.trim());
            if !off && PROTECTING.iter().any(|beginning| name.starts_with(beginning)) {
                self.errors.push(format!(
                    "{name} cannot be served: TLS, SASL and other proofs of who connects are not there yet. This process does \
                     not start rather than ignore it: remove the line to run without."
                ));
            }
        }
        if self.text("dynamicConfigFile").is_some() {
            self.errors.push(
                "dynamicConfigFile cannot be served: write the lines server.N of that file into this one".to_owned(),
            );
        }
        if self.text("peerType").is_some_and(|kind| kind == "observer") {
            self.errors.push(OBSERVER.to_owned());
        }
    }

    fn remarks(&self) -> Vec<String> {
        let used = ["dataDir", "dataLogDir", "clientPort", "clientPortAddress", "maxClientCnxns"];
        let read = ["4lw.commands.whitelist", "dynamicConfigFile", "peerType"];
        let is_known = |name: &str| {
            used.contains(&name)
                || read.contains(&name)
                || WITHOUT_EFFECT.contains(&name)
                || name.starts_with("server.")
                || PROTECTING.iter().any(|beginning| name.starts_with(beginning))
        };
        let unknown = self.settings.keys().filter(|name| !is_known(name));
        unknown.map(|name| format!("{name} is not a setting that is known here: it has no effect")).collect()
    }
}

const OBSERVER: &str = "an observer cannot be served: every server of the ensemble votes. Brokers observe it anyhow";

/// `host:port:port[:role][;[address:]clientPort]`.
fn server(text: &str) -> Result<Server, String> {
    const FORM: &str = "is not allowed: it is host:port:port, as in server.1=zoo1:2888:3888";
    let text = text.split_once(';').map_or(text, |(servers, _)| servers).trim();
    if text.contains('|') {
        return Err("is not allowed: a server with several addresses cannot be served, name one".to_owned());
    }
    let (text, role) = match text.rsplit_once(':') {
        Some((rest, role)) if role.chars().all(|c| c.is_ascii_alphabetic()) && !role.is_empty() => (rest, role),
        _ => (text, "participant"),
    };
    match role {
        "participant" => {}
        "observer" => return Err(format!(": {OBSERVER}")),
        _ => return Err(FORM.to_owned()),
    }
    let (address, election_port) = text.rsplit_once(':').ok_or(FORM)?;
    let (host, port) = parse_endpoint(address).ok_or(FORM)?;
    if port == 0 || election_port.parse::<u16>().is_err() {
        return Err(FORM.to_owned());
    }
    Ok(Server { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ZooConfig, ConfigError> {
        ZooConfig::parse(&properties::parse(text.as_bytes()).unwrap(), Path::new("zoo.cfg"))
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err("it was taken").to_string()
    }

    #[test]
    fn the_sample_of_zookeeper_is_a_quorum_of_one() {
        let c = parse("tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/zookeeper\nclientPort=2181\n").unwrap();
        assert!(c.is_standalone() && c.remarks.is_empty());
        assert_eq!((c.node_id(), c.pid_file()), (i32::MAX, "/tmp/zookeeper/zookeeper_server.pid".into()));
        let settings = c.settings();
        assert_eq!(settings["listeners"], "CLIENT://:2181");
        assert_eq!(settings["max.connections.per.ip"], "60");
        assert_eq!(settings["log.dirs"], "/tmp/zookeeper/klamm");
        assert_eq!(c.words.len(), WORDS.len());
    }

    #[test]
    fn kafkas_own_file_has_no_limit_on_connections() {
        let c = parse("dataDir=/tmp/zookeeper\nclientPort=2181\nmaxClientCnxns=0\nadmin.enableServer=false\n").unwrap();
        assert!(!c.settings().contains_key("max.connections.per.ip") && c.remarks.is_empty());
    }

    #[test]
    fn an_ensemble_votes_on_its_first_port() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().display();
        let file = dir.path().join("zoo.cfg");
        let servers = "server.1=zoo1:2888:3888\nserver.2=[::1]:2889:3889:participant;2182\nserver.3=zoo3:2888:3888\n";
        std::fs::write(&file, format!("dataDir={data}\nclientPortAddress=127.0.0.1\n{servers}")).unwrap();
        let missing = ZooConfig::load(&file).unwrap_err().to_string();
        assert!(missing.contains("myid") && missing.contains("server.N"), "{missing}");
        std::fs::write(dir.path().join("myid"), "4\n").unwrap();
        assert!(ZooConfig::load(&file).unwrap_err().to_string().contains("no line server.4"));
        std::fs::write(dir.path().join("myid"), "2\n").unwrap();
        let settings = ZooConfig::load(&file).unwrap().settings();
        assert_eq!(settings["node.id"], "2147483645");
        assert_eq!(settings["listeners"], "QUORUM://:2889,CLIENT://127.0.0.1:2181");
        assert_eq!(settings["controller.listener.names"], "QUORUM,CLIENT");
        let voters = "2147483646@zoo1:2888,2147483645@[::1]:2889,2147483644@zoo3:2888";
        assert_eq!(settings["controller.quorum.voters"], voters);
    }

    #[test]
    fn one_server_line_is_no_ensemble() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zoo.cfg");
        std::fs::write(&file, format!("dataDir={}\nserver.1=localhost:2888:3888\n", dir.path().display())).unwrap();
        std::fs::write(dir.path().join("myid"), "1").unwrap();
        let c = ZooConfig::load(&file).unwrap();
        assert!(c.is_standalone());
        assert_eq!(c.node_id(), i32::MAX - 1);
    }

    #[test]
    fn what_is_wrong_is_told_by_name_and_all_at_once() {
        for (line, said) in [
            ("clientPort=0", "from 1 to 65535"),
            ("clientPort=x", "clientPort=x"),
            ("maxClientCnxns=-1", "maxClientCnxns=-1"),
            ("clientPortAddress=a b", "clientPortAddress"),
            ("server.1=zoo1", "zoo1:2888:3888"),
            ("server.1=zoo1:2888", "host:port:port"),
            ("server.1=zoo1:2888:x9", "host:port:port"),
            ("server.1=zoo1:2888:3888:observer", "observer"),
            ("server.1=a:1:2|b:1:2", "several addresses"),
            ("server.256=a:1:2", "server.256"),
            ("peerType=observer", "observer"),
            ("secureClientPort=2281", "secureClientPort"),
            ("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider", "authProvider.1"),
            ("ssl.quorum.keyStore.password=geheim", "ssl.quorum.keyStore.password"),
            ("dynamicConfigFile=/x", "dynamicConfigFile"),
        ] {
            let message = refused(&format!("dataDir=/d\n{line}\n"));
            assert!(message.contains(said) && !message.contains("geheim"), "{line}: {message}");
        }
        assert_eq!(parse("clientPort=0\n").unwrap_err().0.len(), 2);
    }

    #[test]
    fn a_protection_that_is_switched_off_is_no_reason_to_refuse() {
        assert!(parse("dataDir=/d\nsslQuorum=false\nquorum.auth.enableSasl=false\n").is_ok());
    }

    #[test]
    fn the_list_of_words_may_be_short() {
        let words = |list: &str| parse(&format!("dataDir=/d\n4lw.commands.whitelist={list}\n")).unwrap().words;
        assert_eq!(words("*").len(), WORDS.len());
        assert_eq!(words("ruok, srvr"), ["ruok".to_owned(), "srvr".to_owned()].into());
    }

    #[test]
    fn what_nobody_knows_is_told() {
        let remarks = parse("dataDir=/d\nsnapRetain=3\n").unwrap().remarks;
        assert!(remarks.len() == 1 && remarks[0].contains("snapRetain"), "{remarks:?}");
    }

    #[test]
    fn the_data_of_a_real_zookeeper_is_not_mistaken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("dataDir={}\n", dir.path().display());
        assert_eq!(parse(&text).unwrap().foreign_data(), None);
        std::fs::create_dir(dir.path().join(ZOOKEEPERS_DIR)).unwrap();
        assert!(parse(&text).unwrap().foreign_data().is_some_and(|why| why.contains("version-2")));
        std::fs::create_dir(dir.path().join(LOG_DIR)).unwrap();
        assert_eq!(parse(&text).unwrap().foreign_data(), None);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        assert!(ZooConfig::load(Path::new("/no/zoo.cfg")).unwrap_err().to_string().contains("/no/zoo.cfg"));
    }
}
