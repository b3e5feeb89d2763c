//! Kafka's own schemas of the records in its logs, as they stand in `wire/schema`.

/// Records of `__cluster_metadata`.
pub const METADATA: &[&str] = &[
    include_str!("../../../wire/schema/metadata/AbortTransactionRecord.json"),
    include_str!("../../../wire/schema/metadata/AccessControlEntryRecord.json"),
    include_str!("../../../wire/schema/metadata/BeginTransactionRecord.json"),
    include_str!("../../../wire/schema/metadata/BrokerRegistrationChangeRecord.json"),
    include_str!("../../../wire/schema/metadata/ClearElrRecord.json"),
    include_str!("../../../wire/schema/metadata/ClientQuotaRecord.json"),
    include_str!("../../../wire/schema/metadata/ConfigRecord.json"),
    include_str!("../../../wire/schema/metadata/DelegationTokenRecord.json"),
    include_str!("../../../wire/schema/metadata/EndTransactionRecord.json"),
    include_str!("../../../wire/schema/metadata/FeatureLevelRecord.json"),
    include_str!("../../../wire/schema/metadata/FenceBrokerRecord.json"),
    include_str!("../../../wire/schema/metadata/NoOpRecord.json"),
    include_str!("../../../wire/schema/metadata/PartitionChangeRecord.json"),
    include_str!("../../../wire/schema/metadata/PartitionRecord.json"),
    include_str!("../../../wire/schema/metadata/ProducerIdsRecord.json"),
    include_str!("../../../wire/schema/metadata/RegisterBrokerRecord.json"),
    include_str!("../../../wire/schema/metadata/RegisterControllerRecord.json"),
    include_str!("../../../wire/schema/metadata/RemoveAccessControlEntryRecord.json"),
    include_str!("../../../wire/schema/metadata/RemoveDelegationTokenRecord.json"),
    include_str!("../../../wire/schema/metadata/RemoveTopicRecord.json"),
    include_str!("../../../wire/schema/metadata/RemoveUserScramCredentialRecord.json"),
    include_str!("../../../wire/schema/metadata/TopicRecord.json"),
    include_str!("../../../wire/schema/metadata/UnfenceBrokerRecord.json"),
    include_str!("../../../wire/schema/metadata/UnregisterBrokerRecord.json"),
    include_str!("../../../wire/schema/metadata/UserScramCredentialRecord.json"),
    include_str!("../../../wire/schema/metadata/ZkMigrationRecord.json"),
];

/// Keys and values of `__consumer_offsets`.
pub const GROUPS: &[&str] = &[
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupCurrentMemberAssignmentKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupCurrentMemberAssignmentValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupMemberMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupMemberMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupPartitionMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupPartitionMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupRegularExpressionKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupRegularExpressionValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupTargetAssignmentMemberKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupTargetAssignmentMemberValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupTargetAssignmentMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ConsumerGroupTargetAssignmentMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/GroupMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/GroupMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/LegacyOffsetCommitKey.json"),
    include_str!("../../../wire/schema/group-coordinator/LegacyOffsetCommitValue.json"),
    include_str!("../../../wire/schema/group-coordinator/OffsetCommitKey.json"),
    include_str!("../../../wire/schema/group-coordinator/OffsetCommitValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupCurrentMemberAssignmentKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupCurrentMemberAssignmentValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupMemberMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupMemberMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupStatePartitionMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupStatePartitionMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupTargetAssignmentMemberKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupTargetAssignmentMemberValue.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupTargetAssignmentMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/ShareGroupTargetAssignmentMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupCurrentMemberAssignmentKey.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupCurrentMemberAssignmentValue.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupMemberMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupMemberMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupTargetAssignmentMemberKey.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupTargetAssignmentMemberValue.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupTargetAssignmentMetadataKey.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupTargetAssignmentMetadataValue.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupTopologyKey.json"),
    include_str!("../../../wire/schema/group-coordinator/StreamsGroupTopologyValue.json"),
];

/// Keys and values of `__transaction_state`.
pub const TRANSACTIONS: &[&str] = &[
    include_str!("../../../wire/schema/transaction-coordinator/TransactionLogKey.json"),
    include_str!("../../../wire/schema/transaction-coordinator/TransactionLogValue.json"),
];

/// Keys and values of `__share_group_state`.
pub const SHARE_STATE: &[&str] = &[
    include_str!("../../../wire/schema/share-coordinator/ShareSnapshotKey.json"),
    include_str!("../../../wire/schema/share-coordinator/ShareSnapshotValue.json"),
    include_str!("../../../wire/schema/share-coordinator/ShareUpdateKey.json"),
    include_str!("../../../wire/schema/share-coordinator/ShareUpdateValue.json"),
];

/// Records of `__remote_log_metadata`.
pub const TIERED: &[&str] = &[
    include_str!("../../../wire/schema/storage/RemoteLogSegmentMetadataRecord.json"),
    include_str!("../../../wire/schema/storage/RemoteLogSegmentMetadataUpdateRecord.json"),
    include_str!("../../../wire/schema/storage/RemotePartitionDeleteMetadataRecord.json"),
];

/// Control records of the cluster's quorum.
pub const CONTROL: &[&str] = &[
    include_str!("../../../wire/schema/clients/LeaderChangeMessage.json"),
    include_str!("../../../wire/schema/clients/SnapshotHeaderRecord.json"),
    include_str!("../../../wire/schema/clients/SnapshotFooterRecord.json"),
    include_str!("../../../wire/schema/clients/KRaftVersionRecord.json"),
    include_str!("../../../wire/schema/clients/VotersRecord.json"),
];

/// What consumers of a classic group tell each other.
pub const CONSUMERS: &[&str] = &[
    include_str!("../../../wire/schema/clients/ConsumerProtocolSubscription.json"),
    include_str!("../../../wire/schema/clients/ConsumerProtocolAssignment.json"),
];
