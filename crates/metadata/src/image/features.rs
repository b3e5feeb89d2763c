//! Feature levels, `metadata.version` first among them.

use std::fmt;

use imbl::OrdMap;
use wire::messages::FeatureLevelRecord;

use super::{ApplyError, Delta};

pub const METADATA_VERSION: &str = "metadata.version";
pub const KRAFT_VERSION: &str = "kraft.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const GROUP_VERSION: &str = "group.version";
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// Every feature of Kafka 4.3 with the range of levels that this program can work with, in the order in which its
/// registrations list them.
pub const SUPPORTED: [(&str, i16, i16); 7] = [
    (KRAFT_VERSION, 0, 1),
    (GROUP_VERSION, 0, 1),
    (STREAMS_VERSION, 0, 1),
    (TRANSACTION_VERSION, 0, 2),
    (ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1),
    (METADATA_VERSION, MetadataVersion::MINIMUM.0, MetadataVersion::LATEST.0),
    (SHARE_VERSION, 0, 1),
];

/// One level of a feature, above 0.
struct Level {
    feature: &'static str,
    level: i16,
    /// New clusters from this release on have it.
    since: MetadataVersion,
    /// The feature and the level of it that this one needs.
    needs: Option<(&'static str, i16)>,
}

const LEVELS: [Level; 7] = [
    Level { feature: KRAFT_VERSION, level: 1, since: MetadataVersion(21), needs: None },
    Level { feature: TRANSACTION_VERSION, level: 1, since: MetadataVersion(24), needs: None },
    Level { feature: TRANSACTION_VERSION, level: 2, since: MetadataVersion(24), needs: None },
    Level { feature: GROUP_VERSION, level: 1, since: MetadataVersion(22), needs: None },
    Level {
        feature: ELIGIBLE_LEADER_REPLICAS_VERSION,
        level: 1,
        since: MetadataVersion(26),
        needs: Some((METADATA_VERSION, 23)),
    },
    Level { feature: SHARE_VERSION, level: 1, since: MetadataVersion(28), needs: None },
    Level { feature: STREAMS_VERSION, level: 1, since: MetadataVersion(29), needs: None },
];

/// The features beside `metadata.version`, in the order in which Kafka's tools list them.
pub const BESIDE_METADATA_VERSION: [&str; 6] = [
    KRAFT_VERSION,
    TRANSACTION_VERSION,
    GROUP_VERSION,
    ELIGIBLE_LEADER_REPLICAS_VERSION,
    SHARE_VERSION,
    STREAMS_VERSION,
];

/// The levels that this program can work with; `None` for a feature that it does not know.
pub fn supported(feature: &str) -> Option<(i16, i16)> {
    SUPPORTED.iter().find(|(name, ..)| *name == feature).map(|(_, min, max)| (*min, *max))
}

/// The level at which a new cluster of a release has a feature.
pub fn level_in_release(feature: &str, release: MetadataVersion) -> i16 {
    if feature == METADATA_VERSION {
        return release.level();
    }
    let levels = LEVELS.iter().filter(|l| l.feature == feature && l.since <= release);
    levels.map(|l| l.level).max().unwrap_or(0)
}

/// What a level of a feature needs: another feature, and at least which level of it.
pub fn dependency(feature: &str, level: i16) -> Option<(&'static str, i16)> {
    LEVELS.iter().find(|l| l.feature == feature && l.level == level)?.needs
}

/// The level of `metadata.version`: which records, in which versions, the cluster's nodes may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataVersion(pub i16);

impl MetadataVersion {
    /// 3.3-IV3, the oldest that Kafka 4.x opens.
    pub const MINIMUM: MetadataVersion = MetadataVersion(7);
    /// 4.3-IV0.
    pub const LATEST: MetadataVersion = MetadataVersion(30);

    const NAMES: [&'static str; 24] = [
        "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1",
        "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0",
        "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
    ];

    pub fn level(self) -> i16 {
        self.0
    }

    /// By its name, `3.9-IV0`, or by that of a release, which ended with one of them: `3.9`.
    pub fn from_name(name: &str) -> Option<Self> {
        let is_of_release = |known: &&str| known.split_once('-').is_some_and(|(release, _)| release == name);
        let exact = Self::NAMES.iter().position(|known| *known == name);
        let index = exact.or_else(|| Self::NAMES.iter().rposition(is_of_release))?;
        i16::try_from(index).ok().map(|index| MetadataVersion(Self::MINIMUM.0 + index))
    }

    /// All levels that this program knows, ascending.
    pub fn all() -> impl Iterator<Item = MetadataVersion> {
        (Self::MINIMUM.0..=Self::LATEST.0).map(MetadataVersion)
    }

    /// Whether the way to a lower level passes one that brought records or fields: going back would lose them.
    pub fn loses_metadata_down_to(self, lower: MetadataVersion) -> bool {
        const CHANGED: [i16; 9] = [7, 8, 11, 13, 14, 15, 17, 23, 30];
        CHANGED.iter().any(|level| lower.0 < *level && *level <= self.0)
    }

