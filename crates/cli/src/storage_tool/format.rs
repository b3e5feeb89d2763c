//! `kafka-storage format`: directories for a new cluster, or for a new node of one.
//!
//! Everything is checked before anything is written, and each directory's `meta.properties` is written last: a directory
//! without it counts as not formatted.

use std::path::Path;
use std::str::FromStr;

use metadata::controller::bootstrap_records;
use metadata::image::MetadataVersion;
use metadata::image::features::{self, BESIDE_METADATA_VERSION, KRAFT_VERSION, METADATA_VERSION};
use metadata::quorum::{self, Format, Voter, VoterEndpoint, VoterSet};
use storage::{Disk, MetaProperties, RealDisk};
use wire::Uuid;
use wire::messages::MetadataRecord;

use super::node::Node;
use crate::argparse::Given;
use crate::features::{name_and_level, release};
use crate::tool::{Exception, Stop, terse};
use crate::{clock, java_order, say};

/// Formats what is not formatted yet.
pub fn run(node: &Node, given: &Given) -> Result<(), Stop> {
    if given.has("add-scram") {
        return Err(terse(
            "--add-scram is not there yet: SCRAM credentials would promise an authentication that Klamm does not do. For a \
             node of Apache Kafka, format with its own kafka-storage.sh.",
        ));
    }
    let voters = voters(node, given)?;
    let (metadata_version, bootstrap) = bootstrap(node, given)?;
    let cluster_id = given.value("cluster-id").unwrap_or_default().trim().to_owned();
    let mut unformatted = unformatted(node, &cluster_id, given.has("ignore-formatted"))?;
    if unformatted.is_empty() {
        say!("All of the log directories are already formatted.");
        return Ok(());
    }
    say!("Bootstrap metadata: {}", shown(metadata_version, &bootstrap));
    java_order::sort(&mut unformatted, |dir| dir);
    let own = voters.as_ref().and_then(|voters| voters.get(node.id));
    for directory in unformatted {
        let is_metadata = directory == node.metadata_directory;
        let kind = match (&voters, own) {
            _ if !is_metadata => "data",
            (Some(_), Some(_)) => "dynamic metadata voter",
            (Some(_), None) => "dynamic metadata",
            (None, _) => "metadata",
        };
        say!("Formatting {kind} directory {directory} with metadata.version {metadata_version}.");
        let meta = MetaProperties {
            version: 1,
            cluster_id: Some(cluster_id.clone()),
            node_id: Some(node.id),
            directory_id: Some(own.filter(|_| is_metadata).map_or_else(random_uuid, |voter| voter.directory_id)),
        };
        let how = Format { voters: voters.clone().filter(|_| is_metadata), bootstrap: bootstrap.clone() };
        write(Path::new(directory), &how, &meta).map_err(|e| {
            let message =
                format!("Error while writing meta.properties file {directory}: {e}. Nothing else was changed in it.");
            Exception::new("java.io.IOException", message)
        })?;
    }
    Ok(())
}

fn write(directory: &Path, how: &Format, meta: &MetaProperties) -> std::io::Result<()> {
    let now_ms = clock::now_ms();
    RealDisk.create_dir(directory)?;
    quorum::format(&RealDisk, directory, how, now_ms)?;
    meta.write(&RealDisk, directory, now_ms)
}

/// The first voters of a quorum that changes its voters by itself; none where the configuration names them, or where
/// the node comes to a quorum that is there.
fn voters(node: &Node, given: &Given) -> Result<Option<VoterSet>, Stop> {
    let is_standalone = given.has("standalone");
    let named = given.value("initial-controllers");
    if !node.is_controller {
        return match (is_standalone, named) {
            (true, _) => Err(terse("You can only use --standalone on a controller.")),
            (_, Some(named)) => initial_voters(named, &node.controller_listener).map(Some),
            _ => Ok(None),
        };
    }
    if node.has_static_voters && (is_standalone || named.is_some()) {
        return Err(terse(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. If \
             you want to use dynamic quorum, please remove controller.quorum.voters and specify \
             controller.quorum.bootstrap.servers instead.",
        ));
    }
    if let Some(named) = named {
        return initial_voters(named, &node.controller_listener).map(Some);
    }
    if node.has_static_voters || given.has("no-initial-controllers") {
        return Ok(None);
    }
    if !is_standalone && !node.is_embedded {
        return Err(terse(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers.",
        ));
    }
    let endpoints: Vec<VoterEndpoint> = node.controller_endpoint.iter().cloned().collect();
    if endpoints.is_empty() && !node.is_embedded {
        return Err(terse("No controller listeners found."));
    }
    Ok(Some(VoterSet::new(vec![Voter { id: node.id, directory_id: random_uuid(), endpoints }])))
}

