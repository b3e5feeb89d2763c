use super::*;

#[test]
fn generated_files_are_as_the_schemas_say() {
    assert_eq!(check(crate::root()).err(), None);
}

#[test]
fn names_keep_abbreviations_together() {
    for (kafka, rust) in [
        ("TopicId", "topic_id"),
        ("ErrorCode", "error_code"),
        ("groupID", "group_id"),
        ("KRaftVersionRecord", "k_raft_version_record"),
        ("topic", "topic"),
        ("LastKnownElr", "last_known_elr"),
    ] {
        assert_eq!(names::snake(kafka), rust);
    }
    assert_eq!(names::field("Type"), "r#type");
    assert_eq!(names::camel("NOT_LEADER_OR_FOLLOWER"), "NotLeaderOrFollower");
}

#[test]
fn versions_are_read_as_ranges() {
    use schema::Versions;
    assert_eq!(Versions::parse("3+"), Ok(Versions { low: 3, high: i16::MAX }));
    assert_eq!(Versions::parse("0-12"), Ok(Versions { low: 0, high: 12 }));
    assert_eq!(Versions::parse("7"), Ok(Versions { low: 7, high: 7 }));
    assert_eq!(Versions::parse("none"), Ok(Versions::NONE));
    assert!(Versions::parse("x").is_err());
}