    pub fn is_supported(self) -> bool {
        (Self::MINIMUM..=Self::LATEST).contains(&self)
    }

    /// Records of a transaction in the log (KIP-868).
    pub fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Below 3.6-IV0 a shrinking ISR raises the leader epoch (KAFKA-15021).
    pub fn raises_epoch_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Log directory ids in registrations and partitions (KIP-858).
    pub fn has_directories(self) -> bool {
        self.0 >= 17
    }

    /// Eligible leader replicas in partitions (KIP-966); the feature of that name switches them on.
    pub fn has_elr(self) -> bool {
        self.0 >= 23
    }

    /// Cordoned log directories in registrations (KIP-1066).
    pub fn has_cordoned_log_dirs(self) -> bool {
        self.0 >= 30
    }

    pub fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// The version of both partition records, new and change.
    pub fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0 - Self::MINIMUM.0).ok();
        match index.and_then(|index| Self::NAMES.get(index)) {
            Some(name) => f.write_str(name),
            None => write!(f, "level {}", self.0),
        }
    }
}

/// The finalized levels. A feature at level 0 is not listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    levels: OrdMap<String, i16>,
}

impl Features {
    /// 0 when it is not set.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// By name, without those at level 0.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i16)> {
        self.levels.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// `None` while the log has no `metadata.version` record: it is empty.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.levels.get(METADATA_VERSION).map(|level| MetadataVersion(*level))
    }

    pub fn is_elr_enabled(&self) -> bool {
        self.level(ELIGIBLE_LEADER_REPLICAS_VERSION) >= 1
            && self.metadata_version().is_some_and(MetadataVersion::has_elr)
    }

    /// The first feature whose level this program does not know how to serve.
    pub fn unsupported(&self) -> Option<String> {
        self.iter().find_map(|(name, level)| {
            let (_, min, max) = SUPPORTED.iter().find(|(known, ..)| *known == name)?;
            (!(*min..=*max).contains(&level))
                .then(|| format!("{name} is at level {level}, and this program knows levels {min} to {max}"))
        })
    }

    pub(super) fn apply(&mut self, record: &FeatureLevelRecord<'_>, delta: &mut Delta) -> Result<(), ApplyError> {
        if record.name == METADATA_VERSION && !MetadataVersion(record.feature_level).is_supported() {
            return Err(ApplyError::new(format!(
                "metadata.version is at level {}, and this program knows levels {} ({}) to {} ({})",
                record.feature_level,
                MetadataVersion::MINIMUM.0,
                MetadataVersion::MINIMUM,
                MetadataVersion::LATEST.0,
                MetadataVersion::LATEST
            )));
        }
        if record.feature_level == 0 {
            self.levels.remove(&*record.name);
        } else {
            self.levels.insert(record.name.to_string(), record.feature_level);
        }
        delta.features.insert(record.name.to_string());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_the_last_of_its_versions() {
        for (name, level) in [("3.3", 7), ("3.3-IV3", 7), ("3.9", 21), ("4.0", 25), ("4.0-IV1", 23), ("4.3-IV0", 30)] {
            assert_eq!(MetadataVersion::from_name(name), Some(MetadataVersion(level)), "{name}");
        }
        for name in ["", "3", "2.1", "4.4-IV0", "4.0-IV", "IV0"] {
            assert_eq!(MetadataVersion::from_name(name), None, "{name}");
        }
        for version in MetadataVersion::all() {
            assert_eq!(MetadataVersion::from_name(&version.to_string()), Some(version));
        }
    }

    #[test]
    fn releases_have_the_levels_that_kafka_gives_them() {
        let levels = |release: &str| {
            let release = MetadataVersion::from_name(release).expect("a release");
            BESIDE_METADATA_VERSION.map(|feature| level_in_release(feature, release))
        };
        assert_eq!(levels("3.8"), [0, 0, 0, 0, 0, 0]);
        assert_eq!(levels("3.9"), [1, 0, 0, 0, 0, 0]);
        assert_eq!(levels("4.0-IV1"), [1, 0, 1, 0, 0, 0]);
        assert_eq!(levels("4.0"), [1, 2, 1, 0, 0, 0]);
        assert_eq!(levels("4.1"), [1, 2, 1, 1, 0, 0]);
        assert_eq!(levels("4.2-IV0"), [1, 2, 1, 1, 1, 0]);
        assert_eq!(levels("4.3"), [1, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn going_back_loses_metadata_where_a_level_brought_some() {
        let loses = |from, to| MetadataVersion(from).loses_metadata_down_to(MetadataVersion(to));
        assert!(loses(30, 29) && loses(25, 21) && loses(23, 22) && loses(8, 7));
        assert!(!loses(29, 23) && !loses(22, 17) && !loses(25, 25) && !loses(10, 9));
    }
}