/// `id@host:port:directory,...`
fn initial_voters(text: &str, listener: &str) -> Result<VoterSet, Stop> {
    let voters: Result<Vec<Voter>, String> = text.split(',').map(|one| initial_voter(one.trim(), listener)).collect();
    let voters = voters.map_err(Exception::illegal_argument)?;
    for (i, voter) in voters.iter().enumerate() {
        if voters[..i].iter().any(|other| other.id == voter.id) {
            return Err(
                Exception::illegal_argument(format!("Node id {} was specified more than once.", voter.id)).into()
            );
        }
    }
    Ok(VoterSet::new(voters))
}

fn initial_voter(text: &str, listener: &str) -> Result<Voter, String> {
    let (id, rest) = text.split_once('@').ok_or("No @ found in dynamic voter string.")?;
    let id: i32 = id.trim().parse().map_err(|_| "Failed to parse node id in dynamic voter string.")?;
    if id < 0 {
        return Err(format!("Invalid negative node id {id} in dynamic voter string."));
    }
    let (host, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .and_then(|(host, rest)| Some((host, rest.strip_prefix(':')?)))
            .ok_or("Hostname began with left bracket, but no right bracket was found.")?,
        None => rest.split_once(':').ok_or("No colon following hostname could be found.")?,
    };
    if host.is_empty() {
        return Err("Hostname was empty in dynamic voter string.".to_owned());
    }
    let (port, directory) = rest.split_once(':').ok_or("No colon following port could be found.")?;
    let port: u16 = match port.parse::<i64>() {
        Err(_) => return Err("Failed to parse port in dynamic voter string.".to_owned()),
        Ok(port) => u16::try_from(port).map_err(|_| format!("Invalid port {port} in dynamic voter string."))?,
    };
    let directory_id = Uuid::from_str(directory).ok().filter(|id| !id.is_zero());
    let directory_id = directory_id.ok_or("Failed to parse directory ID in dynamic voter string.")?;
    let endpoint = VoterEndpoint { name: listener.to_ascii_uppercase(), host: host.to_owned(), port };
    Ok(Voter { id, directory_id, endpoints: vec![endpoint] })
}

/// At which levels the cluster begins.
fn bootstrap(node: &Node, given: &Given) -> Result<(MetadataVersion, Vec<MetadataRecord<'static>>), Stop> {
    let mut wanted: Vec<(&str, i16)> = Vec::new();
    for text in given.values("feature") {
        wanted.push(name_and_level(text).map_err(|why| Exception::new("java.lang.RuntimeException", why))?);
    }
    let named = given.value("release-version").map(release).transpose()?;
    let by_level = wanted.iter().find(|(name, _)| *name == METADATA_VERSION).map(|(_, level)| MetadataVersion(*level));
    let metadata_version = match (named, by_level) {
        (Some(_), Some(_)) => {
            return Err(terse("Use --release-version instead of --feature metadata.version=X to avoid ambiguity."));
        }
        (Some(version), None) => version,
        (None, Some(level)) if !level.is_supported() => {
            let message = format!("No MetadataVersion with feature level {}", level.level());
            return Err(Exception::illegal_argument(message).into());
        }
        (None, Some(level)) => level,
        (None, None) => MetadataVersion::LATEST,
    };
    let mut levels = BESIDE_METADATA_VERSION.map(|name| (name, features::level_in_release(name, metadata_version)));
    for (name, level) in wanted.into_iter().filter(|(name, _)| *name != METADATA_VERSION) {
        let Some(own) = levels.iter_mut().find(|(known, _)| *known == name) else {
            let mut all = BESIDE_METADATA_VERSION;
            all.sort_unstable();
            return Err(terse(format!("Unsupported feature: {name}. Supported features are: {}", all.join(", "))));
        };
        if !features::supported(name).is_some_and(|(min, max)| (min..=max).contains(&level)) {
            return Err(Exception::illegal_argument(format!("No feature:{name} with feature level {level}")).into());
        }
        own.1 = level;
        if name == KRAFT_VERSION {
            check_kraft_version(node, given, level)?;
        }
    }
    for (name, level) in levels {
        if let Some((needed, at)) = features::dependency(name, level)
            && (needed != METADATA_VERSION || metadata_version.level() < at)
        {
            let message = format!("{name} could not be set to {level} because it depends on {needed} level {at}");
            return Err(Exception::illegal_argument(message).into());
        }
    }
    Ok((metadata_version, bootstrap_records(metadata_version, levels)))
}

