//! Listeners: where the broker listens, and what it tells others about that.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use client::Properties;
use metadata::config::value::parse_endpoint;

use super::quorum::Roles;
use super::reader::Reader;
use super::{DEFAULT_LISTENER, guard};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// In upper case.
    pub name: String,
    /// Empty for all interfaces.
    pub host: String,
    /// 0 takes any free port.
    pub port: u16,
}

/// What clients of a listener are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    pub listener: String,
    pub host: String,
    /// 0 stands for the port that the listener got.
    pub port: u16,
}

impl Listener {
    /// The addresses to bind. `localhost` is both loopback addresses; where the machine lacks one of them (binding it
    /// fails with `AddrNotAvailable`) the other one does. All interfaces are one address, which serves both families.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let at = |ip: IpAddr| SocketAddr::new(ip, self.port);
        match self.host.as_str() {
            "" => match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
                Ok(_) => Ok(vec![at(Ipv6Addr::UNSPECIFIED.into())]),
                Err(_) => Ok(vec![at(Ipv4Addr::UNSPECIFIED.into())]), // a machine without IPv6
            },
            "localhost" => Ok(vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())]),
            host => {
                let first = (host, self.port).to_socket_addrs()?.next();
                let none = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
                Ok(vec![first.ok_or_else(none)?])
            }
        }
    }

    /// Whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{}://[{}]:{}", self.name, self.host, self.port),
            false => write!(f, "{}://{}:{}", self.name, self.host, self.port),
        }
    }
}

/// All that the file says of listeners.
pub(super) struct Listeners {
    pub broker: Vec<Listener>,
    pub controller: Vec<Listener>,
    pub advertised: Vec<Advertised>,
    pub inter_broker: String,
}

/// Security protocols by listener name. Without `listener.security.protocol.map` every protocol is a listener's name,
/// and so are, in plain text, the controller's listeners, as Kafka has it.
pub(super) fn protocols(file: &Properties) -> Result<BTreeMap<String, String>, String> {
    let mut protocols: BTreeMap<String, String> = BTreeMap::new();
    match file.get("listener.security.protocol.map") {
        None => {
            for protocol in guard::PROTOCOLS {
                protocols.insert(protocol.to_owned(), protocol.to_owned());
            }
            for name in names(file, "controller.listener.names") {
                protocols.entry(name).or_insert_with(|| DEFAULT_LISTENER.to_owned());
            }
        }
        Some(map) => {
            for entry in map.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                let allowed = "each entry is NAME:PROTOCOL";
                let (name, protocol) = entry.rsplit_once(':').ok_or_else(|| format!("{entry}: {allowed}"))?;
                let protocol = protocol.trim().to_ascii_uppercase();
                if !guard::PROTOCOLS.contains(&protocol.as_str()) {
                    let known = guard::PROTOCOLS.join(", ");
                    return Err(format!(
                        "Invalid security protocol `{protocol}` defined in listener.security.protocol.map; there are {known}"
                    ));
                }
                protocols.insert(name.trim().to_ascii_uppercase(), protocol);
            }
        }
    }
    Ok(protocols)
}

fn names(file: &Properties, key: &str) -> Vec<String> {
    let text = file.get(key).map(String::as_str).unwrap_or_default();
    metadata::config::value::split_list(text).into_iter().map(|name| name.to_ascii_uppercase()).collect()
}

/// `NAME://host:port`; the host may be empty.
pub(super) fn parse(text: &str) -> Option<Listener> {
    let (name, rest) = text.split_once("://")?;
    let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(word) {
        return None;
    }
    let (host, port) = match rest.strip_prefix(':') {
        Some(port) => (String::new(), port.parse().ok()?),
        None => parse_endpoint(rest)?,
    };
    Some(Listener { name: name.to_ascii_uppercase(), host, port })
}

fn parse_list(r: &mut Reader<'_>, key: &'static str) -> Option<Vec<Listener>> {
    let mut all = Vec::new();
    for text in r.list(key) {
        match parse(&text) {
            Some(listener) => all.push(listener),
            None => {
                let rule = format!("Unable to parse {text} to a broker endpoint: each entry is NAME://host:port");
                r.wrong(key, &rule);
                return None;
            }
        }
    }
    Some(all)
}

