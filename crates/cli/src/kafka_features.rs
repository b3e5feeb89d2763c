//! `kafka-features`: the levels of a cluster's features, and changing them.

use std::collections::BTreeMap;

use client::Error;
use client::admin::{Admin, UpgradeType};
use metadata::image::MetadataVersion;
use metadata::image::features::{self as known, BESIDE_METADATA_VERSION, KRAFT_VERSION, METADATA_VERSION};

use crate::argparse::{
    self, Argument, BOOTSTRAP_CONTROLLER, BOOTSTRAP_SERVER, COMMAND_CONFIG, Command, Exclusive, Given, Program, Wrong,
};
use crate::features::{self, DEPENDENT, RELEASE, name_and_level, release};
use crate::say;
use crate::tool::{self, Exception, Stop, terse};

const LEVEL: Argument = Argument::value(
    "feature",
    None,
    "FEATURE",
    "A feature and its new level, as in metadata.version=5; may be given again.",
);
const METADATA: Argument = Argument::value(
    "metadata",
    None,
    "METADATA",
    "The new metadata.version alone, by name, as in 3.3-IV3 (deprecated: --feature and --release-version do the same).",
);
const ALL_OF_RELEASE: Argument = Argument::value(
    "release-version",
    None,
    "RELEASE_VERSION",
    "A release whose levels all features are to have, as in 3.9-IV0; version-mapping lists them.",
);
const UNSAFE: Argument = Argument::flag("unsafe", "Also where metadata would be lost by it.");
const DRY_RUN: Argument = Argument::flag("dry-run", "Check the change, and do not make it.");

const PROGRAM: Program = Program {
    name: "kafka-features",
    about: "This tool manages feature flags in Kafka.",
    options: &[COMMAND_CONFIG, BOOTSTRAP_SERVER, BOOTSTRAP_CONTROLLER],
    exclusive: Exclusive::at_most_one_of(&["bootstrap-server", "bootstrap-controller"]),
    commands: &[
        Command {
            name: "describe",
            about: "Show each feature: the levels that there are, and the one that holds.",
            options: &[Argument::value(
                "node-id",
                None,
                "NODE_ID",
                "Ask the node with this id, not whichever answers.",
            )],
            exclusive: Exclusive::NONE,
        },
        Command {
            name: "upgrade",
            about: "Raise the levels of features.",
            options: &[METADATA, ALL_OF_RELEASE, LEVEL, DRY_RUN],
            exclusive: Exclusive::NONE,
        },
        Command {
            name: "downgrade",
            about: "Lower the levels of features.",
            options: &[METADATA, ALL_OF_RELEASE, LEVEL, UNSAFE, DRY_RUN],
            exclusive: Exclusive::NONE,
        },
        Command {
            name: "disable",
            about: "Lower features to level 0.",
            options: &[Argument::value("feature", None, "FEATURE", "A feature; may be given again."), UNSAFE, DRY_RUN],
            exclusive: Exclusive::NONE,
        },
        features::version_mapping(&[RELEASE]),
        features::feature_dependencies(&[DEPENDENT.required()]),
    ],
    example: "bin/kafka-features.sh --bootstrap-server localhost:9092 describe",
    wrong: Wrong::InOneLine,
};

/// The tool.
pub fn main(args: &[String]) -> u8 {
    let result = argparse::parse(&PROGRAM, args).and_then(|given| run(&given));
    tool::end(result, &[], |exception| {
        crate::complain!("{}", exception.message);
        if let Some(cause) = &exception.cause {
            crate::complain!("Caused by: {cause}");
        }
    })
}

fn run(given: &Given) -> Result<(), Stop> {
    match given.command {
        "version-mapping" => return features::print_mapping(given),
        "feature-dependencies" => return features::print_dependencies(given),
        _ => {}
    }
    if !given.has("bootstrap-server") && !given.has("bootstrap-controller") {
        return Err(argparse::refuse(given, "You must specify either --bootstrap-controller or --bootstrap-server."));
    }
    let settings = tool::connection_settings(given)?;
    tool::block_on(async {
        let admin = tool::admin(&settings).await?;
        match given.command {
            "describe" => describe(&admin, given).await,
            _ => change(&admin, given).await,
        }
    })
}