/// Who votes is in the log from `kraft.version` 1 on, so the level follows from how the voters are given.
fn check_kraft_version(node: &Node, given: &Given, level: i16) -> Result<(), Stop> {
    const FLAGS: [&str; 3] = ["standalone", "initial-controllers", "no-initial-controllers"];
    const THE_FLAGS: &str = "--standalone, --initial-controllers, or --no-initial-controllers";
    let is_dynamic = !node.has_static_voters && (node.is_embedded || FLAGS.iter().any(|flag| given.has(flag)));
    match (level, is_dynamic) {
        (0, true) => Err(terse(format!(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags {THE_FLAGS} is used. For \
             dynamic controllers support, try removing the --feature flag for kraft.version."
        ))),
        (1, false) => Err(terse(format!(
            "Cannot set kraft.version to 1 unless controller.quorum.voters is empty and one of the flags {THE_FLAGS} is used. \
             For dynamic controllers support, try using one of {THE_FLAGS} and removing controller.quorum.voters."
        ))),
        _ => Ok(()),
    }
}

/// The directories that are to be formatted; those that are formatted must be of this cluster and node.
fn unformatted<'n>(node: &'n Node, cluster_id: &str, ignore_formatted: bool) -> Result<Vec<&'n str>, Stop> {
    let mut unformatted = Vec::new();
    let mut formatted = Vec::new();
    for directory in &node.directories {
        let path = Path::new(directory);
        let meta = MetaProperties::read(&RealDisk, path)
            .map_err(|e| Exception::new("java.lang.RuntimeException", e.to_string()))?;
        let Some(meta) = meta else {
            unformatted.push(directory.as_str());
            continue;
        };
        let mismatch = |what: &str, expected: &str, read: &str| {
            let message =
                format!("Invalid {what} in: {directory}/meta.properties. Expected {expected}, but read {read}");
            Err(Exception::new("java.lang.RuntimeException", message).into())
        };
        if let Some(other) = meta.cluster_id.as_deref().filter(|id| *id != cluster_id) {
            return mismatch("cluster.id", cluster_id, other);
        }
        if let Some(other) = meta.node_id.filter(|id| *id != node.id) {
            return mismatch("node.id", &node.id.to_string(), &other.to_string());
        }
        formatted.push(directory.as_str());
    }
    java_order::sort(&mut formatted, |dir| dir);
    match formatted.first() {
        Some(directory) if !ignore_formatted => Err(terse(format!(
            "Log directory {directory} is already formatted. Use --ignore-formatted to ignore this directory and format the \
             others."
        ))),
        _ => Ok(unformatted),
    }
}

/// The records as Kafka's tool shows them.
fn shown(metadata_version: MetadataVersion, records: &[MetadataRecord<'static>]) -> String {
    let records: Vec<String> = records
        .iter()
        .filter_map(|record| match record {
            MetadataRecord::FeatureLevel(level) => Some(format!(
                "ApiMessageAndVersion(FeatureLevelRecord(name='{}', featureLevel={}) at version 0)",
                level.name, level.feature_level
            )),
            _ => None,
        })
        .collect();
    format!(
        "BootstrapMetadata(records=[{}], metadataVersionLevel={}, source=format command)",
        records.join(", "),
        metadata_version.level()
    )
}

/// An id that no command line takes for an option, and that is none of Kafka's reserved ones.
pub fn random_uuid() -> Uuid {
    loop {
        let bits = u128::from(client::random::bits()) << 64 | u128::from(client::random::bits());
        let id = Uuid::from_random(bits);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}
