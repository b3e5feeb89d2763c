//! Raising and lowering feature levels.
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod common;

use common::{Decider, refusal, registration};
use metadata::controller::{
    AlterOp, Command, ConfigChanges, FeatureUpdate, Refusal, Reply, UpgradeType, bootstrap_records,
};
use metadata::image::{ConfigResource, MetadataVersion};
use wire::ErrorCode;

const ELR: &str = "eligible.leader.replicas.version";

fn at(level: i16) -> Decider {
    Decider::bootstrapped(&[("min.insync.replicas", "2")], &bootstrap_records(MetadataVersion(level), []))
}

fn update(cluster: &mut Decider, updates: &[(&str, i16, UpgradeType)], validate_only: bool) -> Result<(), Refusal> {
    let updates = updates
        .iter()
        .map(|(feature, level, upgrade)| FeatureUpdate {
            feature: (*feature).to_owned(),
            level: *level,
            upgrade: *upgrade,
        })
        .collect();
    match cluster.ask(Command::UpdateFeatures { updates, kraft_version: 0, validate_only }) {
        Reply::UpdateFeatures(result) => result,
        other => panic!("an answer to something else: {other:?}"),
    }
}

#[test]
fn a_dry_run_changes_nothing_and_one_refusal_refuses_all() {
    let mut cluster = at(23);
    update(&mut cluster, &[("metadata.version", 25, UpgradeType::Upgrade)], true).unwrap();
    assert_eq!(cluster.image().metadata_version(), MetadataVersion(23));
    let both = [("metadata.version", 25, UpgradeType::Upgrade), ("foo", 1, UpgradeType::Upgrade)];
    let refused = refusal(update(&mut cluster, &both, false));
    assert_eq!(
        refused,
        (
            ErrorCode::InvalidUpdateVersion,
            "Invalid update version 1 for feature foo. Local controller 100 does not support this feature.".to_owned()
        )
    );
    assert_eq!(cluster.image().metadata_version(), MetadataVersion(23));
}

#[test]
fn a_level_may_need_another_of_the_same_request() {
    let mut cluster = at(21);
    assert!(update(&mut cluster, &[(ELR, 1, UpgradeType::Upgrade)], false).is_err());
    let both = [(ELR, 1, UpgradeType::Upgrade), ("metadata.version", 23, UpgradeType::Upgrade)];
    update(&mut cluster, &both, false).unwrap();
    assert!(cluster.image().features.is_elr_enabled());
}

#[test]
fn eligible_leader_replicas_leave_one_min_insync_replicas_for_all() {
    let mut cluster = at(23).with_brokers(1);
    let own = ConfigResource::broker(1);
    let changes = vec![("min.insync.replicas".to_owned(), AlterOp::Set, Some("3".to_owned()))];
    let resources = vec![ConfigChanges { resource: own.clone(), changes }];
    cluster.ask(Command::IncrementalAlterConfigs { resources, validate_only: false });
    assert_eq!(cluster.image().configs.value(&own, "min.insync.replicas"), Some("3"));
    update(&mut cluster, &[(ELR, 1, UpgradeType::Upgrade)], false).unwrap();
    let image = cluster.image();
    assert_eq!(image.configs.value(&own, "min.insync.replicas"), None);
    assert_eq!(image.configs.value(&ConfigResource::default_broker(), "min.insync.replicas"), Some("2"));
}

#[test]
fn a_broker_that_cannot_follow_holds_the_cluster_back() {
    let mut cluster = at(23);
    let mut old = registration(7, 7);
    old.features.retain(|feature| feature.name != "transaction.version");
    cluster.register(old).unwrap();
    let refused = refusal(update(&mut cluster, &[("transaction.version", 2, UpgradeType::Upgrade)], false));
    assert_eq!(
        refused.1,
        "Invalid update version 2 for feature transaction.version. Broker 7 does not support this feature."
    );
    for (upgrade, level, why) in [
        (UpgradeType::Unknown, 1, "The controller does not support the given upgrade type."),
        (UpgradeType::Upgrade, -1, "A feature version cannot be less than 0."),
        (UpgradeType::SafeDowngrade, 1, "Can't downgrade to a newer version."),
    ] {
        let refused = refusal(update(&mut cluster, &[("group.version", level, upgrade)], false));
        assert_eq!(refused.1, format!("Invalid update version {level} for feature group.version. {why}"));
    }
}
