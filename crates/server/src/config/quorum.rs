//! What this process does in the cluster, and with whom. A cluster of several nodes is not there yet, so whatever names
//! another node is refused.

use client::Properties;
use metadata::config::value::{parse_endpoint, parse_voter, split_list};
use metadata::quorum::{Voter, VoterEndpoint, VoterSet};
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
}

const ONE_NODE: &str = "this version serves as a single node that is broker and controller in one";

impl Roles {
    pub(super) fn read(r: &mut Reader<'_>) -> Roles {
        if !r.is_set("process.roles") {
            return Roles { broker: true, controller: true, embedded: true };
        }
        let named = r.list("process.roles");
        let has = |role: &str| named.iter().any(|name| name == role);
        let roles = Roles { broker: has("broker"), controller: has("controller"), embedded: false };
        if !(roles.broker && roles.controller) {
            r.wrong("process.roles", &format!("{ONE_NODE}: write process.roles=broker,controller"));
        }
        roles
    }
}

/// `controller.quorum.voters`, as the quorum takes it; a voter's directory is not known from there.
pub(super) fn static_voters(file: &Properties, controller_listeners: &[Listener]) -> Option<VoterSet> {
    let listener = controller_listeners.first().map(|listener| listener.name.as_str()).unwrap_or_default();
    let voter = |text: &String| {
        let (id, host, port) = parse_voter(text)?;
        let endpoint = VoterEndpoint { name: listener.to_owned(), host, port };
        Some(Voter { id, directory_id: Uuid::default(), endpoints: vec![endpoint] })
    };
    let voters: Vec<Voter> = split_list(file.get("controller.quorum.voters")?).iter().filter_map(voter).collect();
    (!voters.is_empty()).then(|| VoterSet::new(voters))
}

pub(super) fn check(r: &mut Reader<'_>, roles: Roles, controller_listeners: &[Listener]) {
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
    let id = r.int("node.id");
    match voter_list.iter().filter_map(|v| parse_voter(v)).collect::<Vec<_>>().as_slice() {
        [] => {}
        [(voter, ..)] if *voter == id => {}
        [(voter, ..)] => r.wrong(
            voters,
            &format!(
                "If process.roles contains the 'controller' role, the node id {id} must be included in the set of voters \
                 controller.quorum.voters=Set({voter})"
            ),
        ),
        several => {
            let count = several.len();
            r.wrong(voters, &format!("it names {count} controllers, and {ONE_NODE}: name only {id}@host:port"));
        }
    }
    // Which host the one server is, nobody here can know for sure; a port that is not ours is somebody else's.
    let is_here = |server: &String| {
        parse_endpoint(server)
            .is_some_and(|(_, port)| controller_listeners.iter().any(|l| l.port == port || l.port == 0))
    };
    if server_list.len() > 1 || !server_list.iter().all(is_here) {
        r.wrong(servers, &format!("it names other nodes, and {ONE_NODE}: name only this node's controller listener"));
    }
}
