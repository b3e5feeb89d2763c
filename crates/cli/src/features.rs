//! What `kafka-storage` and `kafka-features` share: levels of features in words, in releases, and what they need.

use metadata::image::MetadataVersion;
use metadata::image::features::{self, BESIDE_METADATA_VERSION, METADATA_VERSION};

use crate::argparse::{Argument, Command, Exclusive, Given};
use crate::say;
use crate::tool::{Stop, terse};

/// `version-mapping` and `feature-dependencies`, with or without short options.
pub const fn version_mapping(options: &'static [Argument]) -> Command {
    Command {
        name: "version-mapping",
        about: "Show which levels of all features belong to a release; without one, to the latest.",
        options,
        exclusive: Exclusive::NONE,
    }
}

pub const fn feature_dependencies(options: &'static [Argument]) -> Command {
    Command {
        name: "feature-dependencies",
        about: "Show what levels of features need of other features.",
        options,
        exclusive: Exclusive::NONE,
    }
}

pub const RELEASE: Argument =
    Argument::value("release-version", None, "RELEASE_VERSION", "The release, from 3.3-IV3 on; 4.3-IV0 without it.");
pub const DEPENDENT: Argument = Argument::value(
    "feature",
    None,
    "FEATURE",
    "A feature and its level, as in metadata.version=5; may be given again.",
);

/// A release by its name.
pub fn release(name: &str) -> Result<MetadataVersion, Stop> {
    MetadataVersion::from_name(name).ok_or_else(|| {
        let all: Vec<String> = MetadataVersion::all().map(|v| v.to_string()).collect();
        terse(format!("Unknown metadata.version '{name}'. Supported metadata.version are: {}", all.join(", ")))
    })
}

/// `feature=level`.
pub fn name_and_level(text: &str) -> Result<(&str, i16), String> {
    let (name, level) = text
        .split_once('=')
        .ok_or_else(|| format!("Can't parse feature=level string {text}: equals sign not found."))?;
    let (name, level) = (name.trim(), level.trim());
    let level = level
        .parse()
        .map_err(|_| format!("Can't parse feature=level string {text}: unable to parse {level} as a short."))?;
    Ok((name, level))
}

/// A level of a feature, with its name where it has one: `metadata.version=23 (4.0-IV1)`.
fn shown(feature: &str, level: i16) -> String {
    match feature {
        METADATA_VERSION => format!("{feature}={level} ({})", MetadataVersion(level)),
        _ => format!("{feature}={level}"),
    }
}

/// `version-mapping`.
pub fn print_mapping(given: &Given) -> Result<(), Stop> {
    let latest = MetadataVersion::LATEST.to_string();
    let name = given.value("release-version").unwrap_or(&latest);
    let release = release(name)?;
    say!("{METADATA_VERSION}={} ({name})", release.level());
    for feature in BESIDE_METADATA_VERSION {
        say!("{feature}={}", features::level_in_release(feature, release));
    }
    Ok(())
}

/// `feature-dependencies`.
pub fn print_dependencies(given: &Given) -> Result<(), Stop> {
    for text in given.values("feature") {
        let Some((feature, level)) = text.split_once('=') else {
            return Err(terse(format!(
                "Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')"
            )));
        };
        let (feature, level) = (feature.trim(), level.trim());
        let invalid = || terse(format!("Invalid version format: {level} for feature {feature}"));
        let level: i16 = level.parse().map_err(|_| invalid())?;
        match features::supported(feature) {
            None => return Err(terse(format!("Unknown feature: {feature}"))),
            Some((min, max)) if (min..=max).contains(&level) => {}
            Some(_) if feature == METADATA_VERSION => return Err(terse(format!("Unknown metadata.version {level}"))),
            Some(_) => return Err(terse(format!("Feature level {level} is not supported for feature {feature}"))),
        }
        match features::dependency(feature, level) {
            Some((needed, at)) => say!("{} requires:\n    {}", shown(feature, level), shown(needed, at)),
            None => say!("{} has no dependencies.", shown(feature, level)),
        }
    }
    Ok(())
}