pub(super) fn read(r: &mut Reader<'_>, roles: Roles) -> Option<Listeners> {
    let errors_before = r.errors.len();
    let protocols = match protocols(r.file) {
        Ok(protocols) => protocols,
        Err(why) => {
            r.wrong("listener.security.protocol.map", &why);
            return None;
        }
    };
    let all = match r.is_set("listeners") {
        true => parse_list(r, "listeners")?,
        // Not even a file: nobody but this machine is let in.
        false if r.file.keys().all(|key| !key.contains("listener")) && roles.embedded => {
            vec![Listener { name: DEFAULT_LISTENER.into(), host: "localhost".into(), port: 9092 }]
        }
        false => vec![Listener { name: DEFAULT_LISTENER.into(), host: String::new(), port: 9092 }],
    };
    check_distinct(r, &all);
    for listener in &all {
        if !protocols.contains_key(&listener.name) {
            let rule = format!(
                "No security protocol defined for listener {}: name it after its protocol (PLAINTEXT), or add it to \
                 listener.security.protocol.map",
                listener.name
            );
            r.wrong("listeners", &rule);
        }
    }
    let controller_names = names(r.file, "controller.listener.names");
    let (controller, broker): (Vec<_>, Vec<_>) = all.into_iter().partition(|l| controller_names.contains(&l.name));
    if roles.controller && !roles.embedded && controller.is_empty() {
        r.wrong(
            "controller.listener.names",
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when \
             running the KRaft controller role",
        );
    }
    if !roles.controller {
        for listener in &controller {
            let rule = format!(
                "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running \
                 KRaft with just the broker role, and {} is there",
                listener.name
            );
            r.wrong("controller.listener.names", &rule);
        }
    }
    let (advertised, inter_broker) = match roles.broker {
        true => {
            let advertised = advertised(r, &broker, &controller_names)?;
            let inter_broker = inter_broker(r, &protocols, &advertised);
            (advertised, inter_broker)
        }
        false => (Vec::new(), String::new()),
    };
    (r.errors.len() == errors_before).then_some(Listeners { broker, controller, advertised, inter_broker })
}

fn check_distinct(r: &mut Reader<'_>, all: &[Listener]) {
    for (i, a) in all.iter().enumerate() {
        for b in &all[..i] {
            if a.name == b.name {
                r.wrong(
                    "listeners",
                    &format!("Each listener must have a different name, and {} is there twice", a.name),
                );
            }
            let family = |l: &Listener| l.host.parse::<IpAddr>().ok().map(|ip| ip.is_ipv4());
            let one_of_each = matches!((family(a), family(b)), (Some(x), Some(y)) if x != y);
            if a.port == b.port && a.port != 0 && !one_of_each {
                let rule = format!("Each listener must have a different port, and {a} and {b} have the same");
                r.wrong("listeners", &rule);
            }
        }
    }
}

fn advertised(r: &mut Reader<'_>, listeners: &[Listener], controller_names: &[String]) -> Option<Vec<Advertised>> {
    let key = if r.is_set("advertised.listeners") { "advertised.listeners" } else { "listeners" };
    let given = match key {
        "advertised.listeners" => parse_list(r, key)?,
        _ => listeners.to_vec(),
    };
    let given: Vec<Listener> = given.into_iter().filter(|l| !controller_names.contains(&l.name)).collect();
    if given.is_empty() {
        let rule = "There must be at least one broker advertised listener. Perhaps all listeners appear in \
                    controller.listener.names?";
        r.wrong(key, rule);
    }
    let mut advertised = Vec::new();
    for one in given {
        if !listeners.iter().any(|l| l.name == one.name) {
            let rule = format!("{} is advertised and not among the broker's listeners", one.name);
            r.wrong(key, &rule);
        }
        if matches!(one.host.as_str(), "0.0.0.0" | "::") {
            let rule =
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.";
            r.wrong("advertised.listeners", rule);
        }
        let host = if one.host.is_empty() { this_host() } else { one.host };
        advertised.push(Advertised { listener: one.name, host, port: one.port });
    }
    Some(advertised)
}

/// A name of this machine that others can look up, or at least this machine itself.
pub fn this_host() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().into_owned();
    let is_known =
        !name.is_empty() && (name.as_str(), 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    if is_known { name } else { "localhost".to_owned() }
}

/// The listener over which brokers reach each other.
fn inter_broker(r: &mut Reader<'_>, protocols: &BTreeMap<String, String>, advertised: &[Advertised]) -> String {
    let (by_name, by_protocol) = ("inter.broker.listener.name", "security.inter.broker.protocol");
    if r.is_set(by_name) && r.is_set(by_protocol) {
        r.wrong(by_name, &format!("Only one of {by_name} and {by_protocol} should be set."));
        return String::new();
    }
    let (key, name) = match r.text(by_name) {
        Some(name) => (by_name, name.to_ascii_uppercase()),
        None => (by_protocol, r.text(by_protocol).unwrap_or_default()),
    };
    if !protocols.contains_key(&name) {
        r.wrong(
            key,
            &format!("Listener with name {name} defined in {key} not found in listener.security.protocol.map."),
        );
        return name;
    }
    if !advertised.iter().any(|a| a.listener == name) {
        let valid: Vec<&str> = advertised.iter().map(|a| a.listener.as_str()).collect();
        r.wrong(
            key,
            &format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based \
                 on currently configured listeners are {}",
                valid.join(",")
            ),
        );
    }
    name
}