async fn describe(admin: &Admin, given: &Given) -> Result<(), Stop> {
    let node: Option<i32> = given.number("node-id", "Integer (32 bit)")?;
    let mut features = admin.features(node).await?;
    features.supported.sort_by(|a, b| a.name.cmp(&b.name));
    let epoch = features.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
    for range in &features.supported {
        let finalized = features.finalized.iter().find(|f| f.name == range.name).map_or(0, |f| f.level);
        let shown = |level: i16| match range.name.as_str() {
            METADATA_VERSION => match MetadataVersion(level).is_supported() {
                true => MetadataVersion(level).to_string(),
                false => format!("UNKNOWN [{level}]"),
            },
            _ => level.to_string(),
        };
        say!(
            "{:51}{:38}{:38}{:40}Epoch: {epoch}",
            format!("Feature: {}", range.name),
            format!("SupportedMinVersion: {}", shown(range.min)),
            format!("SupportedMaxVersion: {}", shown(range.max)),
            format!("FinalizedVersionLevel: {}", shown(finalized)),
        );
    }
    Ok(())
}

/// What is to be changed, and how it is told.
struct Change {
    levels: BTreeMap<String, i16>,
    upgrade: UpgradeType,
    verb: &'static str,
}

fn planned(given: &Given) -> Result<Change, Stop> {
    let lower = if given.has("unsafe") { UpgradeType::UnsafeDowngrade } else { UpgradeType::SafeDowngrade };
    let (verb, upgrade) = match given.command {
        "upgrade" => ("upgrade", UpgradeType::Upgrade),
        command => (if command == "disable" { "disable" } else { "downgrade" }, lower),
    };
    let mut levels = BTreeMap::new();
    let features = given.values("feature");
    if verb == "disable" {
        for feature in features {
            if levels.insert(feature.clone(), 0).is_some() {
                return Err(terse(format!("Feature {feature} was specified more than once.")));
            }
        }
    } else {
        let metadata = given.value("metadata");
        if let Some(name) = given.value("release-version") {
            if metadata.is_some() || !features.is_empty() {
                return Err(terse("Can not specify `release-version` with other feature flags."));
            }
            let release = release(name)?;
            levels.insert(METADATA_VERSION.to_owned(), release.level());
            for feature in BESIDE_METADATA_VERSION {
                let level = known::level_in_release(feature, release);
                // Raising leaves alone what the release does not have.
                if level > 0 || verb == "downgrade" {
                    levels.insert(feature.to_owned(), level);
                }
            }
        } else if let Some(name) = metadata {
            say!(" `metadata` flag is deprecated and may be removed in a future release.");
            levels.insert(METADATA_VERSION.to_owned(), release(name)?.level());
        }
        for text in features {
            let (name, level) = name_and_level(text).map_err(terse)?;
            if levels.insert(name.to_owned(), level).is_some() {
                return Err(terse(format!("Feature {name} was specified more than once.")));
            }
        }
    }
    if levels.is_empty() {
        return Err(terse(format!("You must specify at least one feature to {verb}")));
    }
    Ok(Change { levels, upgrade, verb })
}

/// Asks for these levels. The outer error: nobody answered, which is said once.
async fn update(
    admin: &Admin,
    levels: &BTreeMap<String, i16>,
    upgrade: UpgradeType,
    is_dry: bool,
) -> Result<Result<(), Error>, Stop> {
    let updates: Vec<(String, i16, UpgradeType)> =
        levels.iter().map(|(name, level)| (name.clone(), *level, upgrade)).collect();
    match admin.update_features(&updates, is_dry).await {
        Err(error @ (Error::Unreachable(_) | Error::Timeout(_))) => Err(Exception::from(error).into()),
        Err(error) => Ok(Err(error)),
        Ok(outcome) => Ok(outcome),
    }
}

async fn change(admin: &Admin, given: &Given) -> Result<(), Stop> {
    let Change { mut levels, upgrade, verb } = planned(given)?;
    let is_dry = given.has("dry-run");
    let mut outcome = update(admin, &levels, upgrade, is_dry).await?;
    // A release's other levels need not wait for a quorum whose voters stay where they are named.
    if given.has("release-version")
        && let Err(error) = &outcome
        && error.to_string().contains(&format!("for feature {KRAFT_VERSION}."))
        && levels.remove(KRAFT_VERSION).is_some()
    {
        say!("{KRAFT_VERSION} stays at its level. {error}");
        outcome = update(admin, &levels, upgrade, is_dry).await?;
    }
    for (name, level) in &levels {
        let to = if verb == "disable" { String::new() } else { format!(" to {level}") };
        match (&outcome, is_dry) {
            (Ok(()), true) => say!("{name} can be {verb}d{to}."),
            (Ok(()), false) => say!("{name} was {verb}d{to}."),
            (Err(error), true) => say!("Can not {verb} {name}{to}. {error}"),
            (Err(error), false) => say!("Could not {verb} {name}{to}. {error}"),
        }
    }
    match outcome {
        Ok(()) => Ok(()),
        Err(_) => Err(terse(format!("{0} out of {0} operation(s) failed.", levels.len()))),
    }
}
