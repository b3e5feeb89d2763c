//! What this process does in the cluster, and with whom.

use std::time::Duration;

use client::Properties;
use metadata::config::value::{parse_endpoint, parse_voter, split_list};
use metadata::quorum::{Timeouts, Voter, VoterEndpoint, VoterSet};
use wire::Uuid;

use super::listeners::Listener;
use super::reader::Reader;

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
    /// Nothing was said of roles and quorums: broker and controller in one, and nobody else.
    pub embedded: bool,
    pub formats: Formats,
}

/// Whether a node prepares an empty log directory by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formats {
    /// A voter that lost its disk would vote twice: somebody has to run `kafka-storage.sh format`.
    Never,
    /// As the only voter of a new cluster.
    Alone,
    /// As a broker of the cluster that the quorum names.
    AsQuorumSays,
}

impl Roles {
    pub(super) fn read(r: &mut Reader<'_>) -> Roles {
        if !r.is_set("process.roles") {
            return Roles { broker: true, controller: true, embedded: true, formats: Formats::Alone };
        }
        let named = r.list("process.roles");
        let has = |role: &str| named.iter().any(|name| name == role);
        let (broker, controller) = (has("broker"), has("controller"));
        let formats = if controller { Formats::Never } else { Formats::AsQuorumSays };
        Roles { broker, controller, embedded: false, formats }
    }
}

/// How a node takes part in the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumSettings {
    /// Where the quorum may be found.
    pub servers: Vec<(String, u16)>,
    pub timeouts: Timeouts,
    /// `controller.quorum.request.timeout.ms`
    pub request_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// `initial.broker.registration.timeout.ms`
    pub registration_timeout: Duration,
    /// How often the controller gives leaderships back to preferred replicas (`leader.imbalance.check.interval.seconds`); `None`
    /// where it does not (`auto.leader.rebalance.enable`).
    pub leader_balance_interval: Option<Duration>,
    /// `unclean.leader.election.interval.ms`
    pub unclean_election_interval: Duration,
}

pub(super) fn settings(r: &Reader<'_>) -> QuorumSettings {
    let voters = r.list("controller.quorum.voters");
    let named = voters.iter().filter_map(|voter| parse_voter(voter)).map(|(_, host, port)| (host, port));
    let servers = r.list("controller.quorum.bootstrap.servers");
    let mut all: Vec<(String, u16)> = Vec::new();
    for server in servers.iter().filter_map(|server| parse_endpoint(server)).chain(named) {
        if !all.contains(&server) {
            all.push(server);
        }
    }
    QuorumSettings {
        servers: all,
        timeouts: Timeouts {
            election: r.whole("controller.quorum.election.timeout.ms"),
            fetch: r.whole("controller.quorum.fetch.timeout.ms"),
            backoff_max: r.whole("controller.quorum.election.backoff.max.ms"),
        },
        request_timeout: r.ms("controller.quorum.request.timeout.ms"),
        heartbeat_interval: r.ms("broker.heartbeat.interval.ms"),
        registration_timeout: r.ms("initial.broker.registration.timeout.ms"),
        leader_balance_interval: r.boolean("auto.leader.rebalance.enable").then(|| {
            let seconds = u64::try_from(r.whole("leader.imbalance.check.interval.seconds")).unwrap_or(0);
            Duration::from_secs(seconds.max(1))
        }),
        unclean_election_interval: r.ms("unclean.leader.election.interval.ms"),
    }
}

/// `controller.quorum.voters`, as the quorum takes it; a voter's directory is not known from there.
pub(super) fn static_voters(file: &Properties) -> Option<VoterSet> {
    let named = split_list(file.get("controller.listener.names").map(String::as_str).unwrap_or_default());
    let listener = named.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    let voter = |text: &String| {
        let (id, host, port) = parse_voter(text)?;
        let endpoint = VoterEndpoint { name: listener.clone(), host, port };
        Some(Voter { id, directory_id: Uuid::default(), endpoints: vec![endpoint] })
    };
    let voters: Vec<Voter> = split_list(file.get("controller.quorum.voters")?).iter().filter_map(voter).collect();
    (!voters.is_empty()).then(|| VoterSet::new(voters))
}

pub(super) fn check(r: &mut Reader<'_>, roles: Roles, broker_listeners: &[Listener]) {
    let (voters, servers) = ("controller.quorum.voters", "controller.quorum.bootstrap.servers");
    if roles.embedded {
        for key in [voters, servers, "controller.listener.names"] {
            if r.is_set(key) {
                r.wrong(key, "it is for nodes that have process.roles; set that too, or remove the line");
            }
        }
        return;
    }
    if !r.is_set("controller.listener.names") {
        r.errors.push(
            "Missing required configuration \"controller.listener.names\" which has no default value.".to_owned(),
        );
    }
    let (voter_list, server_list) = (r.list(voters), r.list(servers));
    if voter_list.is_empty() && server_list.is_empty() {
        r.wrong(
            servers,
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap controllers \
             or controller.quorum.voters must contain a parseable set of controllers.",
        );
    }
    if !roles.broker && !broker_listeners.is_empty() {
        let names: Vec<&str> = broker_listeners.iter().map(|listener| listener.name.as_str()).collect();
        let rule = format!(
            "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
             process.roles=controller, and {} is none",
            names.join(", ")
        );
        r.wrong("listeners", &rule);
    }
    let id = r.int("node.id");
    let ids: Vec<i32> = voter_list.iter().filter_map(|v| parse_voter(v)).map(|(voter, ..)| voter).collect();
    let listed: Vec<String> = ids.iter().map(i32::to_string).collect();
    match (roles.controller, ids.contains(&id)) {
        _ if ids.is_empty() => {}
        (true, false) => r.wrong(
            voters,
            &format!(
                "If process.roles contains the 'controller' role, the node id {id} must be included in the set of voters \
                 controller.quorum.voters=Set({})",
                listed.join(", ")
            ),
        ),
        (false, true) => r.wrong(
            voters,
            &format!(
                "If process.roles contains just the 'broker' role, the node id {id} must not be included in the set of voters \
                 controller.quorum.voters=Set({})",
                listed.join(", ")
            ),
        ),
        _ => {}
    }
}
